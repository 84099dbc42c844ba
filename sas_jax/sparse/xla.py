"""Sparse convolution in plain XLA: the reference, and what TPUs run.

Gather-only: a scan over kernel offsets gathers one row per output row and multiplies,
and every gradient is written the same way with the transposed table, so no
scatter-add is ever needed and memory stays O(rows * channels).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from sas_jax.sparse.kernel_map import KernelMap, gradient_operands
from sas_jax.sparse.native_call import mark_varying, vary_alike, varying_axes
from sas_jax.sparse.rows import accumulator, mask_rows

# Offsets are gathered in groups whose rows have about this many channels together:
# a stem with 3 input channels would otherwise be 125 tiny products.
_GROUP_CHANNELS = 96


def conv(
    features: Float[Array, "cap_in C_in"],
    weights: Float[Array, "K C_in C_out"],
    kmap: KernelMap,
) -> Float[Array, "cap_out C_out"]:
    """Convolve; rows at or beyond `kmap.num_out` are exactly 0.

    Args:
      features: rows at or beyond `kmap.num_in` may hold anything, NaN too.
      weights: one matrix per offset, in the order of the map; float32 if the features'
        type is not theirs.
      kmap: the neighbour table.

    Gradients: features, weights. Deterministic: yes for one shape and platform.
    """
    return _conv(*vary_alike(features, weights, kmap))


@jax.custom_vjp
def _conv(features, weights, kmap):
    return _gather_multiply(features, weights, kmap.nbr)


def _forward(features, weights, kmap):
    return _conv(features, weights, kmap), (features, weights, kmap)


def _backward(saved, cotangent):
    features, weights, kmap = saved
    table, swapped = gradient_operands(kmap, weights)
    grad_features = _gather_multiply(cotangent, swapped, table)
    grad_weights = _weight_gradient(features, cotangent, kmap)
    return grad_features, grad_weights.astype(weights.dtype), None


_conv.defvjp(_forward, _backward)


def pointwise(
    features: Float[Array, "cap C_in"],
    weights: Float[Array, "C_in C_out"],
    num_valid: Int32[Array, ""],
) -> Float[Array, "cap C_out"]:
    """Apply one matrix to every valid row; rows at or beyond `num_valid` become 0.

    Args:
      features: rows at or beyond `num_valid` may hold anything, NaN too.
      weights: the matrix.
      num_valid: how many leading rows are voxels.

    Gradients: features, weights. Deterministic: yes for one shape and platform.
    """
    # Masked on both sides: values must not leak forward, nor cotangents backward.
    product = _product(mask_rows(features, num_valid), weights)
    return mask_rows(product, num_valid).astype(features.dtype)


def _gather_multiply(
    features: Float[Array, "N C"],
    weights: Float[Array, "K C D"],
    table: Int32[Array, "K M"],
) -> Float[Array, "M D"]:
    """Return `sum_k features[table[k]] @ weights[k]` with absent rows as zero."""
    num_offsets, channels, width = weights.shape
    group = _group_size(num_offsets, channels)
    tables = table.reshape(num_offsets // group, group, -1)
    matrices = weights.reshape(num_offsets // group, group * channels, width)

    def add_group(total, operands):
        rows, matrix = operands
        gathered = _gather(features, rows)
        return total + _product(gathered, matrix), None

    start = jnp.zeros((table.shape[1], width), accumulator(features.dtype))
    start = mark_varying(start, varying_axes((features, weights, table)))
    total, _ = jax.lax.scan(add_group, start, (tables, matrices))
    return total.astype(features.dtype)


def _weight_gradient(
    features: Float[Array, "N C"], cotangent: Float[Array, "M D"], kmap: KernelMap
) -> Float[Array, "K C D"]:
    """Return `features[nbr[k]]^T @ cotangent` for every offset."""
    num_offsets, channels = kmap.nbr.shape[0], features.shape[1]
    group = _group_size(num_offsets, channels)
    # Absent rows gather as zero, but zero times a NaN of a padding row is NaN.
    cotangent = mask_rows(cotangent, kmap.num_out)

    def one_group(rows):
        return _product(_gather(features, rows).T, cotangent)

    tables = kmap.nbr.reshape(num_offsets // group, group, -1)
    return jax.lax.map(one_group, tables).reshape(num_offsets, channels, -1)


def _gather(
    features: Float[Array, "N C"], rows: Int32[Array, "G M"]
) -> Float[Array, "M G*C"]:
    """Return the rows of a group of offsets side by side, absent ones as zero."""
    rows = rows.T
    gathered = jnp.take(features, rows, axis=0, mode="clip")
    gathered = jnp.where(rows[:, :, None] >= 0, gathered, jnp.zeros_like(gathered))
    return gathered.reshape(rows.shape[0], -1)


def _product(a: Float[Array, "M C"], b: Float[Array, "C D"]) -> Float[Array, "M D"]:
    """Multiply matrices at full precision; half times float32 is float32."""
    wide = a.dtype if a.dtype == b.dtype else accumulator(a.dtype)
    return jnp.matmul(
        a.astype(wide),
        b.astype(wide),
        precision=jax.lax.Precision.HIGHEST,
        preferred_element_type=accumulator(a.dtype),
    )


def _group_size(num_offsets: int, channels: int) -> int:
    """Return the largest divisor of K whose rows stay within the group's width."""
    most = max(1, _GROUP_CHANNELS // channels)
    return max(g for g in range(1, min(most, num_offsets) + 1) if num_offsets % g == 0)
