"""One evaluation: predictions of a set of scenes against their labels, kept on disk.

The counts are kept, not only the scores, so that every policy for unseen points and
absent classes can be computed later from the same run.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Iterable

import numpy as np
from jaxtyping import Int

from sas_jax.artefacts import files
from sas_jax.errors import InputError
from sas_jax.evaluation import confusion
from sas_jax.scenes.labels import LabelSet
from sas_jax.scenes.scene import Scene
from sas_jax.stages import command

SCHEMA = "sas_jax.evaluation/1"


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Counts of one method on one set of scenes.

    Attributes:
      name: what was evaluated, e.g. `fused/capability`.
      label_set: name of the label set.
      counts: scene -> int64 [K, K+1] of `confusion.count`.
    """

    name: str
    label_set: str
    counts: dict[str, Int[np.ndarray, "K K+1"]]

    def scores(
        self, *, unseen: str = "missed", absent: str = "skip"
    ) -> confusion.Scores:
        """Return the scores over all scenes together (see `confusion.score`)."""
        counts = np.sum(list(self.counts.values()), axis=0)
        return confusion.score(counts, unseen=unseen, absent=absent)


def evaluate(
    name: str,
    scenes: Iterable[Scene],
    predict: Callable[[Scene], Int[np.ndarray, " P"]],
    label_set: LabelSet,
) -> Evaluation:
    """Predict every scene and count.

    Args:
      name: of the method.
      scenes: opened with `label_set`.
      predict: returns class indices of all points, -1 where there is no feature.
      label_set: classes that are scored.

    Raises:
      InputError: when a scene has no labels, or there is no scene.
    """
    counts = {}
    for scene in scenes:
        if scene.labels is None:
            raise InputError(
                f"evaluate: labels are required, got none (scene {scene.name}). "
                f"Evaluate a split with labels, or ask with: {command('query')}"
            )
        prediction = predict(scene)
        counts[scene.name] = confusion.count(
            scene.labels, prediction, len(label_set.classes.names)
        )
    if not counts:
        raise InputError(
            f"evaluate: at least one scene is required, got none for {name}. "
            "Check --splits and --scenes."
        )
    return Evaluation(name, label_set.classes.name, counts)


def save(path: str | pathlib.Path, evaluation: Evaluation, key: str) -> None:
    """Write an evaluation as JSON."""
    counts = {scene: c.tolist() for scene, c in evaluation.counts.items()}
    record = dataclasses.asdict(dataclasses.replace(evaluation, counts=counts))
    files.write_json(path, record, key=key, schema=SCHEMA)


def load(path: str | pathlib.Path) -> Evaluation:
    """Read what `save` wrote."""
    record = files.read_json(path, schema=SCHEMA)
    counts = {s: np.array(c, np.int64) for s, c in record["counts"].items()}
    return Evaluation(record["name"], record["label_set"], counts)
