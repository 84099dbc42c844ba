"""Sparse convolution in plain XLA: the reference, and what TPUs run.

Gather-only: for a block of output rows, the neighbours of all offsets are gathered
side by side and multiplied at once; every gradient is written the same way with the
transposed table, so no scatter-add is ever needed and memory beside the rows is that
of one block.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from sas_jax.native_call import mark_varying, vary_alike, varying_axes
from sas_jax.sparse.kernel_map import KernelMap, gradient_operands
from sas_jax.sparse.rows import accumulator, mask_rows

# Bytes of neighbours per block: what a CPU's cache holds, and enough rows for a
# processor that would rather have few large products.
_BLOCK_BYTES = 6 << 20
_BLOCK_BYTES_DEFAULT = 256 << 20
_LEAST_ROWS = 512


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

    def by_blocks(features, weights, table, *, block_bytes):
        blocks, _ = _blocks(table, features, block_bytes)
        matrix = weights.reshape(-1, weights.shape[2])
        product = jax.lax.map(
            lambda rows: _product(_gather(features, rows), matrix), blocks
        )
        return product.reshape(-1, matrix.shape[1])[: table.shape[1]]

    result = _on_platform(by_blocks, features, weights, table)
    return result.astype(features.dtype)


def _weight_gradient(
    features: Float[Array, "N C"], cotangent: Float[Array, "M D"], kmap: KernelMap
) -> Float[Array, "K C D"]:
    """Return `features[nbr[k]]^T @ cotangent` for every offset."""
    # Absent rows gather as zero, but zero times a NaN of a padding row is NaN.
    cotangent = mask_rows(cotangent, kmap.num_out)

    def by_blocks(features, cotangent, table, *, block_bytes):
        blocks, padding = _blocks(table, features, block_bytes)
        width = cotangent.shape[1]
        cotangents = jnp.pad(cotangent, ((0, padding), (0, 0)))
        cotangents = cotangents.reshape(len(blocks), -1, width)

        def add_block(total, operands):
            rows, moved = operands
            return total + _product(_gather(features, rows).T, moved), None

        shape = (table.shape[0] * features.shape[1], width)
        start = jnp.zeros(shape, accumulator(features.dtype))
        start = mark_varying(start, varying_axes((features, cotangent, table)))
        return jax.lax.scan(add_block, start, (blocks, cotangents))[0]

    total = _on_platform(by_blocks, features, cotangent, kmap.nbr)
    return total.reshape(kmap.nbr.shape[0], features.shape[1], -1)


def _on_platform(by_blocks, *operands):
    """Run with the block size of the platform that the program is lowered for."""
    return jax.lax.platform_dependent(
        *operands,
        cpu=functools.partial(by_blocks, block_bytes=_BLOCK_BYTES),
        default=functools.partial(by_blocks, block_bytes=_BLOCK_BYTES_DEFAULT),
    )


def _blocks(
    table: Int32[Array, "K M"], features: Float[Array, "N C"], block_bytes: int
) -> tuple[Int32[Array, "B R K"], int]:
    """Return the neighbours of each block's rows, and the rows that pad the last."""
    num_offsets, num_rows = table.shape
    row_bytes = num_offsets * features.shape[1] * features.dtype.itemsize
    most = max(_LEAST_ROWS, block_bytes // row_bytes // _LEAST_ROWS * _LEAST_ROWS)
    size = min(most, max(num_rows, 1))
    padding = -num_rows % size
    rows = jnp.pad(table.T, ((0, padding), (0, 0)), constant_values=-1)
    return rows.reshape(-1, size, num_offsets), padding


def _gather(
    features: Float[Array, "N C"], rows: Int32[Array, "R K"]
) -> Float[Array, "R K*C"]:
    """Return the neighbours of each row side by side, absent ones as zero."""
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
