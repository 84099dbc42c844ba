"""Who can answer for a scan: teachers, their fusions, students; each loaded once."""

import dataclasses
import pathlib
from collections.abc import Callable

import answer_files
import asking
import numpy as np
import settings
import student_names
import students
from sources import Source

from sas_jax.artefacts.features import Features, load_features
from sas_jax.evaluation import protocol, query, semantic
from sas_jax.evaluation.answers import Listeners
from sas_jax.evaluation.asked import Question
from sas_jax.evaluation.query import QueryConfig, Region
from sas_jax.gaussians.files.rewrite import SplatFile
from sas_jax.scenes.labels import LabelSet
from sas_jax.scenes.scene import Scene

Sources = dict[str, Callable[[], Features]]


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a source says to a question.

    Attributes:
      values: [P] f32 heat, NaN where nobody answers.
      regions: best first.
      scale: ends of the colours.
      measure: what heat is, in words.
    """

    values: np.ndarray
    regions: list[Region]
    scale: tuple[float, float]
    measure: str


class Answerer:
    """A source that is ready to be asked; its text tower and features are held."""

    def __init__(
        self, features: Features, scene: Scene, superpoints: np.ndarray | None
    ) -> None:
        """Make it ready.

        Args:
          features: of the scene's points.
          scene: that is asked.
          superpoints: that answer together; None: each point for itself.
        """
        self._features = query.unit_features(features)
        self._scene, self._superpoints = scene, superpoints
        self._asker = asking.asker(features.space)
        self._listeners: Listeners = self._asker.ready(self._features, superpoints)
        self._cells: QueryConfig = query.config_for(scene.points)

    @property
    def is_fitted(self) -> bool:
        """Whether scores are probabilities, which have a price: --abstain."""
        return self._asker.fit is not None

    def check(self, question: Question) -> None:
        """Refuse texts without a word that the tower knows; raises InputError."""
        settings.check_texts(self._features.space, question.texts)

    def ask(self, question: Question, abstain: float) -> Answer:
        """Return the answer to a question.

        Args:
          question: texts, any of which is right.
          abstain: price of a false find; see `AnswerConfig`.
        """
        config = dataclasses.replace(self._asker.config, abstain=abstain)
        asker = dataclasses.replace(self._asker, config=config)
        (rows,) = asker.answers(
            self._features, self._superpoints, [question], self._listeners
        )
        found = asker.found(question, self._scene.points, rows, cells=self._cells)
        values = rows.max(axis=0)
        # What fits as any object would is grey.
        low, high = asker.scale(question)
        low = low if asker.measure(question) == "belief" else 0.5
        scale = low, max(high, float(np.nanmax(values, initial=0.0)))
        return Answer(values, found, scale, asker.measure(question, words=True))

    def classes(self, labels: LabelSet) -> np.ndarray:
        """Return the class of each point, [P] i32, -1 where nobody answers."""
        texts = tuple(protocol.questions(labels, settings.compat()))
        encoded = settings.encoded(self._features.space, texts)
        scores = semantic.text_scores(self._features, encoded)
        if self._superpoints is not None:
            scores = scores.over_superpoints(self._superpoints)
        return protocol.classes_of("", scores, labels)[""]


def found(source: Source) -> Sources:
    """Return the name of everyone who can answer about a scan, and their features.

    Args:
      source: who is to answer first.
    """
    workspace, scan = settings.workspace(), source.scan
    scene, splats = source.scene, source.splats
    known: Sources = {}
    if splats is not None and (path := answer_files.beside(scan.path)) is not None:
        known["lifted"] = lambda: answer_files.lifted(path, splats, scene)
    for fusion in workspace.fusions():
        path = workspace.fused(fusion, scan.name)
        if path.is_file():
            known[f"fused: {fusion}"] = _loader(path, scene)
    for teacher in workspace.teachers():
        path = workspace.features(teacher, scan.name)
        if path.is_file():
            known[f"teacher: {teacher}"] = _loader(path, scene)
    chosen = student_names.chosen(tell=source.name.startswith("student"))
    for name in dict.fromkeys([chosen, *students.trained()[0]]):
        known[_titled(name)] = _student(name, scene, splats)
    kind = source.name.partition("-")[0]
    first = {"fused": f"fused: {settings.fused_name()}", "student": _titled(chosen)}
    return {first.get(kind, kind): lambda: source.features} | {
        name: load for name, load in known.items() if name != first.get(kind, kind)
    }


def _titled(student: str) -> str:
    return f"student: {student_names.title(student)}"


def _loader(path: pathlib.Path, scene: Scene) -> Callable[[], Features]:
    return lambda: load_features(path, scene.points)


def _student(
    name: str, scene: Scene, splats: SplatFile | None
) -> Callable[[], Features]:
    def load() -> Features:
        if splats is not None and students.takes_gaussians(name):
            return answer_files.of_gaussians(name, splats, scene)
        return students.scene_features(name, scene)

    return load
