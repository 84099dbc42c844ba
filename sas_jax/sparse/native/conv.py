"""Sparse convolution by the native kernels, as XLA custom calls with gradients.

Three calls make the operation differentiable: the forward, the same forward over the
transposed table with transposed weights (gradient of the features), and the weight
gradient. The kernels stop at the valid rows and sum in one fixed order, so results do
not depend on thread count or capacity. Rows are float32 or bfloat16; weights, sums and
weight gradients are float32 as a rule. On a CPU they run on XLA's own threads;
`cpu.py` and `cuda.py` have what is different, and where bfloat16 is multiplied.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from sas_jax import native_call
from sas_jax.sparse.kernel_map import KernelMap
from sas_jax.sparse.native import cpu as native_cpu
from sas_jax.sparse.native import cuda as native_cuda
from sas_jax.sparse.remake import Rows, as_rows

DTYPES = (jnp.dtype(jnp.float32), jnp.dtype(jnp.bfloat16))
REMEDY = "Build the native library with `make native` (a GPU's needs nvcc)"


def is_available() -> bool:
    """Say whether the kernels can run on JAX's default platform."""
    return native_call.is_available("sas_conv_forward")


def conv(
    features: Float[Array, "cap_in C_in"] | Rows,
    weights: Float[Array, "K C_in C_out"],
    kmap: KernelMap,
) -> Float[Array, "cap_out C_out"]:
    """Convolve; rows at or beyond `kmap.num_out` are exactly 0.

    Args:
      features: float32 or bfloat16; rows at or beyond `kmap.num_in` may hold anything,
        NaN too. Those with a recipe are made again for the gradient of the weights.
      weights: float32 or bfloat16, one matrix per offset, in the order of the map.
      kmap: the neighbour table.

    Raises:
      InputError: if the native library is not there.

    Gradients: features, weights. Deterministic: yes, bitwise for any number of threads
    and any capacity.
    """
    # Widened outside: the gradient is rounded to the type of the weights by JAX.
    weights = weights.astype(jnp.float32)
    rows = as_rows(features)
    operands = (rows.value, weights, kmap, rows.recipe)
    return _conv(*native_call.vary_alike(*operands))


@jax.custom_vjp
def _conv(features, weights, kmap, recipe):
    del recipe
    return _forward_call(features, weights, kmap.nbr, kmap.num_out)


def _conv_forward(features, weights, kmap, recipe):
    return _conv(features, weights, kmap, recipe), (weights, kmap, recipe)


def _conv_backward(saved, cotangent):
    weights, kmap, recipe = saved
    # A map within one level is its own mirror image: reversed weights replace a
    # transposed table.
    mirrored = kmap.transposed is None
    grad_features = _forward_call(
        cotangent,
        weights,
        kmap.nbr if mirrored else kmap.transposed,
        kmap.num_in,
        transpose_weights=True,
        reverse_offsets=mirrored,
    )
    features = recipe.remake(cotangent)
    grad_weights = _weight_grad_call(features, cotangent, kmap.nbr, kmap.num_out)
    return grad_features, grad_weights, None, None


_conv.defvjp(_conv_forward, _conv_backward)


def pointwise(
    features: Float[Array, "cap C_in"] | Rows,
    weights: Float[Array, "C_in C_out"],
    num_valid: Int32[Array, ""],
) -> Float[Array, "cap C_out"]:
    """Apply one matrix to every valid row; rows at or beyond `num_valid` become 0.

    Args:
      features: float32 or bfloat16; rows at or beyond `num_valid` may hold anything,
        NaN too. Those with a recipe are made again for the gradient of the weights.
      weights: float32 or bfloat16 matrix.
      num_valid: how many leading rows are voxels.

    Raises:
      InputError: if the native library is not there.

    Gradients: features, weights. Deterministic: yes, as `conv`.
    """
    # A table of one offset and no columns tells the kernels that row o pairs with
    # row o.
    identity = jnp.zeros((1, 0), jnp.int32)
    weights = weights.astype(jnp.float32)
    rows = as_rows(features)
    operands = (rows.value, weights, num_valid, identity, rows.recipe)
    return _pointwise(*native_call.vary_alike(*operands))


@jax.custom_vjp
def _pointwise(features, weights, num_valid, identity, recipe):
    del recipe
    rows = features.shape[0]
    return _forward_call(features, weights[None], identity, num_valid, rows=rows)


def _pointwise_forward(features, *others):
    return _pointwise(features, *others), others


def _pointwise_backward(saved, cotangent):
    weights, num_valid, identity, recipe = saved
    grad_features = _forward_call(
        cotangent,
        weights[None],
        identity,
        num_valid,
        rows=cotangent.shape[0],
        transpose_weights=True,
    )
    features = recipe.remake(cotangent)
    grad_weights = _weight_grad_call(features, cotangent, identity, num_valid)
    return grad_features, grad_weights[0], None, None, None


_pointwise.defvjp(_pointwise_forward, _pointwise_backward)


def _forward_call(
    features: Float[Array, "N C"],
    weights: Float[Array, "K C D"] | Float[Array, "K D C"],
    table: Int32[Array, "K M"],
    num_rows: Int32[Array, ""],
    *,
    rows: int | None = None,
    transpose_weights: bool = False,
    reverse_offsets: bool = False,
) -> Float[Array, "M D"]:
    rows = table.shape[1] if rows is None else rows
    width = weights.shape[1] if transpose_weights else weights.shape[2]
    options: dict[str, Any] = {
        "shape": (rows, width),
        "transpose_weights": transpose_weights,
        "reverse_offsets": reverse_offsets,
    }
    return jax.lax.platform_dependent(
        *(features, weights, table, num_rows),
        cpu=functools.partial(native_cpu.forward, **options),
        cuda=functools.partial(native_cuda.forward, **options),
    )


def _weight_grad_call(
    features: Float[Array, "N C"],
    cotangent: Float[Array, "M D"],
    table: Int32[Array, "K M"],
    num_rows: Int32[Array, ""],
) -> Float[Array, "K C D"]:
    return jax.lax.platform_dependent(
        *(features, cotangent, table, num_rows),
        cpu=native_cpu.weight_grad,
        cuda=native_cuda.weight_grad,
    )
