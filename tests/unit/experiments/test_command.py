"""The command `sas-jax`: the scripts of the clone, and the installed ones elsewhere."""

import os
import shutil
import subprocess
import sys

import pytest

from sas_jax import stages


def call(folder, *arguments, code="from sas_jax.stages import main; main()", path=""):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_stages_are_the_scripts_that_can_be_run(root):
    known = stages.stages()
    assert {"pipeline", "train", "query", "extract_features"} <= set(known)
    assert not {"settings", "stage_flags", "launch", "config_flags"} & set(known)
    assert all(what.endswith(".") for what in known.values())
    for name in known:
        assert (root / "experiments" / f"{name}.py").is_file()


def test_alone_it_lists_the_stages(root, tmp_path):
    for arguments in ((), ("--help",)):
        done = call(tmp_path, *arguments, path=root)
        assert done.returncode == 0, done.stderr
        for name, what in stages.stages().items():
            assert any(name in x and what in x for x in done.stdout.splitlines())
    done = call(tmp_path, "trian", path=root)
    assert done.returncode == 1
    assert done.stderr.startswith("error: sas-jax: a stage of those above is required")


@pytest.mark.parametrize("asked", ["--help", "--helpfull"])
def test_help_shows_the_flags_of_the_stage_by_group(root, tmp_path, asked):
    # also where a required flag is missing, or another one is wrong
    done = call(tmp_path, "query", asked, "--regions=-1", path=root)
    assert done.returncode == 0, done.stderr
    blocks = {b.partition("\n")[0]: b for b in done.stdout.split("\n\n")}
    assert "--text=" in blocks["Flags of query alone"]
    assert "runs/query" in blocks["Where things are"]
    assert "--depth_scale=X" in blocks["Data sets"]
    assert "--strategy=capability|add|linear|single" in done.stdout
    assert ("Training" in blocks) == (asked == "--helpfull")
    assert ("of other stages: --helpfull" in done.stdout) == (asked == "--help")
    assert "Ask a scan for something in words" in done.stdout


def test_a_stage_is_the_script(root, tmp_path):
    done = call(tmp_path, "make-superpoints", f"--data_root={tmp_path}", path=root)
    assert done.returncode == 1
    assert done.stderr.startswith(
        "error: datasets: a folder of scans of a known layout"
    )
    done = call(tmp_path, "train", "--epoch=3", path=root)
    assert done.returncode != 0 and "Did you mean" in done.stderr


def test_the_flagfiles_of_the_project_are_found_from_anywhere(root, tmp_path):
    arguments = ("make_superpoints", "--flagfile=rooms_full.flags")
    done = call(tmp_path, *arguments, path=root)
    assert done.returncode == 1 and "(data/rooms_full)" in done.stderr, done.stderr
    (tmp_path / "rooms_full.flags").write_text("--data_root=data/own\n")
    done = call(tmp_path, *arguments, path=root)  # one's own comes first
    assert "(data/own)" in done.stderr, done.stderr
    done = call(tmp_path, "make_superpoints", "--flagfile=none.flags", path=root)
    assert done.returncode != 0 and "none.flags" in done.stderr


def test_what_to_type_fits_the_place(root, tmp_path, monkeypatch):
    monkeypatch.chdir(root)
    assert stages.command("train") == "python experiments/train.py"
    monkeypatch.chdir(tmp_path)
    assert stages.command("train") == f"python {root / 'experiments' / 'train.py'}"
    monkeypatch.setattr(stages, "_CLONE", tmp_path)
    assert stages.command("train") == "sas-jax train"


@pytest.fixture(scope="module")
def installed(root, tmp_path_factory):
    """A folder with the package as pip installs it, from a copy without kernels."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("lib")
    for name in ("sas_jax", "experiments"):
        left_out = shutil.ignore_patterns("__pycache__", "rooms_*.safetensors")
        shutil.copytree(root / name, source / name, ignore=left_out)
    for path in (*root.glob("*.flags"), *root.glob("*.toml"), root / "setup.py"):
        shutil.copy(path, source)
    for name in ("README.md", "LICENSE"):
        shutil.copy(root / name, source)
    pip = (sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "-q")
    options = ("--no-index", "--no-deps", "--no-build-isolation")
    done = subprocess.run(
        [*pip, *options, f"--target={target}", str(source)],
        cwd=source,
        env={**os.environ, "PATH": "", "CXX": ""},  # no compiler
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    return target


@pytest.mark.slow
def test_an_installed_package_has_the_command_and_the_scripts(installed, tmp_path):
    script = installed / "bin" / "sas-jax"
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in stages.stages())
    code = "import sas_jax.stages as s; print(s.folder()); s.main()"
    arguments = ("train", "--flagfile=rooms_full.flags")
    done = call(tmp_path, *arguments, code=code, path=installed)
    assert done.returncode == 1, done.stderr
    where, *lines = done.stdout.splitlines()
    assert where == str(installed / "sas_jax" / "experiments")
    assert "looked in data/rooms_full" in lines[0]
    assert lines[0].endswith("run: sas-jax make_rooms --flagfile=rooms_full.flags")
    assert lines[-1].endswith("sas-jax make_superpoints --flagfile=rooms_full.flags")
