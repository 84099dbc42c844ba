"""Voxelisation: points to occupied cells of a regular grid, and back.

A voxel is represented by its first point, as in the authors' code: nothing is
averaged, so every voxel has exactly the superpoint, the target and the visibility of
one real point. Voxels are sorted by (x, y, z), the row order of `sparse.build_plan`.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, Int, Int32

from sas_jax.errors import InputError
from sas_jax.sparse.keys import AXIS_BITS, MAX_COORD


@dataclasses.dataclass(frozen=True)
class Voxels:
    """Occupied cells of one scene.

    Attributes:
      coords: cell of each voxel, least coordinate 0 per axis, sorted by (x, y, z).
      first_point: the point that represents each voxel, its first one.
      inverse: the voxel row of each point.
    """

    coords: Int32[np.ndarray, "N 3"]
    first_point: Int32[np.ndarray, " N"]
    inverse: Int32[np.ndarray, " P"]


def voxelize(points: Float[np.ndarray, "P 3"], voxel_size_m: float) -> Voxels:
    """Return the voxels of a cloud, without any augmentation.

    Args:
      points: positions in metres; may be empty.
      voxel_size_m: edge of a voxel, metres, > 0.

    Raises:
      InputError: if a position is not finite or the cloud spans more voxels than a
        key can hold.

    Deterministic: yes.
    """
    return unique_voxels(grid_cells(points, voxel_size_m))


def grid_cells(
    points: Float[np.ndarray, "P 3"], voxel_size_m: float
) -> Int32[np.ndarray, "P 3"]:
    """Return the grid cell of every point, moved so that the least one is 0.

    Raises:
      InputError: as `voxelize`.

    Source: authors' code (dataset/voxelizer): floor first, then subtract the minimum.
    """
    if not voxel_size_m > 0:
        raise InputError(
            f"voxelize: voxel_size_m > 0 is required, got {voxel_size_m}. "
            "The paper uses 0.02 indoors and 0.05 outdoors."
        )
    if len(points) == 0:
        return np.zeros((0, 3), np.int32)
    cells = np.floor(points.astype(np.float64) / voxel_size_m)
    cells -= cells.min(axis=0)
    # Comparing this way round also refuses NaN and infinity.
    if not cells.max() <= MAX_COORD:
        raise InputError(
            f"voxelize: finite points spanning at most {MAX_COORD} voxels are "
            f"required, got {cells.max():g}. Check the unit of the points (metres) and "
            "for stray points, or use larger voxels."
        )
    return cells.astype(np.int32)


def unique_voxels(cells: Int[np.ndarray, "P 3"]) -> Voxels:
    """Return the occupied cells, their first points and each point's voxel row.

    Args:
      cells: grid cell of every point, coordinates in [0, 2^18).
    """
    keys = np.zeros(len(cells), np.int64)
    for axis in range(3):
        keys = (keys << AXIS_BITS) | cells[:, axis]
    order = np.argsort(keys, kind="stable")
    starts = np.ones(len(keys), bool)
    starts[1:] = np.diff(keys[order]) != 0
    inverse = np.empty(len(keys), np.int32)
    inverse[order] = np.cumsum(starts, dtype=np.int32) - 1
    first_point = order[starts].astype(np.int32)
    return Voxels(cells[first_point].astype(np.int32), first_point, inverse)
