"""Rooms are opened towards the camera, whatever their normals and axes are."""

import numpy as np
import pytest

from sas_jax.view import pictures
from sas_jax.view.cutaway import cutaway

SIZE_M = np.array([5.0, 4.0, 2.5])
RED = (255, 0, 0)


def room():
    """A box with a red block in the middle; normals face what is inside of it."""
    rng = np.random.default_rng(0)
    parts, normals = [], []
    for axis in range(3):
        for side in (0, 1):
            points = rng.uniform(0, 1, (4000, 3)) * SIZE_M
            points[:, axis] = side * SIZE_M[axis]
            normal = np.zeros(3)
            normal[axis] = 1 - 2 * side
            parts.append(points)
            normals.append(np.tile(normal, (4000, 1)))
    block = rng.uniform(0, 1, (3000, 3)) * [0.8, 0.8, 0] + [2.1, 1.6, 0.8]
    parts.append(block)
    normals.append(np.tile([0, 0, 1.0], (3000, 1)))
    points, normals = np.concatenate(parts), np.concatenate(normals)
    colors = np.full((len(points), 3), 120, np.uint8)
    colors[-3000:] = RED
    return points.astype(np.float32), normals.astype(np.float32), colors


def red_pixels(image):
    return int((image[..., 0].astype(int) - image[..., 1] > 80).sum())


def drawn(points, normals, colors):
    views = pictures.render_views(points, colors, normals=normals)
    covered = min(int((view < 255).any(axis=2).sum()) for view in views)
    return [red_pixels(view) for view in views], covered


@pytest.mark.parametrize("normals_are", ["inward", "outward", "random", "absent"])
def test_what_stands_in_a_room_is_seen_whatever_its_normals_say(normals_are):
    points, normals, colors = room()
    sign = {
        "inward": 1,
        "outward": -1,
        "random": np.random.default_rng(1).choice([-1, 1], (len(points), 1)),
    }.get(normals_are)
    given = None if sign is None else sign * normals
    opened = cutaway(points, given)
    assert opened.sided == (normals_are in ("inward", "outward"))
    if opened.sided:
        np.testing.assert_array_equal(opened.normals, normals)
    red, covered = drawn(points, given, colors)
    assert min(red) > 2000 and covered > 50_000


@pytest.mark.parametrize("axes", [(0, 1, 2), (0, 2, 1), (2, 1, 0)])
def test_a_room_on_its_side_is_opened_too(axes):
    points, normals, colors = room()
    red, covered = drawn(points[:, axes], normals[:, axes], colors)
    # The block lies: from some sides its edge is seen, but never a wall before it.
    assert max(red) > 1000 and covered > 50_000


def test_an_object_is_looked_at_from_outside():
    rng = np.random.default_rng(0)
    ball = rng.normal(size=(8000, 3))
    ball /= np.linalg.norm(ball, axis=1, keepdims=True)
    points = (0.3 * ball).astype(np.float32)
    colors = np.full((8000, 3), 90, np.uint8)
    colors[ball[:, 2] > 0.2] = RED
    for normals in (ball, -ball, None):
        red, _ = drawn(points, normals, colors)
        assert min(red) > 3000


def test_a_narrow_lens_is_a_parallel_projection():
    points = np.random.default_rng(0).uniform(0, SIZE_M, (500, 3))
    pose, intrinsics = pictures.outside_view(points, azimuth_deg=30, lens_deg=1)
    bar = np.array([[0.0, 0, 0], [1.0, 0, 0]]) @ pose[:3, :3].T
    lengths = []
    for corner in ([0, 0, 0], SIZE_M):
        local = (bar + corner - pose[:3, 3]) @ pose[:3, :3]
        pixel = intrinsics[0, 0] * local[:, 0] / local[:, 2]
        lengths.append(pixel[1] - pixel[0])
    assert lengths[0] == pytest.approx(lengths[1], rel=0.02)


def test_a_dense_cloud_of_noisy_depth_is_opened():
    points, normals, colors = room()
    rng = np.random.default_rng(2)
    rows = np.tile(np.arange(len(points)), 6)
    noisy = points[rows] + rng.normal(0, 0.02, (len(rows), 3)).astype(np.float32)
    tilted = normals[rows] + rng.normal(0, 0.6, (len(rows), 3)).astype(np.float32)
    for given in (tilted, None):
        red, _ = drawn(noisy, given, colors[rows])
        assert min(red) > 2000
