"""One room, known at every pixel, in every format of captures: the same answer.

A format is a line of `WRITERS`: it writes the walk through the room and returns its
path and the pictures that it wrote.
"""

import logging
import sys
import types
import zlib

import numpy as np
import one_room
import phone_files
import pytest
import rgbd_files
from one_room import colors_at, off_surface
from scipy.spatial import cKDTree

from sas_jax.artefacts.stamps import NO_MEMO
from sas_jax.datasets import registry
from sas_jax.scenes.cloud import back_project


def _registered(folder):
    return rgbd_files.as_seven_scenes(folder, registered=True)


WRITERS = {
    "posed_rgbd": rgbd_files.as_posed_rgbd,
    "tum": rgbd_files.as_tum,
    "sens": rgbd_files.as_sens,
    "seven_scenes": rgbd_files.as_seven_scenes,
    "seven_scenes registered": _registered,
    "open3d": rgbd_files.as_open3d,
    "open3d scenenn": rgbd_files.as_scenenn,
    "nice_slam": rgbd_files.as_nice_slam,
    "arkitscenes": rgbd_files.as_arkitscenes,
    "nerfstudio": phone_files.as_nerfstudio,
    "polycam": phone_files.as_polycam,
    "polycam raw": lambda folder: phone_files.as_polycam(folder, corrected=""),
    "stray": phone_files.as_stray,
    "stray first": lambda folder: phone_files.as_stray(folder, first_version=True),
    "record3d": lambda folder: phone_files.as_record3d(folder, zlib.compress),
    "record3d export": phone_files.as_record3d_export,
}


@pytest.fixture(autouse=True)
def _without_lzfse(monkeypatch):
    """What decompresses depth of Record3D is a package that not all have."""
    module = types.SimpleNamespace(decompress=zlib.decompress, error=zlib.error)
    monkeypatch.setitem(sys.modules, "lzfse", module)


@pytest.fixture(params=WRITERS)
def written(request, tmp_path):
    path, frames = WRITERS[request.param](tmp_path / "all" / "room")
    return request.param.split()[0], path, frames


ASSUMING = ("tum", "seven_scenes", "open3d", "nice_slam")


def test_the_room_is_the_same(written, caplog):
    kind, path, frames = written
    with caplog.at_level(logging.WARNING):
        scan = registry.scan_at(path)
        scene = scan.open()
    assert scan.dataset.name == kind
    # Formats that state no camera say which one is assumed, once, and nothing else.
    said = [record.getMessage() for record in caplog.records]
    assert len(said) <= 1 and all(kind in ASSUMING and "taken" in m for m in said)
    assert scene.skipped == {}
    assert scene.name == "room" and len(scene.frame_source.names) == len(frames)
    assert np.quantile(off_surface(scene.points), 0.9) < 0.003
    assert off_surface(scene.points).max() < 0.02
    check_colors(scene.points, scene.colors)
    seen = [one_room.points_of(frame) for frame in frames]
    apart, _ = cKDTree(scene.points).query(np.concatenate(seen)[::7])
    assert np.quantile(apart, 0.99) < 0.03
    for frame, expected in zip(scene.frames(), frames, strict=True):
        np.testing.assert_allclose(frame.world_from_camera, expected.pose, atol=1e-6)
        points, colors = back_project(frame, 8.0)
        assert off_surface(points).max() < 0.005
        check_colors(points, colors)


def check_colors(points, colors):
    off = np.abs(colors.astype(int) - colors_at(points))
    assert np.median(off) <= 2 and np.quantile(off, 0.99) <= 12


def test_a_folder_of_them_is_a_data_set(written):
    kind, path, _ = written
    root = registry.of_root(path.parent)
    assert root.name == kind
    assert root.scan_names(path.parent, "train") == ["room"]
    assert root.scan_path(path.parent, "room") == path


def test_every_file_counts_in_the_key(written):
    _, path, _ = written
    scan = registry.scan_at(path)
    files = scan.dataset.files(path, "views", 1, NO_MEMO)
    assert len(files) == len(set(files))
    key = scan.key("geometry")
    for file in files:
        if file.is_file():
            with file.open("ab") as opened:
                opened.write(b"\n")
            changed = scan.key("geometry")
            assert changed != key
            key = changed


def test_a_damaged_frame_is_skipped(written):
    _, path, frames = written
    if path.is_file():
        pytest.skip("one file: tests of its own")
    images = [p for p in path.rglob("*") if p.suffix in (".png", ".jpg", ".webp")]
    images = [p for p in sorted(images) if "depth" not in str(p.relative_to(path))]
    colors = [p for p in images if "confidence" not in str(p.relative_to(path))]
    colors[2].write_bytes(b"")
    colors[3].write_bytes(colors[3].read_bytes()[:200])
    scene = registry.scan_at(path).open()
    assert sum(scene.skipped.values()) == 2
    assert len(list(scene.frames())) == len(frames) - 2
