"""Map coordinates: computed near zero, given back in the user's own."""

import numpy as np
import pytest
from scene_files import INTRINSICS, open_capture, write_frame, write_scannet

from sas_jax.datasets.scannet import ScanNet
from sas_jax.scenes.origin import choose_origin
from sas_jax.scenes.ply import read_ply
from sas_jax.scenes.ply_write import write_ply
from sas_jax.scenes.scene import Scene

UTM = np.array([500_123.0, 5_400_456.0, 412.5])
ROUND = [500_100, 5_400_500, 0]


def test_only_far_axes_are_moved_and_by_round_numbers():
    points = np.random.default_rng(0).uniform(-5, 5, (100, 3))
    assert not choose_origin(points).any()
    assert not choose_origin(points.astype(np.float32) + np.float32(2000)).any()
    assert not choose_origin(np.zeros((0, 3))).any()
    np.testing.assert_array_equal(choose_origin(points + UTM), ROUND)
    np.testing.assert_array_equal(choose_origin(points - UTM), -np.array(ROUND))
    stray = np.concatenate([points + UTM, np.zeros((49, 3))])
    np.testing.assert_array_equal(choose_origin(stray), ROUND)
    assert not choose_origin(points + 1e15).any()


def test_the_origin_leaves_less_than_a_tenth_of_a_millimetre():
    """The limit is where f32 begins to lose more than that."""
    limit = np.float32(2048)
    step = np.spacing(limit)
    assert step / 2 > 1e-4 > np.spacing(np.nextafter(limit, np.float32(0))) / 2


@pytest.mark.parametrize("kind", ["float", "double"])
def test_ordinary_scans_keep_every_bit(tmp_path, kind):
    points = np.random.default_rng(0).uniform(-2000, 2000, (50, 3))
    head = "ply\nformat binary_little_endian 1.0\nelement vertex 50\n"
    head += "".join(f"property {kind} {axis}\n" for axis in "xyz") + "end_header\n"
    rows = points.astype("<f4" if kind == "float" else "<f8")
    (tmp_path / "a.ply").write_bytes(head.encode() + rows.tobytes())
    mesh = read_ply(tmp_path / "a.ply")
    np.testing.assert_array_equal(mesh.points, points.astype(np.float32))
    assert not mesh.origin.any()


def test_a_ply_in_map_coordinates_keeps_its_millimetres(tmp_path):
    points = np.random.default_rng(0).uniform(-50, 50, (500, 3))
    write_ply(tmp_path / "a.ply", points, origin=UTM)
    mesh = read_ply(tmp_path / "a.ply")
    np.testing.assert_array_equal(mesh.origin, ROUND)
    exact = points + UTM
    np.testing.assert_allclose(mesh.origin + mesh.points, exact, rtol=0, atol=2e-5)
    # And out again, as the user gave it.
    write_ply(tmp_path / "b.ply", mesh.points, origin=mesh.origin)
    again = read_ply(tmp_path / "b.ply")
    np.testing.assert_array_equal(again.points, mesh.points)
    np.testing.assert_array_equal(again.origin, mesh.origin)


def move_scan(folder, by):
    """Move mesh, labels and poses of a scan in ScanNet's layout."""
    mesh = read_ply(folder / f"{folder.name}_vh_clean_2.ply")
    write_ply(
        folder / f"{folder.name}_vh_clean_2.ply",
        mesh.points,
        colors=mesh.colors,
        faces=mesh.faces,
        origin=by,
    )
    for path in (folder / "pose").iterdir():
        pose = np.loadtxt(path)
        pose[:3, 3] += by
        np.savetxt(path, pose)


def test_a_scan_in_map_coordinates_is_the_scan(tmp_path):
    folder = write_scannet(tmp_path)
    plain = ScanNet().open(folder)
    frames = list(plain.frames())
    move_scan(folder, UTM)
    scene = ScanNet().open(folder)
    np.testing.assert_array_equal(scene.origin, ROUND)
    shift = UTM - ROUND
    np.testing.assert_allclose(scene.points, plain.points + shift, atol=1e-5)
    for frame, wanted in zip(scene.frames(), frames, strict=True):
        expected = wanted.world_from_camera.copy()
        expected[:3, 3] += shift
        np.testing.assert_allclose(frame.world_from_camera, expected, atol=1e-9)
        np.testing.assert_array_equal(frame.rgb, wanted.rgb)
    np.testing.assert_array_equal(scene.labels, plain.labels)


def looking_down(degrees):
    """Return the pose of a camera that looks along the horizon and 10 degrees down."""
    turn, pitch = np.radians([degrees, -100])
    about_z = [[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0]]
    about_x = [[0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]]
    pose = np.eye(4)
    pose[:3, :3] = np.array([*about_z, [0, 0, 1]]) @ np.array([[1, 0, 0], *about_x])
    return pose


def write_capture(folder, poses):
    for i, pose in enumerate(poses):
        write_frame(folder, i, pose)
    np.savetxt(folder / "intrinsic.txt", INTRINSICS)
    return folder


@pytest.mark.parametrize("up", ["z", "camera", "surfaces"])
def test_a_capture_in_map_coordinates_is_the_capture(tmp_path, up):
    poses = [looking_down(degrees) for degrees in (0, 90, 180, 270)]
    far = np.eye(4)
    far[:3, 3] = UTM if up == "z" else UTM[[2, 0, 1]]
    plain = open_capture(write_capture(tmp_path / "a", poses), up=up)
    folder = write_capture(tmp_path / "b", [far @ pose for pose in poses])
    scene = open_capture(folder, up=up)
    assert np.abs(scene.origin).max() > 5e6 and np.abs(scene.points).max() < 600
    assert not plain.origin.any()
    # The world of the result is the input's, turned upright.
    turn = scene.frame_source.turn[:3, :3]
    moved = turn @ far[:3, 3]
    low, high = plain.points.min(0), plain.points.max(0)
    own = scene.origin + scene.points
    np.testing.assert_allclose(own.min(0), low + moved, rtol=0, atol=0.03)
    np.testing.assert_allclose(own.max(0), high + moved, rtol=0, atol=0.03)
    for frame, wanted in zip(scene.frames(), plain.frames(), strict=True):
        own = scene.origin + frame.world_from_camera[:3, 3]
        np.testing.assert_allclose(
            own, wanted.world_from_camera[:3, 3] + moved, rtol=0, atol=1e-6
        )


def test_a_scene_has_no_origin_unless_told():
    scene = Scene("s", np.zeros((1, 3), np.float32))
    assert scene.origin.dtype == np.float64 and not scene.origin.any()
