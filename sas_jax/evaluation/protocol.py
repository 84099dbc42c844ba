"""One evaluation: predictions of a set of scenes against their labels, kept on disk.

The counts are kept, not only the scores, so that every policy for unseen points and
absent classes can be computed later from the same run.

What "official" changes (authors' code, run/evaluate.py and util/metric.py):
  - the word `other` replaces a position of the list, for Matterport3D the last but one:
    of the longer lists that is `air vent`, `headboard` or `person`;
  - products in half precision instead of cosines, summed over five turned and scaled
    passes, one for 160 classes (`passes`);
  - points that no camera saw are left out of the IoU, but missed by the accuracies;
  - means divide by all classes, absent ones counting as zero.
Not reproduced: truth that is overwritten before it is scored.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

import numpy as np
from jaxtyping import Int, Int32

from sas_jax.artefacts import files
from sas_jax.errors import InputError
from sas_jax.evaluation import confusion
from sas_jax.evaluation.semantic import TextScores
from sas_jax.scenes.labels import LabelSet
from sas_jax.scenes.scene import Scene
from sas_jax.stages import command
from sas_jax.text.prompts import OTHER, prompts

SCHEMA = "sas_jax.evaluation/2"
SUPERPOINTS = "+superpoints"
"""Ends the name of a method whose class scores are means over superpoints."""
FOREGROUND = "foreground"
"""Group of all classes but wall, floor and ceiling."""

Compat = Literal["paper", "official"]
_BACKGROUND = frozenset({"wall", "floor", "ceiling"})


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Counts of one method on one set of scenes.

    Attributes:
      name: what was evaluated, e.g. `fused/capability`.
      label_set: name of the label set.
      counts: scene -> int64 [K, K+1] of `confusion.count`.
      compat: decides how scores follow from counts.
      groups: name -> classes that have a mean of their own.
    """

    name: str
    label_set: str
    counts: dict[str, Int[np.ndarray, "K K+1"]]
    compat: Compat = "paper"
    groups: Mapping[str, list[int]] = dataclasses.field(default_factory=dict)

    def scores(self, *, unseen: str | None = None) -> confusion.Scores:
        """Return the scores over all scenes together.

        Args:
          unseen: another policy than that of `compat`; see `confusion.score`.
        """
        counts = np.sum(list(self.counts.values()), axis=0)
        default, absent = {
            "paper": ("missed", "skip"),
            "official": ("official", "official"),
        }[self.compat]
        return confusion.score(counts, unseen=unseen or default, absent=absent)


def groups_of(label_set: LabelSet) -> dict[str, list[int]]:
    """Return the classes of the foreground, where there is a background, and groups."""
    names = label_set.classes.names
    found: dict[str, list[int]] = {}
    if _BACKGROUND & set(names):
        found[FOREGROUND] = [i for i, n in enumerate(names) if n not in _BACKGROUND]
    for index, group in enumerate(label_set.groups):
        found.setdefault(group, []).append(index)
    return found


def questions(label_set: LabelSet, compat: Compat = "paper") -> list[str]:
    """Return the text that each word of a label set is encoded as (section 3.5)."""
    asked = prompts(label_set.questions)
    name = label_set.classes.name
    if compat == "official" and name == "scannet20":
        asked[-1] = OTHER
    if compat == "official" and name.startswith("matterport"):
        asked[-2] = OTHER
    return asked


def classes_of(
    name: str,
    scores: TextScores,
    label_set: LabelSet,
    superpoints: Int[np.ndarray, " P"] | None = None,
) -> dict[str, Int32[np.ndarray, " P"]]:
    """Return the class index of every point, -1 without a feature, for `evaluate`.

    Args:
      name: of the method.
      scores: of the label set's questions.
      label_set: whose classes the questions answer for.
      superpoints: of the points; with them comes a second method, whose scores are
        means over superpoints.
    """
    ways = {name: scores}
    if superpoints is not None:
        ways[name + SUPERPOINTS] = scores.over_superpoints(superpoints)
    answers = np.arange(len(label_set.classes.names), dtype=np.int32)
    if label_set.answers:
        answers = np.array(label_set.answers, np.int32)
    answers = np.append(answers, np.int32(confusion.NO_PREDICTION))
    return {way: answers[found.best()] for way, found in ways.items()}


def evaluate(
    scenes: Iterable[Scene],
    predict: Callable[[Scene], Mapping[str, Int[np.ndarray, " P"]]],
    label_set: LabelSet,
    compat: Compat = "paper",
) -> dict[str, Evaluation]:
    """Predict every scene and count.

    Args:
      scenes: opened with `label_set`.
      predict: returns class indices of all points, -1 where there is no feature, of
        one or several methods by name.
      label_set: classes that are scored.
      compat: of the evaluations.

    Returns:
      An evaluation of each method.

    Raises:
      InputError: when a scene has no labels, or there is no scene.
    """
    counts: dict[str, dict[str, Int[np.ndarray, "K K+1"]]] = {}
    for scene in scenes:
        if scene.labels is None:
            raise InputError(
                f"evaluate: labels are required, got none (scene {scene.name}). "
                f"Evaluate a split with labels, or ask with: {command('query')}"
            )
        for name, prediction in predict(scene).items():
            counts.setdefault(name, {})[scene.name] = confusion.count(
                scene.labels, prediction, len(label_set.classes.names)
            )
    if not counts:
        raise InputError(
            "evaluate: at least one scene is required, got none. Check --splits and "
            "--scenes."
        )
    groups = groups_of(label_set)
    return {
        name: Evaluation(name, label_set.classes.name, found, compat, groups)
        for name, found in counts.items()
    }


def save(path: str | pathlib.Path, evaluation: Evaluation, key: str) -> None:
    """Write an evaluation as JSON."""
    counts = {scene: c.tolist() for scene, c in evaluation.counts.items()}
    record = dataclasses.asdict(dataclasses.replace(evaluation, counts=counts))
    files.write_json(path, record, key=key, schema=SCHEMA)


def load(path: str | pathlib.Path) -> Evaluation:
    """Read what `save` wrote."""
    record = files.read_json(path, schema=SCHEMA)
    counts = {s: np.array(c, np.int64) for s, c in record["counts"].items()}
    fields = ("name", "label_set", "compat", "groups")
    return Evaluation(counts=counts, **{name: record[name] for name in fields})
