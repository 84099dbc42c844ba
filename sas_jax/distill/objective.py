"""Objective: which losses of section 3.4 a step adds up, from student features.

`StepConfig` holds what a compiled program depends on, `StepInputs` the numbers that it
takes: runs that differ in seed, schedule or vocabulary share one program.
"""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sas_jax.distill import losses
from sas_jax.distill.batch import Batch
from sas_jax.distill.config import TrainConfig
from sas_jax.distill.factored import FactoredFeatures
from sas_jax.distill.history import pseudo_labels, update_history
from sas_jax.distill.losses import Term
from sas_jax.distill.schedule import Stage


@dataclasses.dataclass(frozen=True)
class StepConfig:
    """What a compiled step depends on, beside the network and array shapes.

    Attributes:
      distill: whether Eq. 10 counts.
      ensemble: whether Eq. 11-13 count.
      level: targets per superpoint or per point.
      compat: where targets of superpoints and pseudo labels of points come from.
      in_channels: of the student.
      unit_logits: whether features have unit length in Eq. 12 and 13.
      impl: implementation of the losses' products, the student's.
    """

    distill: bool
    ensemble: bool
    level: Literal["superpoint", "point"]
    compat: Literal["paper", "official"]
    in_channels: int
    unit_logits: bool = False
    impl: str | None = None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class StepInputs:
    """Numbers that a step takes beside state and batch.

    Attributes:
      learning_rate: f32 scalar.
      ema_alpha: f32 scalar, Eq. 11.
      text: f32 vectors of the vocabulary, T: unit length times `logit_scale`.
    """

    learning_rate: Float[Array, ""]
    ema_alpha: Float[Array, ""]
    text: Float[Array, "K C"]


def step_config(config: TrainConfig, stage: Stage) -> StepConfig:
    """Return what the steps of a stage depend on."""
    return StepConfig(
        distill=stage.distill,
        ensemble=stage.ensemble,
        level=config.level,
        compat=config.compat,
        in_channels=config.student.in_channels,
        unit_logits=config.logit_scale is not None,
        impl=config.student.impl,
    )


def class_logits(
    features: FactoredFeatures, text: Float[Array, "K C"], *, unit: bool
) -> Float[Array, "N K"]:
    """Return products with the texts, of features of unit length if asked for.

    Gradients: features; a zero row gives zero logits and gets no gradient through its
    length. Deterministic: yes.
    """
    logits = features.products(text)
    return logits * features.inverse_lengths()[:, None] if unit else logits


def loss_terms(
    features: FactoredFeatures,
    batch: Batch,
    inputs: StepInputs,
    config: StepConfig,
) -> tuple[dict[str, Term], Float[Array, "P K"] | None]:
    """Return the losses on one device, by name, and the new history or None.

    Args:
      features: of the student, at every voxel.
      batch: the voxels' superpoints, targets and history.
      inputs: text features and weight of the past.
      config: which losses count.
    """
    terms: dict[str, Term] = {}
    history = None
    # Zero times NaN of padding would reach the gradient of the last layer.
    features = features.keep(batch.superpoint < batch.num_superpoints)
    if config.distill:
        terms |= _distillation(features, batch, config)
    if config.ensemble:
        logits = class_logits(features, inputs.text, unit=config.unit_logits)
        ensemble = batch.known_ensemble
        history = update_history(
            ensemble.history, logits, ensemble.point_voxel, inputs.ema_alpha
        )
        terms |= _self_distillation(logits, history, batch, config)
    return terms, history


def _distillation(
    features: FactoredFeatures, batch: Batch, config: StepConfig
) -> dict[str, Term]:
    targets = batch.targets.astype(jnp.float32)
    if config.level == "point":
        point = losses.point_cosine(features, targets, batch.mask, batch.weights)
        return {"point": point}
    if config.compat == "official":
        # Of the voxels that count only; the paper's are of all points that were seen.
        targets, _ = losses.segment_mean(
            targets, batch.superpoint, batch.mask, batch.num_superpoints
        )
    of_voxels, of_superpoints = losses.superpoint_cosines(
        features, batch.superpoint, batch.mask, targets, batch.weights
    )
    return {"point": of_voxels, "superpoint": of_superpoints}


def _self_distillation(
    logits: Float[Array, "N K"],
    history: Float[Array, "P K"],
    batch: Batch,
    config: StepConfig,
) -> dict[str, Term]:
    ensemble = batch.known_ensemble
    point_labels, superpoint_labels = pseudo_labels(
        history, ensemble.point_superpoint, batch.num_superpoints
    )
    if config.compat == "official":
        labels = superpoint_labels.at[batch.superpoint].get(mode="fill", fill_value=0)
    else:
        labels = point_labels[ensemble.first_point]
    return {
        "point_self": losses.point_cross_entropy(logits, labels, ensemble.mask),
        "superpoint_self": losses.superpoint_cross_entropy(
            logits, batch.superpoint, ensemble.mask, superpoint_labels
        ),
    }
