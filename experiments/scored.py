"""What can be scored: how each method's features come about, and from what.

A method is <kind>/<name>: the features of a teacher or of a fusion, a student, or the
ensemble of a student and the fused features of --strategy.
"""

import abc
import dataclasses
import pathlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import settings
import stage_flags
import students
from student_names import chosen_student, short_name

from sas_jax.artefacts import files
from sas_jax.artefacts.features import Features, load_features, space_of
from sas_jax.artefacts.space import TextFeatures, TextSpace, one_space
from sas_jax.errors import InputError
from sas_jax.evaluation import passes, protocol, semantic
from sas_jax.scenes.scene import Scene
from sas_jax.stages import command

KINDS = ("teacher", "fused", "student", "ensemble")


class Method(abc.ABC):
    """What is scored."""

    @property
    @abc.abstractmethod
    def space(self) -> TextSpace:
        """The text space of its features."""

    @abc.abstractmethod
    def state(self, *, loaded: bool) -> object:
        """Return what identifies its features; where it is loaded, of what was read."""

    @abc.abstractmethod
    def views(self, scene: Scene, repeats: int) -> Iterator[Features]:
        """Yield a scene's features: once as they are with 0 repeats, or of each."""

    def scores(self, scene: Scene) -> semantic.TextScores:
        """Return how well each question of the label set fits each point."""
        texts = question_texts(self.space)
        if settings.compat() == "paper":
            return semantic.text_scores(next(self.views(scene, 0)), texts)
        repeats = passes.official_passes(len(settings.label_set().classes.names))
        return semantic.summed_products(self.views(scene, repeats), texts)


def question_texts(space: TextSpace) -> TextFeatures:
    """Return the text features of the words that points are compared with."""
    asked = protocol.questions(settings.label_set(), settings.compat())
    return settings.encoded(space, tuple(asked))


@dataclasses.dataclass(frozen=True)
class _Kept(Method):
    """Features in the workspace.

    Attributes:
      paths: scene -> file.
    """

    paths: dict[str, pathlib.Path]

    @property
    def space(self) -> TextSpace:
        return space_of(next(iter(self.paths.values())))

    def state(self, *, loaded: bool) -> object:
        return [manifest_sum(path) for path in self.paths.values()]

    def views(self, scene: Scene, repeats: int) -> Iterator[Features]:
        features = load_features(self.paths[scene.name], scene.points)
        if not repeats:
            yield features
        size = stage_flags.TRAIN.make().voxel_size_m
        for points, _ in passes.moved(scene.points, scene.name, repeats):
            yield passes.of_voxels(features, points, size)


@dataclasses.dataclass(frozen=True)
class _Student(Method):
    """A student, by the name of a run, a file or a path."""

    name: str

    @property
    def space(self) -> TextSpace:
        return students.space(self.name)

    def state(self, *, loaded: bool) -> object:
        return (students.loaded_state if loaded else students.state)(self.name)

    def views(self, scene: Scene, repeats: int) -> Iterator[Features]:
        if not repeats:
            yield students.features(self.name, scene.points)
        for points, shift in passes.moved(scene.points, scene.name, repeats):
            moved = points.astype(np.float32)
            yield students.features(self.name, moved, shift)


@dataclasses.dataclass(frozen=True)
class _Ensemble(Method):
    """Per point the student's or the fused feature (OpenScene's 2-D/3-D ensemble)."""

    student: Method
    fused: Method

    @property
    def space(self) -> TextSpace:
        both = {"the student": self.student.space, "fused features": self.fused.space}
        return one_space("ensemble", both)

    def state(self, *, loaded: bool) -> object:
        return [method.state(loaded=loaded) for method in (self.student, self.fused)]

    def views(self, scene: Scene, repeats: int) -> Iterator[Features]:
        texts = question_texts(self.space)
        both = (self.student.views(scene, repeats), self.fused.views(scene, repeats))
        for three_d, two_d in zip(*both, strict=True):
            yield semantic.ensemble(three_d, two_d, texts)


def check_name(name: str) -> None:
    """Check the name of a method; raises InputError for one of another kind."""
    kind, _, item = name.partition("/")
    if kind not in KINDS or not item:
        raise InputError(
            "evaluate: --methods must be teacher/<name>, fused/<strategy>, "
            f"student/<run> or ensemble/<run>, got {name}. Correct the flag."
        )


def method(name: str, scenes: Sequence[str]) -> Method:
    """Return what a name stands for.

    Args:
      name: `<kind>/<name>`.
      scenes: names of those to score; features of each must be there.

    Raises:
      InputError: for another kind, and where features are missing.
    """
    kind, _, item = name.partition("/")
    check_name(name)
    if kind in ("teacher", "fused"):
        return _kept(kind, item, scenes)
    chosen = chosen_student()
    student = _Student(chosen if chosen and item == short_name(chosen) else item)
    if kind == "student":
        return student
    return _Ensemble(student, _kept("fused", settings.fused_name(), scenes))


def _kept(kind: str, item: str, scenes: Sequence[str]) -> Method:
    paths = {scene: cache(f"{kind}/{item}", scene) for scene in scenes}
    missing = [path for path in paths.values() if not path.exists()]
    if missing:
        stage = "extract_features" if kind == "teacher" else "fuse_features"
        raise InputError(
            f"evaluate: features of every scene are required, got none of "
            f"{len(missing)} of {len(paths)} ({missing[0]}). Correct --methods, or run "
            f"for them: {command(stage)}"
        )
    if kind == "fused":
        _check_teachers(paths.values())
    return _Kept(paths)


def _check_teachers(paths: Iterable[pathlib.Path]) -> None:
    """Check that all fused features are of the same teachers."""
    told = {files.read_manifest(path)["meta"].get("teachers"): path for path in paths}
    if len(told) > 1:
        got = " and ".join(f"of {who or 'others'} ({p})" for who, p in told.items())
        raise InputError(
            f"evaluate: fused features of the same teachers are required everywhere, "
            f"got some {got}. Fuse all of them: {command('fuse_features')}"
        )


def cache(method_name: str, scene: str) -> pathlib.Path:
    """Return the file of a scene's features, by a teacher or by a fusion."""
    kind, _, item = method_name.partition("/")
    workspace = settings.workspace()
    place = workspace.features if kind == "teacher" else workspace.fused
    return place(item, scene)


def found(scenes: Sequence[str], *, ensembles: bool) -> list[str]:
    """Return the methods that can be scored on these scenes, and say what cannot.

    Args:
      scenes: their names.
      ensembles: those of students and fused features, too.
    """
    workspace = settings.workspace()
    made = [f"teacher/{name}" for name in workspace.teachers()]
    made += [f"fused/{name}" for name in workspace.fusions()]
    methods, partial = [], []
    for name in made:
        count = sum(cache(name, scene).exists() for scene in scenes)
        chosen = methods if count == len(scenes) else partial
        chosen += [name] * (count > 0)
    runs, unfinished = students.trained()
    if partial:
        print(f"left out, without features of every scene: {', '.join(partial)}")
    if unfinished:
        print(f"left out, without a checkpoint yet: {', '.join(unfinished)}")
    if (student := chosen_student()) is not None:
        runs.append(short_name(student))
    kinds = ["student"]
    if ensembles and f"fused/{settings.fused_name()}" in methods:
        kinds.append("ensemble")
    return [*methods, *(f"{kind}/{run}" for run in runs for kind in kinds)]


def manifest_sum(path: pathlib.Path) -> str | None:
    """Return a checksum of an artefact's manifest, None without."""
    manifest = path.with_name(path.name + ".json")
    return files.sha256_file(manifest) if manifest.exists() else None
