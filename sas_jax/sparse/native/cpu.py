"""What the CPU's kernels need beyond the operands: how rows of bfloat16 are multiplied.

As a rule they are widened where they are loaded: they save memory and cost no bits, and
take as long as rows of float32. Where JAX is told to multiply in bfloat16, by
`jax.default_matmul_precision("bfloat16")` or the flag `jax_default_matmul_precision`,
weights are rounded to bfloat16, too, and the processor's own instruction multiplies,
twice as fast; sums are float32. Rows of float32 are multiplied exactly, whatever JAX
is told.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from sas_jax import native_call, native_library
from sas_jax.errors import InputError

_BF16 = ("bfloat16", "BF16_BF16_F32")


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
    """Convolve on a CPU; see `native.conv`."""
    if features.dtype == jnp.bfloat16 and _asks_for_products():
        # On a GPU's machine this is traced, too, and never run.
        if jax.default_backend() == "cpu":
            require_products("sparse_conv")
        weights = weights.astype(jnp.bfloat16)
    (result,) = native_call.call(
        "sas_conv_forward",
        (shape,),
        *(features, weights, table, num_rows),
        dtype=features.dtype,
        transpose_weights=transpose_weights,
        reverse_offsets=reverse_offsets,
    )
    return result


def weight_grad(
    features: Float[Array, "N C"],
    cotangent: Float[Array, "M D"],
    table: Int32[Array, "K M"],
    num_rows: Int32[Array, ""],
) -> Float[Array, "K C D"]:
    """Return the gradient of the weights, float32, computed on a CPU."""
    shape = (table.shape[0], features.shape[1], cotangent.shape[1])
    operands = (features, cotangent, table, num_rows)
    return native_call.call("sas_conv_weight_grad", (shape,), *operands)[0]


def require_products(where: str) -> None:
    """Check that this processor multiplies bfloat16.

    Raises:
      InputError: if it does not, or the native library is not there. Widening instead
        would give other numbers, in twice the time.
    """
    if native_library.require().sas_has_bf16_products() == 0:
        raise InputError(
            f"{where}: a processor that multiplies bfloat16 (AVX512_BF16), and kernels "
            "for it, are required for bf16, got none. Compute in f32, the default."
        )


def _asks_for_products() -> bool:
    # The class lists none of its options.
    return jax.config.jax_default_matmul_precision in _BF16  # type: ignore[attr-defined]
