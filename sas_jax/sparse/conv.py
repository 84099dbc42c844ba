"""Sparse convolution: the public operation, its checks and its implementations.

The relation is the one of `tables.py`; weights are [K, C_in, C_out] with the x offset
varying fastest. A transposed convolution is `sparse_conv(x, w, kmap.transpose())`.

Implementations, by `impl`:
  native: the kernels of this package, float32 or bfloat16 rows and float32 sums, on the
    platforms they are built for: C++ on CPUs, CUDA on NVIDIA GPUs. JAX's setting for
    matrix products decides what they multiply in: `native/cpu.py`, `native/cuda.py`.
  xla: plain XLA, every platform and floating type.
  spconv: the kernels of the package spconv, for comparison; at most 32 offsets. It has
    none for 1x1 convolutions and norms and leaves those to its framework, so they run
    as with xla.
None takes native where it can run and xla elsewhere. An implementation that is asked
for by name and cannot run is an error, never replaced.
"""

from types import MappingProxyType
from typing import get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from sas_jax.errors import ContractError, InputError
from sas_jax.sparse.kernel_map import KernelMap
from sas_jax.sparse.native import conv as native
from sas_jax.sparse.native import cpu as native_cpu
from sas_jax.sparse.plan_spec import Implementation
from sas_jax.sparse.remake import Rows, as_rows
from sas_jax.sparse.rows import accumulator
from sas_jax.sparse.spconv import conv as spconv_bridge
from sas_jax.sparse.xla import conv as xla

_MODULES = MappingProxyType({"native": native, "xla": xla, "spconv": spconv_bridge})
IMPLEMENTATIONS: tuple[Implementation, ...] = get_args(Implementation)


def sparse_conv(
    features: Float[Array, "cap_in C_in"] | Rows,
    weights: Float[Array, "K C_in C_out"],
    kmap: KernelMap,
    *,
    impl: str | None = None,
) -> Float[Array, "cap_out C_out"]:
    """Convolve sparse features.

    Args:
      features: one row per voxel of the map's input level; rows at or beyond
        `kmap.num_in` may hold anything, NaN too. Those with a recipe are not kept for
        the backward pass by native kernels.
      weights: one matrix per offset, of the features' type or float32.
      kmap: neighbour table from `plan.build_plan`.
      impl: a name of `IMPLEMENTATIONS`, or None.

    Returns:
      One row per voxel of the output level, same dtype; rows at or beyond
      `kmap.num_out` are exactly 0.

    Raises:
      ContractError: if shapes or types disagree.
      InputError: if the implementation cannot run.

    Gradients: features, weights. Deterministic: yes; native also over thread counts
    and rungs.
    """
    rows = as_rows(features)
    features = rows.value
    _check_floats("sparse_conv", features, weights)
    _check(weights.ndim == 3, "weights [K, C_in, C_out]", weights.shape)
    _check(
        features.shape[0] == kmap.capacity_in,
        f"features with {kmap.capacity_in} rows, the capacity of the input level",
        features.shape,
    )
    _check(
        weights.shape[0] == kmap.nbr.shape[0],
        f"weights of {kmap.nbr.shape[0]} offsets ({kmap.kernel_size}^3)",
        weights.shape,
    )
    _check(
        weights.shape[1] == features.shape[1],
        f"weights with C_in = {features.shape[1]}, as the features",
        weights.shape,
    )
    module = _MODULES[choose_impl(impl, features.dtype)]
    return module.conv(rows if module is native else features, weights, kmap)


def pointwise(
    features: Float[Array, "cap C_in"] | Rows,
    weights: Float[Array, "C_in C_out"],
    num_valid: Int32[Array, ""],
    *,
    impl: str | None = None,
) -> Float[Array, "cap C_out"]:
    """Apply a 1x1 convolution: one matrix to every voxel.

    Args:
      features: rows at or beyond `num_valid` may hold anything, NaN too; recipes as
        above.
      weights: the matrix, of the features' type or float32.
      num_valid: how many leading rows are voxels.
      impl: a name of `IMPLEMENTATIONS`, or None.

    Returns:
      Same dtype; rows at or beyond `num_valid` are exactly 0.

    Raises:
      ContractError: if shapes or types disagree.
      InputError: if the implementation cannot run.

    Gradients: features, weights. Deterministic: yes.
    """
    rows = as_rows(features)
    features = rows.value
    _check_floats("pointwise", features, weights)
    if weights.ndim != 2 or weights.shape[0] != features.shape[1]:
        raise ContractError(
            f"pointwise: weights [{features.shape[1]}, C_out] are required, got "
            f"{list(weights.shape)}. Was this layer built for another level?"
        )
    if choose_impl(impl, features.dtype) == "native":
        return native.pointwise(rows, weights, num_valid)
    return xla.pointwise(features, weights, num_valid)


def choose_impl(impl: str | None, dtype: jnp.dtype) -> str:
    """Return the implementation that will run.

    Raises:
      InputError: if the name is unknown, or names one that cannot run here.
    """
    if impl is None:
        able = native.is_available() and dtype in native.DTYPES
        return "native" if able else "xla"
    if impl not in IMPLEMENTATIONS:
        raise InputError(
            f"impl: one of {IMPLEMENTATIONS} or None is required, got {impl!r}."
        )
    module = _MODULES[impl]
    if module is not xla and not module.is_available():
        raise InputError(
            f"impl: {impl!r} is required to run on platform "
            f"{jax.default_backend()!r}, got none that does. {module.REMEDY}, or use "
            "impl='xla'."
        )
    if module is not xla and dtype not in module.DTYPES:
        raise InputError(
            f"impl: {impl!r} requires {' or '.join(map(str, module.DTYPES))}, got "
            f"{dtype}. Cast the features, or use impl='xla'."
        )
    return impl


def require_bf16(where: str, impl: str | None) -> None:
    """Check that products in bfloat16 are the processor's own, where a CPU computes.

    Widening or emulating them instead would give other numbers, and win no time.

    Args:
      where: says who asks.
      impl: a name of `IMPLEMENTATIONS`, or None.

    Raises:
      InputError: if they are not. GPUs and TPUs have them.
    """
    if jax.default_backend() != "cpu":
        return
    if choose_impl(impl, jnp.dtype(jnp.bfloat16)) != "native":
        raise InputError(
            f"{where}: the native kernels are required for bf16 on a CPU, got impl "
            f"{impl or 'xla'!r}. {native.REMEDY}, or compute in f32."
        )
    native_cpu.require_products(where)


def _check_floats(where: str, features: Array, weights: Array) -> None:
    floating = jnp.issubdtype(features.dtype, jnp.floating)
    same = floating and weights.dtype in (features.dtype, accumulator(features.dtype))
    if features.ndim != 2 or not same:
        raise ContractError(
            f"{where}: floating features [N, C] and weights of one type, or half "
            "precision and float32, are required, got "
            f"{features.dtype} {list(features.shape)} and {weights.dtype}. "
            "Cast one of them."
        )


def _check(holds: bool, requirement: str, shape: tuple[int, ...]) -> None:
    if not holds:
        raise ContractError(
            f"sparse_conv: {requirement} are required, got {list(shape)}. "
            "Was this layer built for another level?"
        )
