"""Voxelisation against its formula, and its edge cases."""

import formulas
import numpy as np
import pytest

from sas_jax.errors import InputError
from sas_jax.sparse.voxelize import grid_cells, unique_voxels, voxelize


@pytest.mark.parametrize("size", [0.05, 0.3, 10.0])
def test_equals_the_formula(size):
    points = np.random.default_rng(0).normal(0, 1, (300, 3)).astype(np.float32)
    voxels = voxelize(points, size)
    coords, first_point, inverse = formulas.voxels(points, size)
    np.testing.assert_array_equal(voxels.coords, coords)
    np.testing.assert_array_equal(voxels.first_point, first_point)
    np.testing.assert_array_equal(voxels.inverse, inverse)
    assert voxels.coords.dtype == voxels.inverse.dtype == np.int32


def test_the_first_point_represents_a_voxel():
    points = np.array([[0.9, 0, 0], [0.1, 0, 0], [1.5, 0, 0]], np.float32)
    voxels = voxelize(points, 1.0)
    np.testing.assert_array_equal(voxels.first_point, [0, 2])
    np.testing.assert_array_equal(voxels.inverse, [0, 0, 1])


def test_negative_positions_are_floored_not_truncated():
    points = np.array([[-0.01, 0, 0], [0.01, 0, 0]], np.float32)
    assert len(voxelize(points, 1.0).coords) == 2


def test_a_point_on_a_border_belongs_to_the_upper_voxel():
    points = np.array([[0, 0, 0], [0.02, 0, 0]], np.float64)
    np.testing.assert_array_equal(voxelize(points, 0.02).coords[:, 0], [0, 1])


def test_no_points_and_one_point():
    empty = voxelize(np.zeros((0, 3), np.float32), 0.1)
    assert len(empty.coords) == len(empty.inverse) == len(empty.first_point) == 0
    one = voxelize(np.full((1, 3), 7.3, np.float32), 0.1)
    np.testing.assert_array_equal(one.coords, [[0, 0, 0]])


def test_every_voxel_is_its_representatives_voxel():
    points = np.random.default_rng(1).uniform(-9, 9, (5000, 3)).astype(np.float32)
    voxels = voxelize(points, 0.7)
    rows = voxels.inverse[voxels.first_point]
    np.testing.assert_array_equal(rows, np.arange(len(voxels.coords)))
    cells = grid_cells(points, 0.7)
    np.testing.assert_array_equal(voxels.coords[voxels.inverse], cells)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_positions_that_are_not_finite_are_refused(bad):
    points = np.zeros((4, 3), np.float32)
    points[2, 1] = bad
    with np.errstate(invalid="ignore"), pytest.raises(InputError, match="finite"):
        voxelize(points, 0.02)


def test_a_cloud_larger_than_the_keys_is_refused():
    points = np.array([[0, 0, 0], [1e5, 0, 0]], np.float32)
    with pytest.raises(InputError, match="larger voxels"):
        voxelize(points, 0.02)
    assert len(voxelize(points, 1.0).coords) == 2


def test_the_size_must_be_positive():
    with pytest.raises(InputError, match="voxel_size_m > 0"):
        voxelize(np.zeros((1, 3), np.float32), 0.0)


def test_repeated_calls_give_the_same_bits():
    cells = np.random.default_rng(2).integers(0, 9, (2000, 3)).astype(np.int32)
    one, two = unique_voxels(cells), unique_voxels(cells.copy())
    assert one.inverse.tobytes() == two.inverse.tobytes()
    assert one.first_point.tobytes() == two.first_point.tobytes()
