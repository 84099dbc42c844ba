"""Who can answer for a scan: teachers, their fusions, students; each loaded once."""

import dataclasses
from collections.abc import Callable

import answer_files
import asking
import numpy as np
import settings
import stage_flags
import student_names
import students

from sas_jax.artefacts.features import Features, load_features
from sas_jax.datasets.contracts import Scan
from sas_jax.evaluation import protocol, query, semantic
from sas_jax.evaluation.answers import Listeners
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

    def check(self, text: str) -> None:
        """Refuse a text without a word that the tower knows; raises InputError."""
        settings.check_texts(self._features.space, [text])

    def ask(self, text: str, abstain: float) -> Answer:
        """Return the answer to a question.

        Args:
          text: in words.
          abstain: price of a false find; see `AnswerConfig`.

        Raises:
          InputError: for words that the text tower does not know.
        """
        self.check(text)
        config = dataclasses.replace(self._asker.config, abstain=abstain)
        asker = dataclasses.replace(self._asker, config=config)
        values = asker.ask(self._listeners, [text])[0]
        found = asker.regions(self._scene.points, values, None, self._cells)
        best = float(np.nanmax(values, initial=0.0))
        if asker.fit is None:
            return Answer(values, found, (0.5, max(0.7, best)), "relevancy")
        return Answer(values, found, (0.0, max(0.5, best)), "belief")

    def classes(self, labels: LabelSet) -> np.ndarray:
        """Return the class of each point, [P] i32, -1 where nobody answers."""
        texts = tuple(protocol.questions(labels, settings.compat()))
        encoded = settings.encoded(self._features.space, texts)
        scores = semantic.text_scores(self._features, encoded)
        if self._superpoints is not None:
            scores = scores.over_superpoints(self._superpoints)
        return protocol.classes_of("", scores, labels)[""]


def found(scan: Scan, scene: Scene, splats: SplatFile | None) -> Sources:
    """Return the name of every source of this scan, and what loads its features."""
    workspace = settings.workspace()
    sources: Sources = {}
    if splats is not None and (path := answer_files.beside(scan.path)) is not None:
        sources["lifted"] = lambda: answer_files.lifted(path, splats, scene)
    own = settings.fused_name()
    for fusion in sorted(workspace.fusions(), key=lambda name: (name != own, name)):
        path = workspace.fused(fusion, scan.name)
        if path.is_file():
            sources[f"fused: {fusion}"] = _loader(path, scene)
    for teacher in workspace.teachers():
        path = workspace.features(teacher, scan.name)
        if path.is_file():
            sources[f"teacher: {teacher}"] = _loader(path, scene)
    for name in dict.fromkeys([student_names.chosen(), *students.trained()[0]]):
        sources[f"student: {student_names.title(name)}"] = _student(name, scene, splats)
    return sources


def _loader(path, scene: Scene) -> Callable[[], Features]:
    return lambda: load_features(path, scene.points)


def _student(
    name: str, scene: Scene, splats: SplatFile | None
) -> Callable[[], Features]:
    def load() -> Features:
        if splats is not None and students.takes_gaussians(name):
            return answer_files.of_gaussians(name, splats, scene)
        return students.scene_features(name, scene)

    return load


def label_set(scan: Scan) -> LabelSet:
    """Return the classes that are painted: --label_set, or the data set's first."""
    return scan.dataset.label_set(stage_flags.LABEL_SET.value)
