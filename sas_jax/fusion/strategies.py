"""How teachers are weighed: one function a strategy, and anybody's own.

A strategy sees what T teachers say of M points and returns how much each of them
counts. T teachers, M points, K classes, C channels.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from sas_jax.checks import in_range
from sas_jax.errors import InputError

Name = Literal["capability", "add", "linear", "single"]
NAMES: tuple[Name, ...] = ("capability", "add", "linear", "single")


@dataclasses.dataclass(frozen=True)
class FuseConfig:
    """Choose how teachers are mixed.

    Attributes:
      strategy: "capability" is Eq. 6-8; "add" takes the mean over teachers; "linear"
        weighs each teacher by its largest cosine to any text; "single" keeps one.
      tau: temperature of Eq. 8. The paper does not state it; 0.05 is the authors'.
      compat: "official" divides p by its sum over teachers before the softmax, and
        points where the first teacher predicts `other` keep that teacher's feature.
      other_index: class index of `other`, or None where the vocabulary has none.
      teacher: name of the teacher that "single" keeps; None = the first.
    """

    strategy: Name = "capability"
    tau: float = 0.05
    compat: Literal["paper", "official"] = "paper"
    other_index: int | None = None
    teacher: str | None = None

    def __post_init__(self) -> None:
        if self.strategy not in NAMES:
            raise InputError(
                f"fuse: strategy must be one of {', '.join(NAMES)}; got "
                f"{self.strategy!r}. Check the spelling."
            )
        in_range("fuse", "tau", self.tau, 0, above=True)


@dataclasses.dataclass(frozen=True)
class Votes:
    """What teachers say of some points.

    Attributes:
      features: [T, M, C] zeros where unseen.
      seen: [T, M] which teachers have the point; at least one does.
      prediction: [T, M] index of the class whose text is nearest (Eq. 6), any where
        unseen; None without texts.
      texts: [K, C] text feature of each class; None without.
      capability: [T, K] mIoU of each teacher on each class, 0..1; None without.
      config: temperature and compat.
    """

    features: Float32[np.ndarray, "T M C"]
    seen: Bool[np.ndarray, "T M"]
    prediction: Int[np.ndarray, "T M"] | None
    texts: Float32[np.ndarray, "K C"] | None
    capability: Float[np.ndarray, "T K"] | None
    config: FuseConfig


Strategy = Callable[[Votes], Float[np.ndarray, "T M"]]
"""Votes to weights >= 0 of any sum; those of teachers without the point do nothing."""


def add(votes: Votes) -> Float[np.ndarray, "T M"]:
    """Return one for everybody: the mean over teachers."""
    return votes.seen.astype(np.float32)


def linear(votes: Votes) -> Float[np.ndarray, "T M"]:
    """Return the largest cosine of each feature to any text, at least 0."""
    assert votes.texts is not None  # `fuse` asked for them
    norm = np.maximum(np.linalg.norm(votes.features, axis=2), 1e-12)
    logits = votes.features @ votes.texts.T
    return np.maximum(logits.max(axis=2) / norm, 0)


def capability(votes: Votes) -> Float[np.ndarray, "T M"]:
    """Return the weights of Eq. 7 and 8."""
    assert votes.prediction is not None and votes.capability is not None
    return capability_weights(
        votes.prediction, votes.seen, votes.capability, votes.config
    )


def capability_weights(
    prediction: Int[np.ndarray, "T M"],
    seen: Bool[np.ndarray, "T M"],
    capability: Float[np.ndarray, "T K"],
    config: FuseConfig,
) -> Float[np.ndarray, "T M"]:
    """Return the weights of Eq. 7 and 8 from each teacher's predicted class.

    Args:
      prediction: class index per teacher and point; anything valid where unseen.
      seen: which teachers have the point; at least one does.
      capability: mIoU of each teacher on each class.
      config: temperature and compat.

    Returns:
      f64, 0 where unseen, summing to 1 over teachers.
    """
    # scores[t, u, m] = S_t[pred_u], of interest where u has seen the point.
    scores = capability.astype(np.float64)[:, prediction]
    weight = (scores * seen[None]).sum(axis=1)
    if config.compat == "official":
        total = (weight * seen).sum(axis=0)
        weight = np.divide(weight, total, out=np.zeros_like(weight), where=total > 0)
    else:
        weight /= seen.sum(axis=0)
    weight = np.where(seen, weight / config.tau, -np.inf)
    weight = np.exp(weight - weight.max(axis=0))
    weight /= weight.sum(axis=0)
    if config.compat == "official" and config.other_index is not None:
        keeps_first = seen[0] & (prediction[0] == config.other_index)
        weight[:, keeps_first] = 0
        weight[0, keeps_first] = 1
    return weight


STRATEGIES: Mapping[str, Strategy] = {
    "capability": capability,
    "add": add,
    "linear": linear,
}
