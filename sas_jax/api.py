"""The method in a notebook: the verbs that `import sas_jax` offers.

Each is a thin function over the library; `sas-jax <stage>` runs whole data sets, keeps
what it makes and goes on where it stopped. Making a teacher's features needs PyTorch,
in a process of its own: that is `sas-jax extract_features`, and `load_features` reads
them.

The examples share a few names: `scan` is the folder of a scan with labels, `student` a
file of `sas-jax export_student`, `folder` an empty folder, `a` and `b` are features of
the scan by two teachers.
"""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int, Int32

from sas_jax.artefacts.features import Features, check_points, load_features
from sas_jax.artefacts.files import content_key
from sas_jax.artefacts.space import TextFeatures, TextSpace
from sas_jax.artefacts.workspace import CHECKPOINTS
from sas_jax.classes import Vocabulary
from sas_jax.datasets.registry import open_folder
from sas_jax.distill import train as training
from sas_jax.distill.checkpoint import load_student as newest_checkpoint
from sas_jax.distill.config import RunConfig, TrainConfig
from sas_jax.distill.data import TrainScene, targets_of
from sas_jax.errors import InputError
from sas_jax.evaluation import protocol, semantic
from sas_jax.evaluation import query as questions
from sas_jax.evaluation.confusion import Scores
from sas_jax.fusion import fuse as fusion
from sas_jax.models import shipped
from sas_jax.models.config import StudentConfig
from sas_jax.models.student import Predictor
from sas_jax.models.student_card import SUFFIX
from sas_jax.models.student_file import read_student
from sas_jax.scenes.labels import SCANNET20, LabelSet
from sas_jax.scenes.labels import label_set as named_label_set
from sas_jax.scenes.scene import Scene
from sas_jax.superpoints.config import SuperpointConfig
from sas_jax.superpoints.stage import segment_scene
from sas_jax.text import registry as towers
from sas_jax.text.prompts import prompts

__all__ = [
    "cut_superpoints",
    "encode",
    "evaluate",
    "fuse",
    "load_features",
    "load_student",
    "open_scene",
    "predict",
    "query",
    "train",
]

Source = Predictor | Features | Callable[[Scene], Features]
"""What answers: a student, features of the scene at hand, or what returns them."""


def open_scene(path: str | os.PathLike, **settings: Any) -> Scene:
    """Open one scan: a mesh or a cloud, posed RGB-D frames, ScanNet's, and others.

    Args:
      path: of the scan's folder or file.
      **settings: `image_size_wh`, `label_set`, `annotations`, and the fields of the
        data set that it is; see `datasets.registry.open_folder`.

    Raises:
      InputError: for an unknown layout or setting, and for damaged files.

    >>> import sas_jax
    >>> scene = sas_jax.open_scene(scan)
    >>> scene.points.shape, scene.points.dtype
    ((4, 3), dtype('float32'))
    """
    return open_folder(pathlib.Path(path), **settings)


def load_student(path: str | os.PathLike) -> Predictor:
    """Load a trained student.

    Args:
      path: file of `sas-jax export_student`, folder of a training run, or "rooms", the
        student that comes with the package.

    Raises:
      InputError: when there is none, or it is damaged.

    >>> import sas_jax
    >>> sas_jax.load_student(student).student.class_names
    ('wall', 'chair')
    >>> sas_jax.load_student("rooms").student.voxel_size_m
    0.08
    """
    path = _student_path(path)
    if path.suffix == SUFFIX:
        return Predictor(read_student(path))
    inside = path / CHECKPOINTS
    return Predictor(newest_checkpoint(inside if inside.is_dir() else path))


def encode(texts: Sequence[str], space: TextSpace) -> TextFeatures:
    """Encode texts with the tower of a space.

    Args:
      texts: as they are to be read; `predict` and `fuse` put class names into the
        paper's sentence.
      space: of the features that they are compared with, e.g. `features.space`.

    Raises:
      InputError: when the tower, or one with these weights, is not on this machine, or
        knows no word of a text.

    >>> import sas_jax
    >>> sas_jax.encode(["a red chair"], a.space).rows.shape
    (1, 384)
    """
    texts = _listed("encode", texts)
    tower = towers.of_space(space, "the features")
    tower.check(texts)
    return TextFeatures(tower.encode(texts), space)


def predict(
    source: Source, scene: Scene, classes: Sequence[str] | None = None
) -> Int[np.ndarray, " P"]:
    """Return the class of every point, by the nearest text.

    Args:
      source: what answers.
      scene: whose points are asked for.
      classes: any names; None takes those that the student was trained with.

    Returns:
      int32 index into `classes`, -1 for a point without a feature.

    Raises:
      InputError: for features without classes or of other points, and as `encode`.

    >>> import sas_jax
    >>> scene = sas_jax.open_scene(scan)
    >>> net = sas_jax.load_student(student)
    >>> sas_jax.predict(net, scene).shape
    (4,)
    >>> labels = sas_jax.predict(a, scene, ["wall", "floor", "a red chair"])
    >>> bool(((labels >= 0) & (labels < 3)).all())
    True
    """
    own = _own_classes(source) if classes is None else None
    features = _features(source, scene)
    texts = own or _class_texts("predict", classes or (), features.space)
    return semantic.classify(features, texts)


def query(source: Source, scene: Scene, text: str) -> Float[np.ndarray, " P"]:
    """Return how well every point answers a question in words.

    Args:
      source: what answers.
      scene: that is asked.
      text: e.g. "something to sit on".

    Returns:
      Relevancy in (0, 1); above 0.5 a point answers better than any object would, NaN
      is a point without a feature. `evaluation.query.regions` groups them.

    Raises:
      InputError: for features of other points, and as `encode`.

    >>> import sas_jax
    >>> scene = sas_jax.open_scene(scan)
    >>> heat = sas_jax.query(a, scene, "something to sit on")
    >>> bool((heat > 0).all() and (heat < 1).all())
    True
    """
    features = questions.unit_features(_features(source, scene))
    asked = encode([text, *questions.ANYTHING], features.space)
    first, others = asked.rows[:1], asked.rows[1:]
    return questions.point_relevancy(
        features,
        TextFeatures(first, asked.space),
        TextFeatures(others, asked.space),
    )


def fuse(
    features: Mapping[str, Features],
    *,
    classes: Sequence[str] = (),
    capability: Float[np.ndarray, "T K"] | None = None,
    **config: Any,
) -> Features:
    """Fuse the features that several teachers have of one scene.

    Args:
      features: teacher -> features, e.g. of `load_features`.
      classes: K names that "capability" and "linear" compare on.
      capability: mIoU of each teacher on each class, for the strategy "capability".
      **config: fields of `fusion.fuse.FuseConfig`. The strategy is "capability" with a
        table and "add" without, unless it is given.

    Raises:
      InputError: when the features are of several scenes or text spaces.

    >>> import sas_jax
    >>> mean = sas_jax.fuse({"a": a, "b": b})
    >>> bool((mean.feat == (a.feat + b.feat) / 2).all())
    True
    >>> table = [[0.9, 0.1], [0.1, 0.8]]
    >>> fused = sas_jax.fuse({"a": a, "b": b}, classes=["bed", "sink"],
    ...                      capability=table)
    >>> fused.num_points
    4
    """
    config.setdefault("strategy", "add" if capability is None else "capability")
    texts = None
    if classes and features:
        space = next(iter(features.values())).space
        texts = _class_texts("fuse", classes, space)
    table = None if capability is None else np.asarray(capability, np.float32)
    return fusion.fuse(features, table, texts, fusion.FuseConfig(**config))


def cut_superpoints(scene: Scene, **config: Any) -> Int32[np.ndarray, " P"]:
    """Cut a scene into superpoints.

    Args:
      scene: with faces, or a cloud with normals.
      **config: fields of `SuperpointConfig`.

    Raises:
      InputError: for values out of range.

    >>> import sas_jax
    >>> sas_jax.cut_superpoints(sas_jax.open_scene(scan), min_vertices=1)
    array([0, 0, 0, 0], dtype=int32)
    """
    return segment_scene(scene, SuperpointConfig(**config))


def train(
    scenes: Iterable[tuple[Scene, Features]],
    classes: Sequence[str],
    folder: str | os.PathLike,
    *,
    arch: str | None = None,
    superpoints: SuperpointConfig | None = None,
    run: RunConfig | None = None,
    init_from: str | os.PathLike | None = None,
    **config: Any,
) -> training.TrainResult:
    """Distil features of scenes, all in memory, into a student; or go on with that.

    Args:
      scenes: scene and (fused) features of its points.
      classes: names that pseudo labels choose from.
      folder: of the run; `load_student` takes it.
      arch: name of a network, see `StudentConfig`.
      superpoints: how scenes are cut.
      run: how it is carried out.
      init_from: student to begin with: "rooms", a file, or a run's checkpoints.
      **config: fields of `TrainConfig`; the defaults are the paper's, for hundreds of
        scenes.

    Raises:
      InputError: for inconsistent scenes or values.

    >>> import sas_jax
    >>> scene = sas_jax.open_scene(scan)
    >>> done = sas_jax.train([(scene, a)], ["wall", "chair"], folder, epochs=1, loop=1,
    ...                      arch="MinkUNet14S", self_distillation=0)
    >>> done.completed
    True
    """
    cut = superpoints or SuperpointConfig()
    sources = [
        _Opened(s.name, s.points, segment_scene(s, cut), _features(f, s))
        for s, f in scenes
    ]
    if not sources:
        raise InputError("train: at least one scene is required, got none. Give one.")
    texts = _class_texts("train", classes, sources[0].features.space)
    student = StudentConfig(out_dim=texts.space.dim)
    if arch is not None:
        student = dataclasses.replace(student, arch=arch)
    return training.train(
        TrainConfig(student=student, **config),
        sources,
        training.EncodedVocabulary(Vocabulary("asked", tuple(classes)), texts),
        folder,
        run=run,
        init_from=None if init_from is None else _student_path(init_from),
    )


def evaluate(
    source: Source, scenes: Iterable[Scene], label_set: LabelSet | str = SCANNET20
) -> Scores:
    """Score predictions on labelled scenes.

    Args:
      source: what answers.
      scenes: opened with this label set.
      label_set: classes that are asked for and scored, or their name.

    Raises:
      InputError: for a scene without labels, or with those of another set; and for the
        name of no set.

    >>> import sas_jax
    >>> scene = sas_jax.open_scene(scan)
    >>> scores = sas_jax.evaluate(a, [scene])
    >>> 0 <= scores.miou <= 100
    True
    """
    if isinstance(label_set, str):
        label_set = named_label_set(label_set)

    def predict_scene(scene: Scene) -> dict[str, Int32[np.ndarray, " P"]]:
        features = _features(source, scene)
        texts = encode(protocol.questions(label_set), features.space)
        scores = semantic.text_scores(features, texts)
        return protocol.classes_of("scenes", scores, label_set)

    labelled = (_labelled_by(label_set, scene) for scene in scenes)
    return protocol.evaluate(labelled, predict_scene, label_set)["scenes"].scores()


def _student_path(path: str | os.PathLike) -> pathlib.Path:
    own = shipped.find(path) if isinstance(path, str) else None
    return pathlib.Path(path) if own is None else own


def _listed(where: str, texts: Sequence[str]) -> list[str]:
    """Return texts as a list; one text would be taken for a list of its letters."""
    if isinstance(texts, str):
        raise InputError(
            f"{where}: a list of texts is required, got the text {texts!r}. Put it in "
            "brackets."
        )
    return list(texts)


def _class_texts(where: str, classes: Sequence[str], space: TextSpace) -> TextFeatures:
    names = _listed(where, classes)
    if not names:
        raise InputError(
            f"{where}: at least one class is required, got none. Give names, e.g. "
            '["wall", "chair"].'
        )
    towers.of_space(space, "the features").check(names)
    return encode(prompts(names), space)


def _labelled_by(label_set: LabelSet, scene: Scene) -> Scene:
    wanted = label_set.classes.name
    own = None if scene.label_set is None else scene.label_set.classes.name
    if scene.labels is not None and own != wanted:
        raise InputError(
            f"evaluate: labels of {wanted} are required, got those of {own} "
            f"({scene.name}). Open it with label_set=<the same>."
        )
    return scene


def _features(source: Source, scene: Scene) -> Features:
    if isinstance(source, Predictor):
        return source.features(scene.points)
    if not isinstance(source, Features) and not callable(source):
        raise InputError(
            "source: a student, features or a function of a scene is required, got "
            f"{type(source).__name__}. Load it: load_student, load_features."
        )
    found = source if isinstance(source, Features) else source(scene)
    held = (found.num_points, found.geometry)
    check_points(scene.points, *held, scene.name, ("extract_features",))
    return found


def _own_classes(source: Source) -> TextFeatures:
    """Return the texts of the classes that a student was trained with."""
    if not isinstance(source, Predictor) or not source.student.class_names:
        raise InputError(
            "predict: classes are required, got none, and only a student that was "
            'trained here has some of its own. Give names, e.g. ["wall", "chair"].'
        )
    return TextFeatures(source.student.text_features, source.student.text_space)


@dataclasses.dataclass(frozen=True)
class _Opened:
    """A training scene in memory; see `distill.data.SceneSource`."""

    name: str
    points: Float32[np.ndarray, "P 3"]
    superpoint: Int32[np.ndarray, " P"]
    features: Features

    @property
    def key(self) -> str:
        own = self.features
        held = (self.points, self.superpoint, own.feat, own.row, own.confidence)
        return content_key(held)

    def load(self, config: TrainConfig) -> TrainScene:
        targets = targets_of(self.features, self.superpoint, config, self.name)
        return TrainScene(self.name, self.points, self.superpoint, targets)
