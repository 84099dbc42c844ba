"""Kernel maps: a neighbour table, its transpose and their valid sizes as one pytree.

Tables are padded with -1 up to the capacities of their levels, so that scenes of one
rung share one compiled program; the numbers of valid rows stay runtime scalars.
"""

import dataclasses
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar, cast, dataclass_transform

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32, UInt64

from sas_jax.errors import InputError
from sas_jax.sparse import tables
from sas_jax.sparse.native import plan as native_plan

_T = TypeVar("_T")


@dataclass_transform(frozen_default=True)
def pytree_dataclass(*static: str) -> Callable[[type[_T]], type[_T]]:
    """Register a frozen dataclass as a pytree whose `static` fields are metadata.

    Fields are declared as the JAX arrays that they are inside a program; see `leaf`.
    """

    def register(cls: type[_T]) -> type[_T]:
        made: Any = dataclasses.dataclass(frozen=True)(cls)
        names = [field.name for field in dataclasses.fields(made)]
        data = [name for name in names if name not in static]
        return jax.tree_util.register_dataclass(made, data, list(static))

    return register


def leaf(value: np.ndarray | np.generic | jax.ShapeDtypeStruct) -> Array:
    """Return a value of the host, or a shape, declared as a leaf of a pytree."""
    return cast(Array, value)


@pytree_dataclass("kernel_size", "stride", "dilation")
class KernelMap:
    """Neighbour table of one kernel between an input and an output level.

    Attributes:
      nbr: i32 [K, cap_out], input row of every output row per offset; -1 is none, and
        rows at or beyond `num_out` are all -1.
      transposed: i32 [K, cap_in], the same with input and output swapped, or None for
        a centred kernel within one level, where it is `nbr` reversed along K.
      num_out: i32 scalar, valid output rows.
      num_in: i32 scalar, valid input rows.
      kernel_size: edge of the kernel in input voxels, K = kernel_size^3.
      stride: edge of output voxels in input voxels.
      dilation: distance between neighbouring offsets in input voxels.
    """

    nbr: Int32[Array, "K cap_out"]
    transposed: Int32[Array, "K cap_in"] | None
    num_out: Int32[Array, ""]
    num_in: Int32[Array, ""]
    kernel_size: int
    stride: int
    dilation: int = 1

    @property
    def nbr_t(self) -> Int32[Array, "K cap_in"]:
        """Return the table with input and output swapped."""
        return self.nbr[::-1] if self.transposed is None else self.transposed

    @property
    def capacity_in(self) -> int:
        """Return the number of rows, padding included, of the input."""
        table = self.nbr if self.transposed is None else self.transposed
        return table.shape[1]

    @property
    def capacity_out(self) -> int:
        """Return the number of rows, padding included, of the output."""
        return self.nbr.shape[1]

    def transpose(self) -> "KernelMap":
        """Return the map of the transposed convolution, onto the existing level."""
        return KernelMap(
            nbr=self.nbr_t,
            transposed=None if self.transposed is None else self.nbr,
            num_out=self.num_in,
            num_in=self.num_out,
            kernel_size=self.kernel_size,
            stride=self.stride,
            dilation=self.dilation,
        )


def gradient_operands(
    kmap: KernelMap, weights: Float[Array, "K C_in C_out"]
) -> tuple[Int32[Array, "K cap_in"], Float[Array, "K C_out C_in"]]:
    """Return table and weights whose convolution of dy is the gradient of x.

    For maps that are their own mirror image the weights are reversed along K, since
    they are far smaller than the table.
    """
    swapped = jnp.swapaxes(weights, 1, 2)
    if kmap.transposed is None:
        return kmap.nbr, swapped[::-1]
    return kmap.transposed, swapped


def submanifold_map(
    keys: UInt64[np.ndarray, " N"],
    kernel_size: int,
    level_stride: int,
    capacity: int,
    dilation: int = 1,
) -> KernelMap:
    """Return the map of a centred odd kernel within one level.

    Args:
      keys: sorted unique keys of the level.
      kernel_size: odd edge of the kernel in voxels of the level.
      level_stride: edge of those voxels in level-0 voxels.
      capacity: rows including padding.
      dilation: distance between neighbouring offsets in voxels of the level.

    Raises:
      InputError: if the kernel size is even; such a kernel is not its own mirror
        image, use `strided_map` with stride 1.
    """
    if kernel_size % 2 == 0:
        raise InputError(
            f"submanifold_map: an odd kernel_size is required, got {kernel_size}. "
            "Use strided_map with stride 1."
        )
    offsets = tables.kernel_offsets(kernel_size, dilation)
    nbr = table_builder().neighbour_table(
        keys, offsets, level_stride, capacity=capacity
    )
    num_valid = leaf(np.asarray(len(keys), np.int32))
    return KernelMap(leaf(nbr), None, num_valid, num_valid, kernel_size, 1, dilation)


def strided_map(
    keys: tuple[UInt64[np.ndarray, " N"], UInt64[np.ndarray, " M"]],
    kernel_size: int,
    stride: int,
    level_stride: int,
    capacities: tuple[int, int],
    dilation: int = 1,
) -> KernelMap:
    """Return the map of any kernel from one level to another, or to itself.

    Args:
      keys: sorted unique keys of the input and of the output level.
      kernel_size: edge of the kernel in voxels of the input level.
      stride: edge of output voxels in input voxels.
      level_stride: edge of input voxels in level-0 voxels.
      capacities: rows including padding of input and output.
      dilation: distance between neighbouring offsets in input voxels.
    """
    keys_in, keys_out = keys
    nbr, transposed = table_builder().strided_tables(
        keys_in,
        keys_out,
        tables.kernel_offsets(kernel_size, dilation),
        level_stride,
        capacities=capacities,
    )
    num_out, num_in = (leaf(np.asarray(len(k), np.int32)) for k in (keys_out, keys_in))
    return KernelMap(
        *(leaf(nbr), leaf(transposed), num_out, num_in),
        *(kernel_size, stride, dilation),
    )


def table_builder() -> ModuleType:
    """Return the module that builds tables: native where it is built, else numpy.

    Both give the same bits, so that nothing but speed depends on the choice.
    """
    return native_plan if native_plan.is_available() else tables
