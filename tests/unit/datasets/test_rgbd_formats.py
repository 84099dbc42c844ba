"""What single formats of posed RGB-D do beyond the room: joins, meshes, bad files."""

import contextlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from one_room import turned
from PIL import Image
from scene_files import write_ply

from sas_jax.datasets import arkitscenes, registry
from sas_jax.datasets.arkitscenes import ArkitScenes
from sas_jax.datasets.nice_slam import NiceSlam
from sas_jax.datasets.open3d import Open3D
from sas_jax.datasets.seven_scenes import SevenScenes
from sas_jax.errors import InputError

POSE = turned(0, -90)


def images(*paths, depth=2000):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        array = np.full((48, 64, 3), 90, np.uint8)
        if "depth" in str(path):
            array = np.full((48, 64), depth, np.uint16)
        Image.fromarray(array).save(path)


def rows(pose):
    return "\n".join(" ".join(map(str, row)) for row in pose)


def write_open3d(folder, color, depth, log):
    images(*(folder / "rgb" / f"{name}.png" for name in color))
    images(*(folder / "depth" / f"{name}.png" for name in depth))
    (folder / "trajectory.log").write_text(
        "\n".join(f"{i} {i} {i + 1}\n{rows(turned(2, i) @ POSE)}" for i in log)
    )
    return folder


@pytest.mark.parametrize(
    ("color", "depth", "log", "expected"),
    [
        ("0 1 2", "0 1 2", [0, 1, 2], {"0": 0, "1": 1, "2": 2}),
        # as many: in order, whatever they are called
        ("7 8 9", "7 8 9", [0, 1, 2], {"7": 0, "8": 1, "9": 2}),
        ("a b", "c d", [5, 6], {"a": 5, "b": 6}),
        # fewer images than poses: by number, from 0 or from 1
        ("0 4", "0 4", [0, 2, 4], {"0": 0, "4": 4}),
        ("1 3", "1 3", [0, 1, 2], {"1": 0, "3": 2}),
        ("10 20", "10 20", range(30), {"10": 10, "20": 20}),
        # names that hold times of their own
        ("1-000 2-033", "1-005 2-031", [0, 1], {"1-000": 0, "2-033": 1}),
        ("0 1 2", "0 2", [0, 2], {"0": 0, "2": 2}),
    ],
)
def test_trajectories_are_joined_with_images(tmp_path, color, depth, log, expected):
    folder = write_open3d(tmp_path / "s", color.split(), depth.split(), log)
    views = Open3D().capture(folder).frames.views
    assert [view.name for view in views] == list(expected)
    for view in views:
        np.testing.assert_allclose(view.pose, turned(2, expected[view.name]) @ POSE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:-5], "blocks of three numbers"),
        (lambda text: text.replace("1 1 2", "0 0 1"), "stands there twice"),
        (lambda text: text.replace("1 1 2", "x 1 2"), "blocks of three numbers"),
        (lambda text: text.replace("1 1 2", "nan 1 2"), "blocks of three numbers"),
        (lambda text: text.replace("1 1 2", "inf 1 2"), "blocks of three numbers"),
    ],
)
def test_bad_trajectories(tmp_path, change, message):
    folder = write_open3d(tmp_path / "s", "01", "01", [0, 1])
    log = folder / "trajectory.log"
    log.write_text(change(log.read_text()))
    with pytest.raises(InputError, match=message):
        Open3D().open(folder)


def test_what_cannot_be_joined_is_told(tmp_path):
    one = write_open3d(tmp_path / "one", "012", ["90", "91"], [0, 1, 2])
    with pytest.raises(InputError, match="got none of 2 for 3"):
        Open3D().open(one)
    two = write_open3d(tmp_path / "two", "012", "012", [90, 91])
    with pytest.raises(InputError, match="got none of 3 for 2 poses"):
        Open3D().open(two)
    (two / "rgb").rename(two / "pictures")
    with pytest.raises(InputError, match="a folder color, colors, image or rgb"):
        Open3D().open(two)


def write_nice_slam(folder, count=2, lines=2, camera=None):
    (folder / "results").mkdir(parents=True)
    for i in range(count):
        images(folder / f"results/frame{i:06}.jpg")
        images(folder / f"results/depth{i:06}.png", depth=13107)
    line = " ".join(map(str, POSE.ravel()))
    (folder / "traj.txt").write_text("\n".join([line] * lines))
    stated = {"w": 64, "h": 48, "fx": 40, "fy": 40, "cx": 31.5, "cy": 23.5}
    stated = {"camera": {**stated, "scale": 6553.5}} if camera is None else camera
    (folder.parent / "cam_params.json").write_text(json.dumps(stated))
    return folder


def test_a_mesh_beside_renderings_gives_the_points(tmp_path):
    folder = write_nice_slam(tmp_path / "room0", count=3)
    frames = list(registry.scan_at(folder).open().frames())
    assert len(frames) == 2  # the third has no line
    np.testing.assert_allclose(frames[0].depth_m, 2)
    points = np.float32([[0, 2, 0], [1, 2, 0], [1, 2, 1]])
    write_ply(tmp_path / "room0_mesh.ply", points, [[0, 1, 2]])
    before = registry.scan_at(folder).key("geometry")
    scene = registry.scan_at(folder).open()
    np.testing.assert_array_equal(scene.points, points)
    assert len(scene.faces) == 1
    np.testing.assert_allclose(next(scene.frames()).depth_m, 2)
    write_ply(tmp_path / "room0_mesh.ply", points + 1, [[0, 1, 2]])
    assert registry.scan_at(folder).key("geometry") != before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"camera": {"camera": {"scale": -1}}}, "positive scale"),
        ({"camera": {"camera": {"scale": "x"}}}, "positive scale"),
        ({"camera": {"camera": []}}, "a camera with fx"),
        ({"camera": [1]}, "a camera with fx"),
        ({"camera": {"camera": {"fx": 40}}}, "fx, fy, cx and cy"),
        ({"lines": 0}, "got none for 0 lines"),
        ({"count": 0}, "got none for 2 lines"),
    ],
)
def test_bad_renderings(tmp_path, options, message):
    folder = write_nice_slam(tmp_path / "room0", **options)
    with pytest.raises(InputError, match=message):
        NiceSlam().open(folder)


def test_lines_of_other_lengths_are_refused(tmp_path):
    folder = write_nice_slam(tmp_path / "room0")
    (folder / "traj.txt").write_text("1 2 3\n")
    with pytest.raises(InputError, match="16 numbers a line"):
        NiceSlam().open(folder)


def test_damaged_frames_of_seven_scenes_are_skipped(tmp_path):
    folder = tmp_path / "chess" / "seq-01"
    for i in range(4):
        images(folder / f"frame-{i:06}.color.png", folder / f"frame-{i:06}.depth.png")
        (folder / f"frame-{i:06}.pose.txt").write_text(rows(POSE))
    (folder / "frame-000001.pose.txt").write_text(rows(np.full((4, 4), np.nan)))
    (folder / "frame-000002.pose.txt").unlink()
    lost = np.full((48, 64), 65535, np.uint16)
    Image.fromarray(lost).save(folder / "frame-000003.depth.png")
    (folder / "Thumbs.db").write_text("")
    scene = SevenScenes().open(folder)
    assert scene.skipped == {"invalid pose": 1, "missing pose": 1}
    np.testing.assert_allclose(scene.points[:, 1], 2, atol=1e-5)
    assert len(list(scene.frames())) == 2
    (folder.parent / "intrinsic.txt").write_text("1 2")
    with pytest.raises(InputError, match="got 2 numbers"):
        SevenScenes().open(folder)


def write_arkit(folder, times=(1.0, 1.1), traj=None):
    for time in times:
        for kind in ("lowres_wide", "lowres_depth"):
            images(folder / kind / f"40_{time:.3f}.png")
        sure = np.tile(np.uint8([0, 1, 2, 2]), (48, 16))
        (folder / "confidence").mkdir(exist_ok=True)
        Image.fromarray(sure).save(folder / "confidence" / f"40_{time:.3f}.png")
        pincam = folder / "lowres_wide_intrinsics" / f"40_{time:.3f}.pincam"
        pincam.parent.mkdir(exist_ok=True)
        pincam.write_text("64 48 40 40 31.5 23.5")
    if traj is None:
        # About x by a quarter turn: z of the world is up in the image.
        lines = [f"{time} {np.pi / 2} 0 0 0 0 0" for time in times]
        traj = "\n".join(lines)
    (folder / "lowres_wide.traj").write_text(traj)
    return folder


def test_unsure_readings_are_left_out(tmp_path):
    scene = registry.scan_at(write_arkit(tmp_path / "40")).open()
    for frame in scene.frames():
        assert (frame.depth_m[:, ::4] == 0).all()
        assert (frame.depth_m[:, 1::4] == 2).all()
    np.testing.assert_allclose(scene.points[:, 1], 2, atol=1e-5)


def test_a_scan_has_the_vertices_of_its_mesh(tmp_path):
    folder = write_arkit(tmp_path / "40")
    points = np.float32([[0, 2, 0], [1, 2, 0], [1, 2, 1]])
    write_ply(folder / "40_3dod_mesh.ply", points, [[0, 1, 2]])
    scene = registry.scan_at(folder).open()
    np.testing.assert_array_equal(scene.points, points)
    assert scene.faces is not None and len(list(scene.frames())) == 2


def test_cameras_between_two_poses_are_interpolated(tmp_path):
    half = np.pi / 2
    traj = f"1.0 {half} 0 0 0 0 0\n1.2 {half} 0 0 -0.4 0 0\n2.0 {half} 0 0 9 9 9"
    times = (1.0, 1.05, 1.19, 1.24, 1.6, 1.98, 2.2)
    folder = write_arkit(tmp_path / "40", times=times, traj=traj)
    views = ArkitScenes().capture(folder).frames.views
    # 1.6 is far from both, 2.2 comes long after the last
    names = ["40_1.000", "40_1.050", "40_1.190", "40_1.240", "40_1.980"]
    assert [view.name for view in views] == names
    x = [view.pose[0, 3] for view in views]
    np.testing.assert_allclose(x, [0, 0.1, 0.38, 0.4, -9], atol=1e-9)
    np.testing.assert_allclose(views[1].pose[:3, :3], POSE[:3, :3], atol=1e-9)


def test_rotations_are_interpolated_along_the_arc():
    at, poses = np.array([0, 0.2]), np.stack([turned(2, 0), turned(2, 80)])
    pose = arkitscenes._pose_at(0.05, at, poses)
    np.testing.assert_allclose(pose, turned(2, 20), atol=1e-9)


def test_a_bad_pincam_is_one_frame(tmp_path):
    folder = write_arkit(tmp_path / "40", times=(1.0, 1.1, 1.2, 1.3))
    pincams = sorted((folder / "lowres_wide_intrinsics").iterdir())
    pincams[0].write_text("64 48 40 40")
    pincams[1].write_text("nan 48 40 40 31.5 23.5")
    pincams[2].write_bytes(b"\xff")
    scene = ArkitScenes().open(folder)
    assert scene.skipped == {"unreadable image": 3}


@pytest.mark.parametrize(
    ("traj", "message"),
    [
        ("", "a time, a rotation"),
        ("1 2 3", "a time, a rotation"),
        ("1 0 0 0 nan 0 0", "not finite"),
        ("1 0 0 0 0 0 0\n1 2", "a matrix of numbers"),
        ("9 0 0 0 0 0 0", "got none"),
    ],
)
def test_bad_paths_of_the_camera(tmp_path, traj, message):
    folder = write_arkit(tmp_path / "40", traj=traj)
    with pytest.raises(InputError, match=message):
        ArkitScenes().open(folder)


NUMBERS = st.text("0123456789.-+e naif\n")


@settings(max_examples=60, deadline=None)
@given(st.one_of(st.binary(), NUMBERS.map(str.encode)), st.integers(0, 3))
def test_any_bytes_are_read_or_refused(tmp_path_factory, data, which):
    base = tmp_path_factory.getbasetemp() / "fuzz_formats"
    if not base.exists():
        write_open3d(base / "o", "01", "01", [0, 1])
        write_nice_slam(base / "n")
        write_arkit(base / "a")
    place = (
        base / "o/trajectory.log",
        base / "n/traj.txt",
        base / "a/lowres_wide.traj",
        base / "cam_params.json",
    )[which]
    kept = place.read_bytes()
    place.write_bytes(data)
    dataset = (Open3D(), NiceSlam(), ArkitScenes(), NiceSlam())[which]
    with contextlib.suppress(InputError):
        dataset.capture(base / "onan"[which])
    place.write_bytes(kept)
