"""Batch normalisation, residual and ReLU of voxel rows in one native pass each way.

    y = relu((x - mean) * gain + bias + residual),   gain = scale / sqrt(var + eps)

A sparse network moves more bytes here than in its convolutions: written out in XLA,
one such layer reads and writes its rows some ten times in training, here four (moments
and output; sums and gradient). Statistics are over valid rows, summed over devices if
asked; sums run in one fixed order, so results do not depend on threads or capacity.
Arithmetic is float32; bfloat16 rows are kept narrow, and widened in the kernel (output)
or for the call (sums and gradients). Of the output, the gradient needs one
bit per value: where it is positive.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from sas_jax import native_call

Rows = Float[Array, "cap C"]
Vector = Float[Array, " C"]


def is_available() -> bool:
    """Say whether these kernels can run on JAX's default platform: CPUs only."""
    return native_call.is_available("sas_moments")


def batch_norm(
    x: Rows,
    scale: Vector,
    bias: Vector,
    num_valid: Int32[Array, ""],
    *,
    eps: float = 1e-5,
    residual: Rows | None = None,
    rectify: bool = False,
    axis_name: str | None = None,
) -> tuple[Rows, Float[Array, ""], Vector, Vector]:
    """Normalise with the statistics of the batch.

    Args:
      x: float32 or bfloat16; rows at or beyond `num_valid` may hold anything, NaN too.
      scale: multiplies normalised values.
      bias: is added to them.
      num_valid: how many leading rows are voxels.
      eps: added to the (biased) variance.
      residual: added before rectification, or None.
      rectify: apply ReLU.
      axis_name: mapped axis over which statistics are summed, or None.

    Returns:
      The rows, 0 at or beyond `num_valid`; and of the batch the number of rows, the
      mean and the sum of squared deviations, for running statistics.

    Gradients: x, scale, bias, residual, through the statistics; not from the returned
    statistics. Deterministic: yes, bitwise for any number of threads and any capacity.
    """
    # An array without rows stands for "none": a custom call has a fixed number of them.
    residual = x[:0] if residual is None else residual
    operands = native_call.vary_alike(x, scale, bias, residual, num_valid)
    return _batch_norm(*operands, eps, rectify, axis_name)


def gain_of(
    scale: Vector, squares: Vector, count: Float[Array, ""], eps: float
) -> Vector:
    """Return what `batch_norm` multiplied deviations with, from what it returned."""
    return scale * _inverse_std(squares, count, eps)


def normalize(
    x: Rows,
    mean: Vector,
    gain: Vector,
    bias: Vector,
    num_valid: Int32[Array, ""],
    *,
    residual: Rows | None = None,
    rectify: bool = False,
) -> Rows:
    """Normalise with given statistics, as a network in evaluation mode does.

    Args:
      x: float32 or bfloat16; rows at or beyond `num_valid` may hold anything, NaN too.
      mean: is subtracted.
      gain: multiplies the difference.
      bias: is added to the product.
      num_valid: how many leading rows are voxels.
      residual: added before rectification, or None.
      rectify: apply ReLU.

    Returns:
      The rows, 0 at or beyond `num_valid`.

    Gradients: all but num_valid. Deterministic: yes.
    """
    residual = x[:0] if residual is None else residual
    operands = native_call.vary_alike(x, mean, gain, bias, residual, num_valid)
    return _normalize(*operands, rectify)


def normalize_again(
    x: Rows,
    mean: Vector,
    gain: Vector,
    bias: Vector,
    num_valid: Int32[Array, ""],
    after: Array,
    *,
    residual: Rows | None = None,
    rectify: bool = False,
) -> Rows:
    """Return what `normalize` returns, computed no sooner than `after` is.

    XLA cannot merge the two. Without gradients.
    """
    residual = x[:0] if residual is None else residual
    arrays = (x, mean, gain, bias, residual, num_valid, after)
    x, mean, gain, bias, residual, num_valid, after = native_call.vary_alike(*arrays)
    return _normalized(x, mean, gain, bias, residual, num_valid, after, rectify, 0)[0]


# Of the residual, only how many rows it has is kept for the backward pass.
@functools.partial(jax.custom_vjp, nondiff_argnums=(5, 6, 7))
def _batch_norm(x, scale, bias, residual, num_valid, eps, rectify, axis_name):
    operands = (x, scale, bias, residual, num_valid)
    return _batch_norm_forward(*operands, eps, rectify, axis_name)[0]


def _batch_norm_forward(x, scale, bias, residual, num_valid, eps, rectify, axis_name):
    count, mean, squares = _batch_moments(x, num_valid, axis_name)
    inverse_std = _inverse_std(squares, count, eps)
    gain = scale * inverse_std
    y, gate = _apply_gated(x, mean, gain, bias, residual, num_valid, rectify)
    saved = (x, gate, residual[:, :0], scale, count, mean, inverse_std, num_valid)
    return (y, count, mean, squares), saved


def _batch_norm_backward(eps, rectify, axis_name, saved, cotangents):
    del eps, rectify
    x, gate, no_residual, scale, count, mean, inverse_std, num_valid = saved
    dy = cotangents[0]
    total, weighted = _sums(dy, x, gate, mean, num_valid)
    # Through mean and variance, every row of the batch moves every other one.
    n = jnp.maximum(count, 1)
    shared_total = _over_devices(total, axis_name) / n
    shared_weighted = _over_devices(weighted, axis_name) / n
    gain = scale * inverse_std
    slope = -gain * inverse_std**2 * shared_weighted
    vectors = (mean, gain, slope, -gain * shared_total)
    dx, dresidual = _grad(dy, x, gate, vectors, num_valid, no_residual)
    return dx, weighted * inverse_std, total, dresidual, None


_batch_norm.defvjp(_batch_norm_forward, _batch_norm_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(6,))
def _normalize(x, mean, gain, bias, residual, num_valid, rectify):
    return _apply(x, mean, gain, bias, residual, num_valid, rectify)


def _normalize_forward(x, mean, gain, bias, residual, num_valid, rectify):
    y, gate = _apply_gated(x, mean, gain, bias, residual, num_valid, rectify)
    return y, (x, gate, residual[:, :0], mean, gain, num_valid)


def _normalize_backward(rectify, saved, dy):
    del rectify
    x, gate, no_residual, mean, gain, num_valid = saved
    total, weighted = _sums(dy, x, gate, mean, num_valid)
    still = jnp.zeros_like(mean)
    vectors = (mean, gain, still, still)
    dx, dresidual = _grad(dy, x, gate, vectors, num_valid, no_residual)
    return dx, -gain * total, weighted, total, dresidual, None


_normalize.defvjp(_normalize_forward, _normalize_backward)


def _batch_moments(x, num_valid, axis_name):
    """Return count, mean and squared deviations of the rows of all devices."""
    width = x.shape[1:]
    operands = (_wide(x), num_valid)
    mean, squares = native_call.call("sas_moments", (width, width), *operands)
    count = num_valid.astype(jnp.float32)
    if axis_name is None:
        return count, mean, squares
    everywhere = jax.lax.psum(count, axis_name)
    joint = jax.lax.psum(count * mean, axis_name) / jnp.maximum(everywhere, 1)
    squares = jax.lax.psum(squares + count * (mean - joint) ** 2, axis_name)
    return everywhere, joint, squares


def _inverse_std(squares, count, eps):
    return jax.lax.rsqrt(squares / jnp.maximum(count, 1) + eps)


def _over_devices(value, axis_name):
    return value if axis_name is None else jax.lax.psum(value, axis_name)


def _apply(x, mean, gain, bias, residual, num_valid, rectify):
    operands = (x, mean, gain, bias, residual, num_valid)
    if x.dtype == jnp.float32:
        return _normalized(*operands, num_valid, rectify, 0)[0]
    target, shapes = "sas_normalize_bf16", (x.shape,)
    return native_call.call(target, shapes, *operands, dtype=x.dtype, rectify=rectify)[
        0
    ]


def _apply_gated(x, mean, gain, bias, residual, num_valid, rectify):
    """Return the rows, and bits that say where they are positive, if rectified."""
    operands = (x, mean, gain, bias, residual, num_valid, num_valid, rectify)
    return _normalized(*operands, len(x) if rectify else 0)


def _normalized(x, mean, gain, bias, residual, num_valid, after, rectify, num_gates):
    operands = (_wide(x), mean, gain, bias, _wide(residual), num_valid, after)
    y, gate = native_call.call(
        "sas_normalize",
        (x.shape, (num_gates, -(-x.shape[1] // 8))),
        *operands,
        dtype=(jnp.float32, jnp.uint8),
        rectify=rectify,
    )
    return y.astype(x.dtype), gate


def _sums(dy, x, gate, mean, num_valid):
    shapes = (mean.shape, mean.shape)
    operands = (_wide(dy), _wide(x), gate, mean, num_valid)
    return native_call.call("sas_normalize_sums", shapes, *operands)


def _grad(dy, x, gate, vectors, num_valid, no_residual):
    shapes = (x.shape, (len(no_residual), x.shape[1]))
    operands = (_wide(dy), _wide(x), gate, *vectors, num_valid)
    dx, dresidual = native_call.call("sas_normalize_grad", shapes, *operands)
    return dx.astype(x.dtype), dresidual.astype(no_residual.dtype)


def _wide(rows):
    return rows.astype(jnp.float32)
