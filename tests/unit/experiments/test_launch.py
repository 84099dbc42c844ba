"""How scripts end: a line for bad input, a report for a fault, a command that works."""

import importlib.metadata
import os
import pathlib
import shlex
import subprocess
import sys

import pytest

from sas_jax import extras

SCRIPT = """
import settings
from sas_jax.errors import InputError

def main():
    {body}

settings.run(main)
"""


def launch(root, folder, body, *flags, **variables):
    """Run a script of one line as `experiments/` would."""
    script = folder / "stage.py"
    script.write_text(SCRIPT.format(body=body), encoding="utf-8")
    return subprocess.run(
        [sys.executable, str(script), f"--workspace={folder}/run", *flags],
        env={
            **os.environ,
            "PYTHONPATH": f"{root}:{root / 'experiments'}",
            "SAS_JAX_DEBUG": "",
            **variables,
        },
        capture_output=True,
        timeout=120,
        check=False,
    )


BAD_INPUT = 'raise InputError("x: a is required, got b. Give a.")'


def test_bad_input_is_one_line(root, tmp_path):
    done = launch(root, tmp_path, BAD_INPUT)
    assert done.returncode == 1
    assert done.stderr == b"error: x: a is required, got b. Give a.\n"
    assert not (tmp_path / "run").exists()


def test_what_the_system_refuses_is_one_line(root, tmp_path):
    body = "open('absent/file', 'w')"
    done = launch(root, tmp_path, body)
    assert done.returncode == 1
    assert done.stderr == (
        b"error: stage.py: a file that can be read or written is required, got No such "
        b"file or directory (absent/file). Check its permissions and the space on the "
        b"disk, then run the same command again.\n"
    )
    assert b"Traceback" in launch(root, tmp_path, body, "--debug").stderr


@pytest.mark.parametrize(
    ("flag", "told"),
    [
        ("--worksapce=x", "got Unknown command line flag 'worksapce'. Did you mean:"),
        ("extra", "got extra."),
        ("--threads=none", "got flag --threads=none: "),
    ],
)
def test_flags_that_are_wrong_are_one_line(root, tmp_path, flag, told):
    done = launch(root, tmp_path, "pass", flag)
    (line,) = done.stderr.decode().splitlines()
    assert done.returncode == 1 and done.stdout == b""
    assert line.startswith("error: flags: flags that stage.py knows are required")
    assert told in line and line.endswith("--help lists them all.")


def test_a_warning_is_told_once(root, tmp_path):
    body = "import logging; [logging.warning('x: y, got %d', n) for n in (1, 2, 1)]"
    done = launch(root, tmp_path, body)
    assert done.stderr == b"warning: x: y, got 1\nwarning: x: y, got 2\n"


def test_a_reader_that_has_seen_enough_is_no_fault(root, tmp_path):
    script = tmp_path / "stage.py"
    script.write_text(SCRIPT.format(body="print('x' * 200_000)"), encoding="utf-8")
    command = (
        f"{shlex.quote(sys.executable)} {script} --workspace={tmp_path} | head -c9"
    )
    paths = f"{root}:{root / 'experiments'}"
    done = subprocess.run(
        command,
        shell=True,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == b"x" * 9 and done.stderr == b""


def test_a_disk_that_fails_in_the_middle_of_a_file_is_one_line(root, tmp_path):
    body = "import errno; raise OSError(errno.EIO, 'Input/output error')"
    done = launch(root, tmp_path, body)
    assert done.returncode == 1
    assert done.stderr.startswith(b"error: stage.py: a file that can be read")
    assert b"Input/output error" in done.stderr and b"Traceback" not in done.stderr
    assert b"Traceback" in launch(root, tmp_path, "raise OSError('else')").stderr


def test_memory_that_ends_is_one_line(root, tmp_path):
    done = launch(root, tmp_path, "raise MemoryError('1 TiB')")
    assert done.returncode == 1
    assert done.stderr.startswith(b"error: stage.py: free memory") and b"1 TiB" in (
        done.stderr
    )
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("flags", "variables"),
    [(["--debug"], {}), ([], {"SAS_JAX_DEBUG": "1"})],
)
def test_debugging_shows_the_traceback_of_any_error(root, tmp_path, flags, variables):
    done = launch(root, tmp_path, BAD_INPUT, *flags, **variables)
    assert done.returncode == 1
    assert b"Traceback" in done.stderr and b"stage.py" in done.stderr
    assert done.stderr.endswith(b"error: x: a is required, got b. Give a.\n")


def test_a_fault_shows_its_traceback_and_says_where_its_log_is(root, tmp_path):
    done = launch(root, tmp_path, 'raise KeyError("no such row")')
    assert done.returncode == 1
    *trace, last = done.stderr.decode().splitlines()
    assert trace[0].startswith("Traceback") and "KeyError: 'no such row'" in trace
    log = pathlib.Path(last.rpartition(": ")[2])
    assert log.parent == tmp_path / "run" / "logs"
    text = log.read_text()
    assert "KeyError: 'no such row'" in text and "stage.py" in text
    assert "sas_jax" in text and "--workspace=" in text


def test_a_broken_contract_is_a_fault_of_the_code(root, tmp_path):
    body = (
        "import numpy; from sas_jax.evaluation.confusion import count; "
        "count(numpy.zeros(2, int), numpy.zeros(3, int), 2)"
    )
    done = launch(root, tmp_path, body)
    assert done.returncode == 1
    lines = done.stderr.decode().splitlines()
    assert lines[0].startswith("Traceback")
    assert "should not have happened: ContractError: evaluate: one pred" in lines[-1]


def test_the_log_of_a_fault_needs_no_workspace(root, tmp_path):
    (tmp_path / "run").write_text("no folder")
    done = launch(root, tmp_path, "1 / 0", TMPDIR=str(tmp_path))
    log = pathlib.Path(done.stderr.decode().splitlines()[-1].rpartition(": ")[2])
    assert log.parent == tmp_path and "ZeroDivisionError" in log.read_text()


def test_an_absent_device_is_one_line(root, tmp_path):
    body = "import jax; jax.numpy.zeros(3)"
    done = launch(root, tmp_path, body, JAX_PLATFORMS="abacus")
    assert done.returncode == 1
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("error: jax: a device of JAX_PLATFORMS=abacus is required")
    assert "set it to cpu" in line and "[cuda12]" in line
    # JAX 0.10 without the plugin of CUDA raises an assertion that says nothing.
    body = (
        "import sys, types; "
        "sys.modules['jax'] = types.SimpleNamespace(devices=lambda: 1 // 0); 1 // 0"
    )
    done = launch(root, tmp_path, body, JAX_PLATFORMS="cuda")
    (line,) = done.stderr.decode().splitlines()
    assert "JAX_PLATFORMS=cuda is required" in line


def test_what_a_terminal_cannot_show_does_not_stop_a_script(root, tmp_path):
    body = "print('\\u6c99\\u53d1'); print('done')"
    done = launch(root, tmp_path, body, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == b"done"


def test_an_extra_is_installed_from_the_clone(root):
    command = shlex.split(extras.install_command("teachers"))
    assert command == [
        *(sys.executable, "-m", "pip", "install", "-e"),
        f"{root}[teachers]",
    ]


def test_without_a_clone_the_requirements_are_named(tmp_path, monkeypatch):
    stated = [
        "numpy<3,>=2.1",
        "torch<3,>=2.9; extra == 'teachers'",
        "spconv-cu120; (platform_machine == 'x86_64') and extra == \"spconv\"",
        "other; extra == 'all-teachers'",
    ]
    monkeypatch.setattr(extras, "_ROOT", tmp_path)
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: stated)
    assert shlex.split(extras.install_command("teachers"))[3:] == [
        "install",
        "torch<3,>=2.9",
    ]
    assert extras.install_command("spconv").endswith(" spconv-cu120")

    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", absent)
    assert "'.[teachers]' in a clone" in extras.install_command("teachers")
