"""Questions with known answers: how good heat maps and answers are, and how honest.

A file of questions is CSV with the columns text, kind and classes: the classes that
are right, separated by semicolons, none for what no scene has. Where a scene has none
of them, any answer is a false find. Kinds are free words: rows of the table.
"""

import csv
import dataclasses
import io
import os
import pathlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from sas_jax.artefacts import files
from sas_jax.errors import InputError
from sas_jax.evaluation.query import Region
from sas_jax.evaluation.tables import aligned, percent

COLUMNS = ("text", "kind", "classes")
LEAST_POINTS = 60
"""Of what is there; fewer are a rest that no camera saw, and are not asked for."""


@dataclasses.dataclass(frozen=True)
class Question:
    """What is asked, and what is right.

    Attributes:
      text: in words.
      kind: row of the table.
      classes: names of those that are right; none: nothing is.
    """

    text: str
    kind: str
    classes: tuple[str, ...]


def read_questions(
    path: str | os.PathLike, names: Sequence[str]
) -> tuple[Question, ...]:
    """Read a file of questions.

    Args:
      path: CSV, UTF-8.
      names: of the classes that scenes are labelled with.

    Raises:
      InputError: naming the line of a question without text, or with a class that is
        none of `names`; and for another file, or one without questions.
    """
    try:
        text = pathlib.Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"questions: a CSV file in UTF-8 is required, got {error} ({path})."
        ) from error
    rows = csv.DictReader(io.StringIO(text), skipinitialspace=True)
    if tuple(rows.fieldnames or ()) != COLUMNS:
        raise InputError(
            f"questions: the columns {', '.join(COLUMNS)} are required, got "
            f"{', '.join(rows.fieldnames or ()) or 'none'} ({path}). Correct its first "
            "line."
        )
    found = []
    for row in rows:
        asked, kind, classes = ((row[c] or "").strip() for c in COLUMNS)
        right = tuple(c.strip() for c in classes.split(";") if c.strip())
        unknown = [name for name in right if name not in names]
        if not any(map(str.isalnum, asked)) or not kind or unknown or None in row:
            raise InputError(
                "questions: a text, a kind and classes of the label set, separated by "
                f"semicolons, are required, got {','.join(map(str, row.values()))!r} "
                f"in line {rows.line_num} ({path}). Correct the line, or --label_set."
            )
        found.append(Question(asked, kind, right))
    if not found:
        raise InputError(f"questions: one is required, got none ({path}).")
    return tuple(found)


@dataclasses.dataclass(frozen=True)
class Judgement:
    """What a scene's answer to a question is worth.

    Attributes:
      kind: of the question.
      there: whether the scene has what is right.
      found: whether anything was answered.
      precision: average precision of the heat map over points; NaN if nothing is there.
      right: whether most points of the best region are right.
      iou: of all regions together with all that is right; 0 if nothing is there.
      score: of the best region; 0 without one.
    """

    kind: str
    there: bool
    found: bool
    precision: float
    right: bool
    iou: float
    score: float


def judge(
    question: Question,
    truth: Bool[np.ndarray, " P"],
    values: Float[np.ndarray, " P"],
    regions: Sequence[Region],
) -> Judgement | None:
    """Compare an answer with the truth.

    Args:
      question: what was asked.
      truth: which points are right.
      values: the heat map, higher where it fits better; NaN counts as the least.
      regions: the answer, best first.

    Returns:
      None where so little of it is there that neither answer would be wrong.
    """
    there = int(truth.sum()) >= LEAST_POINTS
    if truth.any() and not there:
        return None
    answered = np.zeros(len(truth), bool)
    for region in regions:
        answered[region.points] = True
    union = int((answered | truth).sum())
    return Judgement(
        question.kind,
        there,
        bool(regions),
        heat_precision(values, truth) if there else np.nan,
        bool(regions) and float(truth[regions[0].points].mean()) > 0.5,
        int((answered & truth).sum()) / union if union and there else 0.0,
        regions[0].score if regions else 0.0,
    )


def heat_precision(
    values: Float[np.ndarray, " P"], truth: Bool[np.ndarray, " P"]
) -> float:
    """Return the average precision of points by falling value.

    The sum over values of (recall there less recall at the next higher one) times the
    precision there; points of one value come at once, so that their order is nothing.

    Args:
      values: NaN counts as the least of all.
      truth: at least one.
    """
    _, level = np.unique(-np.nan_to_num(values, nan=-np.inf), return_inverse=True)
    hits = np.bincount(level, weights=truth)
    precision = np.cumsum(hits) / np.cumsum(np.bincount(level))
    return float((hits * precision).sum() / hits.sum())


def right_points(
    question: Question, labels: Int[np.ndarray, " P"], names: Sequence[str]
) -> Bool[np.ndarray, " P"]:
    """Return which points are right.

    Args:
      question: whose classes are of `names`.
      labels: class index of each point.
      names: of the classes, in the order of their indices.
    """
    return np.isin(labels, [names.index(name) for name in question.classes])


def table(rows: dict[str, Sequence[Judgement]]) -> str:
    """Return the scores of each method, and of each kind of question, in percent.

    `heat AP` is of the heat map, `right` the share of questions whose best region
    is mostly right, `missed` of those without an answer, `IoU` of the whole answer:
    all of what is there. `false` is the share of answers to what is not.

    Args:
      rows: method -> judgements, at least one.
    """
    lines = [
        ["answers", "there", "heat AP", "right", "missed", "IoU", "absent", "false"]
    ]
    for name, judgements in rows.items():
        lines.append([name, *_numbers(judgements)])
        kinds = dict.fromkeys(each.kind for each in judgements)
        for kind in kinds if len(kinds) > 1 else ():
            of_kind = [each for each in judgements if each.kind == kind]
            lines.append([f"  {kind}", *_numbers(of_kind)])
    return aligned(lines, left=(0,))


def scores(judgements: Sequence[Judgement]) -> dict[str, float]:
    """Return counts and shares (in percent, NaN of nothing) as `table` shows them."""
    there = [each for each in judgements if each.there]
    absent = [each for each in judgements if not each.there]
    return {
        "there": len(there),
        "heat AP": _share([each.precision for each in there]),
        "right": _share([each.right for each in there]),
        "missed": _share([not each.found for each in there]),
        "IoU": _share([each.iou for each in there]),
        "absent": len(absent),
        "false": _share([each.found for each in absent]),
    }


def _share(values: Sequence[float]) -> float:
    return 100 * float(np.mean(values)) if values else np.nan


def _numbers(judgements: Sequence[Judgement]) -> list[str]:
    return [
        str(value) if isinstance(value, int) else percent(value)
        for value in scores(judgements).values()
    ]


ALL = "all"
SCHEMA = "sas_jax.question_scores/1"


def save(
    path: str | os.PathLike, name: str, judgements: Sequence[Judgement], key: str
) -> None:
    """Write the scores of a method, over all questions and of each kind, as JSON.

    Args:
      path: target.
      name: of the method.
      judgements: at least one.
      key: of what was asked of whom.
    """
    kinds = dict.fromkeys(each.kind for each in judgements)
    rows = {ALL: scores(judgements)}
    for kind in kinds:
        rows[kind] = scores([each for each in judgements if each.kind == kind])
    plain = {
        kind: {k: None if np.isnan(v) else v for k, v in row.items()}
        for kind, row in rows.items()
    }
    files.write_json(path, {"name": name, "rows": plain}, key=key, schema=SCHEMA)


def load(path: str | os.PathLike) -> tuple[str, dict[str, dict[str, float]]]:
    """Return the name of a method and its scores by kind, as `save` wrote them."""
    record = files.read_json(path, schema=SCHEMA)
    rows = {
        kind: {k: np.nan if v is None else v for k, v in row.items()}
        for kind, row in record["rows"].items()
    }
    return record["name"], rows
