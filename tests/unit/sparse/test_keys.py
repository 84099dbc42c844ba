"""Keys sort like coordinates, move by addition and refuse what they cannot hold."""

import math

import numpy as np
import pytest

from sas_jax.errors import InputError
from sas_jax.sparse import keys

LOW, HIGH = keys.MIN_COORD, keys.MAX_COORD


def random_coords(rng, count, low=LOW, high=HIGH):
    batch = rng.integers(0, keys.MAX_BATCH + 1, (count, 1))
    axes = rng.integers(low, high + 1, (count, 3))
    return np.concatenate([batch, axes], axis=1).astype(np.int32)


def test_unpack_inverts_pack_at_the_ends_of_the_range():
    ends = [(b, x, y, z) for b in (0, 1023) for x in (LOW, -1, 0, HIGH)
            for y in (LOW, 0, HIGH) for z in (LOW, 0, HIGH)]  # fmt: skip
    coords = np.array(ends, np.int32)
    assert np.array_equal(keys.unpack(keys.pack(coords)), coords)


def test_no_voxels_have_no_keys():
    empty = np.zeros((0, 4), np.int32)
    keys.check_coords(empty)
    assert keys.pack(empty).shape == (0,)
    assert keys.unpack(keys.pack(empty)).shape == (0, 4)


def test_key_order_is_lexicographic():
    coords = random_coords(np.random.default_rng(0), 500, -20, 20)
    by_key = coords[np.argsort(keys.pack(coords), kind="stable")]
    assert [tuple(c) for c in by_key] == sorted(tuple(c) for c in coords)


@pytest.mark.parametrize("stride", [1, 2, 16])
def test_adding_a_delta_moves_the_voxel_even_at_the_border(stride):
    rng = np.random.default_rng(1)
    coords = np.concatenate(
        [random_coords(rng, 50), [[0, LOW, LOW, LOW], [1023, HIGH, HIGH, HIGH]]]
    ).astype(np.int32)
    offsets = rng.integers(-2, 3, (30, 3)).astype(np.int32)
    for offset, delta in zip(offsets, keys.key_deltas(offsets, stride), strict=True):
        moved = coords + np.array([0, *(offset * stride)], np.int32)
        assert np.array_equal(keys.unpack(keys.pack(coords) + delta), moved)


@pytest.mark.parametrize("stride", [1, 2, 3, 4, 8, 16])
def test_flooring_goes_toward_minus_infinity(stride):
    coords = random_coords(np.random.default_rng(2), 60)
    coords[:33, 1] = np.arange(-16, 17)
    floored = keys.unpack(keys.floor_keys(keys.pack(coords), stride))
    for (b, *axes), got in zip(coords.tolist(), floored.tolist(), strict=True):
        assert got == [b, *(stride * math.floor(c / stride) for c in axes)]


@pytest.mark.parametrize(
    ("row", "part"),
    [
        ((0, HIGH + 1, 0, 0), "voxel coordinates"),
        ((0, 0, 0, LOW - 1), "voxel coordinates"),
        ((keys.MAX_BATCH + 1, 0, 0, 0), "batch index"),
        ((-1, 0, 0, 0), "batch index"),
    ],
)
def test_out_of_range_is_refused_with_the_range(row, part):
    with pytest.raises(InputError, match=part):
        keys.check_coords(np.array([row, (0, 0, 0, 0)], np.int64))


@pytest.mark.parametrize(
    "coords", [np.zeros((3, 3), np.int32), np.zeros((3, 4)), np.zeros(4, np.int32)]
)
def test_wrong_shape_or_type_is_refused(coords):
    with pytest.raises(InputError, match=r"\[N, 4\]"):
        keys.check_coords(coords)
