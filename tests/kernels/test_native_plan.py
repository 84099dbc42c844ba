"""The native plan builder against dictionaries and numpy."""

import numpy as np
import pytest

from sas_jax import native_library
from sas_jax.errors import InputError
from sas_jax.sparse import keys as voxel_keys
from sas_jax.sparse import tables
from sas_jax.sparse.native import plan as native_plan

if native_library.load() is None:
    pytest.skip("the native library is not built", allow_module_level=True)


def random_voxels(seed, count, extent=12, batches=2):
    """Return distinct voxels around the origin, so many have neighbours."""
    rng = np.random.default_rng(seed)
    low, high = [0, -extent, -extent, -extent], [batches, extent, extent, extent]
    return np.unique(rng.integers(low, high, (count, 4)), axis=0).astype(np.int32)


def oracle_table(coords_in, coords_out, offsets, step):
    """Look every neighbour up in a dictionary."""
    row_of = {tuple(c): row for row, c in enumerate(coords_in.tolist())}
    nbr = np.full((len(offsets), len(coords_out)), -1, np.int32)
    for k, offset in enumerate(offsets.tolist()):
        for o, (batch, x, y, z) in enumerate(coords_out.tolist()):
            moved = (x + offset[0] * step, y + offset[1] * step, z + offset[2] * step)
            nbr[k, o] = row_of.get((batch, *moved), -1)
    return nbr


def transposed(nbr, num_in):
    table = np.full((len(nbr), num_in), -1, np.int32)
    for k, o in np.argwhere(nbr >= 0):
        table[k, nbr[k, o]] = o
    return table


@pytest.mark.parametrize("count", [0, 1, 2, 13, 4000])
@pytest.mark.parametrize("bits", [1, 20, 64])
def test_sort_unique_equals_numpy(count, bits):
    rng = np.random.default_rng(count)
    keys = rng.integers(0, 2**bits - 1, count, np.uint64, endpoint=True)
    for candidate in (keys, np.sort(keys), np.sort(keys)[::-1].copy()):
        unique, first = native_plan.sort_unique(candidate)
        expected, expected_first = np.unique(candidate, return_index=True)
        np.testing.assert_array_equal(unique, expected)
        np.testing.assert_array_equal(first, expected_first)


@pytest.mark.parametrize("kernel_size", [1, 3, 5, 7])
@pytest.mark.parametrize("count", [0, 1, 2, 1500])
def test_symmetric_table_equals_dictionary(kernel_size, count):
    coords = random_voxels(count, count)
    offsets = tables.kernel_offsets(kernel_size)
    expected = oracle_table(coords, coords, offsets, 1)
    for threads in (1, 4):
        nbr = native_plan.neighbour_table(
            voxel_keys.pack(coords),
            offsets,
            1,
            capacity=len(coords) + 9,
            num_threads=threads,
        )
        np.testing.assert_array_equal(nbr[:, : len(coords)], expected)
        assert (nbr[:, len(coords) :] == -1).all()


def test_long_tables_do_not_depend_on_threads():
    # More rows than one task's 8192, so tasks start in the middle of columns.
    coords = random_voxels(3, 40_000, extent=16)
    assert len(coords) > 20_000
    keys, offsets = voxel_keys.pack(coords), tables.kernel_offsets(3)
    one = native_plan.neighbour_table(keys, offsets, 1, num_threads=1)
    four = native_plan.neighbour_table(keys, offsets, 1, num_threads=4)
    np.testing.assert_array_equal(one, four)
    for k, offset in enumerate(offsets):
        found = np.flatnonzero(one[k] >= 0)
        np.testing.assert_array_equal(
            coords[one[k, found], 1:], coords[found, 1:] + offset
        )
    # Whatever was not found really is not there.
    present = set(map(tuple, coords.tolist()))
    absent = np.argwhere(one < 0)[::97]
    for k, o in absent:
        batch, *xyz = coords[o].tolist()
        assert (batch, *(np.array(xyz) + offsets[k]).tolist()) not in present


@pytest.mark.parametrize("level_stride", [1, 2, 4])
@pytest.mark.parametrize(
    ("kernel_size", "stride"), [(2, 2), (3, 2), (4, 2), (2, 3), (3, 1)]
)
def test_tables_between_levels_equal_dictionary(level_stride, kernel_size, stride):
    coords = random_voxels(7, 900)
    coords[:, 1:] *= level_stride
    coarse = coords.copy()
    edge = stride * level_stride
    coarse[:, 1:] = np.floor_divide(coarse[:, 1:], edge) * edge
    coarse = np.unique(coarse, axis=0)
    offsets = tables.kernel_offsets(kernel_size)
    capacities = (len(coords) + 3, len(coarse) + 5)
    nbr, back = native_plan.strided_tables(
        voxel_keys.pack(coords),
        voxel_keys.pack(coarse),
        offsets,
        level_stride,
        capacities=capacities,
        num_threads=2,
    )
    expected = oracle_table(coords, coarse, offsets, level_stride)
    np.testing.assert_array_equal(nbr[:, : len(coarse)], expected)
    np.testing.assert_array_equal(
        back[:, : len(coords)], transposed(expected, len(coords))
    )
    assert (nbr[:, len(coarse) :] == -1).all()
    assert (back[:, len(coords) :] == -1).all()


def test_refuses_what_it_cannot_do():
    keys = voxel_keys.pack(random_voxels(1, 50))
    with pytest.raises(InputError, match="mirror image"):
        native_plan.neighbour_table(keys, tables.kernel_offsets(2), 1)
    with pytest.raises(InputError, match="mirror image"):
        native_plan.neighbour_table(keys, tables.kernel_offsets(3)[:9], 1)
    with pytest.raises(InputError, match="capacity of at least"):
        native_plan.neighbour_table(keys, tables.kernel_offsets(3), 1, capacity=3)
    with pytest.raises(InputError, match="uint64"):
        native_plan.sort_unique(keys.astype(np.int64))
