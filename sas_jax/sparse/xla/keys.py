"""Voxel keys in XLA: those of `keys.py` cut into two 32-bit words.

JAX has no 64-bit integers by default. Unused rows hold the largest key, which no voxel
has, and so sort last.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int32, UInt32, UInt64

from sas_jax.native_call import mark_varying, varying_axes
from sas_jax.sparse import keys as voxel_keys

LARGEST = np.uint32(0xFFFFFFFF)
_AXIS_MASK = np.uint32((1 << voxel_keys.AXIS_BITS) - 1)
# The low word ends inside y: 18 bits of z below 14 of y.
_Y_LOW_BITS = 32 - voxel_keys.AXIS_BITS
_Y_HIGH_BITS = voxel_keys.AXIS_BITS - _Y_LOW_BITS


class Keys(NamedTuple):
    """Voxel keys as two words: `high << 32 | low`."""

    high: UInt32[Array, " N"]
    low: UInt32[Array, " N"]


def out_of_range(
    coords: Int32[Array, "N 4"], valid: Bool[Array, " N"]
) -> Bool[Array, ""]:
    """Say whether a valid row is none that `keys.check_coords` accepts."""
    lowest = np.array([0, *[voxel_keys.MIN_COORD] * 3], np.int32)
    highest = np.array([voxel_keys.MAX_BATCH, *[voxel_keys.MAX_COORD] * 3], np.int32)
    outside = (coords < lowest[None]) | (coords > highest[None])
    return jnp.any(outside & valid[:, None])


def pack(coords: Int32[Array, "N 4"]) -> Keys:
    """Return the keys of coordinates; those out of range give any key."""
    batch = coords[:, 0].astype(jnp.uint32)
    x, y, z = (
        (coords[:, axis] + voxel_keys.AXIS_BIAS).astype(jnp.uint32) & _AXIS_MASK
        for axis in (1, 2, 3)
    )
    batch <<= voxel_keys.AXIS_BITS + _Y_HIGH_BITS
    high = batch | (x << _Y_HIGH_BITS) | (y >> _Y_LOW_BITS)
    return Keys(high, (y << voxel_keys.AXIS_BITS) | z)


def unpack(keys: Keys, count: Int32[Array, ""]) -> Int32[Array, "N 4"]:
    """Return coordinates, 0 in unused rows."""
    batch = keys.high >> (voxel_keys.AXIS_BITS + _Y_HIGH_BITS)
    x = keys.high >> _Y_HIGH_BITS
    y = (keys.high << _Y_LOW_BITS) | (keys.low >> voxel_keys.AXIS_BITS)
    axes = jnp.stack([x, y, keys.low], axis=1) & _AXIS_MASK
    axes = axes.astype(jnp.int32) - voxel_keys.AXIS_BIAS
    coords = jnp.concatenate([batch.astype(jnp.int32)[:, None], axes], axis=1)
    valid = jnp.arange(len(coords), dtype=jnp.int32) < count
    return jnp.where(valid[:, None], coords, jnp.zeros_like(coords))


def floor(keys: Keys, stride: int) -> Keys:
    """Move voxels to the lower corner of their cell; unused rows stay unused."""
    cell = voxel_keys.floor_keys(np.array([2**64 - 1], np.uint64), stride)[0]
    high, low = np.uint32(cell >> np.uint64(32)), np.uint32(cell & np.uint64(LARGEST))
    floored = Keys(keys.high & high, keys.low & low)
    return where(keys.high != LARGEST, floored)


def add(keys: Keys, delta: Keys) -> Keys:
    """Add a 64-bit number, modulo 2^64."""
    low = keys.low + delta.low
    carry = (low < keys.low).astype(jnp.uint32)
    return Keys(keys.high + delta.high + carry, low)


def split(
    keys: UInt64[np.ndarray, " *shape"],
) -> tuple[UInt32[np.ndarray, " *shape"], UInt32[np.ndarray, " *shape"]]:
    """Return both words, high and low, of keys on the host."""
    high, low = keys >> np.uint64(32), keys & np.uint64(LARGEST)
    return high.astype(np.uint32), low.astype(np.uint32)


def sort_unique(keys: Keys) -> tuple[Keys, Int32[Array, " N"], Int32[Array, ""]]:
    """Return sorted distinct keys, the first row of each, and how many there are.

    Rows of unused keys are any.
    """
    # One word after the other: XLA has a radix sort for single words on GPUs, and
    # compares pairs of words many times slower.
    rows = jnp.arange(len(keys.high), dtype=jnp.int32)
    _, rows = jax.lax.sort((keys.low, rows), num_keys=1, is_stable=True)
    high, rows = jax.lax.sort((keys.high[rows], rows), num_keys=1, is_stable=True)
    low = keys.low[rows]
    new = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
    new = jnp.concatenate([jnp.ones_like(new, shape=min(1, len(rows))), new])
    new &= high != LARGEST
    # Repetitions go behind the others, as unused rows.
    _, kept = jax.lax.sort(
        ((~new).astype(jnp.uint32), jnp.arange(len(rows), dtype=jnp.int32)),
        num_keys=1,
        is_stable=True,
    )
    count = jnp.sum(new, dtype=jnp.int32)
    keys = valid_rows(take(Keys(high, low), kept), count)
    return keys, rows[kept], count


def lower_bound(keys: Keys, wanted: Keys) -> Int32[Array, " M"]:
    """Return how many of the sorted keys are smaller."""
    size = len(keys.high)
    start = jnp.zeros(wanted.high.shape, jnp.int32)
    start = mark_varying(start, varying_axes((keys, wanted)))

    def halve(_, bounds):
        low, high = bounds
        middle = (low + high) // 2
        here = take(keys, middle)
        smaller = here.high < wanted.high
        smaller |= (here.high == wanted.high) & (here.low < wanted.low)
        smaller &= low < high
        return jnp.where(smaller, middle + 1, low), jnp.where(smaller, high, middle)

    return jax.lax.fori_loop(0, size.bit_length(), halve, (start, start + size))[0]


def take(keys: Keys, rows: Int32[Array, " M"]) -> Keys:
    """Return the keys of rows; one behind the end reads the last."""
    return Keys(*(jnp.take(word, rows, mode="clip") for word in keys))


def where(used: Bool[Array, " N"], keys: Keys) -> Keys:
    """Return the keys with all others marked as unused."""
    return Keys(*(jnp.where(used, word, jnp.full_like(word, LARGEST)) for word in keys))


def valid_rows(keys: Keys, count: Int32[Array, ""]) -> Keys:
    """Return the keys with all rows from `count` on marked as unused."""
    return where(jnp.arange(len(keys.high), dtype=jnp.int32) < count, keys)


def fit_keys(keys: Keys, capacity: int) -> Keys:
    """Cut or fill up to the capacity, as `fit`."""
    return Keys(*(fit(word, capacity, LARGEST) for word in keys))


def fit(rows: Array, capacity: int, filler: np.generic) -> Array:
    """Cut or fill up to the capacity; what is cut was counted as overflow."""
    short = max(0, capacity - len(rows))
    return jnp.pad(rows[:capacity], (0, short), constant_values=filler)
