"""One room, known at every pixel, in every format of captures: the same answer.

A format is a line of `WRITERS`: it writes the walk through the room and returns its
path and the pictures that it wrote.
"""

import json
import logging
import sys
import types
import zlib

import numpy as np
import one_room
import phone_files
import pytest
from one_room import INTRINSICS, colors_at, matrix, off_surface, pictures
from PIL import Image
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation
from sens_files import sens_bytes

from sas_jax.artefacts.stamps import NO_MEMO
from sas_jax.datasets import registry
from sas_jax.scenes.cloud import back_project

# The cameras of formats that have one, at a tenth of its size.
PRIMESENSE = matrix(52.5, 52.5, 31.5, 23.5)
REPLICA = matrix(60, 60, 59.5, 33.5)


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, array)
    else:
        Image.fromarray(array).save(path, quality=95)


def units(frame, per_m=1000.0):
    return np.rint(frame.depth_m * per_m).astype(np.uint16)


def text(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def row(numbers):
    return " ".join(repr(float(v)) for v in np.ravel(numbers))


def as_posed_rgbd(folder):
    frames = pictures()
    for i, frame in enumerate(frames):
        save(folder / f"color/{i}.webp", frame.rgb)
        save(folder / f"depth/{i}.npy", frame.depth_m.astype(np.float32))
        text(folder / f"pose/{i}.txt", *map(row, frame.pose))
    twice = np.diag([2, 2, 1]) @ INTRINSICS + [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]]
    text(folder / "intrinsic.txt", "# 128 x 96", *map(row, twice))
    return folder, frames


def as_tum(folder):
    frames = pictures()
    images, poses = [], []
    for i, frame in enumerate(frames):
        save(folder / f"rgb/{i}.png", frame.rgb)
        save(folder / f"depth/{i}.png", units(frame, 5000))
        images.append(f"{i / 10} {{}}/{i}.png")
        turn = Rotation.from_matrix(frame.pose[:3, :3]).as_quat()
        poses.append(f"{i / 10} {row([*frame.pose[:3, 3], *turn])}")
    text(folder / "rgb.txt", "# colour", *(line.format("rgb") for line in images))
    text(folder / "depth.txt", *(line.format("depth") for line in images))
    text(folder / "groundtruth.txt", *poses)
    text(folder / "intrinsic.txt", "40 40 31.5 23.5")
    return folder, frames


def as_sens(folder):
    frames = pictures()
    folder.mkdir(parents=True)
    (folder / "room.sens").write_bytes(sens_bytes(frames))
    return folder / "room.sens", frames


def as_seven_scenes(folder, registered=False):
    """Depth of one camera, colour of another one beside it, poses of the first."""
    depth_k = matrix(58.5, 58.5, 320 * 63 / 639, 240 * 47 / 479)
    color_k = matrix(52.5, 52.5, 320 * 63 / 639, 240 * 47 / 479)
    beside = one_room.turned(0, 0, (0.025, 0, 0))
    frames = pictures(depth_k)
    for i, frame in enumerate(frames):
        seen = one_room.picture(frame.pose @ beside, color_k)
        stem = f"frame-{i:06}"
        save(folder / f"{stem}.color.png", (frame if registered else seen).rgb)
        save(folder / f"{stem}.depth.png", units(frame))
        text(folder / f"{stem}.pose.txt", *map("\t".join, frame.pose.astype(str)))
    if registered:
        text(folder.parent / "intrinsic.txt", *map(row, depth_k))
    return folder, frames


def as_open3d(folder, names="{:05}", k=PRIMESENSE, color="color"):
    frames = pictures(k)
    blocks = []
    for i, frame in enumerate(frames):
        save(folder / color / f"{names.format(i)}.jpg", frame.rgb)
        save(folder / "depth" / f"{names.format(i)}.png", units(frame))
        blocks += [f"{i} {i} {i + 1}", *map(row, frame.pose)]
    text(folder / "trajectory.log", *blocks)
    return folder, frames


def as_scenenn(folder):
    """Named from 1, fewer images than poses, a camera of their own."""
    k = matrix(54.447329, 54.447329, 32, 24)
    folder, frames = as_open3d(folder, k=k, color="image")
    for kind, end in (("image", "jpg"), ("depth", "png")):
        for i in reversed(range(len(frames))):
            old = folder / kind / f"{i:05}.{end}"
            old.rename(folder / kind / f"image{i + 1:05}.{end}")
        (folder / kind / f"image00005.{end}").unlink()
    camera = {"width": 64, "height": 48, "intrinsic_matrix": k.T.ravel().tolist()}
    text(folder / "camera_primesense.json", json.dumps(camera))
    return folder, frames[:4] + frames[5:]


def as_nice_slam(folder):
    frames = pictures(REPLICA, (120, 68))
    for i, frame in enumerate(frames):
        save(folder / f"results/frame{i:06}.jpg", frame.rgb)
        save(folder / f"results/depth{i:06}.png", units(frame, 6553.5))
    text(folder / "traj.txt", *(row(frame.pose) for frame in frames))
    return folder, frames


def as_arkitscenes(folder):
    """Times of one frame differ by a millisecond; the trajectory has other times."""
    frames = pictures(count=15)
    inside = folder / f"{folder.name}_frames"
    lines = []
    for i, frame in enumerate(frames):
        time = 7.0 + i / 10
        save(inside / f"lowres_wide/1_{time:.3f}.png", frame.rgb)
        save(inside / f"lowres_depth/1_{time:.3f}.png", units(frame))
        sure = np.full(frame.depth_m.shape, 2, np.uint8)
        save(inside / f"confidence/1_{time:.3f}.png", sure)
        pincam = inside / f"lowres_wide_intrinsics/1_{time + 0.001:.3f}.pincam"
        text(pincam, "64 48 40 40 31.5 23.5")
        pose = np.linalg.inv(frame.pose)
        turn = Rotation.from_matrix(pose[:3, :3]).as_rotvec()
        lines.append(row([time, *turn, *pose[:3, 3]]))
    text(inside / "lowres_wide.traj", *lines)
    return folder, frames


WRITERS = {
    "posed_rgbd": as_posed_rgbd,
    "tum": as_tum,
    "sens": as_sens,
    "seven_scenes": as_seven_scenes,
    "seven_scenes registered": lambda folder: as_seven_scenes(folder, True),
    "open3d": as_open3d,
    "open3d scenenn": as_scenenn,
    "nice_slam": as_nice_slam,
    "arkitscenes": as_arkitscenes,
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


def test_the_room_is_the_same(written, caplog):
    kind, path, frames = written
    with caplog.at_level(logging.WARNING):
        scan = registry.scan_at(path)
        scene = scan.open()
    assert scan.dataset.name == kind
    assert caplog.text == "" and scene.skipped == {}
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
