"""Precisions in which networks and layers are measured, and what may differ in each."""

import contextlib
import dataclasses

import jax
import jax.numpy as jnp

from sas_jax.sparse.xla import conv as xla


@dataclasses.dataclass(frozen=True)
class Precision:
    """A way to compute.

    Attributes:
      matmul: JAX's default precision of matrix products.
      dtype: of the rows of voxels; weights and sums are float32.
      layer_error: relative error that one layer may have: of float32 sums, or of
        factors rounded to 11 (tf32) or 8 (bf16) significant bits, with room.
      network_error: the same of the features of some fifty layers.
      gradient_error: the same of the gradient of all parameters, where rounding flips
        the sign of a ReLU here and there.
    """

    matmul: str | None
    dtype: jnp.dtype
    layer_error: float
    network_error: float
    gradient_error: float

    def context(self) -> contextlib.AbstractContextManager:
        """Return a context in which programs are traced in this precision."""
        return jax.default_matmul_precision(self.matmul)


F32, BF16 = jnp.dtype(jnp.float32), jnp.dtype(jnp.bfloat16)
PRECISIONS = {
    "f32": Precision("highest", F32, 1e-5, 1e-5, 2e-2),
    "tf32": Precision("tensorfloat32", F32, 1e-3, 1e-2, 3e-1),
    "bf16": Precision("bfloat16", BF16, 8e-3, 1e-1, 6e-1),
}


def relax_xla() -> None:
    """Let the implementation `xla` take the precision of the context.

    It asks for float32 products by itself; what plain XLA does in tf32 is measured with
    this.
    """

    def product(a, b):
        return jnp.matmul(a, b, preferred_element_type=jnp.float32)

    if not hasattr(xla, "_product"):
        raise AttributeError("sas_jax.sparse.xla.conv has no _product to relax")
    xla._product = product
