"""Scores of instances of a set of scenes, kept on disk and shown as tables.

C classes, of which c are scored.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence

import numpy as np

from sas_jax.artefacts import files
from sas_jax.evaluation.protocol import FOREGROUND, groups_of
from sas_jax.evaluation.tables import aligned, percent
from sas_jax.instances.ap import AveragePrecision, average_precision
from sas_jax.instances.masks import NO_CLASS
from sas_jax.instances.matching import MIN_POINTS
from sas_jax.instances.overlaps import Compat, Overlaps, instance_classes
from sas_jax.scenes.labels import LabelSet

SCHEMA = "sas_jax.instance_scores/1"


@dataclasses.dataclass(frozen=True)
class InstanceScores:
    """What instances of one kind scored.

    Attributes:
      name: what was scored, e.g. `proposals + student/full`.
      label_set: name of the label set.
      compat: see `matching`.
      min_points: of a region that counts.
      scenes: names of the scenes.
      named: average precision of each class.
      masks: that of masks alone, whatever their classes.
      unscored: predictions that are of no class that is scored, and dropped out.
    """

    name: str
    label_set: str
    compat: Compat
    min_points: int
    scenes: tuple[str, ...]
    named: AveragePrecision
    masks: AveragePrecision
    unscored: int


def score(
    name: str,
    counts: Mapping[str, tuple[Overlaps, Overlaps]],
    label_set: LabelSet,
    *,
    compat: Compat = "paper",
    min_points: int = MIN_POINTS,
) -> InstanceScores:
    """Score the instances of all scenes.

    Args:
      name: what is scored.
      counts: scene -> what true instances share with named instances, and with the
        masks before they were named, which may be other ones and have other scores.
      label_set: whose classes the counts are of.
      compat: see `matching`.
      min_points: of a region that counts.
    """
    named = [scene for scene, _ in counts.values()]
    alone = [scene.agnostic() for _, scene in counts.values()]

    def precision(of: list[Overlaps], classes: Sequence[int]) -> AveragePrecision:
        return average_precision(of, classes, compat=compat, min_points=min_points)

    return InstanceScores(
        name,
        label_set.classes.name,
        compat,
        min_points,
        tuple(counts),
        precision(named, instance_classes(label_set)),
        precision(alone, (0,)),
        sum(int((scene.classes == NO_CLASS).sum()) for scene in named),
    )


def has_names(scores: InstanceScores) -> bool:
    """Tell whether any prediction is of a class that is scored."""
    return bool(scores.named.predictions.any())


def save(path: str | os.PathLike, scores: InstanceScores, key: str) -> None:
    """Write scores as JSON; NaN, no average precision, as null."""
    record = dataclasses.asdict(scores)
    for part in ("named", "masks"):
        fields = record[part]
        record[part] = {
            "classes": list(fields["classes"]),
            "table": [
                [None if np.isnan(value) else value for value in row]
                for row in fields["table"].tolist()
            ],
            "truths": fields["truths"].tolist(),
            "predictions": fields["predictions"].tolist(),
        }
    files.write_json(path, record, key=key, schema=SCHEMA)


def load(path: str | os.PathLike) -> InstanceScores:
    """Read what `save` wrote."""
    record = files.read_json(path, schema=SCHEMA)
    for part in ("named", "masks"):
        fields = record[part]
        record[part] = AveragePrecision(
            tuple(fields["classes"]),
            np.array(fields["table"], np.float64).reshape(len(fields["classes"]), -1),
            np.array(fields["truths"], np.int64),
            np.array(fields["predictions"], np.int64),
        )
    return InstanceScores(**{**record, "scenes": tuple(record["scenes"])})


def overview(rows: Sequence[InstanceScores], label_set: LabelSet) -> str:
    """Return a line for each kind of instances, in percent.

    `AP50 head` and such are means over groups of classes; `mask` columns are of masks
    alone, whose number follows; `unscored` counts the named ones that dropped out.

    Args:
      rows: at least one, of the label set.
      label_set: of the rows.
    """
    groups = {k: v for k, v in groups_of(label_set).items() if k != FOREGROUND}
    kinds = ("AP", "AP50", "AP25")
    heads = [f"{kind} {group}" for group in groups for kind in kinds]
    masks = [f"mask {kind}" for kind in kinds]
    lines = [["instances", "#", *kinds, *heads, *masks, "masks", "unscored"]]
    for number, row in enumerate(rows, 1):
        means = [row.named.mean(), *map(row.named.over, groups.values())]
        shown = [percent(100 * value) for value in np.ravel(means)]
        if not has_names(row):
            shown = ["-"] * len(shown)
        shown += [percent(100 * value) for value in row.masks.mean()]
        counts = (f"{int(row.masks.predictions[0]):,}", f"{row.unscored:,}")
        lines.append([row.name, str(number), *shown, *counts])
    return aligned(lines, left=(0,))


def classes(rows: Sequence[InstanceScores], label_set: LabelSet) -> str:
    """Return a line for each class: true instances, and its AP50 by each row.

    Args:
      rows: at least one, all of the same scenes.
      label_set: of the rows.
    """
    numbers = [f"#{number}" for number in range(1, len(rows) + 1)]
    lines = [["AP50 of", "objects", *numbers]]
    tables = [row.named.per_class()[:, 1] for row in rows]
    for position, index in enumerate(rows[0].named.classes):
        truths = int(rows[0].named.truths[position])
        found = [percent(100 * table[position]) for table in tables]
        name = label_set.classes.names[index]
        lines.append([name, f"{truths:,}" if truths else "absent", *found])
    return aligned(lines, left=(0,))
