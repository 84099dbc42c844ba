"""What does not hold, from the rows of the report: its first section."""

from collections.abc import Mapping, Sequence

import numpy as np

from sas_jax.evaluation.questions import ALL
from sas_jax.evaluation.summary import Row
from sas_jax.view.report import Section

_LOST = 5.0  # IoU in percent, below which a class is not found
_NAMED = 6
_FALSE, _RIGHT = 25.0, 80.0
"""Percent of answers that may be false finds, and that should be right."""

Questions = Mapping[str, Mapping[str, Mapping[str, float]]]


def section(
    rows: Mapping[str, Row],
    results: Mapping,
    questions: Questions,
    names: Sequence[str],
) -> Section:
    """Return what these numbers speak against, and what they say nothing of.

    Args:
      rows: by the names of methods.
      results: of the report: claims and correlations.
      questions: method -> kind -> scores.
      names: of the classes.
    """
    found = [
        f"Not so here: {c.words} ({c.gain:+.1f} mIoU)."
        for c in results["claims"]
        if c.holds is False
    ]
    found += _single(rows)
    better = results["capability_difference_correlation"]
    if better <= 0.3:
        found.append(
            "Capability hardly tells which teacher is better on a class: the rank "
            f"correlation of the differences is {better:.2f}."
        )
    found += _classes(rows, names)
    found += _questions(questions)
    absent = [c.words for c in results["claims"] if c.holds is None]
    if absent:
        found.append(f"Not measured: {'; '.join(absent)}.")
    if not questions:
        found.append("Not measured: answers to questions.")
    return Section(
        "What does not hold",
        items=found or ["Nothing of what is checked: see the tables."],
    )


def _single(rows: Mapping[str, Row]) -> list[str]:
    """Say where a mean stands on one seed."""
    alone = [r.label for r in rows.values() if _is_run(r.name) and len(r.seeds) == 1]
    if not alone:
        return []
    return [
        f"One seed each, so that differences of students of two points or less may be "
        f"chance: {', '.join(label.removeprefix('student: ') for label in alone)}."
    ]


def _is_run(name: str) -> bool:
    return name.startswith("student/") and "." not in name and "+super" not in name


def _classes(rows: Mapping[str, Row], names: Sequence[str]) -> list[str]:
    """Say which classes are lost, to fusion and to every method."""
    found = []
    fused, teachers = rows.get("fused/capability"), _of("teacher/", rows)
    if fused is not None and teachers:
        best = np.fmax.reduce([row.iou for row in teachers])  # NaN: in no scene
        lost = best - np.array(fused.iou)
        worst = [k for k in np.argsort(-np.nan_to_num(lost, nan=-1)) if lost[k] > 1]
        if worst:
            told = ", ".join(f"{names[k]} (-{lost[k]:.0f})" for k in worst[:_NAMED])
            found.append(
                f"A single teacher is better than their fusion on {len(worst)} of "
                f"{int(np.isfinite(lost).sum())} classes: {told}."
            )
    last = [*_of("fused/capability", rows), *_of("student/", rows)]
    for k, name in enumerate(names):
        by = [row.label for row in last if row.iou[k] < _LOST]
        if by:
            told = "; ".join(by)
            found.append(f"{name} is not found (IoU below {_LOST:.0f}) by {told}.")
    return found


def _of(kind: str, rows: Mapping[str, Row]) -> list[Row]:
    both = [row for name, row in rows.items() if name.startswith(kind)]
    return [row for row in both if "+" not in row.name]


def _questions(questions: Questions) -> list[str]:
    found = []
    for name, kinds in questions.items():
        if name.startswith("teacher/"):
            continue
        score = kinds[ALL]
        false = {kind: row["false"] for kind, row in kinds.items()}
        many = [f"{kind} {v:.0f} %" for kind, v in false.items() if v > _FALSE]
        if many:
            found.append(
                f"{name} finds what is not there, in questions of: {', '.join(many)}."
            )
        if score["right"] < _RIGHT:
            found.append(
                f"{name}: the best region is mostly what was asked for in "
                f"{score['right']:.0f} % of the questions, less than {_RIGHT:.0f}."
            )
    return found
