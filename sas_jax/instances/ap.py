"""Average precision of instances, as ScanNet's benchmark defines it.

Matches are made scene by scene (`matching`), scores of all scenes are sorted together.
A point of the curve lies at each different score: predictions of one score come
together or not at all. It ends at recall 0, precision 1. The area is the sum of
precision times half the distance of the neighbouring recalls; no envelope is drawn.

AP is the mean over nine thresholds of the IoU, 0.5, 0.55, ... 0.9: the benchmark's page
says "0.5 to 0.95 in steps of 0.05", its script stops before the last one, and so do all
published numbers. AP50 and AP25 are those of one threshold. A class that no scene has a
true instance of has no AP and counts in no mean, whatever was predicted; one with true
instances and without predictions has 0. "official" repeats the script's matches and
differs in nothing else; scenes without any prediction, truth or match, with which the
script fails, get what the definition says.
"""

import dataclasses
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import Float64, Int64

from sas_jax.instances.matching import MIN_POINTS, Outcome, candidates, match
from sas_jax.instances.overlaps import Compat, Overlaps

THRESHOLDS = (*(i / 20 for i in range(10, 19)), 0.25)
"""Of the IoU: nine of AP, the first of which is that of AP50, and that of AP25."""


@dataclasses.dataclass(frozen=True)
class AveragePrecision:
    """Scores of a set of scenes, in 0..1; c of C classes are scored.

    Attributes:
      classes: their indices.
      table: [c, 10] f64, average precision of each class and threshold; NaN for a class
        without a true instance.
      truths: [c] i64, true instances that are looked for.
      predictions: [c] i64, predictions that are large enough.
    """

    classes: tuple[int, ...]
    table: Float64[np.ndarray, "c 10"]
    truths: Int64[np.ndarray, " c"]
    predictions: Int64[np.ndarray, " c"]

    def per_class(self) -> Float64[np.ndarray, "c 3"]:
        """Return AP, AP50 and AP25 of each class."""
        nine = np.array([np.average(row[:-1]) for row in self.table])
        nine = nine.reshape(len(self.table))
        return np.stack([nine, self.table[:, 0], self.table[:, -1]], axis=1)

    def mean(self) -> tuple[float, float, float]:
        """Return AP, AP50 and AP25 over all classes that have one; else NaN."""
        return (
            # Sums in another order have other last digits than the official script's.
            _mean(np.ascontiguousarray(self.table[:, :-1].T)),
            _mean(self.table[:, 0]),
            _mean(self.table[:, -1]),
        )

    def over(self, classes: Collection[int]) -> tuple[float, float, float]:
        """Return AP, AP50 and AP25 over some classes, given by their indices."""
        rows = self.per_class()[np.isin(self.classes, list(classes))]
        return _mean(rows[:, 0]), _mean(rows[:, 1]), _mean(rows[:, 2])


def average_precision(
    scenes: Iterable[Overlaps],
    classes: Sequence[int],
    *,
    compat: Compat = "paper",
    min_points: int = MIN_POINTS,
) -> AveragePrecision:
    """Return the average precision of each class over scenes.

    Args:
      scenes: counts of each; of `Overlaps.agnostic` with classes (0,) for masks alone.
      classes: indices of those that are scored.
      compat: see `matching`.
      min_points: of a region that counts, see `matching`.
    """
    scenes = list(scenes)
    table = np.full((len(classes), len(THRESHOLDS)), np.nan)
    counts = np.zeros((2, len(classes)), np.int64)
    for row, index in enumerate(classes):
        found = [candidates(scene, index, min_points) for scene in scenes]
        counts[0, row] = sum(int(each.target.sum()) for each in found)
        counts[1, row] = sum(len(each.scores) for each in found)
        if counts[0, row]:
            for column, threshold in enumerate(THRESHOLDS):
                outcomes = [match(each, threshold, compat) for each in found]
                table[row, column] = area(outcomes)
    return AveragePrecision(tuple(classes), table, counts[0], counts[1])


def area(outcomes: Sequence[Outcome]) -> float:
    """Return the area below the curve of precision over recall of one class.

    Args:
      outcomes: of all scenes, with at least one true instance.
    """
    right = np.array([score for each in outcomes for score in each.right])
    wrong = np.array([score for each in outcomes for score in each.wrong])
    missed = sum(each.missed for each in outcomes)
    scores = np.unique(np.concatenate([right, wrong]))
    # As many as have at least each score.
    tp = (len(right) - np.searchsorted(np.sort(right), scores)).astype(np.float64)
    fp = (len(wrong) - np.searchsorted(np.sort(wrong), scores)).astype(np.float64)
    precision = np.append(tp / (tp + fp), 1.0)
    recall = np.append(tp / (len(right) + missed), 0.0)
    around = np.concatenate([recall[:1], recall, [0.0]])
    steps = np.convolve(around, [-0.5, 0, 0.5], "valid")
    return float(np.dot(precision, steps))


def group_means(
    scores: AveragePrecision, groups: Mapping[str, Collection[int]]
) -> dict[str, tuple[float, float, float]]:
    """Return AP, AP50 and AP25 of groups of classes, e.g. head, common and tail."""
    return {name: scores.over(classes) for name, classes in groups.items()}


def _mean(values: np.ndarray) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of no value at all
        return float(np.nanmean(values)) if values.size else float("nan")
