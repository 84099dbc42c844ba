"""A workspace on object storage survives the machine that works on it (--remote)."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("obstore", reason="needs the extra [cloud]")

SCRIPT = """
import os, pathlib, sys, time
import settings
from sas_jax.errors import InputError

def main():
    root = settings.workspace().root
    root.mkdir(exist_ok=True)
    {body}

settings.run(main)
"""
UNTIL_THERE = """(root / "a").write_text("1")
    while not pathlib.Path({sum!r}).exists():
        time.sleep(0.01)  # polling the copy, not waiting for luck
    os._exit(9)"""


@pytest.fixture
def script(root, tmp_path):
    """Return what runs a script on a machine of its own, against one copy."""

    def run(machine, body, *flags):
        path = tmp_path / "stage.py"
        path.write_text(SCRIPT.format(body=body), encoding="utf-8")
        folders = f"{root}:{root / 'experiments'}"
        return subprocess.run(
            [
                sys.executable,
                str(path),
                f"--workspace={tmp_path / machine}",
                f"--remote=file://{tmp_path}/far",
                *flags,
            ],
            env={**os.environ, "PYTHONPATH": folders, "SAS_JAX_DEBUG": ""},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def test_another_machine_goes_on(script, tmp_path):
    first = script("one", '(root / "a").write_text("1")')
    assert first.returncode == 0 and "1 files" in first.stdout
    body = """assert (root / "a").read_text() == "1"
    (root / "train").mkdir()
    (root / "train/b").write_text("2")"""
    assert script("two", body).returncode == 0
    part = script("three", "print(sorted(os.listdir(root)))", "--remote_only=train")
    assert "['train']" in part.stdout


def test_what_an_error_leaves_is_kept(script, tmp_path):
    body = """(root / "a").write_text("1")
    raise InputError("stage: this is required, got that. Mend it.")"""
    failed = script("one", body)
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1].startswith("error: stage: this is required")
    assert (tmp_path / "far/a").read_text() == "1"


def test_a_machine_that_vanishes_leaves_what_was_pushed(script, tmp_path):
    body = UNTIL_THERE.format(sum=str(tmp_path / "far/a.sha256"))
    assert script("one", body, "--remote_minutes=0.001").returncode == 9
    assert "found" in script("two", 'print((root / "a").exists() and "found")').stdout


def test_scripts_inside_leave_the_copy_to_their_parent(script, tmp_path):
    body = """import subprocess
    if len(sys.argv) < 5:
        subprocess.run([sys.executable, *sys.argv, "--remote_minutes=7"], check=True)"""
    done = script("one", body)
    assert done.returncode == 0 and done.stdout.count("pushed to") == 1


def test_an_address_that_is_none_ends_before_the_work(script, tmp_path):
    failed = script("one", '(root / "a").write_text("1")', "--remote=s4://nowhere")
    assert failed.returncode == 1 and "mirror: object storage" in failed.stderr
    assert not (tmp_path / "one").exists()
