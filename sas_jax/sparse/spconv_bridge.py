"""Sparse convolution by the kernels of the package spconv, with gradients.

A third implementation to compare with, and to run networks as users of spconv know
them. spconv's coordinates, hash tables and autograd stay out: its kernels get the
plan's neighbour tables, so offsets and rows mean what they mean everywhere here.

On GPUs the kernels are spconv's implicit GEMMs, on XLA's stream and XLA's memory.
**This was never run on a GPU.** The first call of a shape class tunes, waiting for the
device. On CPUs spconv gathers and scatters rows and numpy multiplies matrices, on one
thread of spconv's, since its scatter-add is wrong on several; it is slow, and there as
an oracle. Programs with it can be neither exported nor serialised.
"""

import importlib.util

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32, UInt32

from sas_jax.errors import InputError
from sas_jax.sparse import spconv_kernels
from sas_jax.sparse.kernel_map import KernelMap
from sas_jax.sparse.native_call import mark_varying, vary_alike, varying_axes
from sas_jax.sparse.rows import mask_rows
from sas_jax.sparse.spconv_kernels import TILE_ROWS, PairTable

DTYPES = (jnp.dtype(jnp.float32), jnp.dtype(jnp.float16))
REMEDY = f"Install spconv: {spconv_kernels.INSTALL}"
# The offsets of a row are bits of one 32-bit word.
MAX_OFFSETS = 32


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
      InputError: if spconv is absent or the map has more than 32 offsets.

    Gradients: features, weights. Deterministic: on CPUs yes; on GPUs as spconv, which
    may split the sums of the weight gradient differently after tuning.
    """
    spconv_kernels.require()
    if kmap.nbr.shape[0] > MAX_OFFSETS:
        raise InputError(
            f"impl: 'spconv' requires at most {MAX_OFFSETS} offsets, got "
            f"{kmap.nbr.shape[0]} ({kmap.kernel_size}^3). Use impl=None for this layer."
        )
    return _conv(*vary_alike(features, weights, kmap))


@jax.custom_vjp
def _conv(features, weights, kmap):
    shape = (kmap.capacity_out, weights.shape[2])
    out = jax.ShapeDtypeStruct(shape, features.dtype)
    operands = (features, _to_filters(weights), pair_table(kmap.nbr))
    return _call(spconv_kernels.forward, out, operands)


def _forward(features, weights, kmap):
    return _conv(features, weights, kmap), (features, weights, kmap)


def _backward(saved, cotangent):
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
    grad_features, grad_filters = _call(spconv_kernels.backward, out, operands)
    return grad_features, jnp.transpose(grad_filters, (1, 2, 0)), None


_conv.defvjp(_forward, _backward)


def pair_table(nbr: Int32[Array, "K rows"]) -> PairTable:
    """Return a neighbour table with the masks and the order that spconv wants."""
    offsets = jnp.arange(nbr.shape[0], dtype=jnp.uint32)
    bits = jnp.left_shift(jnp.ones_like(offsets), offsets)
    present = jnp.where(nbr >= 0, bits[:, None], jnp.zeros_like(bits)[:, None])
    masks = jnp.sum(present, axis=0, dtype=jnp.uint32)
    return PairTable(nbr, masks, jnp.argsort(masks).astype(jnp.int32))


def tile_masks(table: PairTable) -> UInt32[Array, " tiles"]:
    """Return the offsets that occur in each tile of sorted rows."""
    masks = table.masks[table.order]
    tiles = jnp.pad(masks, (0, -len(masks) % TILE_ROWS)).reshape(-1, TILE_ROWS)
    return jax.lax.reduce(tiles, jnp.uint32(0), jax.lax.bitwise_or, (1,))


def _to_filters(weights: Float[Array, "K C_in C_out"]) -> Float[Array, "C_out K C_in"]:
    return jnp.transpose(weights, (2, 0, 1))


def _call(function, out, operands):
    # Experimental: a JAX without it must still import this package.
    from jax.experimental.buffer_callback import buffer_callback

    axes = varying_axes(operands)
    call = buffer_callback(function, out)
    return mark_varying(call(*mark_varying(operands, axes)), axes)
