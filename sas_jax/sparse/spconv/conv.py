"""Sparse convolution by the kernels of the package spconv, with gradients.

A third implementation to compare with, and to run networks as users of spconv know
them. spconv's coordinates, hash tables and autograd stay out: its kernels get the
plan's neighbour tables, so offsets and rows mean what they mean everywhere here.

On GPUs the kernels are spconv's implicit GEMMs, on XLA's stream and XLA's memory. The
first call of a shape class tunes, waiting for the device; for float16 the tuner may
choose a kernel with float16 sums. On CPUs spconv gathers and scatters rows and numpy
multiplies matrices, on one thread of spconv's, since its scatter-add is wrong on
several; it is slow, and there as an oracle. Programs with it can be neither exported
nor serialised.
"""

import importlib.util
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32, UInt32

from sas_jax.errors import InputError
from sas_jax.native_call import mark_varying, vary_alike, varying_axes
from sas_jax.sparse.kernel_map import KernelMap
from sas_jax.sparse.rows import mask_rows
from sas_jax.sparse.spconv import cpu as spconv_cpu
from sas_jax.sparse.spconv import cuda as spconv_cuda
from sas_jax.sparse.spconv import package as spconv_package
from sas_jax.sparse.spconv.package import TILE_ROWS, PairTable

DTYPES = (jnp.dtype(jnp.float32), jnp.dtype(jnp.float16))
REMEDY = f"Install spconv: {spconv_package.INSTALL}"
# The offsets of a row are bits of one 32-bit word.
MAX_OFFSETS = 32
_CPU, _CUDA = 1, 2  # device types of DLPack


def is_available() -> bool:
    """Say whether spconv is installed and JAX's default platform is one it knows."""
    found = all(importlib.util.find_spec(name) for name in ("spconv", "cumm"))
    return found and jax.default_backend() in ("cpu", "gpu")


def conv(
    features: Float[Array, "cap_in C_in"],
    weights: Float[Array, "K C_in C_out"],
    kmap: KernelMap,
) -> Float[Array, "cap_out C_out"]:
    """Convolve; rows at or beyond `kmap.num_out` are exactly 0.

    Args:
      features: float32 or float16; rows at or beyond `kmap.num_in` may hold anything,
        NaN too.
      weights: same type, one matrix per offset, in the order of the map; at most 32.
      kmap: the neighbour table.

    Raises:
      InputError: if spconv is absent, types differ, or there are more than 32 offsets.

    Gradients: features, weights. Deterministic: on CPUs yes; on GPUs as spconv, which
    may split the sums of the weight gradient differently after tuning.
    """
    spconv_package.require()
    if kmap.nbr.shape[0] > MAX_OFFSETS:
        raise InputError(
            f"impl: 'spconv' requires at most {MAX_OFFSETS} offsets, got "
            f"{kmap.nbr.shape[0]} ({kmap.kernel_size}^3). Use impl=None for this layer."
        )
    if weights.dtype != features.dtype:
        raise InputError(
            "impl: 'spconv' requires features and weights of one type, got "
            f"{features.dtype} and {weights.dtype}. Cast one of them."
        )
    return _conv(*vary_alike(features, weights, kmap))


@jax.custom_vjp
def _conv(features, weights, kmap):
    shape = (kmap.capacity_out, weights.shape[2])
    out = jax.ShapeDtypeStruct(shape, features.dtype)
    operands = (features, _to_filters(weights), pair_table(kmap.nbr))
    return _call(forward, out, operands)


def _conv_forward(features, weights, kmap):
    return _conv(features, weights, kmap), (features, weights, kmap)


def _conv_backward(saved, cotangent):
    features, weights, kmap = saved
    filters = _to_filters(weights)
    table = pair_table(kmap.nbr)
    operands = (
        features,
        filters,
        # Absent rows gather as zero, but zero times a NaN of a padding row is NaN.
        mask_rows(cotangent, kmap.num_out),
        table,
        pair_table(kmap.nbr_t),
        tile_masks(table),
    )
    out = tuple(jax.ShapeDtypeStruct(a.shape, a.dtype) for a in (features, filters))
    grad_features, grad_filters = _call(backward, out, operands)
    return grad_features, jnp.transpose(grad_filters, (1, 2, 0)), None


_conv.defvjp(_conv_forward, _conv_backward)


def pair_table(nbr: Int32[Array, "K rows"]) -> PairTable:
    """Return a neighbour table with the masks and the order that spconv wants."""
    offsets = jnp.arange(nbr.shape[0], dtype=jnp.uint32)
    bits = jnp.left_shift(jnp.ones_like(offsets), offsets)
    present = jnp.where(nbr >= 0, bits[:, None], jnp.zeros_like(bits)[:, None])
    masks = jnp.sum(present, axis=0, dtype=jnp.uint32)
    rows = jnp.arange(len(masks), dtype=jnp.int32)
    masks, order = jax.lax.sort((masks, rows), num_keys=1)
    return PairTable(nbr, masks, order)


def tile_masks(table: PairTable) -> UInt32[Array, " tiles"]:
    """Return the offsets that occur in each tile of sorted rows."""
    padding = (0, -len(table.masks) % TILE_ROWS)
    tiles = jnp.pad(table.masks, padding).reshape(-1, TILE_ROWS)
    return jax.lax.reduce(tiles, jnp.uint32(0), jax.lax.bitwise_or, (1,))


def _to_filters(weights: Float[Array, "K C_in C_out"]) -> Float[Array, "C_out K C_in"]:
    return jnp.transpose(weights, (2, 0, 1))


def _call(function, out, operands):
    # Experimental: a JAX without it must still import this package.
    from jax.experimental.buffer_callback import buffer_callback

    axes = varying_axes(operands)
    call = buffer_callback(function, out)
    return mark_varying(call(*mark_varying(operands, axes)), axes)


# What XLA calls back. Nothing from here on may call JAX; buffers are wrapped, never
# copied.


def forward(ctx: Any, out: Any, features: Any, filters: Any, table: PairTable) -> None:
    """Write `out[o] = sum_k filters[:, k] features[pairs[k, o]]`.

    Args:
      ctx: context of the callback.
      out: [rows, C_out], written.
      features: [rows of the input, C_in].
      filters: [C_out, K, C_in].
      table: pairs per output row.
    """
    if _device(features) == _CPU:
        return spconv_cpu.forward(out, features, filters, table)
    return spconv_cuda.forward(ctx.stream, out, features, filters, table)


def backward(
    ctx: Any,
    out: tuple[Any, Any],
    features: Any,
    filters: Any,
    cotangent: Any,
    table: PairTable,
    transposed: PairTable,
    tile_masks: Any,
) -> None:
    """Write the gradients of `forward` with respect to features and filters.

    Args:
      ctx: context of the callback.
      out: both gradients, written.
      features: as for `forward`.
      filters: as for `forward`.
      cotangent: [rows, C_out]; 0 in rows without pairs.
      table: pairs per output row.
      transposed: pairs per input row.
      tile_masks: u32 [tiles], all offsets of `TILE_ROWS` consecutive rows in the order
        of `table`.
    """
    if _device(features) == _CPU:
        return spconv_cpu.backward(out, features, filters, cotangent, table)
    operands = (features, filters, cotangent)
    return spconv_cuda.backward(
        ctx.stream, out, operands, table, transposed, tile_masks
    )


def _device(buffer: Any) -> int:
    """Return the kind of device on which a buffer lies."""
    kind, ordinal = buffer.__dlpack_device__()
    if kind not in (_CPU, _CUDA) or (kind == _CUDA and ordinal != 0):
        raise InputError(
            "impl: 'spconv' requires the CPU or the first GPU that the process sees, "
            f"got device {ordinal} of type {kind}. Run one process per GPU "
            "(CUDA_VISIBLE_DEVICES)."
        )
    return kind
