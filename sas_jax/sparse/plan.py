"""Plans: all that a sparse network needs to know about where the voxels are.

A plan is built on the host once per batch and holds, for every level that the network's
specification names, the coordinates and the neighbour tables within levels and between
them. Row r of every level belongs to the r-th smallest key, so rows beyond `num_valid`
are padding up to the capacity that the rung fixes. Coordinates of every level are in
level-0 voxels: those of a level of stride s are multiples of s.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import jax
import numpy as np
from jaxtyping import Array, Int, Int32, Shaped, UInt64

from sas_jax import memory
from sas_jax.errors import ContractError, InputError
from sas_jax.sparse import keys as voxel_keys
from sas_jax.sparse.kernel_map import (
    KernelMap,
    leaf,
    pytree_dataclass,
    strided_map,
    submanifold_map,
    table_builder,
)
from sas_jax.sparse.plan_spec import MINKUNET, Kernel, PlanSpec
from sas_jax.sparse.rungs import Rung, choose_rung


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
    """Levels and kernel maps of a sparse network.

    Attributes:
      levels: voxels of every resolution, finest first.
      inside: maps within each level, in the order of the specification.
      downward: maps from each level to the next coarser one.
    """

    levels: tuple[Level, ...]
    inside: tuple[tuple[KernelMap, ...], ...]
    downward: tuple[tuple[KernelMap, ...], ...]

    def within(self, level: int, kernel_size: int, dilation: int = 1) -> KernelMap:
        """Return the map of a kernel within a level.

        Raises:
          ContractError: if the plan was built without it.
        """
        return _find(self.inside, level, Kernel(kernel_size, dilation), "within level")

    def down(self, level: int, kernel_size: int, dilation: int = 1) -> KernelMap:
        """Return the map from a level to the next; `.transpose()` leads back up.

        Raises:
          ContractError: if the plan was built without it.
        """
        return _find(self.downward, level, Kernel(kernel_size, dilation), "down from")

    @property
    def rung(self) -> Rung:
        """Return the capacities of all levels."""
        return Rung(tuple(level.coords.shape[0] for level in self.levels))


def level_counts(
    coords: Int[np.ndarray, "N 4"], spec: PlanSpec = MINKUNET
) -> tuple[int, ...]:
    """Return how many voxels each level will have, to choose a rung before building."""
    voxel_keys.check_coords(coords)
    keys, _ = table_builder().sort_unique(voxel_keys.pack(coords))
    return tuple(len(level) for level in _pyramid(keys, spec))


def build_plan(
    coords: Int[np.ndarray, "N 4"],
    rung: Rung | None = None,
    *,
    spec: PlanSpec = MINKUNET,
    duplicates: Literal["raise", "first"] = "raise",
) -> tuple[Plan, Int32[np.ndarray, " num_valid"]]:
    """Build the plan of a batch of voxels.

    Args:
      coords: integer (batch, x, y, z) of every voxel, in any order; may be empty.
      rung: capacities; None takes the least rung of the default ladder that fits.
      spec: levels and kernels that the network asks for.
      duplicates: what to do when a voxel occurs twice: raise, or keep the first.

    Returns:
      The plan, and `order`: row r of level 0 is row `order[r]` of `coords`, so
      features enter the network as `pad_rows(features[order], capacity)` and an
      output row r belongs to voxel `order[r]`.

    Raises:
      InputError: if coordinates are out of range or repeated, a level does not fit the
        rung, or the tables do not fit the memory that is free.
    """
    voxel_keys.check_coords(coords)
    keys, order = table_builder().sort_unique(voxel_keys.pack(coords))
    if len(keys) < len(coords) and duplicates == "raise":
        raise InputError(
            f"build_plan: distinct voxels are required, got {len(coords)} rows of "
            f"which {len(coords) - len(keys)} repeat an earlier one. Voxelize the "
            'points first, or pass duplicates="first".'
        )
    pyramid = _pyramid(keys, spec)
    rung = _checked_rung(rung, [len(level) for level in pyramid])
    caps, strides = rung.capacities, spec.strides
    memory.require(plan_bytes(spec, rung), f"the plan of {len(keys)} voxels")

    def level(index: int) -> Level:
        padded = pad_rows(voxel_keys.unpack(pyramid[index]), caps[index])
        num_valid = np.asarray(len(pyramid[index]), np.int32)
        return Level(leaf(padded), leaf(num_valid), strides[index])

    def kernel_map(kernel: Kernel, fine: int, coarse: int, step: int) -> KernelMap:
        size, stride, dilation = kernel.size, strides[fine], kernel.dilation
        if fine == coarse and size % 2:
            return submanifold_map(pyramid[fine], size, stride, caps[fine], dilation)
        keys, rows = (pyramid[fine], pyramid[coarse]), (caps[fine], caps[coarse])
        return strided_map(keys, size, step, stride, rows, dilation)

    return assemble(spec, level, kernel_map), order.astype(np.int32)


def assemble(
    spec: PlanSpec,
    level: Callable[[int], Level],
    kernel_map: Callable[[Kernel, int, int, int], KernelMap],
) -> Plan:
    """Put the parts of a plan together.

    Args:
      spec: which parts there are.
      level: makes the level of that index.
      kernel_map: makes the map of a kernel from one level to another, which is the same
        or the next one, whose voxels are that many times as large.
    """
    levels = range(spec.num_levels)
    return Plan(
        levels=tuple(level(i) for i in levels),
        inside=tuple(
            tuple(kernel_map(kernel, i, i, 1) for kernel in spec.within[i])
            for i in levels
        ),
        downward=tuple(
            tuple(
                kernel_map(kernel, i, i + 1, spec.steps[i]) for kernel in spec.down[i]
            )
            for i in levels[:-1]
        ),
    )


def abstract_plan(spec: PlanSpec, rung: Rung) -> Plan:
    """Return a plan of shapes alone, to compile for before any voxel is there."""
    caps = rung.capacities

    def array(*shape: int) -> Array:
        return leaf(jax.ShapeDtypeStruct(shape, np.int32))

    def level(index: int) -> Level:
        return Level(array(caps[index], 4), array(), spec.strides[index])

    def kernel_map(kernel: Kernel, fine: int, coarse: int, step: int) -> KernelMap:
        mirrored = fine == coarse and kernel.size % 2
        back = None if mirrored else array(kernel.size**3, caps[fine])
        nbr = array(kernel.size**3, caps[coarse])
        return KernelMap(
            nbr, back, array(), array(), kernel.size, step, kernel.dilation
        )

    return assemble(spec, level, kernel_map)


def plan_bytes(spec: PlanSpec, rung: Rung) -> int:
    """Return the memory that a plan takes."""
    leaves = jax.tree.leaves(abstract_plan(spec, rung))
    return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)


def pad_rows(
    rows: Shaped[np.ndarray, " N *rest"], capacity: int
) -> Shaped[np.ndarray, " cap *rest"]:
    """Return the rows followed by zero rows up to the capacity."""
    if len(rows) > capacity:
        raise InputError(
            f"pad_rows: at most {capacity} rows are required, got {len(rows)}. "
            "Take the capacity from the plan of the same voxels."
        )
    padded = np.zeros((capacity, *rows.shape[1:]), rows.dtype)
    padded[: len(rows)] = rows
    return padded


def _pyramid(
    keys: UInt64[np.ndarray, " N"], spec: PlanSpec
) -> list[UInt64[np.ndarray, " _"]]:
    """Return the sorted unique keys of every level, from those of level 0."""
    pyramid = [keys]
    for stride in spec.strides[1:]:
        coarse = voxel_keys.floor_keys(pyramid[-1], stride)
        pyramid.append(table_builder().sort_unique(coarse)[0])
    return pyramid


def _find(
    maps: Sequence[Sequence[KernelMap]], level: int, kernel: Kernel, where: str
) -> KernelMap:
    there = maps[level] if 0 <= level < len(maps) else ()
    for kmap in there:
        if Kernel(kmap.kernel_size, kmap.dilation) == kernel:
            return kmap
    built = [Kernel(kmap.kernel_size, kmap.dilation) for kmap in there]
    raise ContractError(
        f"plan: {kernel} {where} {level} is required, got a plan with {built} there. "
        "Build it with the network's specification: build_plan(..., spec=...)."
    )


def _checked_rung(rung: Rung | None, counts: Sequence[int]) -> Rung:
    if rung is None:
        return choose_rung(counts)
    if not rung.fits(counts):
        raise InputError(
            f"build_plan: capacities of at least {tuple(counts)} are required, got "
            f"{rung.capacities}. Use choose_rung(level_counts(coords))."
        )
    return rung
