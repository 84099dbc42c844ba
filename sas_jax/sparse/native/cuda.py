"""What the CUDA kernels need beyond the CPU's: order of rows, workspace, precision.

Precision: products are float32 by default, as on CPUs. Where JAX is told to take tf32
for matrix products (`jax.default_matmul_precision("tensorfloat32")`, or the flag
`jax_default_matmul_precision`), so do these kernels, on tensor cores.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from sas_jax.sparse.native import call as native_call

# The same numbers as kMinSlabRows and kMaxSlabs in kernels/include/sas_conv_cuda.h; the
# handler refuses a workspace of another size.
_MIN_SLAB_ROWS = 4096
_MAX_SLABS = 16

# Sets of offsets are sorted as bits of one integer; larger kernels keep their order.
_MOST_SORTED_OFFSETS = 32
_TF32 = ("high", "tensorfloat32", "TF32_TF32_F32")


def forward(
    features: Float[Array, "N C"],
    weights: Float[Array, "K C D"] | Float[Array, "K D C"],
    table: Int32[Array, "K M"],
    num_rows: Int32[Array, ""],
    *,
    shape: tuple[int, int],
    transpose_weights: bool,
    reverse_offsets: bool,
) -> Float[Array, "M D"]:
    """Convolve on a GPU; see `native.conv`."""
    (result,) = native_call.call(
        "sas_conv_forward",
        (shape,),
        *(features, weights, table, num_rows, row_order(table)),
        transpose_weights=transpose_weights,
        reverse_offsets=reverse_offsets,
        precision=precision(),
    )
    return result


def weight_grad(
    features: Float[Array, "N C"],
    cotangent: Float[Array, "M D"],
    table: Int32[Array, "K M"],
    num_rows: Int32[Array, ""],
) -> Float[Array, "K C D"]:
    """Return the gradient of the weights, computed on a GPU."""
    shape = (table.shape[0], features.shape[1], cotangent.shape[1])
    slabs = num_slabs(cotangent.shape[0])
    workspace = (slabs if slabs > 1 else 0, *shape)
    operands = (features, cotangent, table, num_rows)
    return native_call.call(
        "sas_conv_weight_grad", (shape, workspace), *operands, precision=precision()
    )[0]


def row_order(table: Int32[Array, "K M"]) -> Int32[Array, " M"]:
    """Return the rows sorted by which offsets they have, or nothing to sort.

    A tile of rows visits every offset that any of them has, so rows that have the same
    should share tiles. Sums do not depend on the order. XLA merges the sorts of all
    convolutions over one table.
    """
    num_offsets = table.shape[0]
    if not 1 < num_offsets <= _MOST_SORTED_OFFSETS:
        return jnp.zeros((0,), jnp.int32)
    bits = jnp.left_shift(jnp.uint32(1), jnp.arange(num_offsets, dtype=jnp.uint32))
    present = jnp.where(table >= 0, bits[:, None], jnp.uint32(0))
    sets = jnp.sum(present, axis=0, dtype=jnp.uint32)
    return jnp.argsort(sets, stable=True).astype(jnp.int32)


def num_slabs(capacity: int) -> int:
    """Return into how many partial sums a weight gradient may be split."""
    return min(max(-(-capacity // _MIN_SLAB_ROWS), 1), _MAX_SLABS)


def precision() -> str:
    """Return "tf32" if JAX's default for matrix products says so, else "f32"."""
    return "tf32" if jax.config.jax_default_matmul_precision in _TF32 else "f32"
