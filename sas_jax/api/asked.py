"""Answers to questions in words: regions with a probability, and their picture."""

import dataclasses
import functools
import io
import os
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from PIL import Image

from sas_jax.api.sources import Source, encode, features_of
from sas_jax.artefacts.space import TextSpace
from sas_jax.evaluation import asked
from sas_jax.evaluation import query as questions
from sas_jax.evaluation.answers import AnswerConfig
from sas_jax.evaluation.asker import Asker
from sas_jax.evaluation.asker import asker as asker_of
from sas_jax.evaluation.query import Region
from sas_jax.scenes.ply_write import write_ply
from sas_jax.scenes.scene import Scene
from sas_jax.view.shown import show

_LISTED = 5


@dataclasses.dataclass(frozen=True, repr=False)
class Answer:
    """What a scene answers to a question; a notebook shows its picture.

    Attributes:
      text: the question.
      scene: that was asked.
      heat: [P] how well each point answers, 0..1; NaN for one without a feature.
      regions: the connected parts that are the answer, best first; empty where nothing
        is likely right.
      scored_by: what heat and scores are: "probability" that it is right, or
        "relevancy", 0.5 for what fits no better than anything would, where nobody
        fitted probabilities for the text tower, or "preference" over other names.
    """

    text: str
    scene: Scene
    heat: Float[np.ndarray, " P"]
    regions: list[Region]
    scored_by: str

    @property
    def points(self) -> Bool[np.ndarray, " P"]:
        """Which points are the answer."""
        chosen = np.zeros(len(self.scene.points), bool)
        for region in self.regions:
            chosen[region.points] = True
        return chosen

    def picture(self) -> Image.Image:
        """Draw the scan, the heat and the answer side by side."""
        best = f"{self.regions[0].score:.2f}" if self.regions else ""
        panels = {
            self.scene.name: None,
            f'"{self.text}"': self.heat,
            f"answer, {self.scored_by} {best}" if best else "no answer": self.points,
        }
        return show(self.scene, panels, heat=(0.0, 1.0))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the scan as PLY for any viewer, in the coordinates of the input.

        Its points have the heat and, as 1 or 0, whether they are the answer.

        Args:
          path: of the file.

        Raises:
          InputError: when it cannot be written.
        """
        write_ply(
            os.fspath(path),
            self.scene.points,
            colors=self.scene.colors,
            faces=self.scene.faces,
            properties={
                self.scored_by: np.nan_to_num(self.heat).astype(np.float32),
                "answer": self.points.astype(np.uint8),
            },
            origin=self.scene.origin,
        )

    def __repr__(self) -> str:
        count = len(self.regions)
        lines = [f'"{self.text}": {count} region{"s" * (count != 1)}']
        for region in self.regions[:_LISTED]:
            centre = " ".join(f"{v:.2f}" for v in region.center_m + self.scene.origin)
            size = " x ".join(f"{v:.2f}" for v in region.size_m)
            lines.append(
                f"  {self.scored_by} {region.score:.2f} at {centre} m, {size} m, "
                f"{len(region.points):,} points"
            )
        return "\n".join(lines)

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.picture().save(buffer, "PNG")
        return buffer.getvalue()


def ask(
    source: Source,
    scene: Scene,
    text: str,
    *,
    superpoints: Int[np.ndarray, " P"] | None = None,
    without: Sequence[str] = (),
    among: Sequence[str] = (),
    abstain: float = AnswerConfig.abstain,
) -> Answer:
    """Ask a scene for something in words; get the parts that are likely right.

    Args:
      source: what answers.
      scene: that is asked.
      text: e.g. "something to sit on"; several with `|` between them.
      superpoints: of `cut_superpoints`; their points answer together, which is better
        for features of images. None: each point for itself.
      without: names that are not meant.
      among: names that the text must win against.
      abstain: price of a false find, where a right one is worth 1: more of it, and only
        what is surer is answered.

    Raises:
      InputError: for features of other points, and as `encode` and `asked.question`.

    >>> import sas_jax
    >>> answer = sas_jax.ask(a, sas_jax.open_scene(scan), "something to sit on")
    >>> answer.scored_by, answer.heat.shape
    ('probability', (4,))
    """
    question = asked.question(text, without, among)
    features = questions.unit_features(features_of(source, scene))
    asker = dataclasses.replace(
        _asker(features.space), config=AnswerConfig(abstain=abstain)
    )
    [rows] = asker.answers(features, superpoints, [question])
    found = asker.found(question, scene.points, rows)
    heat = rows.max(axis=0)
    return Answer(question.title, scene, heat, found, asker.scores(question))


@functools.lru_cache(maxsize=4)
def _asker(space: TextSpace) -> Asker:
    """Return who asks features of a space."""
    return asker_of(space, lambda texts: encode(texts, space))
