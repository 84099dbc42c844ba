"""Camera paths: where the eye is, where it looks, and that the room gets covered."""

import numpy as np
import pytest
from room_stage import SIZE_M, make_stage, pose_at

from sas_jax.errors import InputError
from sas_jax.rooms.layout import make_room
from sas_jax.rooms.render.renderer import Renderer
from sas_jax.rooms.scan.camera import (
    DOWN_RAD,
    EYE_M,
    camera_path,
    default_intrinsics,
    look,
)
from sas_jax.rooms.scan.walk import free_floor, routes, spread_cells


def test_intrinsics_of_the_documented_camera():
    matrix = default_intrinsics((320, 240))
    expected = [[288.9, 0, 159.5], [0, 288.9, 119.5], [0, 0, 1]]
    np.testing.assert_allclose(matrix, expected)
    width, height = 96, 72
    small = default_intrinsics((width, height))
    # Corners of the image see the same directions at any resolution.
    for k, (w, h) in ((matrix, (320, 240)), (small, (width, height))):
        corner = np.linalg.inv(k) @ np.array([w - 0.5, h - 0.5, 1.0])
        np.testing.assert_allclose(corner[0], 160 / 288.9, rtol=1e-9)
        np.testing.assert_allclose(corner[1], 120 / 288.9, rtol=1e-9)


def test_look_agrees_with_cross_products():
    forward = np.array([0.6, -0.8, -0.5])
    eye = np.array([[1.0, 2.0, 1.5]])
    yaw = np.array([np.arctan2(-0.8, 0.6)])
    down = np.array([np.arctan2(0.5, 1.0)])
    np.testing.assert_allclose(look(eye, yaw, down)[0], pose_at(eye[0], forward))


def test_roll_turns_the_right_side_down():
    pose = look(np.zeros((1, 3)), np.zeros(1), np.zeros(1), np.full(1, 0.1))[0]
    assert pose[2, 0] < 0
    np.testing.assert_allclose(pose[:3, :3].T @ pose[:3, :3], np.eye(3), atol=1e-12)
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1.0)


@pytest.mark.parametrize("seed", [0, 3, 11])
@pytest.mark.parametrize("num_frames", [1, 7, 60])
def test_every_pose_is_a_hand_held_camera_in_free_space(seed, num_frames):
    room = make_room(seed)
    poses = camera_path(room, np.random.default_rng(seed), num_frames)
    assert poses.shape == (num_frames, 4, 4) and poses.dtype == np.float64
    rotation, eye = poses[:, :3, :3], poses[:, :3, 3]
    identity = np.tile(np.eye(3), (num_frames, 1, 1))
    np.testing.assert_allclose(rotation.mT @ rotation, identity, atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(rotation), 1.0)
    np.testing.assert_array_equal(poses[:, 3], np.tile([0, 0, 0, 1], (num_frames, 1)))
    assert (eye[:, 2] >= EYE_M[0]).all() and (eye[:, 2] <= EYE_M[1]).all()
    down = np.arcsin(-rotation[:, 2, 2])
    assert (down >= DOWN_RAD[0] - 1e-9).all() and (down <= DOWN_RAD[1] + 1e-9).all()
    assert (eye[:, :2] > 0).all() and (eye[:, :2] < room.size_m[:2]).all()
    for placed in room.objects:
        low, high = placed.box
        inside = ((eye > low) & (eye < high)).all(1)
        assert not inside.any(), placed.object.caption


def test_a_film_is_smooth():
    poses = camera_path(make_room(3), np.random.default_rng(0), 600)
    step = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)
    turn = np.arccos(np.clip((poses[1:, :3, 2] * poses[:-1, :3, 2]).sum(1), -1, 1))
    assert step.max() < 0.3 and np.median(step) < 0.06
    assert turn.max() < np.deg2rad(25) and np.median(turn) < np.deg2rad(6)


def test_frames_together_see_the_floor_and_every_object():
    room = make_room(3)
    renderer = Renderer(room)
    intrinsics = default_intrinsics((64, 48))
    pixels = np.zeros(1 + max(p.instance_id for p in room.objects), int)
    for pose in camera_path(room, np.random.default_rng(1), 40):
        image = renderer.render(pose, intrinsics, (64, 48))
        seen = image.instance[image.instance > 0]
        pixels += np.bincount(seen, minlength=len(pixels))
    seen = [pixels[placed.instance_id] >= 10 for placed in room.objects]
    # One small thing behind a large one may stay hidden from every free place.
    assert np.mean(seen) >= 0.9


def test_few_frames_are_different_views():
    poses = camera_path(make_room(0), np.random.default_rng(0), 8)
    forward = poses[:, :3, 2]
    angle = np.arccos(np.clip(forward @ forward.T, -1, 1))
    moved = np.linalg.norm(poses[:, None, :3, 3] - poses[None, :, :3, 3], axis=-1)
    pairs = np.triu_indices(8, 1)
    different = (angle[pairs] > 0.2) | (moved[pairs] > 0.3)
    assert different.sum() >= 26


def test_same_generator_state_same_bits():
    room = make_room(5)
    a, b = (camera_path(room, np.random.default_rng(9), 12) for _ in range(2))
    c = camera_path(room, np.random.default_rng(10), 12)
    assert a.tobytes() == b.tobytes() != c.tobytes()


def test_zero_frames_are_refused():
    with pytest.raises(InputError, match="at least 1, got 0"):
        camera_path(make_stage(), np.random.default_rng(0), 0)


def test_walks_go_through_free_neighbouring_cells():
    floor = free_floor(make_stage(), 1.7)
    stops = spread_cells(floor, 5, np.random.default_rng(0))
    ways = routes(floor, stops)
    assert sorted(ways.tour()) == list(range(len(stops)))
    for start in range(len(stops)):
        for end in range(len(stops)):
            walk = ways.walk(start, end)
            assert walk[0] == stops[start] and walk[-1] == stops[end]
            cells = floor.cells[walk]
            steps = np.abs(np.diff(cells, axis=0))
            assert (steps.max(1, initial=0) <= 1).all()
            length = np.hypot(*np.diff(cells, axis=0).T).sum()
            assert length == pytest.approx(ways.distance[start, end])


def test_free_floor_leaves_out_the_block_and_the_walls():
    floor = free_floor(make_stage(), 1.7)
    inside = np.array([[2.75, 1.3], [0.02, 1.0], [-1.0, 0.5], [SIZE_M[0], 1.0]])
    assert not floor.contains(inside).any()
    assert floor.contains(np.array([[1.5, 1.5]])).all()
    assert floor.nearest(np.array([2.75, 1.3])) >= 0
