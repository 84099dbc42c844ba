"""Rendering: closed-form depth, exact labels, identical bits."""

import builtins
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from room_stage import BLOCK_HIGH, BLOCK_LOW, CLASS, SIZE_M, make_stage, pose_at

from sas_jax.errors import InputError
from sas_jax.rooms.geometry.cast import Caster
from sas_jax.rooms.render import light
from sas_jax.rooms.render.renderer import Renderer
from sas_jax.rooms.scan.camera import default_intrinsics

SIZE_WH = (80, 60)
EYE = np.array([0.7, 1.3, 1.1])


@pytest.fixture(scope="module")
def stage():
    return make_stage()


@pytest.fixture(scope="module")
def renderer(stage):
    return Renderer(stage)


def _slab(origin, direction, low, high):
    """Nearest hit of one ray with one box, by the slab method, in float64."""
    near, far = -np.inf, np.inf
    for axis in range(3):
        if abs(direction[axis]) < 1e-12:
            if not low[axis] <= origin[axis] <= high[axis]:
                return np.inf
            continue
        a = (low[axis] - origin[axis]) / direction[axis]
        b = (high[axis] - origin[axis]) / direction[axis]
        near, far = max(near, min(a, b)), min(far, max(a, b))
    return near if 1e-6 < near <= far else np.inf


def _oracle(stage, pose, intrinsics, row, column):
    x = (column - intrinsics[0, 2]) / intrinsics[0, 0]
    y = (row - intrinsics[1, 2]) / intrinsics[1, 1]
    direction = pose[:3, :3] @ np.array([x, y, 1.0])
    depths = [
        _slab(pose[:3, 3], direction, *placed.box.astype(float))
        for placed in stage.objects
    ]
    best = int(np.argmin(depths))
    if not np.isfinite(depths[best]):
        return 0.0, 255, -1
    placed = stage.objects[best]
    return depths[best], CLASS[placed.class_name], placed.instance_id


def test_every_pixel_equals_the_closed_form(stage, renderer):
    pose, intrinsics = pose_at(EYE, (1.0, 0.1, 0.0)), default_intrinsics(SIZE_WH)
    image = renderer.render(pose, intrinsics, SIZE_WH)
    wrong = 0
    for row in range(SIZE_WH[1]):
        for column in range(SIZE_WH[0]):
            depth, label, instance = _oracle(stage, pose, intrinsics, row, column)
            same = image.instance[row, column] == instance
            wrong += not same
            if same:
                assert image.label[row, column] == label
                assert image.depth_m[row, column] == pytest.approx(depth, abs=2e-5)
    # Rays exactly along an edge may fall to either side of it.
    assert wrong <= 3
    assert {-1, 1, 3, 6} <= set(np.unique(image.instance))


def test_depth_is_measured_along_the_optical_axis(renderer):
    pose = pose_at((1.0, 1.3, 0.4), (1.0, 0.0, 0.0))
    image = renderer.render(pose, default_intrinsics(SIZE_WH), SIZE_WH)
    block = image.instance == 6
    np.testing.assert_allclose(image.depth_m[block], BLOCK_LOW[0] - 1.0, atol=1e-5)
    wall = image.instance == 3
    np.testing.assert_allclose(image.depth_m[wall], SIZE_M[0] - 1.0, atol=1e-5)
    assert block.any() and wall.any()


def test_image_axes_are_right_and_down(renderer):
    pose = pose_at((1.0, 1.3, 0.4), (1.0, 0.0, 0.0))
    image = renderer.render(pose, default_intrinsics(SIZE_WH), SIZE_WH)
    rows, columns = np.nonzero(image.instance == 6)
    intrinsics = default_intrinsics(SIZE_WH)
    depth = BLOCK_LOW[0] - 1.0
    # Looking along +x, the image's right is -y and its top is +z.
    left = intrinsics[0, 2] - intrinsics[0, 0] * (BLOCK_HIGH[1] - 1.3) / depth
    right = intrinsics[0, 2] - intrinsics[0, 0] * (BLOCK_LOW[1] - 1.3) / depth
    top = intrinsics[1, 2] - intrinsics[1, 1] * (BLOCK_HIGH[2] - 0.4) / depth
    assert columns.min() == np.ceil(left) and columns.max() == np.floor(right)
    assert rows.min() == np.ceil(top)


def test_background_is_bright_unlabelled_and_without_depth(renderer):
    pose = pose_at(EYE, (1.0, 0.0, 0.8))
    image = renderer.render(pose, default_intrinsics(SIZE_WH), SIZE_WH)
    sky = image.label == 255
    assert sky.any() and not sky.all()
    assert (image.depth_m[sky] == 0).all() and (image.instance[sky] == -1).all()
    assert (image.depth_m[~sky] > 0).all() and (image.rgb[sky] > 200).all()


def test_a_view_of_nothing_is_all_background(renderer):
    pose = pose_at((2.0, 1.5, 2.0), (0.001, 0.0, 1.0))
    image = renderer.render(pose, default_intrinsics((8, 6)), (8, 6))
    assert (image.label == 255).all() and (image.depth_m == 0).all()


def test_same_view_same_bits(stage, renderer):
    pose, intrinsics = pose_at(EYE, (1.0, 0.3, -0.3)), default_intrinsics(SIZE_WH)
    first = renderer.render(pose, intrinsics, SIZE_WH)
    renderer.render(pose_at(EYE, (0.1, 1.0, -0.3)), intrinsics, SIZE_WH)
    for other in (renderer, Renderer(make_stage())):
        again = other.render(pose, intrinsics, SIZE_WH)
        for name in ("rgb", "depth_m", "label", "instance", "cosine"):
            a, b = getattr(first, name), getattr(again, name)
            assert a.tobytes() == b.tobytes() and a.dtype == b.dtype, name


def test_same_bits_in_another_process(root, renderer):
    code = (
        "import hashlib, test_render as t\nprint(t.digest(t.Renderer(t.make_stage())))"
    )
    places = [root, root / "tests", pathlib.Path(__file__).parent]
    out = subprocess.run(
        [sys.executable, "-c", code],
        cwd=root,
        env={"PYTHONPATH": os.pathsep.join(map(str, places)), "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert out.stdout.strip() == digest(renderer)


def digest(renderer) -> str:
    """Return a hash of one view."""
    import hashlib

    pose = pose_at(EYE, (1.0, 0.3, -0.3))
    image = renderer.render(pose, default_intrinsics(SIZE_WH), SIZE_WH)
    parts = (image.rgb, image.depth_m, image.label, image.instance)
    return hashlib.sha256(b"".join(p.tobytes() for p in parts)).hexdigest()


def test_colour_follows_albedo_and_light(stage, renderer):
    pose = pose_at((1.0, 1.3, 0.4), (1.0, 0.0, 0.0))
    image = renderer.render(pose, default_intrinsics(SIZE_WH), SIZE_WH)
    red, green, blue = image.rgb[image.instance == 6].mean(0)
    assert red > 2 * green and red > 2 * blue
    wall = image.rgb[image.instance == 3].astype(float)
    assert np.abs(wall - wall.mean(1, keepdims=True)).max() <= 12


def test_the_block_throws_a_shadow(stage, renderer):
    """On the wall behind the block, light from the lamp is missing low down only."""
    points = np.array([[3.999, 1.3, z] for z in (0.02, 0.08, 1.4, 2.0)], np.float32)
    normal = np.tile(np.float32([-1, 0, 0]), (4, 1))
    patch = light.Patch(None, (0, 0), points, normal, normal)
    lamp = stage.lights[0]
    diffuse, _ = light.lamp(renderer.caster, lamp, patch, np.zeros_like(points))
    assert (diffuse[:2] == 0).all()
    offset = np.asarray(lamp.position_m) - points[2:]
    distance2 = (offset**2).sum(1)
    expected = -offset[:, 0] / np.sqrt(distance2) / (distance2 + 0.4)
    np.testing.assert_allclose(diffuse[2:], expected, rtol=1e-4)


def test_corners_are_less_open_than_free_floor(renderer):
    spots = np.array([[1.5, 1.5, 0.001], [0.01, 0.01, 0.001]], np.float32)
    up = np.tile(np.float32([0, 0, 1]), (2, 1))
    patch = light.Patch(None, (0, 0), spots, up, up)
    free = np.mean(
        [
            light.openness(renderer.caster, patch, np.tile(s, (2, 1)))
            for s in light.SPREAD
        ],
        axis=0,
    )
    assert free[0] == 1.0 and free[1] < 0.75


def test_smooth_averages_the_window_and_only_points_with_values():
    width, height = 9, 7
    pixel = np.arange(width * height)
    zeros = np.zeros((len(pixel), 3), np.float32)
    patch = light.Patch(pixel, (width, height), zeros, zeros, zeros)
    rng = np.random.default_rng(0)
    at = np.flatnonzero(rng.random(len(pixel)) < 0.5)
    value = rng.random(len(at)).astype(np.float32)
    image = np.full((height, width), np.nan)
    image.ravel()[at] = value
    got = patch.smooth(value, at).reshape(height, width)
    for row in range(height):
        for column in range(width):
            rows = slice(max(row - 2, 0), row + 2)
            window = image[rows, max(column - 2, 0) : column + 2]
            count = np.isfinite(window).sum()
            expected = (np.nansum(window) + 1e-3) / (count + 1e-3)
            assert got[row, column] == pytest.approx(expected, abs=1e-5)


def test_an_empty_mesh_is_refused():
    with pytest.raises(InputError, match="must have faces"):
        Caster(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))


def test_without_the_extra_the_error_says_what_to_install(stage, monkeypatch):
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.startswith("embreex"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(InputError, match=r"pip install.*\[rooms\]"):
        Renderer(stage)
