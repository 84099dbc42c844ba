"""The neighbour search of CUDA, emulated, against dictionaries."""

import cuda_emulator
import numpy as np
import pytest
from native_calls import pointer

from sas_jax.sparse import keys as voxel_keys
from sas_jax.sparse.tables import kernel_offsets
from sas_jax.sparse.xla import keys as words

if cuda_emulator.compiler() is None:
    pytest.skip("no C++ compiler builds the emulator", allow_module_level=True)


@pytest.fixture(scope="module")
def library(root, tmp_path_factory):
    target = tmp_path_factory.mktemp("emulator") / "emulator.so"
    return cuda_emulator.build(root / "kernels", target)


def voxels(count, stride=1, seed=0):
    """Return sorted distinct voxels around the origin, with many neighbours."""
    rng = np.random.default_rng(seed)
    axes = rng.integers(-5, 5, (count, 3)) * stride
    batch = rng.integers(0, 2, (count, 1))
    return np.unique(np.concatenate([batch, axes], 1), axis=0).astype(np.int32)


def padded_words(coords, capacity):
    """Return both words of the keys, unused rows last."""
    keys = np.full(capacity, 2**64 - 1, np.uint64)
    keys[: len(coords)] = voxel_keys.pack(coords)
    return np.stack(words.split(keys))


def search(library, keys, centres, num_centres, deltas, schedule=0):
    nbr = np.full((*deltas.shape, centres.shape[1]), -7, np.int32)
    sizes = (keys.shape[1], centres.shape[1], num_centres, *deltas.shape)
    status = library.sas_emulate_neighbours(
        *map(pointer, (keys, centres, np.stack(words.split(deltas)), nbr)),
        pointer(np.array(sizes, np.int64)),
        schedule,
    )
    assert status == 0
    return nbr.reshape(deltas.size, -1)


def oracle(coords_in, coords_out, offsets, capacity):
    row_of = {tuple(c): row for row, c in enumerate(coords_in.tolist())}
    nbr = np.full((len(offsets), capacity), -1, np.int32)
    for k, offset in enumerate(offsets.tolist()):
        for o, (batch, *axes) in enumerate(coords_out.tolist()):
            moved = (batch, *np.add(axes, offset).tolist())
            nbr[k, o] = row_of.get(moved, -1)
    return nbr


@pytest.mark.parametrize("count", [0, 1, 2, 140, 400])
@pytest.mark.parametrize(("size", "dilation"), [(1, 1), (2, 1), (3, 1), (5, 1), (3, 2)])
def test_rows_are_those_of_a_dictionary(library, count, size, dilation):
    coords = voxels(count)
    capacity = len(coords) + 37
    keys = padded_words(coords, capacity)
    offsets = kernel_offsets(size, dilation)
    steps = size if dilation == 1 else 1
    deltas = voxel_keys.key_deltas(offsets, 1).reshape(steps, -1)
    expected = oracle(coords, coords, offsets, capacity)
    for schedule in (0, 2):
        got = search(library, keys, keys, len(coords), deltas, schedule)
        np.testing.assert_array_equal(got, expected)


def test_between_two_levels(library):
    fine, coarse = voxels(300), voxels(80, stride=2, seed=1)
    offsets = kernel_offsets(2)
    deltas = voxel_keys.key_deltas(offsets, 1).reshape(2, -1)
    keys, centres = padded_words(fine, len(fine)), padded_words(coarse, 200)
    got = search(library, keys, centres, len(coarse), deltas)
    np.testing.assert_array_equal(got, oracle(fine, coarse, offsets, 200))


def test_an_impossible_number_of_centres_stays_inside_the_arrays(library):
    coords = voxels(50)
    keys = padded_words(coords, len(coords))
    deltas = np.zeros((1, 1), np.uint64)
    rows = np.arange(len(coords))
    for number, valid in ((-3, 0), (10**6, len(coords))):
        got = search(library, keys, keys, number, deltas)[0]
        np.testing.assert_array_equal(got, np.where(rows < valid, rows, -1))
