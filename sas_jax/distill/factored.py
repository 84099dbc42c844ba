"""Student features as a product that is never written out.

The student's last layer is linear and without bias: f = h W. All that distillation
asks of features are products with given vectors, f . t = h . (W t), and lengths,
|f|^2 = h (W W^T) h. Both follow from the H channels before that layer, so the N x C
features (H is 32 to 128, C 384 to 768) and their gradient take neither memory nor
time in training. N rows, H hidden channels, C channels of the text space.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int32

from sas_jax.sparse.conv import pointwise

VERSION = 2
"""See `artefacts.versions`."""

# Vectors shorter than this count as zero: cosine 0 and gradient 0. Their direction is
# noise, and the true gradient grows as 1 / length.
_LEAST_SQUARED_NORM = 1e-16


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class FactoredFeatures:
    """Features `hidden @ weights`.

    Attributes:
      hidden: f32, one row per voxel or superpoint.
      weights: f32, last layer of the student.
      num_rows: i32, how many leading rows there are beside padding. The gradient of the
        weights is added up over these in an order that depends on their number alone,
        so that the capacity of a batch decides no bits.
      impl: implementation of the products, see `sparse.conv.pointwise`.
    """

    hidden: Float[Array, "N H"]
    weights: Float[Array, "H C"]
    num_rows: Int32[Array, ""]
    impl: str | None = dataclasses.field(default=None, metadata={"static": True})

    def keep(self, mask: Bool[Array, " N"]) -> "FactoredFeatures":
        """Return zero features, with zero gradient, in rows outside the mask."""
        kept = jnp.where(mask[:, None], self.hidden, jnp.zeros_like(self.hidden))
        return dataclasses.replace(self, hidden=kept)

    def project(
        self, vectors: Float[Array, "M C"], num_vectors: Int32[Array, ""] | None = None
    ) -> Float[Array, "M H"]:
        """Return what hidden rows are multiplied with to get f . vector.

        Args:
          vectors: in the text space.
          num_vectors: how many leading ones there are beside padding, whose products
            are 0; None for all.

        Gradients: vectors, weights. Deterministic: yes, as `sparse.conv.pointwise`.
        """
        return self._matmul(vectors, self.weights.T, num_vectors)

    def products(self, vectors: Float[Array, "K C"]) -> Float[Array, "N K"]:
        """Return f . vector for every row and vector.

        Gradients: hidden, vectors, weights. Deterministic: yes.
        """
        return self._matmul(self.hidden, self.project(vectors).T, self.num_rows)

    def inverse_lengths(self) -> Float[Array, " N"]:
        """Return 1 / |f|, and 0 with zero gradient for features that count as zero.

        Gradients: hidden, weights. Deterministic: yes.
        """
        gram = self.project(self.weights)
        products = self._matmul(self.hidden, gram, self.num_rows)
        return _inverse_root(jnp.sum(products * self.hidden, axis=1))

    def _matmul(
        self,
        rows: Float[Array, "M A"],
        weights: Float[Array, "A B"],
        num_rows: Int32[Array, ""] | None,
    ) -> Float[Array, "M B"]:
        """Multiply in full f32, with the same bits for any number of threads."""
        if num_rows is None:
            num_rows = jnp.int32(rows.shape[0])
        return pointwise(rows, weights, num_rows, impl=self.impl)


def inverse_lengths(rows: Float[Array, "M C"]) -> Float[Array, " M"]:
    """Return 1 / |row|, and 0 with zero gradient for rows that count as zero."""
    return _inverse_root(jnp.sum(rows * rows, axis=1))


def _inverse_root(squared: Float[Array, " M"]) -> Float[Array, " M"]:
    usable = squared > _LEAST_SQUARED_NORM
    # The inner where keeps the unused branch finite, else its gradient is NaN.
    return jnp.where(usable, jax.lax.rsqrt(jnp.where(usable, squared, 1.0)), 0.0)
