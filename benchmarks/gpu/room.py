"""The room of the day: the benchmarks' scene, or a corner of it in a rehearsal."""

import functools

import numpy as np
import rows
import scene

# A corner is large enough that all five levels have voxels.
_CORNER_VOXELS = 12


@functools.cache
def voxels(seed: int = 0) -> np.ndarray:
    """Return the distinct (batch, x, y, z) voxels, int32 [N, 4]."""
    found = scene.room_voxels(seed)
    if rows.REHEARSE:
        middle = np.median(found[:, 1:], axis=0).astype(np.int32)
        near = np.abs(found[:, 1:] - middle).max(axis=1) < _CORNER_VOXELS
        found = np.ascontiguousarray(found[near])
    return found
