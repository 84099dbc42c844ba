"""Batch normalisation, residual and ReLU of voxel rows in plain XLA.

    y = relu((x - mean) * gain + bias + residual),   gain = scale / sqrt(var + eps)

The reference for `native/norm.py`, which has the same functions, and what runs on other
platforms and floating types. Deviations are summed around the mean in a second pass:
the textbook E[x^2] - E[x]^2 cancels in float32.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from sas_jax.sparse.rows import accumulator, mask_rows, sum_rows, to_rows

Rows = Float[Array, "cap C"]
Vector = Float[Array, " C"]


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
      x: any floating type; rows at or beyond `num_valid` may hold anything, NaN too.
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

    Gradients: all but num_valid, through the statistics. Deterministic: yes, and the
    same for all capacities of rungs.
    """
    wide = mask_rows(x, num_valid).astype(accumulator(x.dtype))
    count = _all_devices(num_valid.astype(wide.dtype), axis_name)
    mean = _all_devices(sum_rows(wide), axis_name) / jnp.maximum(count, 1)
    deviation = mask_rows(wide - to_rows(mean, wide), num_valid)
    squares = _all_devices(sum_rows(deviation * deviation), axis_name)
    gain = scale * jax.lax.rsqrt(squares / jnp.maximum(count, 1) + eps)
    y = normalize(x, mean, gain, bias, num_valid, residual=residual, rectify=rectify)
    return y, count, mean, squares


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
      x: any floating type; rows at or beyond `num_valid` may hold anything, NaN too.
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
    wide = mask_rows(x, num_valid).astype(accumulator(x.dtype))
    y = (wide - to_rows(mean, wide)) * to_rows(gain, wide) + to_rows(bias, wide)
    if residual is not None:
        y = y + mask_rows(residual, num_valid).astype(y.dtype)
    y = jax.nn.relu(y) if rectify else y
    return mask_rows(y, num_valid).astype(x.dtype)


def _all_devices(value: Array, axis_name: str | None) -> Array:
    return value if axis_name is None else jax.lax.psum(value, axis_name)
