"""Voxel keys: one sortable 64-bit number per voxel.

A key packs (batch, x, y, z) as `batch:10 | x:18 | y:18 | z:18`, every axis biased by
2^17, so that the order of keys is the lexicographic order of coordinates. Two
properties make this better here than Morton order: a neighbour's key is the voxel's
key plus a constant, and voxels that differ only in z are contiguous, so tables of
neighbours are built by walking columns instead of hashing.
"""

import numpy as np
from jaxtyping import Int, UInt64

from sas_jax.errors import InputError

AXIS_BITS = 18
BATCH_BITS = 10
AXIS_BIAS = 1 << (AXIS_BITS - 1)
# Room for kernel offsets and for flooring at the coarsest level: neither may carry
# into the next axis of the key.
MARGIN = 64
MAX_COORD = AXIS_BIAS - MARGIN - 1
MIN_COORD = -AXIS_BIAS + MARGIN
MAX_BATCH = (1 << BATCH_BITS) - 1

_SHIFT = (3 * AXIS_BITS, 2 * AXIS_BITS, AXIS_BITS, 0)
_AXIS_MASK = (1 << AXIS_BITS) - 1


def check_coords(coords: Int[np.ndarray, "N 4"], where: str = "voxel coords") -> None:
    """Refuse coordinates that a key cannot hold.

    Args:
      coords: (batch, x, y, z) of every voxel.
      where: what the error message calls them.

    Raises:
      InputError: if the array is not integer [N, 4] or a value is out of range.
    """
    if coords.ndim != 2 or coords.shape[1] != 4 or coords.dtype.kind not in "iu":
        raise InputError(
            f"{where}: an integer array [N, 4] of (batch, x, y, z) is required, got "
            f"{coords.dtype} {list(coords.shape)}. Voxelize the points first."
        )
    if len(coords) == 0:
        return
    batch, axes = coords[:, 0], coords[:, 1:]
    if batch.min() < 0 or batch.max() > MAX_BATCH:
        raise InputError(
            f"{where}: batch index in [0, {MAX_BATCH}] is required, got "
            f"{batch.min()}..{batch.max()}. Put fewer scenes into one batch."
        )
    if axes.min() < MIN_COORD or axes.max() > MAX_COORD:
        raise InputError(
            f"{where}: voxel coordinates in [{MIN_COORD}, {MAX_COORD}] are required, "
            f"got {axes.min()}..{axes.max()}. Check the unit of the points (metres) "
            "or use larger voxels."
        )


def pack(coords: Int[np.ndarray, "N 4"]) -> UInt64[np.ndarray, " N"]:
    """Pack coordinates, which `check_coords` accepted, into sortable keys."""
    keys = coords[:, 0].astype(np.uint64) << np.uint64(_SHIFT[0])
    for axis in (1, 2, 3):
        biased = (coords[:, axis].astype(np.int64) + AXIS_BIAS).astype(np.uint64)
        keys |= biased << np.uint64(_SHIFT[axis])
    return keys


def unpack(keys: UInt64[np.ndarray, " N"]) -> Int[np.ndarray, "N 4"]:
    """Return the int32 (batch, x, y, z) of every key."""
    coords = np.empty((len(keys), 4), np.int32)
    coords[:, 0] = keys >> np.uint64(_SHIFT[0])
    for axis in (1, 2, 3):
        biased = (keys >> np.uint64(_SHIFT[axis])) & np.uint64(_AXIS_MASK)
        coords[:, axis] = biased.astype(np.int64) - AXIS_BIAS
    return coords


def key_deltas(
    offsets: Int[np.ndarray, "K 3"], level_stride: int
) -> UInt64[np.ndarray, " K"]:
    """Return what to add (modulo 2^64) to a key to move by each offset.

    Args:
      offsets: kernel offsets in voxels of the level.
      level_stride: edge of that level's voxels in level-0 voxels.
    """
    steps = offsets.astype(np.int64) * level_stride
    delta = (steps[:, 0] << _SHIFT[1]) + (steps[:, 1] << _SHIFT[2]) + steps[:, 2]
    return delta.astype(np.uint64)


def floor_keys(keys: UInt64[np.ndarray, " N"], stride: int) -> UInt64[np.ndarray, " N"]:
    """Move every voxel to the lower corner of its `stride`-sized cell.

    Coordinates are floored toward minus infinity, so -1 belongs to the cell that
    starts at `-stride`. The result is neither sorted nor unique.
    """
    if stride & (stride - 1) == 0:
        # The bias is a multiple of every such stride: clearing low bits is flooring.
        low = np.uint64(stride - 1)
        mask = ~((low << np.uint64(_SHIFT[1])) | (low << np.uint64(_SHIFT[2])) | low)
        return keys & mask
    coords = unpack(keys)
    coords[:, 1:] = np.floor_divide(coords[:, 1:], stride) * stride
    return pack(coords)
