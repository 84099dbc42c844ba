"""Damaged files are read, or refused in a line: a taste of `make fuzz`."""

import pathlib
import tracemalloc
import types

import numpy as np
import pytest
from fuzz import readers
from fuzz.targets import TARGETS

from sas_jax.errors import InputError

FOUND = sorted(p for p in readers.CORPUS.rglob("*") if p.is_file())


@pytest.fixture(autouse=True)
def _traced():
    tracemalloc.start(1)
    yield
    tracemalloc.stop()


@pytest.mark.parametrize(
    "path", FOUND, ids=lambda p: str(p.relative_to(readers.CORPUS))
)
def test_what_once_failed_does_not_any_more(tmp_path, path):
    name, _, *file = path.relative_to(readers.CORPUS).parts
    (target,) = (t for t in TARGETS if t.name == name)
    target.write(tmp_path)
    tmp_path.joinpath(*file).write_bytes(path.read_bytes())
    assert readers.fault(target, tmp_path) is None


@pytest.mark.parametrize("name", ["mesh.glb", "splats.npz", "pose.txt"])
def test_a_few_damaged_files(name, tmp_path):
    assert readers.run(0.1, 7, tmp_path, [name])[1] == 0


def _fail(error):
    def read(folder):
        raise error

    return read


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (lambda folder: None, None),
        (_fail(InputError("a: b.")), None),
        (_fail(KeyError("x")), "KeyError"),
        (_fail(SystemError("x")), "SystemError"),
        (lambda folder: np.empty(1 << 29, np.uint8), "512 MiB for 0 bytes"),
    ],
)
def test_faults_are_seen(tmp_path, read, said):
    found = readers.fault(types.SimpleNamespace(read=read), pathlib.Path(tmp_path))
    assert found is None if said is None else found.startswith(said)
