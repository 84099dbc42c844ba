"""Arithmetic over padded rows: masks, and sums that padding does not change."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from sas_jax.native_call import mark_varying, varying_axes

# Rows are summed in blocks of this fixed size first: more exact than one running sum,
# and the same bits for every capacity that is a multiple of it, as those of rungs are.
_SUM_BLOCK = 512


def mask_rows(
    features: Float[Array, "cap C"], num_valid: Int32[Array, ""]
) -> Float[Array, "cap C"]:
    """Return the features with all rows at or beyond `num_valid` set to 0."""
    valid = jnp.arange(features.shape[0], dtype=jnp.int32) < num_valid
    return jnp.where(valid[:, None], features, jnp.zeros_like(features))


def sum_rows(x: Float[Array, "cap C"]) -> Float[Array, " C"]:
    """Return the sum over rows, in one order for every capacity of a rung."""
    padding = -x.shape[0] % _SUM_BLOCK
    blocks = jnp.pad(x, ((0, padding), (0, 0))).reshape(-1, _SUM_BLOCK, x.shape[1])
    partial = jnp.sum(blocks, axis=1)
    # Without the barrier XLA would merge both sums into one.
    return jnp.sum(jax.lax.optimization_barrier(partial), axis=0)


def beside(
    left: Float[Array, "cap C"], right: Float[Array, "cap D"]
) -> Float[Array, "cap C+D"]:
    """Return the channels of both, beside each other.

    XLA widens bfloat16 on CPUs even where it only copies; as integers they stay narrow.
    """
    if left.dtype == right.dtype == jnp.bfloat16:
        return _beside(left, right)
    return jnp.concatenate([left, right], axis=1)


@jax.custom_vjp
def _beside(left, right):
    parts = [jax.lax.bitcast_convert_type(rows, jnp.uint16) for rows in (left, right)]
    both = jnp.concatenate(parts, axis=1)
    return jax.lax.bitcast_convert_type(both, left.dtype)


_beside.defvjp(
    lambda left, right: (_beside(left, right), left[:0]),
    lambda left, cotangent: (
        cotangent[:, : left.shape[1]],
        cotangent[:, left.shape[1] :],
    ),
)


def to_rows(vector: Float[Array, " C"], rows: Float[Array, "cap _"]) -> Array:
    """Repeat a vector as often as there are rows; `sum_rows` sums its gradient."""
    return _repeat(mark_varying(vector, varying_axes(rows)), len(rows))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _repeat(vector, num_rows):
    return jnp.broadcast_to(vector[None], (num_rows, vector.shape[0]))


_repeat.defvjp(
    lambda vector, num_rows: (_repeat(vector, num_rows), None),
    lambda num_rows, _, cotangent: (sum_rows(cotangent),),
)


def accumulator(dtype: jnp.dtype) -> jnp.dtype:
    """Return the type to sum in: half precision sums in float32."""
    return dtype if jnp.finfo(dtype).bits >= 32 else jnp.dtype(jnp.float32)
