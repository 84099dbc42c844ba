"""Neighbour tables: which input row feeds which output row through which offset.

The relation, for an input level whose voxels have edge `level_stride`:

    out[o] = sum_k W[k]^T in[i]   where   coord(i) = coord(o) + offset_k * level_stride

with all coordinates in level-0 voxels. A table stores `nbr[k, o] = i`, or -1 where
that voxel is not occupied. Offsets of odd kernels are centred, those of even kernels
start at 0; their order is x fastest, then y, then z, as in MinkowskiEngine.
Everything here is numpy on sorted keys (`keys.py`): the reference for `native/plan.py`,
which has the same functions and is faster.
"""

import numpy as np
from jaxtyping import Int, Int32, UInt64

from sas_jax.sparse import keys as voxel_keys


def kernel_offsets(kernel_size: int, dilation: int = 1) -> Int32[np.ndarray, "K 3"]:
    """Return the (x, y, z) offsets of a cubic kernel in weight order."""
    first = -(kernel_size // 2) if kernel_size % 2 else 0
    steps = dilation * np.arange(first, first + kernel_size, dtype=np.int32)
    z, y, x = np.meshgrid(steps, steps, steps, indexing="ij")
    return np.stack([x.ravel(), y.ravel(), z.ravel()], axis=1)


def sort_unique(
    keys: UInt64[np.ndarray, " N"],
) -> tuple[UInt64[np.ndarray, " M"], Int[np.ndarray, " M"]]:
    """Return the sorted distinct keys and the first row of each in the input."""
    return np.unique(keys, return_index=True)


def neighbour_table(
    keys: UInt64[np.ndarray, " N"],
    offsets: Int32[np.ndarray, "K 3"],
    level_stride: int,
    *,
    capacity: int,
) -> Int32[np.ndarray, "K cap"]:
    """Return the table of a level with itself for a centred kernel.

    Row o finds i through offset k exactly where i finds o through the opposite
    offset K-1-k, so only half of the offsets are searched.

    Args:
      keys: sorted distinct keys of the level.
      offsets: kernel offsets in voxels of the level; offset K-1-k is minus offset k.
      level_stride: edge of the level's voxels in level-0 voxels.
      capacity: columns of the table; those from N on are -1.
    """
    centre = len(offsets) // 2
    half = _search(keys, keys, offsets[:centre], level_stride)
    nbr = np.full((len(offsets), capacity), -1, np.int32)
    nbr[:centre, : len(keys)] = half
    nbr[centre, : len(keys)] = np.arange(len(keys), dtype=np.int32)
    nbr[centre + 1 :] = _transpose(half, capacity)[::-1]
    return nbr


def strided_tables(
    keys_in: UInt64[np.ndarray, " N"],
    keys_out: UInt64[np.ndarray, " M"],
    offsets: Int32[np.ndarray, "K 3"],
    level_stride: int,
    *,
    capacities: tuple[int, int],
) -> tuple[Int32[np.ndarray, "K cap_out"], Int32[np.ndarray, "K cap_in"]]:
    """Return the table between two levels and its transpose.

    Args:
      keys_in: sorted distinct keys of the input level.
      keys_out: sorted distinct keys of the output level.
      offsets: kernel offsets in voxels of the input level.
      level_stride: edge of the input level's voxels in level-0 voxels.
      capacities: rows with padding of input and output.
    """
    found = _search(keys_in, keys_out, offsets, level_stride)
    nbr = np.full((len(offsets), capacities[1]), -1, np.int32)
    nbr[:, : len(keys_out)] = found
    return nbr, _transpose(found, capacities[0])


def _search(
    keys_in: UInt64[np.ndarray, " N"],
    keys_out: UInt64[np.ndarray, " M"],
    offsets: Int32[np.ndarray, "K 3"],
    level_stride: int,
) -> Int32[np.ndarray, "K M"]:
    """Return the input row at each offset from every output row, or -1."""
    nbr = np.full((len(offsets), len(keys_out)), -1, np.int32)
    if len(keys_in) == 0:
        return nbr
    for k, delta in enumerate(voxel_keys.key_deltas(offsets, level_stride)):
        wanted = keys_out + delta
        rows = np.searchsorted(keys_in, wanted)
        np.minimum(rows, len(keys_in) - 1, out=rows)
        nbr[k] = np.where(keys_in[rows] == wanted, rows, -1)
    return nbr


def _transpose(
    nbr: Int32[np.ndarray, "K M"], capacity: int
) -> Int32[np.ndarray, "K cap"]:
    """Return the table with input and output swapped.

    Within one offset every input row has at most one output row, so nothing is lost.
    """
    transposed = np.full((len(nbr), capacity), -1, np.int32)
    offset, row_out = np.nonzero(nbr >= 0)
    transposed[offset, nbr[offset, row_out]] = row_out
    return transposed
