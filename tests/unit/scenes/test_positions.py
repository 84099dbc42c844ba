"""Distinct positions, nearest ones and normals: repeated, few, in any order."""

import logging

import numpy as np
import pytest

from sas_jax.errors import InputError
from sas_jax.scenes import positions as module
from sas_jax.scenes.cloud import estimate_normals, position_normals
from sas_jax.scenes.positions import (
    distinct_positions,
    joined_positions,
    nearest_positions,
    warn_of_repeats,
)
from sas_jax.scenes.upright import Z, surface_up

FAR = np.float32([3e5, -2e5, 40])


def clouds():
    rng = np.random.default_rng(0)
    some = rng.normal(size=(200, 3))
    grid = np.stack(np.meshgrid(*[np.arange(6)] * 3), -1).reshape(-1, 3)
    return {
        "one": some[:1],
        "few": some[:3],
        "scattered": some,
        "repeated": some[rng.integers(0, 20, 300)],
        "equal": np.ones((50, 3)),
        "zeros of both signs": rng.choice([0.0, -0.0, 1.0], (60, 3)),
        "grid": grid * 0.02,
        "line": np.outer(np.arange(40), [1, 2, 3]) * 0.01,
        "far clusters": np.concatenate([some * 1e-3, some * 1e-3 + FAR]),
        "outlier": np.concatenate([some * 1e-4, [[1e30, 0, 0]]]),
    }


CLOUDS = {name: points.astype(np.float32) for name, points in clouds().items()}


@pytest.fixture
def work(monkeypatch):
    """Sizes of the trees that are built, and how many neighbours they are asked for."""
    sizes = []

    class Tree(module.scipy.spatial.cKDTree):
        def __init__(self, data, **options):
            super().__init__(data, **options)
            sizes.append(len(data))

    monkeypatch.setattr(module.scipy.spatial, "cKDTree", Tree)
    return sizes


@pytest.mark.parametrize("name", CLOUDS)
def test_distinct_positions_by_definition(name):
    points = CLOUDS[name]
    positions = distinct_positions(points)
    np.testing.assert_array_equal(positions.points[positions.of_point], points)
    expected = {tuple(p) for p in (points + 0).tolist()}
    assert len(positions.points) == len(expected)
    assert {tuple(p) for p in positions.points.tolist()} == expected
    assert not np.signbit(positions.points[positions.points == 0]).any()
    assert positions.repeated == (len(expected) < len(points))
    assert (joined_positions(points) is not None) == positions.repeated
    first = positions.first_points()
    of_point = positions.of_point.tolist()
    assert first.tolist() == [of_point.index(row) for row in range(len(first))]


@pytest.mark.parametrize("name", CLOUDS)
def test_positions_and_normals_do_not_depend_on_the_order(name):
    points = CLOUDS[name]
    order = np.random.default_rng(1).permutation(len(points))
    one, other = distinct_positions(points), distinct_positions(points[order])
    np.testing.assert_array_equal(one.points, other.points)
    np.testing.assert_array_equal(one.of_point[order], other.of_point)
    normals = estimate_normals(points)
    np.testing.assert_array_equal(normals[order], estimate_normals(points[order]))
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-6)


def test_near_rows_are_near_in_space():
    rng = np.random.default_rng(2)
    points = rng.uniform(size=(20_000, 3)).astype(np.float32)
    ordered = distinct_positions(points).points
    step = np.linalg.norm(np.diff(ordered, axis=0), axis=1)
    assert np.median(step) < 2 * 20_000 ** (-1 / 3)


def test_nearest_positions_equal_brute_force():
    points = CLOUDS["scattered"].astype(np.float64)
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    expected = np.argsort(distance, axis=1)[:, :7]
    near = nearest_positions(points, 7)
    np.testing.assert_array_equal(near, expected)
    assert near.dtype == np.int32
    assert nearest_positions(points[:3], 7).shape == (3, 3)
    np.testing.assert_array_equal(nearest_positions(points[:1], 7), [[0]])


def test_a_tree_holds_each_position_once(work):
    points = np.concatenate([CLOUDS["scattered"], np.zeros((5000, 3), np.float32)])
    normals = estimate_normals(points)
    assert work == [201]
    single = estimate_normals(points[:201])
    np.testing.assert_array_equal(normals[:201], single)
    np.testing.assert_array_equal(normals[201:], single[200:].repeat(4999, axis=0))


@pytest.mark.parametrize("offset", [0.0, 500.0])
@pytest.mark.parametrize(
    "along", [(1, 0, 0), (1, 2, 3), (-3, 1, 0.2), (0, 0, 1), (0.01, 0, -1)]
)
def test_normals_of_a_line_agree_and_are_as_upright_as_can_be(along, offset):
    line = (np.arange(300)[:, None] * 0.02 * np.array(along) + offset).astype("f4")
    normals = estimate_normals(line).astype(np.float64)
    unit = np.array(along) / np.linalg.norm(along)
    across = np.eye(3)[2] if abs(unit[2]) < 0.99 else np.eye(3)[0]
    across = across - (across @ unit) * unit
    cosine = normals @ (across / np.linalg.norm(across))
    assert cosine.min() > 1 - 1e-4


def test_normals_of_one_place_are_upright():
    points = np.full((9, 3), 7, np.float32)
    np.testing.assert_array_equal(estimate_normals(points), [[0, 0, 1]] * 9)
    down = estimate_normals(points, toward_camera=np.float32([[0, 0, -1]] * 9))
    np.testing.assert_array_equal(down, [[0, 0, -1]] * 9)
    assert estimate_normals(points[:0]).shape == (0, 3)


def test_a_normal_is_the_same_alone_and_among_others():
    points = distinct_positions(CLOUDS["scattered"]).points
    near = nearest_positions(points, 16)
    normals = position_normals(points, near)
    for row in (0, 77, 199):
        alone = position_normals(points, near[row : row + 1])
        np.testing.assert_array_equal(alone[0], normals[row])


def test_too_few_neighbours_for_a_plane():
    with pytest.raises(InputError, match="neighbors must be >= 3, got 2"):
        estimate_normals(CLOUDS["scattered"], neighbors=2)


@pytest.mark.parametrize(("count", "warned"), [(1, 0), (10, 0), (11, 1), (5000, 1)])
def test_a_position_with_a_thousandth_of_the_points_is_told(caplog, count, warned):
    x = np.arange(10_000 - count, dtype=np.float32) + 1
    points = np.stack([x, x, x], axis=1)
    points = np.concatenate([points, np.zeros((count, 3), np.float32)])
    with caplog.at_level(logging.WARNING):
        warn_of_repeats(distinct_positions(points), "scan a")
    assert len(caplog.records) == warned
    if warned:
        message = caplog.records[0].getMessage()
        assert message.startswith(f"scan a: {count} of 10000 points ({count / 100:.1f}")
        assert "lie at (0, 0, 0)" in message


def test_blocks_cover_all_rows_and_move_the_bar(monkeypatch):
    bars = []

    class Bar(module.tqdm.tqdm):
        def __exit__(self, *error):
            bars.append((self.desc, self.n, self.total))
            super().__exit__(*error)

    monkeypatch.setattr(module.tqdm, "tqdm", Bar)
    for num_rows in (0, 1, 65_536, 150_000):
        seen = np.zeros(num_rows, int)
        for rows in module.blocks(num_rows, "things"):
            seen[rows] += 1
        assert (seen == 1).all()
        assert bars[-1][1] == bars[-1][2] == num_rows
    points = CLOUDS["scattered"]
    estimate_normals(points)
    assert [desc for desc, _, _ in bars[-2:]] == ["neighbours", "normals"]


def test_surfaces_without_a_direction_have_no_say_in_what_is_up():
    floor = np.tile(np.float32([[0.02, 0, 1]]), (50, 1))
    floor /= np.linalg.norm(floor, axis=1, keepdims=True)
    nothing = np.float32([[0, 0, 0], [np.nan, np.nan, np.nan]]).repeat(40, axis=0)
    up = surface_up(np.concatenate([floor, nothing]), Z)
    np.testing.assert_allclose(up, floor[0], atol=1e-6)
    np.testing.assert_array_equal(surface_up(nothing, Z), Z)
