"""What the viewer shows, without a browser: sources, a question, colours, legends.

Everything that is drawn follows from the fields of a `View` and from what sources
answer; changes of fields come from the panel.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import numpy as np
from view_sources import Answer, Answerer, Sources

from sas_jax.evaluation.asked import Question
from sas_jax.evaluation.asked import question as question_of
from sas_jax.evaluation.query import Region, region_of
from sas_jax.instances.masks import Instances
from sas_jax.instances.paint import instance_colors
from sas_jax.scenes.labels import LabelSet
from sas_jax.scenes.scene import Scene
from sas_jax.superpoints.graph import vertex_normals
from sas_jax.view.browser import paint

SCAN, ANSWER, CLASSES = "scan", "answer", "classes"
SUPERPOINTS, INSTANCES = "superpoints", "instances"
COLOURS = (SCAN, ANSWER, CLASSES, SUPERPOINTS, INSTANCES)
MOST_ANSWERS = 6
"""Listed of each source, and drawn as boxes."""


@dataclasses.dataclass
class View:
    """What is shown now.

    Attributes:
      scene: its points.
      sources: name -> loads features.
      labels: classes that are painted.
      cut_superpoints: returns the superpoint of each point.
      propose: returns the instances, from the first source's features.
      averaged: whether superpoints answer together.
      shown: names of sources, a copy of the scene each; at least one.
      colours: one of `COLOURS`.
      question: that was asked last; None before.
      abstain: price of a false find.
      hidden: classes that are not painted.
    """

    scene: Scene
    sources: Sources
    labels: LabelSet
    cut_superpoints: Callable[[], np.ndarray]
    propose: Callable[[], Instances]
    averaged: bool = True
    shown: tuple[str, ...] = ()
    colours: str = SCAN
    question: Question | None = None
    abstain: float = 0.25
    hidden: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        self.shown = self.shown or tuple(self.sources)[:1]
        self._ready: dict[str, Answerer] = {}
        self._classes: dict[str, np.ndarray] = {}
        self._asked: dict[str, tuple[tuple[Question, float], Answer]] = {}

    @functools.cached_property
    def superpoints(self) -> np.ndarray:
        """Superpoint of each point."""
        return self.cut_superpoints()

    @functools.cached_property
    def instances(self) -> Instances:
        """Things that were proposed."""
        return self.propose()

    @functools.cached_property
    def base(self) -> paint.Colors:
        """How the scan looks."""
        scene = self.scene
        normals = scene.normals
        if scene.colors is None and normals is None and scene.faces is not None:
            normals = vertex_normals(scene.points, scene.faces)
        return paint.own_colors(scene.colors, normals, scene.points)

    def answerer(self, name: str) -> Answerer:
        """Return a source, made ready at its first question."""
        if name not in self._ready:
            together = self.superpoints if self.averaged else None
            features = self.sources[name]()
            self._ready[name] = Answerer(features, self.scene, together)
        return self._ready[name]

    def show(self, names: Sequence[str]) -> None:
        """Show these sources side by side, in the order they are listed; one at least.

        Raises:
          InputError: where one cannot be loaded; what was shown stays.
        """
        wanted = tuple(name for name in self.sources if name in names)
        for name in wanted:
            self.answerer(name)
        self.shown = wanted or self.shown

    def ask(
        self, text: str, without: Sequence[str] = (), among: Sequence[str] = ()
    ) -> None:
        """Ask all sources that are shown, and paint what they answer.

        Args:
          text: see `asked.question`.
          without: as there.
          among: as there.

        Raises:
          InputError: for no word, and words that a text tower does not know; what was
            asked before stays.
        """
        asked = question_of(text, without, among)
        for name in self.shown:
            self.answerer(name).check(asked)
        self.question, self.colours = asked, ANSWER

    def answer(self, name: str) -> Answer | None:
        """Return what a source says to the question; None before there is one."""
        if self.question is None:
            return None
        asked = (self.question, self.abstain)
        kept = self._asked.get(name)
        if kept is None or kept[0] != asked:
            kept = (asked, self.answerer(name).ask(*asked))
            self._asked[name] = kept
        return kept[1]

    def regions(self, name: str) -> list[Region]:
        """Return the best regions of a source's answer."""
        answer = self.answer(name)
        return [] if answer is None else answer.regions[:MOST_ANSWERS]

    def label(self, name: str, number: int) -> str:
        """Return what stands at a region of a source's answer: its rank and score."""
        score = self.regions(name)[number].score
        assert self.question is not None  # else there were no regions
        told = (
            f"{100 * score:.0f} %"
            if self.answerer(name).is_fitted and not self.question.among
            else f"{score:.2f}"
        )
        return f"{number + 1}: {told}"

    def told(self, name: str) -> str:
        """Return the ranks and scores of a source's answer in one line."""
        labels = [self.label(name, i) for i in range(len(self.regions(name)))]
        said = "   ".join(labels) or "no answer"
        return said if len(self.shown) == 1 else f"{name}: {said}"

    def things(self) -> list[Region]:
        """Return the boxes of the instances, surest first."""
        points = self.scene.points
        return [
            region_of(points, np.flatnonzero(mask), float(score))
            for mask, score in zip(
                self.instances.masks(), self.instances.scores, strict=True
            )
            if mask.any()
        ]

    def classes(self, name: str) -> np.ndarray:
        """Return the class of each point by a source, -1 without."""
        if name not in self._classes:
            self._classes[name] = self.answerer(name).classes(self.labels)
        return self._classes[name]

    def present(self) -> list[int]:
        """Return the classes that any shown source sees, the largest first."""
        count = len(self.labels.classes.names)
        counts = sum(
            np.bincount(self.classes(name) + 1, minlength=count + 1)[1:]
            for name in self.shown
        )
        order = np.argsort(-counts, kind="stable")
        return [int(index) for index in order if counts[index]]

    def colors(self, name: str) -> paint.Colors:
        """Return the colours of all points for a source's copy of the scene."""
        if self.colours == ANSWER and (answer := self.answer(name)) is not None:
            return paint.heat_over(
                self.base, answer.values, *self._scales()[answer.measure]
            )
        if self.colours == CLASSES:
            return self._class_colors(self.classes(name))
        if self.colours == SUPERPOINTS:
            return paint.group_colors(self.superpoints)
        if self.colours == INSTANCES:
            return instance_colors(self.instances)
        return self.base

    def _class_colors(self, classes: np.ndarray) -> paint.Colors:
        painted = self.labels.colors(classes, ignore_color=paint.UNSEEN)
        if self.hidden:
            off = np.isin(classes, list(self.hidden))
            grey = np.repeat(self.base[off].mean(axis=1, keepdims=True), 3, axis=1)
            painted[off] = 110 + 0.4 * grey
        return painted

    def legend(self) -> str:
        """Return what the colours mean, as HTML; empty for those of the scan."""
        if self.colours == ANSWER:
            answers = [a for name in self.shown if (a := self.answer(name))]
            unseen = any(bool(np.isnan(answer.values).any()) for answer in answers)
            bars = [
                paint.heat_legend(f"{measure} (grey: no answer)", *scale, unseen)
                for measure, scale in self._scales().items()
            ]
            return "".join(bars)
        if self.colours == CLASSES:
            names, palette = self.labels.classes.names, self.labels.palette
            shown = [index for index in self.present() if index not in self.hidden]
            return paint.legend([(names[i], palette[i]) for i in shown])
        return ""

    def _scales(self) -> dict[str, tuple[float, float]]:
        """Return the ends of the colours of each measure, one for all who are shown."""
        scales: dict[str, tuple[float, float]] = {}
        for name in self.shown:
            if (answer := self.answer(name)) is not None:
                low, high = scales.get(answer.measure, answer.scale)
                scale = min(low, answer.scale[0]), max(high, answer.scale[1])
                scales[answer.measure] = scale
        return scales
