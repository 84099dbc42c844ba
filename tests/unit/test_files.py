"""Atomic writes, checksums, content keys and the lock."""

import dataclasses
import errno
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from sas_jax import files
from sas_jax.errors import DamagedFile, InputError, WorkspaceBusy

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


def test_second_run_in_one_workspace_is_refused_and_a_kill_frees_it(tmp_path):
    code = (
        "import sys, time\nfrom sas_jax.files import workspace_lock\n"
        "with workspace_lock(sys.argv[1]):\n print('held', flush=True)\n"
        " sys.stdin.readline()\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout.readline().strip() == "held"
        with (
            pytest.raises(WorkspaceBusy, match=str(holder.pid)),
            files.workspace_lock(tmp_path),
        ):
            pass
    finally:
        holder.kill()
        holder.communicate()
    with files.workspace_lock(tmp_path):
        pass
