"""Flagfiles: nested ones are found from anywhere, and nothing in them is misread."""

import importlib

import pytest

from sas_jax import stages
from sas_jax.errors import InputError


@pytest.fixture
def expanded(root, monkeypatch, tmp_path):
    """Return the function, called from another folder than the project's."""
    monkeypatch.syspath_prepend(root / "experiments")
    monkeypatch.chdir(tmp_path)
    return importlib.import_module("flagfiles").expanded


def test_a_flagfile_is_the_same_from_anywhere(root, expanded, tmp_path):
    here = expanded([f"--flagfile={root / 'rooms.flags'}", "--epochs=2"])
    assert "--teachers=rooms-dense,rooms-mask" in here and here[-1] == "--epochs=2"
    # What it names lies beside it, whatever lies here.
    (tmp_path / "rooms_scratch.flags").write_text("--epochs=1\n")
    assert here == expanded(["-flagfile", str(root / "rooms.flags"), "--epochs=2"])
    assert expanded(["--flagfile=rooms_scratch.flags"]) == ["--epochs=1"]


def test_nested_flagfiles_keep_the_order(expanded, tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    lines = "\ufeff--a=1\r\n\r\n# why\r\n--flagfile=inner.flags\r\n--b\r\n"
    (folder / "outer.flags").write_text(lines, encoding="utf-8")
    (folder / "inner.flags").write_text("// why\n--c=#3,x y\n--noflag\n")
    found = expanded(["--z=0", "--flagfile=own/outer.flags", "--a=2"])
    assert found == ["--z=0", "--a=1", "--c=#3,x y", "--noflag", "--b", "--a=2"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"--workspace=runs/x # mine\n", "a comment must have its own line"),
        (b"--epochs=3 # short\n", r"\(bad.flags, line 1\)"),
        (b"\n--epochs = 3\n", "line 2"),
        (b"--epochs 3\n", "<flag>=<value>"),
        (b"epochs=3\n", "<flag>=<value>"),
        (b"\xff\xfe-\x00", "readable text"),
        (b"--flagfile=bad.flags\n", "must not name itself"),
        (b"--flagfile=none.flags\n", r"none by the name 'none.flags' \(bad.flags\)"),
        (None, "must be a file"),
    ],
)
def test_what_would_be_misread_is_refused(expanded, tmp_path, content, message):
    if content is not None:
        (tmp_path / "bad.flags").write_bytes(content)
    with pytest.raises(InputError, match=message):
        expanded(["--flagfile=bad.flags"])


@pytest.mark.parametrize("name", ["", "."])
def test_a_flagfile_must_be_a_file(expanded, name):
    with pytest.raises(InputError, match="must be a file"):
        expanded([f"--flagfile={name}"])


def test_every_flagfile_of_the_project_is_read(root, expanded):
    names = [path.name for path in root.glob("*.flags")]
    assert len(names) >= 4 and all(map(stages.flagfile, names))
    assert all(expanded([f"--flagfile={name}"]) for name in names)
