"""Build neighbour tables with the native library: sorting and merging, no hashing.

The same results as the numpy functions of `tables.py`, some ten times faster and on
several threads; tables come out at their padded capacity, so they are never copied.
"""

import ctypes
import os

import numpy as np
from jaxtyping import Int32, UInt64

from sas_jax import native_library
from sas_jax.errors import InputError
from sas_jax.sparse import keys as voxel_keys


def is_available() -> bool:
    """Say whether the native library is there."""
    return native_library.load() is not None


def sort_unique(
    keys: UInt64[np.ndarray, " N"],
) -> tuple[UInt64[np.ndarray, " M"], Int32[np.ndarray, " M"]]:
    """Return the sorted distinct keys and the first row of each in the input.

    Deterministic: yes; equals `np.unique(keys, return_index=True)`.
    """
    keys = _as_keys("sort_unique", keys)
    unique = np.empty(len(keys), np.uint64)
    first = np.empty(len(keys), np.int32)
    count = ctypes.c_int64()
    status = native_library.require().sas_plan_sort_unique(
        _pointer(keys),
        ctypes.c_int64(len(keys)),
        _pointer(unique),
        _pointer(first),
        ctypes.byref(count),
    )
    _check_status("sort_unique", status)
    return unique[: count.value].copy(), first[: count.value].copy()


def neighbour_table(
    keys: UInt64[np.ndarray, " N"],
    offsets: Int32[np.ndarray, "K 3"],
    level_stride: int,
    *,
    capacity: int | None = None,
    num_threads: int | None = None,
) -> Int32[np.ndarray, "K cap"]:
    """Return the table of a level with itself for a centred kernel.

    Args:
      keys: sorted distinct keys of the level.
      offsets: kernel offsets in voxels of the level; offset K-1-k is minus offset k.
      level_stride: edge of the level's voxels in level-0 voxels.
      capacity: columns of the table, at least N; None is N. Columns from N on are -1.
      num_threads: None is one per processor, at most 8; the result is the same.

    Raises:
      InputError: if the offsets are not symmetric.
    """
    return _tables(
        keys, None, offsets, level_stride, (capacity, capacity), num_threads
    )[0]


def strided_tables(
    keys_in: UInt64[np.ndarray, " N"],
    keys_out: UInt64[np.ndarray, " M"],
    offsets: Int32[np.ndarray, "K 3"],
    level_stride: int,
    *,
    capacities: tuple[int | None, int | None] = (None, None),
    num_threads: int | None = None,
) -> tuple[Int32[np.ndarray, "K cap_out"], Int32[np.ndarray, "K cap_in"]]:
    """Return the table between two levels and its transpose.

    Args:
      keys_in: sorted distinct keys of the input level.
      keys_out: sorted distinct keys of the output level.
      offsets: kernel offsets in voxels of the input level.
      level_stride: edge of the input level's voxels in level-0 voxels.
      capacities: rows with padding of input and output; None is no padding.
      num_threads: as for `neighbour_table`.
    """
    nbr, transposed = _tables(
        keys_in, keys_out, offsets, level_stride, capacities, num_threads
    )
    assert transposed is not None  # as there are output keys
    return nbr, transposed


def _tables(
    keys_in: np.ndarray,
    keys_out: np.ndarray | None,
    offsets: np.ndarray,
    level_stride: int,
    capacities: tuple[int | None, int | None],
    num_threads: int | None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the tables; without output keys, that of a level with itself alone."""
    symmetric = keys_out is None
    keys_in = _as_keys("neighbour_table", keys_in)
    keys_out = keys_in if keys_out is None else _as_keys("neighbour_table", keys_out)
    capacity_in = _capacity(capacities[0], len(keys_in))
    capacity_out = _capacity(capacities[1], len(keys_out))
    deltas = _as_keys("deltas", voxel_keys.key_deltas(offsets, level_stride))
    nbr = np.empty((len(offsets), capacity_out), np.int32)
    transposed = None
    if not symmetric:
        transposed = np.empty((len(offsets), capacity_in), np.int32)
    status = native_library.require().sas_plan_tables(
        _pointer(keys_in),
        ctypes.c_int64(len(keys_in)),
        _pointer(keys_out),
        ctypes.c_int64(len(keys_out)),
        _pointer(deltas),
        ctypes.c_int64(len(deltas)),
        ctypes.c_uint64(level_stride),
        _pointer(nbr),
        ctypes.c_int64(capacity_out),
        None if transposed is None else _pointer(transposed),
        ctypes.c_int64(capacity_in),
        num_threads or min(os.cpu_count() or 1, 8),
    )
    _check_status("neighbour_table", status)
    return nbr, transposed


def _as_keys(where: str, keys: np.ndarray) -> np.ndarray:
    if keys.dtype != np.uint64 or keys.ndim != 1:
        raise InputError(
            f"{where}: uint64 keys [N] are required, got {keys.dtype} "
            f"{list(keys.shape)}. Use sas_jax.sparse.keys.pack."
        )
    return np.ascontiguousarray(keys)


def _capacity(wanted: int | None, rows: int) -> int:
    if wanted is not None and wanted < rows:
        raise InputError(
            f"neighbour_table: a capacity of at least {rows} is required, got "
            f"{wanted}. Take a higher rung."
        )
    return rows if wanted is None else wanted


def _check_status(where: str, status: int) -> None:
    if status == 1:
        raise InputError(
            f"{where}: offsets that are their own mirror image are required within "
            "one level. Use strided_tables for others."
        )
    if status != 0:
        raise MemoryError(f"{where}: the native library ran out of memory.")


def _pointer(array: np.ndarray) -> ctypes.c_void_p:
    return array.ctypes.data_as(ctypes.c_void_p)
