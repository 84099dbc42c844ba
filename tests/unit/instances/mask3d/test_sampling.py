"""Farthest points equal the kernel's, thread by thread, whatever the order of rows."""

import jax
import mask3d_oracle
import numpy as np
import pytest

from sas_jax.instances.mask3d.sampling import farthest_points

sample = jax.jit(farthest_points, static_argnums=3)


def got(coords, count, padding=5, seed=0):
    """Sample rows in another order and behind padding; return numbers of points."""
    order = np.random.default_rng(seed).permutation(len(coords)).astype(np.int32)
    rows = np.pad(coords[order], ((0, padding), (0, 0)), constant_values=99)
    number = np.pad(order, (0, padding))
    member = np.arange(len(rows)) < len(coords)
    return number[np.asarray(sample(rows, number, member, count))]


@pytest.mark.parametrize("count", [1, 2, 3, 37, 64, 300, 513])
def test_ties_on_a_grid_are_won_as_in_the_kernel(count):
    rng = np.random.default_rng(count)
    coords = rng.integers(-4, 5, (count, 3)).astype(np.int32)
    coords[: count // 3] = 2 * coords[: count // 3]
    taken = min(count + 4, 40)
    np.testing.assert_array_equal(
        got(coords, taken), mask3d_oracle.sample(coords, taken)
    )


def test_the_voxel_of_the_origin_is_taken_only_first():
    coords = np.array([[0, 0, 0], [1, 0, 0], [0, 0, 0], [3, 0, 0]], np.int32)
    assert got(coords, 4).tolist()[:3] == [0, 3, 1]
    assert 2 not in got(coords, 8)
    assert got(coords[[1, 0, 3]], 3).tolist() == [0, 2, 0]
    assert got(coords[:1], 3).tolist() == [0, 0, 0]


def test_distances_beyond_a_thirty_two_bit_square():
    coords = np.array([[0, 0, 1], [90_000, 0, 0], [-100_000, 0, 0]], np.int32)
    assert got(coords, 3).tolist() == [0, 2, 1]
