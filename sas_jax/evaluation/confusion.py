"""Counts of (truth, prediction) pairs and the scores that follow from them.

K classes; `counts[t, p]` are points of true class t predicted as p. Column K holds
points without a prediction (seen by no camera), which therefore count as missed. Counts
are integers and may be added over blocks and scenes: exact for any number of points.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from sas_jax.errors import ContractError, InputError

IGNORE = 255
NO_PREDICTION = -1
_POINTS_AT_ONCE = 1 << 20


@dataclasses.dataclass(frozen=True)
class Scores:
    """Scores of one evaluation, in percent; classes absent from the truth are NaN.

    Attributes:
      iou: [K] tp / (tp + fp + fn).
      accuracy: [K] tp / points of the class.
      miou: mean of `iou` over the classes present in the truth.
      macc: mean of `accuracy` over the same classes.
      overall: correct points / all points with a truth.
      points: [K] points of each class in the truth.
      absent: how means treat absent classes; see `score`.
    """

    iou: Float[np.ndarray, " K"]
    accuracy: Float[np.ndarray, " K"]
    miou: float
    macc: float
    overall: float
    points: Int[np.ndarray, " K"]
    absent: str = "skip"

    def over(self, classes: Sequence[int]) -> tuple[float, float]:
        """Return mean IoU and mean accuracy over some classes, e.g. the foreground.

        What is predicted as one of the others still counts against these. NaN where
        none of them is in the truth.
        """
        chosen = list(classes)
        return (
            _mean(self.iou[chosen], self.absent),
            _mean(self.accuracy[chosen], self.absent),
        )


def _mean(values: Float[np.ndarray, " k"], absent: str) -> float:
    present = np.isfinite(values)
    if not present.any():
        return float("nan")
    divisor = len(values) if absent == "official" else present.sum()
    return float(values[present].sum() / divisor)


def count(
    truth: Int[np.ndarray, " P"], prediction: Int[np.ndarray, " P"], num_classes: int
) -> Int[np.ndarray, "K K+1"]:
    """Count (truth, prediction) pairs of the points that have a truth.

    Args:
      truth: class index in [0, K), or 255 for points that are not scored. It is not
        changed: the authors' code writes K over 255 where it shows the truth, and
        scores that afterwards.
      prediction: class index in [0, K), or -1 for points without any feature.
      num_classes: K.

    Returns:
      int64 counts; counts of several scenes may be added.

    Raises:
      ContractError: for lengths that differ or predictions outside these ranges.
      InputError: for labels outside these ranges.
    """
    if truth.shape != prediction.shape:
        raise ContractError(
            f"evaluate: one prediction per point is required, got {prediction.shape} "
            f"for {truth.shape} labels. Were they made from the same scene?"
        )
    counts = np.zeros((num_classes, num_classes + 1), np.int64)
    for start in range(0, len(truth), _POINTS_AT_ONCE):
        block = slice(start, start + _POINTS_AT_ONCE)
        counts += _count(truth[block], prediction[block], num_classes)
    return counts


def _count(
    truth: Int[np.ndarray, " P"], prediction: Int[np.ndarray, " P"], num_classes: int
) -> Int[np.ndarray, "K K+1"]:
    scored = truth != IGNORE
    truth, prediction = truth[scored], prediction[scored]
    if truth.size and not (truth.min() >= 0 and truth.max() < num_classes):
        raise InputError(
            f"evaluate: labels must lie in [0, {num_classes}) or be {IGNORE}, "
            f"got {truth.min()}..{truth.max()}. Choose the label set of the data."
        )
    if truth.size and not (prediction.min() >= -1 and prediction.max() < num_classes):
        raise ContractError(
            f"evaluate: predictions must lie in [0, {num_classes}) or be "
            f"{NO_PREDICTION}, got {prediction.min()}..{prediction.max()}."
        )
    column = np.where(prediction == NO_PREDICTION, num_classes, prediction)
    flat = truth.astype(np.int64) * (num_classes + 1) + column
    counts = np.bincount(flat, minlength=num_classes * (num_classes + 1))
    return counts.reshape(num_classes, num_classes + 1)


def score(
    counts: Int[np.ndarray, "K K+1"], *, unseen: str = "missed", absent: str = "skip"
) -> Scores:
    """Turn counts into scores.

    Args:
      counts: from `count`, possibly summed over scenes.
      unseen: "missed" counts a point without a prediction against its class;
        "ignored" leaves it out altogether; "official" does what the authors'
        evaluation does: out of the IoU, but in the denominator of the accuracies.
      absent: "skip" averages over classes present in the truth (paper tables name
        only those); "official" divides by K, an absent class counting as zero.

    Returns:
      Scores in percent; NaN means where no point has a truth.

    Source: authors' code util/metric.py for the "official" variants.
    """
    true_positive = np.diagonal(counts).astype(np.float64)
    seen, everything = counts[:, :-1].sum(1), counts.sum(1)
    predicted = counts[:, :-1].sum(0)
    truth_iou = everything if unseen == "missed" else seen
    truth_acc = seen if unseen == "ignored" else everything
    present = truth_acc > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        iou = 100 * true_positive / (truth_iou + predicted - true_positive)
        accuracy = 100 * true_positive / truth_acc
        overall = float(100 * true_positive.sum() / truth_acc.sum())
    iou, accuracy = np.where(present, iou, np.nan), np.where(present, accuracy, np.nan)
    # A class whose points all went unseen and that nobody predicted has 0/0.
    iou = np.where(present & np.isnan(iou), 0.0, iou)
    miou, macc = _mean(iou, absent), _mean(accuracy, absent)
    return Scores(iou, accuracy, miou, macc, overall, truth_acc, absent)
