"""Losses: cosine distances of Eq. 10 and cross entropies of Eq. 13.

Every loss returns its sum and its count, so that means over several devices are exact:
both are added over devices, then divided. N voxels, S superpoints, C channels, K
classes; rows outside a mask may hold anything, NaN too, and get zero gradient.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int32

# Vectors shorter than this count as zero: cosine 0 and gradient 0. Their direction is
# noise, and the true gradient grows as 1 / length.
_LEAST_SQUARED_NORM = 1e-16


class Term(NamedTuple):
    """A loss before division.

    Attributes:
      total: sum over what counts.
      count: how much counts, f32.
    """

    total: Float[Array, ""]
    count: Float[Array, ""]


def point_cosine(
    features: Float[Array, "N C"],
    targets: Float[Array, "N C"],
    mask: Bool[Array, " N"],
) -> Term:
    """Sum `1 - cos(feature, target)` over voxels.

    Args:
      features: student features, f32.
      targets: fused features of the voxel's superpoint, or of its point.
      mask: voxels that count.

    Gradients: features; zero where a vector is zero. Deterministic: yes.
    Source: SAS Eq. 10, L_p.
    """
    return _masked_sum(1.0 - _cosine(_keep(features, mask), targets), mask)


def superpoint_cosine(
    features: Float[Array, "N C"],
    superpoint: Int32[Array, " N"],
    mask: Bool[Array, " N"],
    targets: Float[Array, "S C"],
) -> Term:
    """Sum `1 - cos(mean feature, target)` over superpoints with a voxel that counts.

    Args:
      features: student features, f32.
      superpoint: superpoint of each voxel; S or more for padding.
      mask: voxels that count.
      targets: fused features of the superpoints.

    Gradients: features. Deterministic: yes on CPU; a GPU adds in any order.
    Source: SAS Eq. 10, L_sp.
    """
    means, counts = segment_mean(features, superpoint, mask, targets.shape[0])
    return _masked_sum(1.0 - _cosine(means, targets), counts > 0)


def point_cross_entropy(
    logits: Float[Array, "N K"], labels: Int32[Array, " N"], mask: Bool[Array, " N"]
) -> Term:
    """Sum the cross entropy between logits and pseudo labels over voxels.

    Gradients: logits. Deterministic: yes.
    Source: SAS Eq. 13, L_p^ST. The logits are raw products with the text features,
    without a temperature, as in the authors' code.
    """
    log_probability = jax.nn.log_softmax(_keep(logits, mask), axis=1)
    chosen = jnp.take_along_axis(log_probability, labels[:, None], axis=1)[:, 0]
    return _masked_sum(-chosen, mask)


def superpoint_cross_entropy(
    logits: Float[Array, "N K"],
    superpoint: Int32[Array, " N"],
    mask: Bool[Array, " N"],
    labels: Int32[Array, " S"],
) -> Term:
    """Sum the cross entropy of mean logits over superpoints with a voxel that counts.

    The mean of the logits is the logit of the mean feature, f_SP^3D . T.

    Gradients: logits. Deterministic: as `superpoint_cosine`.
    Source: SAS Eq. 13, L_sp^ST.
    """
    means, counts = segment_mean(logits, superpoint, mask, labels.shape[0])
    return point_cross_entropy(means, labels, counts > 0)


def segment_mean(
    values: Float[Array, "N C"],
    segment: Int32[Array, " N"],
    mask: Bool[Array, " N"],
    num_segments: int,
) -> tuple[Float[Array, "S C"], Float[Array, " S"]]:
    """Average rows by segment.

    Args:
      values: one row per element.
      segment: segment of each row; rows of segments outside 0..S-1 are left out.
      mask: rows that count.
      num_segments: S.

    Returns:
      Means, zero for segments without rows, and the number of rows of each.
    """
    sums = jax.ops.segment_sum(_keep(values, mask), segment, num_segments)
    counts = jax.ops.segment_sum(mask.astype(values.dtype), segment, num_segments)
    return sums / jnp.maximum(counts, 1.0)[:, None], counts


def _cosine(a: Float[Array, "M C"], b: Float[Array, "M C"]) -> Float[Array, " M"]:
    scale = _inverse_norm(a) * _inverse_norm(b)
    return jnp.sum(a * b, axis=1) * scale


def _inverse_norm(x: Float[Array, "M C"]) -> Float[Array, " M"]:
    """Return 1 / |x|, and 0 with zero gradient for vectors that count as zero."""
    squared = jnp.sum(x * x, axis=1)
    usable = squared > _LEAST_SQUARED_NORM
    # The inner where keeps the unused branch finite, else its gradient is NaN.
    return jnp.where(usable, jax.lax.rsqrt(jnp.where(usable, squared, 1.0)), 0.0)


def _keep(rows: Float[Array, "N C"], mask: Bool[Array, " N"]) -> Float[Array, "N C"]:
    return jnp.where(mask[:, None], rows, jnp.zeros_like(rows))


def _masked_sum(values: Float[Array, " M"], mask: Bool[Array, " M"]) -> Term:
    total = jnp.sum(jnp.where(mask, values, 0.0))
    return Term(total, jnp.sum(mask.astype(values.dtype)))
