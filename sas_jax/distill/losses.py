"""Losses: cosine distances of Eq. 10 and cross entropies of Eq. 13.

Every loss returns its sum and its count, so that means over several devices are exact:
both are added over devices, then divided. N voxels, S superpoints, C channels, K
classes; rows outside a mask may hold anything, NaN too, and get zero gradient.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int32

from sas_jax.distill.factored import FactoredFeatures, inverse_lengths

_SUM_BLOCK = 1024


class Term(NamedTuple):
    """A loss before division.

    Attributes:
      total: sum over what counts.
      count: how much counts, f32.
    """

    total: Float[Array, ""]
    count: Float[Array, ""]  # type: ignore[assignment]  # hides that of tuples


def point_cosine(
    features: FactoredFeatures,
    targets: Float[Array, "N C"],
    mask: Bool[Array, " N"],
    weights: Float[Array, " N"] | None = None,
) -> Term:
    """Sum `1 - cos(feature, target)` over voxels with a target each.

    Args:
      features: of the student, N rows.
      targets: fused features of the voxel's point.
      mask: voxels that count.
      weights: how much each counts; None is 1.

    Gradients: features; zero where a vector is zero. Deterministic: yes.
    Source: SAS Eq. 10, L_p, in pixel-point distillation.
    """
    targets = _keep(targets, mask)
    projected = features.project(targets, features.num_rows)
    cosines = _cosines(features.keep(mask), projected, inverse_lengths(targets))
    return _masked_sum(1.0 - cosines, mask, weights)


def superpoint_cosines(
    features: FactoredFeatures,
    superpoint: Int32[Array, " N"],
    mask: Bool[Array, " N"],
    targets: Float[Array, "S C"],
    weights: Float[Array, " S"] | None = None,
) -> tuple[Term, Term]:
    """Sum `1 - cos(feature, target of its superpoint)` over voxels and superpoints.

    The feature of a superpoint is the mean over its voxels that count; superpoints
    without any are left out.

    Args:
      features: of the student, N rows.
      superpoint: superpoint of each voxel; S or more for padding.
      mask: voxels that count.
      targets: fused features of the superpoints.
      weights: how much each superpoint counts, and each of its voxels; None is 1.

    Returns:
      The terms of the voxels, L_p, and of the superpoints, L_sp.

    Gradients: features; zero where a vector is zero. Deterministic: yes on CPU; a GPU
    adds in any order.
    Source: SAS Eq. 10.
    """
    features = features.keep(mask)
    means, counts = segment_mean(features.hidden, superpoint, mask, targets.shape[0])
    present = counts > 0
    targets = _keep(targets, present)
    num_present = _leading(present)
    projected = features.project(targets, num_present)
    inverse = inverse_lengths(targets)
    own_projected, own_inverse = (
        table.at[superpoint].get(mode="fill", fill_value=0.0)
        for table in (projected, inverse)
    )
    of_voxels = _cosines(features, own_projected, own_inverse)
    # The mean of features is the feature of the mean: the last layer is linear.
    mean_features = dataclasses.replace(features, hidden=means, num_rows=num_present)
    of_superpoints = _cosines(mean_features, projected, inverse)
    own_weights = None
    if weights is not None:
        own_weights = weights.at[superpoint].get(mode="fill", fill_value=0.0)
    return (
        _masked_sum(1.0 - of_voxels, mask, own_weights),
        _masked_sum(1.0 - of_superpoints, present, weights),
    )


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


def _cosines(
    features: FactoredFeatures,
    projected: Float[Array, "M H"],
    inverse: Float[Array, " M"],
) -> Float[Array, " M"]:
    """Return the cosine of each feature and its target.

    Args:
      features: M rows.
      projected: the targets, as `FactoredFeatures.project` returns them.
      inverse: 1 / length of the targets.
    """
    dots = jnp.sum(features.hidden * projected, axis=1)
    return dots * features.inverse_lengths() * inverse


def _keep(rows: Float[Array, "N C"], mask: Bool[Array, " N"]) -> Float[Array, "N C"]:
    return jnp.where(mask[:, None], rows, jnp.zeros_like(rows))


def _leading(mask: Bool[Array, " M"]) -> Int32[Array, ""]:
    """Return the number of rows up to the last one that counts."""
    return jnp.max(jnp.where(mask, jnp.arange(1, mask.size + 1, dtype=jnp.int32), 0))


def _masked_sum(
    values: Float[Array, " M"],
    mask: Bool[Array, " M"],
    weights: Float[Array, " M"] | None = None,
) -> Term:
    """Sum what counts, block after block: rows of padding at the end change no bits."""
    counted = mask.astype(values.dtype)
    if weights is not None:
        counted = jnp.where(mask, weights, 0.0)
        values = values * counted
    blocks = -(-values.size // _SUM_BLOCK)
    padded = jnp.pad(
        jnp.where(mask, values, 0.0), (0, blocks * _SUM_BLOCK - values.size)
    )
    partial = jnp.sum(padded.reshape(blocks, _SUM_BLOCK), axis=1)
    total, _ = jax.lax.scan(
        lambda sum_, block: (sum_ + block, None), partial[0], partial[1:]
    )
    return Term(total, jnp.sum(counted))
