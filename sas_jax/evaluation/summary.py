"""The numbers of an ablation in one structure: the paper's Table 3 and its reasons.

T teachers, K classes. A row is one method; students have one evaluation per seed.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import scipy.stats
from jaxtyping import Float

from sas_jax.errors import InputError
from sas_jax.evaluation.protocol import Evaluation
from sas_jax.stages import command


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the ablation table; every score is in percent.

    Attributes:
      name: key of the method, e.g. `fused/capability`.
      label: words for people.
      miou, macc, overall: mean over seeds, all points (an unseen point is missed).
      miou_seen: mean IoU over the points that have a feature.
      groups: mean IoU of groups of classes, e.g. the foreground.
      spread: standard deviation of `miou` over seeds; None for a single evaluation.
      seeds: `miou` of each seed.
      iou: [K] mean per-class IoU over seeds, NaN where a class is absent.
    """

    name: str
    label: str
    miou: float
    macc: float
    overall: float
    miou_seen: float
    spread: float | None
    seeds: tuple[float, ...]
    iou: tuple[float, ...]
    groups: Mapping[str, float] = dataclasses.field(default_factory=dict)


def summarize(name: str, label: str, evaluations: Sequence[Evaluation]) -> Row:
    """Average the evaluations of one method over its seeds.

    Args:
      name: key of the method.
      label: words for people.
      evaluations: at least one, all on the same scenes.
    """
    every = [evaluation.scores() for evaluation in evaluations]
    seen = [evaluation.scores(unseen="ignored").miou for evaluation in evaluations]
    mious = tuple(scores.miou for scores in every)
    groups = {
        group: float(np.mean([scores.over(classes)[0] for scores in every]))
        for group, classes in evaluations[0].groups.items()
    }
    return Row(
        groups=groups,
        name=name,
        label=label,
        miou=float(np.mean(mious)),
        macc=float(np.mean([scores.macc for scores in every])),
        overall=float(np.mean([scores.overall for scores in every])),
        miou_seen=float(np.mean(seen)),
        spread=float(np.std(mious, ddof=1)) if len(mious) > 1 else None,
        seeds=mious,
        iou=tuple(float(v) for v in np.mean([scores.iou for scores in every], axis=0)),
    )


def check_same_scenes(evaluations: Sequence[Evaluation]) -> None:
    """Check that all rows of a table are of the same scenes.

    Raises:
      InputError: naming two methods that were scored on different ones, or by
        different classes.
    """
    for evaluation in evaluations[1:]:
        first = evaluations[0]
        if first.label_set != evaluation.label_set:
            raise InputError(
                f"summary: all methods must be scored by the same classes, got "
                f"{first.label_set} for {first.name} and {evaluation.label_set} for "
                f"{evaluation.name}. Run experiments/evaluate.py again."
            )
        differing = first.counts.keys() ^ evaluation.counts.keys()
        if differing:
            raise InputError(
                f"summary: all methods must be scored on the same scenes, got "
                f"{len(differing)} that only one of {first.name} and "
                f"{evaluation.name} has, e.g. {min(differing)}. Delete scores that "
                f"are of no use, or run again: {command('evaluate')}"
            )


def rank_correlation(
    capability: Float[np.ndarray, " K"], iou: Float[np.ndarray, " K"]
) -> float:
    """Return Spearman's rank correlation of capability and true IoU over classes.

    Classes without a capability or absent from the truth (NaN) are left out; NaN with
    fewer than three classes or no variation.
    """
    known = np.isfinite(capability) & np.isfinite(iou)
    a, b = capability[known], iou[known]
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(scipy.stats.spearmanr(a, b).statistic)


def difference_correlation(
    capability: Float[np.ndarray, "T K"], iou: Float[np.ndarray, "T K"]
) -> float:
    """Return how well capability tells which teacher is better on which class.

    The rank correlation, over pairs of teachers and classes, of the difference in
    capability and the difference in true IoU: what fusion really depends on, since
    Eq. 8 compares teachers on the same class.
    """
    pairs = [(i, j) for i in range(len(iou)) for j in range(i + 1, len(iou))]
    if not pairs:
        return float("nan")
    return rank_correlation(
        np.concatenate([capability[i] - capability[j] for i, j in pairs]),
        np.concatenate([iou[i] - iou[j] for i, j in pairs]),
    )


class Claim(NamedTuple):
    """What the paper says, on the means of a table.

    Attributes:
      words: the claim.
      holds: None where a row is missing.
      gain: mIoU of what should be better less that of the other; NaN where missing.
    """

    words: str
    holds: bool | None
    gain: float


def claims(rows: Mapping[str, Row], teachers: Sequence[str]) -> list[Claim]:
    """Check the paper's claims on the means.

    Args:
      rows: by name: `teacher/<t>`, `fused/<strategy>`, `student/<variant>`.
      teachers: names of the single teachers.
    """
    best = max(
        (f"teacher/{t}" for t in teachers if f"teacher/{t}" in rows),
        key=lambda name: rows[name].miou,
        default="",
    )
    chosen, plain = "fused/capability", "student/superpoint"
    said = [
        ("fused features beat the best single teacher", chosen, best, True),
        ("capability is at least as good as adding", chosen, "fused/add", False),
        (
            "capability is at least as good as linear fusion",
            chosen,
            "fused/linear",
            False,
        ),
        ("the student beats the fused 2-D features", plain, chosen, True),
        ("temporal ensembling beats superpoints alone", "student/full", plain, True),
    ]
    return [_claim(rows, *each) for each in said]


def _claim(
    rows: Mapping[str, Row], words: str, better: str, worse: str, strictly: bool
) -> Claim:
    if better not in rows or worse not in rows:
        return Claim(words, None, float("nan"))
    gain = rows[better].miou - rows[worse].miou
    return Claim(words, gain > 0 if strictly else gain >= 0, gain)
