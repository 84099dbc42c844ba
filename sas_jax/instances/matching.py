"""Which predictions of a class are right, at a threshold of the IoU.

A prediction and a true instance of its class *match* where their IoU is above the
threshold; equal is not enough. Regions of fewer than `min_points` points are left out:
such predictions count nowhere, such true instances need not be found. A prediction that
matches nothing is wrong, unless the share of its points that is void or of such a small
true instance is above the threshold: nobody knows what is there.

Whom a prediction is given to:
  "paper": the surest prediction chooses first, the true instance with the largest IoU
    of those that are left; of equal scores the one with the larger IoU goes first. One
    true instance makes one prediction right, the others are wrong with their own score.
    The order of predictions and true instances does not count.
  "official": true instances choose, in the order of their ids, the first prediction in
    the order of the file that is not taken. Another one that matches, too, raises the
    score of the match if it is surer, and the lower score of both is that of a wrong
    prediction; it is not taken by that, and may be right for another true instance.
    What is taken twice, or matches but was not asked for, is neither right nor wrong.
The paper says nothing of it; published numbers are of the official script. Both agree
where at most one prediction matches each true instance.

Source: ScanNet's evaluation of 3-D instances, as a definition.
"""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float64, Int64

from sas_jax.instances.overlaps import Compat, Overlaps

MIN_POINTS = 100


@dataclasses.dataclass(frozen=True)
class Candidates:
    """Predictions and true instances of one class in one scene.

    Attributes:
      scores: [k] f64 of the predictions.
      iou: [k, g] f64 with the true instances.
      ignored: [k] f64, share of points that are void or of small true instances.
      target: [g] which true instances are large enough to be looked for.
    """

    scores: Float64[np.ndarray, " k"]
    iou: Float64[np.ndarray, "k g"]
    ignored: Float64[np.ndarray, " k"]
    target: Bool[np.ndarray, " g"]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of the predictions of a class.

    Attributes:
      right: scores of those that are right.
      wrong: scores of those that are wrong.
      missed: true instances that none is right for.
    """

    right: list[float]
    wrong: list[float]
    missed: int


def candidates(scene: Overlaps, index: int, min_points: int = MIN_POINTS) -> Candidates:
    """Return who may match whom of a class.

    Args:
      scene: its counts.
      index: of the class.
      min_points: of a region that counts.
    """
    chosen = (scene.classes == index) & (scene.sizes >= max(min_points, 1))
    true = scene.truth_classes == index
    shared, sizes = scene.shared[chosen][:, true], scene.sizes[chosen]
    target = scene.truth_sizes[true] >= min_points
    union = sizes[:, None] + scene.truth_sizes[true] - shared
    unknown: Int64[np.ndarray, " k"] = scene.void[chosen] + shared[:, ~target].sum(1)
    return Candidates(scene.scores[chosen], shared / union, unknown / sizes, target)


def match(found: Candidates, threshold: float, compat: Compat = "paper") -> Outcome:
    """Return which predictions are right above a threshold of the IoU."""
    over = found.iou > threshold
    chosen = _official(found, over) if compat == "official" else _by_score(found, over)
    right, wrong = chosen
    alone = ~over.any(axis=1) & (found.ignored <= threshold)
    wrong += found.scores[alone].tolist()
    return Outcome(right, wrong, int(found.target.sum()) - len(right))


_Chosen = tuple[list[float], list[float]]
"""Scores that are right and wrong, of those that match a true instance."""


def _by_score(found: Candidates, over: Bool[np.ndarray, "k g"]) -> _Chosen:
    right: list[float] = []
    wrong: list[float] = []
    best = found.iou.max(axis=1, initial=0)
    free = found.target.copy()
    for index in np.lexsort((-best, -found.scores)).tolist():
        own = np.where(over[index] & free, found.iou[index], 0)
        if own.any():
            free[np.argmax(own)] = False
            right.append(float(found.scores[index]))
        elif (over[index] & found.target).any():
            wrong.append(float(found.scores[index]))
    return right, wrong


def _official(found: Candidates, over: Bool[np.ndarray, "k g"]) -> _Chosen:
    right: list[float] = []
    wrong: list[float] = []
    taken = np.zeros(len(over), bool)
    for true in np.flatnonzero(found.target):
        matching = np.flatnonzero(over[:, true] & ~taken)
        if not len(matching):
            continue
        taken[matching[0]] = True
        score, *others = found.scores[matching].tolist()
        for other in others:
            score, lower = max(score, other), min(score, other)
            wrong.append(lower)
        right.append(score)
    return right, wrong
