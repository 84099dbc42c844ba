"""What the CUDA kernels need beyond the CPU's: order of rows, workspace, precision.

Precision: products of float32 rows are float32 by default, as on CPUs. Where JAX is
told to take tf32 for matrix products (`jax.default_matmul_precision("tensorfloat32")`,
or the flag `jax_default_matmul_precision`), so do these kernels, on tensor cores. Rows
of bfloat16 are multiplied by weights rounded to bfloat16, on tensor cores too (on CPUs
weights stay float32). Sums are float32 always.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32, UInt32

from sas_jax import native_call

# The same numbers as kMinSlabRows and kMaxSlabs in kernels/include/sas_conv_cuda.h; the
# handler refuses a workspace of another size.
_MIN_SLAB_ROWS = 4096
_MAX_SLABS = 16

# Sets of offsets are sorted as bits of one integer; larger kernels keep their order.
_MOST_SORTED_OFFSETS = 32
# Rows of the most common tile, and of the largest: what it has stays together.
_TILE_ROWS = 64
_GROUP_ROWS = 128
_TF32 = ("high", "tensorfloat32", "TF32_TF32_F32")
# What kernels read and write, by how they multiply.
_DTYPES = {"f32": jnp.float32, "tf32": jnp.float32, "bf16": jnp.bfloat16}
# The same number as kFewChannels in kernels/include/sas_conv_cuda.h.
_FEW_CHANNELS = 4


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
    chosen = _precision(features.dtype, features.shape[1])
    if chosen != "f32":
        # Tensor cores read weights along C_in, rounded already: here once, there by
        # every block.
        if not transpose_weights:
            weights, transpose_weights = jnp.swapaxes(weights, 1, 2), True
        weights = _round(weights, chosen)
    kind = _DTYPES[chosen]
    (result,) = native_call.call(
        "sas_conv_forward",
        (shape,),
        *(features.astype(kind), weights, table, num_rows, row_order(table)),
        dtype=kind,
        transpose_weights=transpose_weights,
        reverse_offsets=reverse_offsets,
        precision=chosen,
    )
    return result.astype(features.dtype)


def weight_grad(
    features: Float[Array, "N C"],
    cotangent: Float[Array, "M D"],
    table: Int32[Array, "K M"],
    num_rows: Int32[Array, ""],
) -> Float[Array, "K C D"]:
    """Return the gradient of the weights, float32, computed on a GPU."""
    shape = (table.shape[0], features.shape[1], cotangent.shape[1])
    slabs = num_slabs(cotangent.shape[0])
    workspace = (slabs if slabs > 1 else 0, *shape)
    chosen = _precision(features.dtype, *shape[1:])
    rows = (a.astype(_DTYPES[chosen]) for a in (features, cotangent))
    return native_call.call(
        "sas_conv_weight_grad",
        (shape, workspace),
        *(*rows, table, num_rows),
        precision=chosen,
    )[0]


def _precision(dtype: jnp.dtype, *channels: int) -> str:
    """Return how products of rows of a type and of numbers of channels are formed.

    Tensor cores take rows in pieces of 16 bytes; all others are multiplied exactly.
    """
    chosen = "bf16" if dtype == jnp.bfloat16 else precision()
    if chosen == "f32":
        return chosen
    step = 16 // jnp.dtype(_DTYPES[chosen]).itemsize
    fits = all(n % step == 0 and n > _FEW_CHANNELS for n in channels)
    return chosen if fits else "f32"


def _round(weights: Float[Array, "K D C"], chosen: str) -> Float[Array, "K D C"]:
    if chosen == "tf32":
        return jax.lax.reduce_precision(weights, exponent_bits=8, mantissa_bits=10)
    return weights.astype(_DTYPES[chosen])


def row_order(table: Int32[Array, "K M"]) -> Int32[Array, " M"]:
    """Return the rows sorted by which offsets they have, or nothing to sort.

    A tile of rows visits every offset that any of them has, so rows that have the same
    should share tiles. Sums do not depend on the order. XLA merges the sorts of all
    convolutions over one table.
    """
    num_offsets = table.shape[0]
    if not 1 < num_offsets <= _MOST_SORTED_OFFSETS:
        return jnp.zeros((0,), jnp.int32)
    present = table >= 0
    # Offsets that most rows have change fastest along the order; neighbours in the
    # reflected code differ in one offset, not in a carry's worth of them.
    frequent_first = jnp.argsort(-jnp.sum(present, axis=1, dtype=jnp.int32))
    rank = jnp.argsort(frequent_first).astype(jnp.uint32)
    bits = jnp.left_shift(jnp.uint32(1), rank)
    sets = jnp.sum(jnp.where(present, bits[:, None], jnp.uint32(0)), 0, jnp.uint32)
    order = jnp.argsort(_gray_rank(sets), stable=True).astype(jnp.int32)
    return _heaviest_first(order, sets[order])


def _heaviest_first(
    order: Int32[Array, " M"], sets: UInt32[Array, " M"]
) -> Int32[Array, " M"]:
    """Return the order with the groups of rows first that have the most to do.

    A GPU takes tiles in their order; a heavy one that begins last is waited for. What a
    group costs are the offsets of its tiles. Rows left over stay last.
    """
    whole = len(order) // _GROUP_ROWS * _GROUP_ROWS
    tiles = sets[:whole].reshape(-1, _GROUP_ROWS // _TILE_ROWS, _TILE_ROWS)
    unions = jax.lax.reduce(tiles, jnp.uint32(0), jax.lax.bitwise_or, (2,))
    offsets = jnp.sum(jax.lax.population_count(unions), 1).astype(jnp.int32)
    groups = order[:whole].reshape(-1, _GROUP_ROWS)[jnp.argsort(-offsets, stable=True)]
    return jnp.concatenate([groups.reshape(-1), order[whole:]])


def _gray_rank(codes: UInt32[Array, " M"]) -> UInt32[Array, " M"]:
    """Return the place of each code in the reflected binary (Gray) order."""
    for shift in (1, 2, 4, 8, 16):
        codes ^= jnp.right_shift(codes, jnp.uint32(shift))
    return codes


def num_slabs(capacity: int) -> int:
    """Return into how many partial sums a weight gradient may be split."""
    return min(max(-(-capacity // _MIN_SLAB_ROWS), 1), _MAX_SLABS)


def precision() -> str:
    """Return "tf32" if JAX's default for matrix products says so, else "f32"."""
    # The class lists none of its options.
    default = jax.config.jax_default_matmul_precision  # type: ignore[attr-defined]
    return "tf32" if default in _TF32 else "f32"
