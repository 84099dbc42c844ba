import logging

import numpy as np
import pytest
from PIL import Image
from scene_files import (
    INTRINSICS,
    exif,
    open_capture,
    scan_of,
    write_frame,
    write_scannet,
)
from scipy.spatial import cKDTree

from sas_jax.datasets import registry
from sas_jax.datasets.capture import CloudConfig
from sas_jax.datasets.scannet import ScanNet
from sas_jax.errors import InputError
from sas_jax.scenes import poses
from sas_jax.scenes.cloud import VoxelCloud, back_project, estimate_normals
from sas_jax.scenes.depth_files import read_depth


def turned(axis, degrees, position=(0, 0, 0)):
    """Rotate about one axis (0, 1, 2), then move."""
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    pose = np.eye(4)
    pose[[i, i, j, j], [i, j, i, j]] = c, -s, s, c
    pose[:3, 3] = position
    return pose


# Looks along +y with z up, as a level camera in an upright world.
LEVEL = turned(0, -90)


def write_capture(folder, poses=(LEVEL,), **frame):
    for i, pose in enumerate(poses):
        write_frame(folder, i, pose, **frame)
    np.savetxt(folder / "intrinsic.txt", INTRINSICS)
    return folder


def test_wall_in_front_of_a_level_camera(tmp_path):
    scene = open_capture(write_capture(tmp_path / "wall"))
    assert scene.name == "wall"
    assert scene.faces is None and scene.labels is None
    np.testing.assert_allclose(scene.points[:, 1], 2, atol=1e-6)
    # 64 x 48 pixels at 2 m with f = 40: 3.15 m x 2.35 m around the axis.
    np.testing.assert_allclose(scene.points.max(0)[[0, 2]], [1.575, 1.175], atol=1e-6)
    np.testing.assert_allclose(scene.points.min(0)[[0, 2]], [-1.575, -1.175], atol=1e-6)
    np.testing.assert_allclose(
        scene.normals, [[0, -1, 0]] * len(scene.points), atol=1e-5
    )
    # Red grows with the image column, which is +x here.
    assert np.corrcoef(scene.points[:, 0], scene.colors[:, 0])[0, 1] > 0.99
    assert len(list(scene.frames())) == 1


def test_thinning_keeps_one_mean_point_per_voxel():
    cloud = VoxelCloud(0.1)
    rng = np.random.default_rng(0)
    camera = np.array([0.0, 0, 5])
    parts = [rng.uniform(-0.5, 0.5, (n, 3)) for n in (400, 1, 300)]
    colors = [rng.integers(0, 256, (len(p), 3)).astype(np.uint8) for p in parts]
    for points, color in zip(parts, colors, strict=True):
        cloud.add(points, color, camera)
    cloud.add(np.zeros((0, 3)), np.zeros((0, 3), np.uint8), camera)
    points, colors = np.concatenate(parts), np.concatenate(colors)
    members = {}
    for i, p in enumerate(points):
        members.setdefault(tuple(np.floor(p / 0.1).astype(int)), []).append(i)
    result = cloud.result()
    assert len(result.points) == len(members)
    for point, color in zip(result.points, result.colors, strict=True):
        own = members[tuple(np.floor(point.astype(float) / 0.1).astype(int))]
        np.testing.assert_allclose(point, points[own].mean(0), atol=1e-6)
        np.testing.assert_allclose(color, colors[own].mean(0), atol=0.501)


def test_more_frames_of_the_same_view_add_no_points(tmp_path):
    one = open_capture(write_capture(tmp_path / "one"))
    many = open_capture(write_capture(tmp_path / "many", [LEVEL] * 5))
    np.testing.assert_allclose(many.points, one.points, atol=1e-6)


def test_normals_of_a_sphere_point_outwards_to_the_cameras():
    rng = np.random.default_rng(1)
    points = rng.normal(size=(3000, 3))
    points = (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)
    normals = estimate_normals(points, toward_camera=points)
    cosine = np.einsum("ni,ni->n", normals, points)
    assert cosine.min() > 0.97
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)


def test_normals_of_very_few_points():
    for count in (1, 2, 3):
        points = np.eye(3, dtype=np.float32)[:count]
        normals = estimate_normals(points, toward_camera=np.ones_like(points))
        assert np.isfinite(normals).all()


def test_wrong_depth_scale_is_told_with_a_remedy(tmp_path):
    folder = write_capture(tmp_path / "tum", depth_mm=12000)
    with pytest.raises(InputError, match=r"12\.00 m.*5000 \(2\.40 m\)"):
        open_capture(folder)
    scene = open_capture(folder, 5000)
    np.testing.assert_allclose(scene.points[:, 1], 2.4, atol=1e-6)
    with pytest.raises(InputError, match="depth_scale must be > 0"):
        open_capture(folder, 0)


@pytest.mark.parametrize("odd", ["near", "far", "65535"])
def test_one_odd_frame_does_not_stop_a_capture(tmp_path, odd):
    """A hand before the lens, a far window, the other number for no reading."""
    folder = write_capture(tmp_path / "c", [LEVEL] * 3)
    depth = np.zeros((48, 64), np.uint16)
    if odd == "near":
        depth[10:30, 10:30] = 120
    elif odd == "far":
        depth[10:12, 10:12] = 9500
    else:
        depth[:] = 65535
        depth[:, :9] = 2000
    Image.fromarray(depth).save(folder / "depth" / "0.png")
    scene = open_capture(folder)
    whole = open_capture(write_capture(tmp_path / "whole", [LEVEL] * 2))
    wall = scene.points[:, 1] > 1
    np.testing.assert_allclose(scene.points[wall], whole.points, atol=1e-6)
    hand = scene.points[~wall]
    assert (len(hand) > 0) == (odd == "near")
    np.testing.assert_allclose(hand[:, 1], 0.12, atol=1e-6)


def test_the_largest_number_is_no_reading(tmp_path):
    path = tmp_path / "d.png"
    Image.fromarray(np.array([[0, 1, 65534, 65535]], np.uint16)).save(path)
    depth = read_depth(path, 1000)
    np.testing.assert_array_equal(depth, np.float32([[0, 0.001, 65.534, 0]]))


def test_a_true_close_up_passes_where_the_depth_is_not_checked(tmp_path):
    folder = write_capture(tmp_path / "c", depth_mm=120)
    with pytest.raises(InputError, match=r"0\.12 m over 1 frames.*--nocheck_depth"):
        open_capture(folder)
    scene = open_capture(folder, check_depth=False)
    np.testing.assert_allclose(scene.points[:, 1], 0.12, atol=1e-6)
    far = write_capture(tmp_path / "far", depth_mm=9000)
    with pytest.raises(InputError, match="depth of at most 8 m"):
        open_capture(far, check_depth=False)


def test_far_readings_make_no_points(tmp_path):
    folder = write_capture(tmp_path / "far", [LEVEL, LEVEL])
    write_frame(folder, 1, LEVEL, depth_mm=9000)
    assert open_capture(folder).points[:, 1].max() < 2.1


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("degrees", [0, 35, 90, 180, 270])
def test_up_from_cameras_turns_points_and_poses_alike(tmp_path, axis, degrees):
    world = turned(axis, degrees)
    poses = [turned(2, a) @ LEVEL @ turned(0, -10) for a in (0, 90, 180, 270)]
    folder = write_capture(tmp_path / "c", [world @ p for p in poses])
    scene = open_capture(folder, up="camera")
    frames = list(scene.frames())
    ups = np.array([-f.world_from_camera[:3, 1] for f in frames])
    np.testing.assert_allclose(ups.mean(0)[:2], 0, atol=1e-9)
    assert (ups[:, 2] > 0.9).all()
    for frame in frames:
        assert np.linalg.det(frame.world_from_camera[:3, :3]) == pytest.approx(1)
        camera = np.linalg.inv(frame.world_from_camera)
        seen = scene.points @ camera[:3, :3].T + camera[:3, 3]
        assert (np.abs(seen[:, 2] - 2) < 0.02).sum() > 1000


def write_room_corner(folder, pitch_deg, world):
    """One frame of a floor and a wall 3 m ahead, from 1.5 m height, pitched down."""
    pose = turned(0, -90 - pitch_deg, (0, 0, 1.5))
    v, u = np.mgrid[0:48, 0:64]
    rays = np.stack([(u - 31.5) / 40, (v - 23.5) / 40, np.ones_like(u)], -1)
    rays = rays @ pose[:3, :3].T
    with np.errstate(divide="ignore"):
        floor = np.where(rays[..., 2] < 0, -1.5 / rays[..., 2], np.inf)
        depth = np.minimum(floor, np.where(rays[..., 1] > 0, 3 / rays[..., 1], np.inf))
    write_frame(folder, 0, world @ pose)
    millimetres = np.round(depth * 1000).astype(np.uint16)
    Image.fromarray(millimetres).save(folder / "depth" / "0.png")
    np.savetxt(folder / "intrinsic.txt", INTRINSICS)
    return folder


@pytest.mark.parametrize("pitch_deg", [0, 10, 35])
@pytest.mark.parametrize("degrees", [0, 120])
def test_up_from_surfaces_levels_the_floor(tmp_path, pitch_deg, degrees):
    folder = write_room_corner(tmp_path / "c", pitch_deg, turned(0, degrees))
    scene = open_capture(folder, up="surfaces")
    level = scene.normals[:, 2] > 0.99
    assert level.mean() > 0.05
    assert np.ptp(scene.points[level, 2]) < 0.03
    frame = next(scene.frames())
    assert frame.world_from_camera[2, 2] == pytest.approx(
        -np.sin(np.radians(pitch_deg)), abs=0.01
    )
    height = frame.world_from_camera[2, 3] - scene.points[level, 2].mean()
    assert height == pytest.approx(1.5, abs=0.02)


def test_up_from_surfaces_without_any_stays_with_the_cameras(tmp_path):
    folder = write_capture(tmp_path / "wall", [turned(2, 40) @ np.eye(4)])
    scene = open_capture(folder, up="surfaces")
    expected = open_capture(folder, up="camera")
    np.testing.assert_allclose(scene.points, expected.points, atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"up": "camera"}, {"up": "y", "scale": 2.0}])
@pytest.mark.parametrize("place", [(0, 0, 0), (500_000, 100, 5_000_000)])
def test_the_coordinates_of_the_input_are_found_back(tmp_path, options, place):
    """A camera, as a point of the scene, is where its file says."""
    stored = [turned(0, 180, np.add(place, (i, 0.5, 0.25))) for i in range(3)]
    folder = write_capture(tmp_path / "a", stored)
    scene = open_capture(folder, check_depth=False, **options)
    cameras = [frame.world_from_camera[:3, 3] for frame in scene.frames()]
    found = scene.in_input(np.array(cameras))
    np.testing.assert_allclose(found, [p[:3, 3] for p in stored], rtol=0, atol=1e-3)


def test_lying_world_is_warned_about(tmp_path, caplog):
    folder = write_capture(tmp_path / "c", [np.eye(4)])
    with caplog.at_level(logging.WARNING):
        open_capture(folder)
    assert "give --up=z" in caplog.text
    caplog.clear()
    open_capture(folder, up="camera")
    assert caplog.text == ""


def test_bad_frames_are_skipped_and_none_left_is_an_error(tmp_path):
    folder = write_capture(tmp_path / "c", [LEVEL, np.full((4, 4), -np.inf)])
    scene = open_capture(folder)
    assert scene.skipped == {"invalid pose": 1}
    (folder / "color" / "0.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=r"none of 2.*unreadable colour"):
        open_capture(folder)


def test_a_frame_of_another_size_adds_no_points(tmp_path):
    expected = open_capture(write_capture(tmp_path / "a", [LEVEL] * 2))
    folder = write_capture(tmp_path / "b", [LEVEL] * 3)
    write_frame(folder, 1, LEVEL, size_wh=(128, 96))
    scene = open_capture(folder)
    assert scene.skipped == {"image of another size": 1}
    np.testing.assert_array_equal(scene.points, expected.points)


def test_empty_depth_gives_no_scene(tmp_path):
    folder = write_capture(tmp_path / "c", depth_mm=0)
    with pytest.raises(InputError, match="at least one frame"):
        open_capture(folder)


@pytest.mark.parametrize("missing", ["color", "depth", "pose", "intrinsic.txt"])
def test_missing_parts_are_named(tmp_path, missing):
    folder = write_capture(tmp_path / "c")
    (folder / missing).rename(tmp_path / "away")
    with pytest.raises(InputError, match=missing):
        open_capture(folder)


def test_absurd_positions_are_refused():
    with pytest.raises(InputError, match="poses and depth scale"):
        VoxelCloud(0.01).add(
            np.full((1, 3), 1e6), np.zeros((1, 3), np.uint8), np.zeros(3)
        )
    with pytest.raises(InputError, match="voxel_size_m"):
        VoxelCloud(0.0)


def test_layouts_are_told_apart(tmp_path):
    folder = write_scannet(tmp_path)
    scan = registry.open_folder(folder, image_size_wh=(32, 24), compat="official")
    official = ScanNet("official").open(folder, image_size_wh=(32, 24))
    np.testing.assert_array_equal(
        scan.frame_source.intrinsics, official.frame_source.intrinsics
    )
    assert scan.faces is not None and len(scan.points) == 4
    write_capture(tmp_path / "c", depth_mm=12000)
    capture = registry.open_folder(
        tmp_path / "c", depth_scale=5000, up="camera", annotations=False
    )
    assert capture.faces is None and capture.normals is not None
    with pytest.raises(InputError, match="known layout"):
        registry.open_folder(tmp_path)


ROOM_LOW, ROOM_HIGH = np.array([-2.0, -1.5, 0]), np.array([2.0, 1.5, 2.4])


def box_depth(pose):
    """Depth of an empty room of 4 x 3 x 2.4 m from inside, along the optical axis."""
    v, u = np.mgrid[0:48, 0:64]
    rays = np.stack([(u - 31.5) / 40, (v - 23.5) / 40, np.ones_like(u)], -1)
    rays = rays @ pose[:3, :3].T
    with np.errstate(divide="ignore"):
        exits = np.where(rays > 0, ROOM_HIGH - pose[:3, 3], ROOM_LOW - pose[:3, 3])
        return np.min(exits / rays, axis=-1)


def stored_pose(pose, convention):
    """Return the pose that a capture of a convention gives; undoes `to_opencv`."""
    if convention.endswith("opengl"):
        pose = poses.to_opencv(pose, "opengl")
    return poses.inverse(pose) if convention.startswith("inverse") else pose


def write_room(folder, convention="opencv", count=8, decimals=18, at=(0, 0, 0)):
    """A walk through the room; poses are stored in a convention, the room `at`."""
    for i in range(count):
        pose = turned(2, 25 * i, (0.3 * np.sin(i), 0.1 * i - 0.4, 1.2 + 0.05 * i))
        pose = pose @ LEVEL @ turned(0, -8) @ turned(2, 5)
        depth = np.round(1000 * box_depth(pose)).astype(np.uint16)
        pose[:3, 3] += at
        stored = np.round(stored_pose(pose, convention), decimals)
        write_frame(folder, i, stored)
        Image.fromarray(depth).save(folder / "depth" / f"{i}.png")
    np.savetxt(folder / "intrinsic.txt", INTRINSICS)
    return folder


@pytest.mark.parametrize("convention", poses.CONVENTIONS)
def test_poses_of_another_convention_are_named(tmp_path, caplog, convention):
    expected = open_capture(write_room(tmp_path / "opencv"))
    folder = write_room(tmp_path / "c", convention)
    assert caplog.text == ""
    if convention != "opencv":
        with pytest.raises(InputError, match=f"--pose_convention={convention}\\."):
            open_capture(folder)
        open_capture(folder, pose_convention="opencv")
        assert f"--pose_convention={convention}." in caplog.text
        caplog.clear()
    scene = open_capture(folder, pose_convention=convention)
    assert caplog.text == ""
    np.testing.assert_allclose(scene.points, expected.points, atol=1e-5)
    for one, two in zip(scene.frames(), expected.frames(), strict=True):
        np.testing.assert_allclose(
            one.world_from_camera, two.world_from_camera, atol=1e-12
        )


@pytest.mark.parametrize("orientation", [6, 8])
@pytest.mark.parametrize("convention", poses.CONVENTIONS)
def test_the_convention_of_frames_that_are_turned_is_named(
    tmp_path, caplog, convention, orientation
):
    folder = write_room(tmp_path / "c", convention)
    for path in (folder / "color").iterdir():
        Image.open(path).save(path, exif=exif(orientation))
    if convention != "opencv":
        with pytest.raises(InputError, match=f"--pose_convention={convention}\\."):
            open_capture(folder)
    scene = open_capture(folder, pose_convention=convention, up="z")
    assert "agreement" not in caplog.text
    # The room's cameras stand upright, which counts more than what EXIF says.
    assert next(scene.frames()).size_hw == (48, 64)
    expected = open_capture(write_room(tmp_path / "opencv"))
    distance, _ = cKDTree(expected.points).query(scene.points)
    assert len(scene.points) > 1000 and distance.max() < 0.05


def test_frames_that_agree_in_no_convention_are_warned_about(tmp_path, caplog):
    folder = write_room(tmp_path / "c")
    for i in range(0, 8, 2):
        pose = turned(2, 25 * i + 40, (0.5, 0, 1)) @ LEVEL
        np.savetxt(folder / "pose" / f"{i}.txt", pose)
    open_capture(folder)
    assert "belong together" in caplog.text
    assert "pose_convention=" not in caplog.text


def test_few_or_still_frames_say_nothing_of_poses(tmp_path, caplog):
    open_capture(write_room(tmp_path / "one", count=1))
    open_capture(write_capture(tmp_path / "still", [LEVEL] * 4))
    assert caplog.text == ""


@pytest.mark.parametrize("convention", poses.CONVENTIONS)
def test_conventions_are_undone(convention):
    pose = turned(0, 33, (1, 2, 3)) @ turned(1, 71)
    stored = stored_pose(pose, convention)
    np.testing.assert_allclose(poses.to_opencv(stored, convention), pose, atol=1e-12)
    looks, up = {
        "opencv": (pose[:3, 2], -pose[:3, 1]),
        "opengl": (-stored[:3, 2], stored[:3, 1]),
        "inverse": (np.linalg.inv(stored)[:3, 2], -np.linalg.inv(stored)[:3, 1]),
        "inverse-opengl": (
            -np.linalg.inv(stored)[:3, 2],
            np.linalg.inv(stored)[:3, 1],
        ),
    }[convention]
    np.testing.assert_allclose(looks, pose[:3, 2], atol=1e-12)
    np.testing.assert_allclose(up, -pose[:3, 1], atol=1e-12)


def test_poses_of_three_decimals_are_made_rigid(tmp_path):
    exact = open_capture(write_room(tmp_path / "a"))
    folder = write_room(tmp_path / "b", decimals=3)
    stored = [np.loadtxt(folder / "pose" / f"{i}.txt")[:3, :3] for i in range(8)]
    off = [np.abs(m @ m.T - np.eye(3)).max() for m in stored]
    assert max(off) > poses.RIGID_TOLERANCE
    scene = open_capture(folder)
    assert scene.skipped == {}
    for i, (one, two) in enumerate(zip(scene.frames(), exact.frames(), strict=True)):
        got = one.world_from_camera
        np.testing.assert_allclose(got, two.world_from_camera, atol=1e-3)
        if off[i] > poses.RIGID_TOLERANCE:
            np.testing.assert_allclose(
                got[:3, :3] @ got[:3, :3].T, np.eye(3), atol=1e-9
            )
        else:  # what was taken as it is keeps its bits
            np.testing.assert_array_equal(got[:3, :3], stored[i])


@pytest.mark.parametrize("scale", [1.01, 0.99, 1.003])
def test_scaled_poses_stay_refused(tmp_path, scale):
    folder = write_capture(tmp_path / "c", [LEVEL, LEVEL])
    np.savetxt(folder / "pose" / "1.txt", LEVEL @ np.diag([scale] * 3 + [1]))
    assert open_capture(folder).skipped == {"invalid pose": 1}


def test_the_cloud_is_made_once_and_kept(tmp_path, caplog):
    folder, kept, read = write_room(tmp_path / "c"), tmp_path / "kept", []
    np.savetxt(folder / "pose" / "3.txt", np.zeros((4, 4)))

    def progress(names):
        for name in names:
            read.append(name)
            yield name

    def open_it(**options):
        read.clear()
        caplog.clear()
        return open_capture(
            folder, up="camera", keep=kept, progress=progress, **options
        )

    first, again = open_it(), None
    assert read == [str(i) for i in range(8)]
    plain = open_capture(folder, up="camera")
    again = open_it()
    assert read == []
    for scene in (first, again):
        for name in ("points", "normals", "colors"):
            np.testing.assert_array_equal(getattr(scene, name), getattr(plain, name))
        assert scene.skipped == {"invalid pose": 1}
        for one, two in zip(scene.frames(), plain.frames(), strict=True):
            np.testing.assert_array_equal(one.world_from_camera, two.world_from_camera)
    assert open_it(frame_stride=3).frame_source.names == first.frame_source.names
    assert read == ["0", "3", "6"]
    # Each setting that the cloud follows from makes it again, and damage too.
    for options in (
        {"cloud": CloudConfig(0.05)},
        {"depth_scale": 1100.0},
        {"check_depth": False},
        {"pose_convention": "opencv"},
        {},
    ):
        open_it(**options)
        assert len(read) == 8
        open_it(**options)
        assert read == []
    path = kept / "c.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    open_it()
    assert len(read) == 8


@pytest.mark.parametrize(
    "part", ["color/2.jpg", "depth/2.png", "pose/2.txt", "intrinsic.txt"]
)
def test_a_kept_cloud_follows_the_files(tmp_path, part):
    folder = write_room(tmp_path / "c", count=4)

    def key(stride=1):
        return scan_of(folder, frame_stride=stride).key("geometry")

    keys = [key(), key(3)]
    (folder / "notes.md").write_text("of no concern")
    assert [key(), key(3)] == keys
    with open(folder / part, "ab") as file:
        file.write(b" ")
    assert key() != keys[0]
    assert (key(3) != keys[1]) == (part == "intrinsic.txt")


def test_what_is_said_of_a_capture_is_said_whenever_it_is_opened(tmp_path, caplog):
    folder = write_capture(tmp_path / "c", [np.eye(4)])
    for _ in range(2):
        caplog.clear()
        open_capture(folder, keep=tmp_path / "kept")
        assert "give --up=z" in caplog.text


@pytest.mark.parametrize("up", ["z", "camera", "surfaces"])
def test_a_kept_cloud_keeps_its_place_on_the_map(tmp_path, up):
    at = np.array([458_000.0, 5_428_000.0, 112.0])
    folder = write_room(tmp_path / "c", at=at)
    near = open_capture(write_room(tmp_path / "near"), up=up)
    for _ in range(2):
        scene = open_capture(folder, up=up, keep=tmp_path / "kept")
        assert scene.origin.any() and np.abs(scene.points).max() < 200
        assert len(scene.points) == pytest.approx(len(near.points), rel=0.02)
        points, _ = back_project(next(scene.frames()), 8.0)
        distance, _ = cKDTree(scene.points).query(points)
        assert distance.max() < 0.05
    if up == "z":
        center = (scene.points + scene.origin).mean(0) - at
        np.testing.assert_allclose(center, near.points.mean(0), atol=0.05)


@pytest.mark.parametrize("quarters", range(4))
def test_frames_of_a_camera_held_sideways_are_handed_out_upright(tmp_path, quarters):
    rolled = LEVEL @ turned(2, 90 * quarters)
    scene = open_capture(write_capture(tmp_path / "c", [rolled]), up="z")
    (frame,) = scene.frames()
    np.testing.assert_allclose(frame.world_from_camera[:3, 1], (0, 0, -1), atol=1e-9)
    stored = np.array(Image.open(next((tmp_path / "c" / "color").iterdir()))).shape
    assert frame.size_hw == (stored[:2] if quarters % 2 == 0 else stored[1::-1])


def test_frames_of_another_aspect_keep_it(tmp_path):
    folder = write_capture(tmp_path / "c")
    scene = open_capture(folder, image_size_wh=(64, 20))
    wide = next(scene.frames())
    stored = next(open_capture(folder).frames())
    assert wide.size_hw[1] / wide.size_hw[0] == pytest.approx(
        stored.size_hw[1] / stored.size_hw[0], rel=0.03
    )
