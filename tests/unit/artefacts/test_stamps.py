"""What is known of files stands as long as their stamps do, and not a tick longer."""

import os
import shutil
import time

import numpy as np
import pytest
from scene_files import scan_of, write_scannet

from sas_jax.artefacts import files
from sas_jax.artefacts.stamps import Memo, keep, recall, stamps_of
from sas_jax.datasets import contracts

SCHEMA = "sas_jax.test/1"


@pytest.fixture
def hashed(monkeypatch):
    """List the names of files that are hashed."""
    names, sha256_file = [], files.sha256_file

    def counted(path):
        names.append(path.name)
        return sha256_file(path)

    monkeypatch.setattr(files, "sha256_file", counted)
    monkeypatch.setattr(contracts, "sha256_file", counted)
    return names


def artefact(folder, name="x"):
    path = folder / f"{name}.safetensors"
    files.write_tensors(path, {"a": np.arange(100)}, key="k", schema=SCHEMA)
    return path


def flip(path, *, time_ns=None):
    """Change the last byte in place, keeping the size, and the time if one is given."""
    with open(path, "r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))
    if time_ns is not None:
        os.utime(path, ns=(time_ns, time_ns))


def set_time(path, seconds_ago):
    time_ns = time.time_ns() - int(seconds_ago * 1e9)
    os.utime(path, ns=(time_ns, time_ns))
    return time_ns


def test_what_was_just_written_is_never_hashed_to_see_that_it_is_current(
    tmp_path, hashed
):
    paths = [artefact(tmp_path, f"x{i}") for i in range(20)]
    assert all(files.is_current(path, "k") for path in paths)
    assert hashed == []
    assert all(files.is_current(path, "k", verify=True) for path in paths)
    assert len(hashed) == 20


def test_a_change_in_the_tick_of_the_writing_is_seen(tmp_path):
    path = artefact(tmp_path)
    flip(path)
    assert not files.is_current(path, "k")


def test_a_file_that_was_hashed_is_not_hashed_again(tmp_path, hashed):
    path = artefact(tmp_path)
    copy = tmp_path / "copy.safetensors"
    for ending in ("", ".json"):
        shutil.copy(f"{path}{ending}", f"{copy}{ending}")
    set_time(copy, 10)
    assert files.is_current(copy, "k") and files.is_current(copy, "k")
    assert hashed == ["copy.safetensors"]
    set_time(copy, 20)  # as a program does that unpacks or touches
    assert files.is_current(copy, "k") and files.is_current(copy, "k")
    assert len(hashed) == 2


@pytest.mark.parametrize(("seconds_ago", "seen"), [(0, True), (1, True), (10, False)])
def test_a_file_hardly_older_than_its_record_is_not_trusted(
    tmp_path, seconds_ago, seen
):
    path = artefact(tmp_path)
    time_ns = set_time(path, seconds_ago)
    assert files.is_current(path, "k")  # hashed, and its stamp recorded
    flip(path, time_ns=time_ns)
    # The last case is what a stamp cannot show, and what --verify is for.
    assert files.is_current(path, "k") is not seen
    assert not files.is_current(path, "k", verify=True)


def test_another_file_of_the_same_size_and_time_is_seen(tmp_path):
    path = artefact(tmp_path)
    stat = path.stat()
    other = tmp_path / "other"
    other.write_bytes(path.read_bytes())
    flip(other, time_ns=stat.st_mtime_ns)
    other.replace(path)  # another inode
    assert path.stat().st_mtime_ns == stat.st_mtime_ns
    assert not files.is_current(path, "k")


@pytest.mark.parametrize("text", ["", "[]", "{", '{"stamps": 3}'])
def test_a_damaged_record_costs_one_look(tmp_path, hashed, text):
    path = artefact(tmp_path)
    (tmp_path / ".x.safetensors.stamp").write_text(text)
    assert files.is_current(path, "k") and files.is_current(path, "k")
    assert len(hashed) == 1


def test_a_record_is_of_what_stood_there_when_the_value_was_begun(tmp_path):
    path = tmp_path / "a"
    path.write_text("one")
    set_time(path, 10)
    stamps, _ = stamps_of([path])
    path.write_text("two")
    set_time(path, 10)
    keep(tmp_path / "r", stamps, "value of one")
    assert recall(tmp_path / "r", [path]) is None


def test_values_of_groups_of_files(tmp_path):
    paths = [tmp_path / name for name in ("a", "b", "absent")]
    for path in paths[:2]:
        path.write_text("1")
        set_time(path, 100)
    found = []
    memo = Memo(tmp_path / "memo")

    def value(memo=memo, name="group/kind"):
        return memo.value(name, paths, lambda: found.append(0) or str(len(found)))

    assert [value(), value()] == ["1", "1"]
    assert value(Memo(memo.folder, verify=True)) == "2" and value() == "2"
    assert value(name="group/other") == "3" and value() == "2"
    set_time(paths[1], 50)
    assert [value(), value()] == ["4", "4"]
    paths[2].write_text("")
    set_time(paths[2], 50)
    assert [value(), value()] == ["5", "5"]
    paths[0].rename(tmp_path / "c")
    assert [value(), value()] == ["6", "6"]
    assert [value(Memo()), value(Memo())] == ["7", "8"]
    (tmp_path / "file").write_text("")
    closed = Memo(tmp_path / "file")  # cannot hold records
    assert [value(closed), value(closed)] == ["9", "10"]


def test_keys_of_a_scan_are_the_same_with_a_memory_and_hash_once(tmp_path, hashed):
    scan = write_scannet(tmp_path, num_frames=3)
    for path in [*scan.rglob("*")]:
        set_time(path, 100)
    memo = Memo(tmp_path / "memo")

    def keys(memo=memo):
        return [
            scan_of(scan).key("views", memo=memo),
            scan_of(scan).key("views", frame_stride=2, memo=memo),
            scan_of(scan).key("geometry", memo=memo),
            scan_of(scan).key("labels", memo=memo),
        ]

    plain = keys(Memo())
    assert len(set(plain)) == 4 and keys() == plain
    hashed.clear()
    assert keys() == plain and hashed == []
    flip(scan / "depth" / "5.png")
    changed = keys()
    assert [a != b for a, b in zip(plain, changed, strict=True)] == [True] + 3 * [False]
    assert changed == keys(Memo())


def test_a_frame_that_comes_or_goes_changes_the_key_with_a_memory_too(tmp_path):
    scan = write_scannet(tmp_path, num_frames=3)
    set_time(scan / "color", 100)
    memo = Memo(tmp_path / "memo")

    def key(memo):
        return scan_of(scan).key("views", frame_stride=2, memo=memo)

    before = key(memo)
    shutil.copy(scan / "color" / "10.jpg", scan / "color" / "1.jpg")
    after = key(memo)
    assert before != after == key(Memo())
