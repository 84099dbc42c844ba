"""Atomic writes, checksums and content keys."""

import dataclasses
import errno
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy

from sas_jax.artefacts import files
from sas_jax.errors import DamagedFile, InputError

SCHEMA = "sas_jax.test/1"


@dataclasses.dataclass(frozen=True)
class Settings:
    radius: float = 0.5
    names: tuple[str, ...] = ("a", "b")


def test_content_key_depends_on_values_not_on_order_or_container():
    assert files.content_key({"b": 1, "a": (1, 2)}) == files.content_key(
        {"a": [1, 2], "b": np.int64(1)}
    )
    assert files.content_key(Settings()) != files.content_key(Settings(radius=0.6))
    assert files.content_key(np.arange(3)) != files.content_key(np.arange(3.0))


def test_content_key_refuses_what_has_no_canonical_form():
    with pytest.raises(TypeError, match="function"):
        files.content_key({"f": lambda: 0})


def test_tensors_round_trip_with_key_and_meta(tmp_path):
    path = tmp_path / "deep" / "x.safetensors"
    tensors = {
        "feat": np.ones((2, 3), np.float16),
        "index": np.arange(2, dtype=np.int32),
    }
    files.write_tensors(path, tensors, key="k1", schema=SCHEMA, meta={"scene": "s"})
    got, meta = files.read_tensors(path, schema=SCHEMA)
    assert meta == {"scene": "s", "key": "k1"}
    for name, value in tensors.items():
        np.testing.assert_array_equal(got[name], value)
        assert got[name].dtype == value.dtype
    assert files.is_current(path, "k1")
    assert not files.is_current(path, "k2")


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "no_sidecar", "gone"])
def test_damaged_tensors_are_found_and_never_read(tmp_path, damage):
    path = tmp_path / "x.safetensors"
    files.write_tensors(path, {"a": np.arange(100)}, key="k", schema=SCHEMA)
    data = path.read_bytes()
    match damage:
        case "truncate":
            path.write_bytes(data[:-7])
        case "flip":
            path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        case "empty":
            path.write_bytes(b"")
        case "no_sidecar":
            path.with_name("x.safetensors.json").unlink()
        case "gone":
            path.unlink()
    assert not files.is_current(path, "k")
    with pytest.raises(DamagedFile, match=r"x\.safetensors"):
        files.read_tensors(path, schema=SCHEMA)


def test_json_round_trip_and_damage(tmp_path):
    path = tmp_path / "x.json"
    files.write_json(path, {"table": [1, 0.1, None, "é"]}, key="k", schema=SCHEMA)
    assert files.read_json(path, schema=SCHEMA) == {"table": [1, 0.1, None, "é"]}
    assert files.is_current(path, "k")
    record = json.loads(path.read_text())
    record["data"]["table"][0] = 2
    path.write_text(json.dumps(record))
    assert not files.is_current(path, "k")
    with pytest.raises(DamagedFile):
        files.read_json(path, schema=SCHEMA)


def test_another_schema_is_refused(tmp_path):
    path = tmp_path / "x.json"
    files.write_json(path, 1, key="k", schema=SCHEMA)
    with pytest.raises(InputError, match=r"sas_jax\.test/2, got sas_jax\.test/1"):
        files.read_json(path, schema="sas_jax.test/2")


def test_failed_write_keeps_the_old_file_and_leaves_nothing(tmp_path):
    path = tmp_path / "x.bin"
    files.atomic_write(path, b"old")
    with pytest.raises(RuntimeError), files.atomic_path(path) as temporary:
        temporary.write_bytes(b"new")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x.bin"]


def test_full_disk_is_one_clear_line(tmp_path, monkeypatch):
    def full(self, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pathlib.Path, "write_bytes", full)
    with pytest.raises(InputError, match=r"x\.bin.*No space left.*Free disk space"):
        files.atomic_write(tmp_path / "x.bin", b"data")
    assert os.listdir(tmp_path) == []


def test_tensors_are_the_bytes_that_save_file_writes(tmp_path):
    tensors = {
        "z": np.arange(6, dtype=np.float16).reshape(2, 3),
        "a": np.array([True, False]),
        "turned": np.arange(6, dtype=np.int64).reshape(2, 3).T,
    }
    path = tmp_path / "x.safetensors"
    files.write_tensors(path, tensors, key="k", schema=SCHEMA)
    plain = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    safetensors.numpy.save_file(plain, tmp_path / "plain")
    assert path.read_bytes() == (tmp_path / "plain").read_bytes()
    manifest = json.loads((tmp_path / "x.safetensors.json").read_text())
    assert manifest["sha256"] == files.sha256_file(path)


def test_tensors_on_a_full_disk_are_one_clear_line(tmp_path):
    code = (
        "import resource, signal, sys\nimport numpy as np\n"
        "from sas_jax.artefacts import files\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try:\n"
        "    files.write_tensors(sys.argv[1], {'a': np.zeros(9999)}, key='k', "
        "schema='s/1')\n"
        "except files.InputError as error:\n"
        "    print(error)\n"
    )
    path = tmp_path / "x.safetensors"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert f"write: could not write ({path}): File too large" in done.stdout
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("field", ["schema", "key", "sha256", "size", "meta"])
def test_manifest_without_a_field_is_damaged(tmp_path, field):
    path = tmp_path / "x.safetensors"
    files.write_tensors(path, {"a": np.arange(3)}, key="k", schema=SCHEMA)
    sidecar = tmp_path / "x.safetensors.json"
    manifest = json.loads(sidecar.read_text())
    for change in ({}, {field: None}):
        rest = {name: v for name, v in manifest.items() if name != field}
        sidecar.write_text(json.dumps(rest | change))
        assert not files.is_current(path, "k")
        with pytest.raises(DamagedFile, match=rf"no {field} .*x\.safetensors\.json"):
            files.read_tensors(path, schema=SCHEMA)


@pytest.mark.parametrize(
    "text", ["[]", "null", "3", '"text"', "{}", "[" * 100_000, '{"data": 1}']
)
def test_json_of_another_kind_is_damaged(tmp_path, text):
    path = tmp_path / "x.safetensors"
    files.write_tensors(path, {"a": np.arange(3)}, key="k", schema=SCHEMA)
    for damaged in (tmp_path / "x.safetensors.json", tmp_path / "y.json"):
        damaged.write_text(text)
    assert not files.is_current(path, "k")
    assert not files.is_current(tmp_path / "y.json", "k")
    with pytest.raises(DamagedFile, match=r"x\.safetensors\.json"):
        files.read_tensors(path, schema=SCHEMA)
    with pytest.raises(DamagedFile, match=r"y\.json"):
        files.read_json(tmp_path / "y.json", schema=SCHEMA)
