"""Plans: all that a sparse network needs to know about where the voxels are.

A plan is built on the host once per batch and holds, for the five levels of a sparse
U-Net (voxel edges 1, 2, 4, 8, 16), the coordinates and the neighbour tables between
and within levels. Row r of every level belongs to the r-th smallest key, so rows
beyond `num_valid` are padding up to the capacity that the rung fixes. Coordinates of
every level are in level-0 voxels: those of level l are multiples of 2^l.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Array, Int, Int32, Shaped, UInt64

from sas_jax.errors import InputError
from sas_jax.sparse import keys as voxel_keys
from sas_jax.sparse.kernel_map import (
    KernelMap,
    pytree_dataclass,
    strided_map,
    submanifold_map,
    table_builder,
)
from sas_jax.sparse.rungs import NUM_LEVELS, Rung, choose_rung

LEVEL_STRIDES = tuple(1 << level for level in range(NUM_LEVELS))
STEM_KERNEL = 5
BLOCK_KERNEL = 3
DOWN_KERNEL = 2


@pytree_dataclass("stride")
class Level:
    """Voxels of one resolution.

    Attributes:
      coords: i32 [cap, 4] (batch, x, y, z) in level-0 voxels; padding rows are 0.
      num_valid: i32 scalar, how many leading rows are voxels.
      stride: edge of the voxels in level-0 voxels.
    """

    coords: Int32[Array, "cap 4"]
    num_valid: Int32[Array, ""]
    stride: int


@pytree_dataclass()
class Plan:
    """Levels and kernel maps of a five-level sparse U-Net.

    Attributes:
      levels: voxels of strides 1, 2, 4, 8, 16.
      subm3: 3^3 map within each level.
      stem: 5^3 map within level 0.
      down: 2^3 maps from level l to level l+1; `.transpose()` leads back up.
    """

    levels: tuple[Level, ...]
    subm3: tuple[KernelMap, ...]
    stem: KernelMap
    down: tuple[KernelMap, ...]

    @property
    def rung(self) -> Rung:
        """Return the capacities of all levels."""
        return Rung(tuple(level.coords.shape[0] for level in self.levels))


def level_counts(coords: Int[np.ndarray, "N 4"]) -> tuple[int, ...]:
    """Return how many voxels each level will have, to choose a rung before building."""
    voxel_keys.check_coords(coords)
    keys, _ = table_builder().sort_unique(voxel_keys.pack(coords))
    return tuple(len(level) for level in _pyramid(keys))


def build_plan(
    coords: Int[np.ndarray, "N 4"],
    rung: Rung | None = None,
    *,
    duplicates: Literal["raise", "first"] = "raise",
) -> tuple[Plan, Int32[np.ndarray, " num_valid"]]:
    """Build the plan of a batch of voxels.

    Args:
      coords: integer (batch, x, y, z) of every voxel, in any order; may be empty.
      rung: capacities; None takes the lowest rung of the default ladder that fits.
      duplicates: what to do when a voxel occurs twice: raise, or keep the first.

    Returns:
      The plan, and `order`: row r of level 0 is row `order[r]` of `coords`, so
      features enter the network as `pad_rows(features[order], capacity)` and an
      output row r belongs to voxel `order[r]`.

    Raises:
      InputError: if coordinates are out of range or repeated, or a level does not
        fit the rung.
    """
    voxel_keys.check_coords(coords)
    keys, order = table_builder().sort_unique(voxel_keys.pack(coords))
    if len(keys) < len(coords) and duplicates == "raise":
        raise InputError(
            f"build_plan: distinct voxels are required, got {len(coords)} rows of "
            f"which {len(coords) - len(keys)} repeat an earlier one. Voxelize the "
            'points first, or pass duplicates="first".'
        )
    pyramid = _pyramid(keys)
    rung = _checked_rung(rung, [len(level) for level in pyramid])
    caps = rung.capacities
    levels = zip(pyramid, caps, LEVEL_STRIDES, strict=True)
    plan = Plan(
        levels=tuple(_level(*level) for level in levels),
        subm3=tuple(
            submanifold_map(keys, BLOCK_KERNEL, stride, cap)
            for keys, stride, cap in zip(pyramid, LEVEL_STRIDES, caps, strict=True)
        ),
        stem=submanifold_map(keys, STEM_KERNEL, 1, caps[0]),
        down=tuple(
            strided_map(
                pyramid[i : i + 2], DOWN_KERNEL, 2, LEVEL_STRIDES[i], caps[i : i + 2]
            )
            for i in range(NUM_LEVELS - 1)
        ),
    )
    return plan, order.astype(np.int32)


def pad_rows(
    rows: Shaped[np.ndarray, "N *rest"], capacity: int
) -> Shaped[np.ndarray, "cap *rest"]:
    """Return the rows followed by zero rows up to the capacity."""
    if len(rows) > capacity:
        raise InputError(
            f"pad_rows: at most {capacity} rows are required, got {len(rows)}. "
            "Take the capacity from the plan of the same voxels."
        )
    padded = np.zeros((capacity, *rows.shape[1:]), rows.dtype)
    padded[: len(rows)] = rows
    return padded


def _pyramid(keys: UInt64[np.ndarray, " N"]) -> list[UInt64[np.ndarray, " _"]]:
    """Return the sorted unique keys of every level, from those of level 0."""
    pyramid = [keys]
    for stride in LEVEL_STRIDES[1:]:
        coarse = voxel_keys.floor_keys(pyramid[-1], stride)
        pyramid.append(table_builder().sort_unique(coarse)[0])
    return pyramid


def _level(keys: UInt64[np.ndarray, " N"], capacity: int, stride: int) -> Level:
    coords = pad_rows(voxel_keys.unpack(keys), capacity)
    return Level(coords, np.asarray(len(keys), np.int32), stride)


def _checked_rung(rung: Rung | None, counts: Sequence[int]) -> Rung:
    if rung is None:
        return choose_rung(counts)
    if not rung.fits(counts):
        raise InputError(
            f"build_plan: capacities of at least {tuple(counts)} are required, got "
            f"{rung.capacities}. Use choose_rung(level_counts(coords))."
        )
    return rung
