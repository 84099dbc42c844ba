"""Scores as tables for a terminal: a line for each method, a line for each class."""

from collections.abc import Sequence

import numpy as np

from sas_jax.evaluation.protocol import Evaluation

VERSION = 0
"""It decides no numbers; see `artefacts.versions`."""


def methods(evaluations: Sequence[Evaluation]) -> str:
    """Return a line for each method: means over all classes, and those of groups.

    `mIoU seen` is over the points that have a feature.

    Args:
      evaluations: at least one, all of the same classes.
    """
    groups = list(evaluations[0].groups)
    heads = [f"{g[:10]} {what}" for g in groups for what in ("IoU", "acc")]
    header = ["method", "#", "mIoU", "mAcc", "acc", "mIoU seen", *heads]
    lines = [header]
    for number, evaluation in enumerate(evaluations, 1):
        scores = evaluation.scores()
        seen = evaluation.scores(unseen="ignored").miou
        means = [scores.over(evaluation.groups[g]) for g in groups]
        numbers = [scores.miou, scores.macc, scores.overall, seen, *np.ravel(means)]
        lines.append([evaluation.name, str(number), *map(percent, numbers)])
    return aligned(lines, left=(0,))


def classes(evaluations: Sequence[Evaluation], names: Sequence[str]) -> str:
    """Return a line for each class: its points, and its IoU by each method.

    Args:
      evaluations: at least one, all of the same classes and scenes.
      names: of the classes.
    """
    every = [evaluation.scores() for evaluation in evaluations]
    numbers = [f"#{number}" for number in range(1, len(every) + 1)]
    lines = [["IoU of", "points", *numbers]]
    for index, name in enumerate(names):
        points = int(every[0].points[index])
        found = [percent(scores.iou[index]) for scores in every]
        lines.append([name, f"{points:,}" if points else "absent", *found])
    return aligned(lines, left=(0,))


def percent(value: float) -> str:
    """Return a number with one decimal, or - where there is none."""
    return f"{value:.1f}" if np.isfinite(value) else "-"


def aligned(lines: Sequence[Sequence[str]], left: Sequence[int]) -> str:
    """Return lines of cells as columns, flush right but for those of `left`."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    shown = [
        "  ".join(
            f"{cell:<{width}}" if i in left else f"{cell:>{width}}"
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    return "\n".join(shown)
