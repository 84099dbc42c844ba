"""Questions to a scene: classes, heat maps, answers, scores."""

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float, Int, Int32

from sas_jax.api.sources import Source, class_texts, encode, features_of
from sas_jax.artefacts.space import TextFeatures
from sas_jax.errors import InputError
from sas_jax.evaluation import protocol, semantic
from sas_jax.evaluation import query as questions
from sas_jax.evaluation.confusion import Scores
from sas_jax.models.student import Predictor
from sas_jax.scenes.labels import SCANNET20, LabelSet
from sas_jax.scenes.labels import label_set as named_label_set
from sas_jax.scenes.scene import Scene


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
    features = features_of(source, scene)
    texts = own or class_texts("predict", classes or (), features.space)
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
    features = questions.unit_features(features_of(source, scene))
    asked = encode([text, *questions.ANYTHING], features.space)
    first, others = asked.rows[:1], asked.rows[1:]
    return questions.point_relevancy(
        features,
        TextFeatures(first, asked.space),
        TextFeatures(others, asked.space),
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
        features = features_of(source, scene)
        texts = encode(protocol.questions(label_set), features.space)
        scores = semantic.text_scores(features, texts)
        return protocol.classes_of("scenes", scores, label_set)

    labelled = (_labelled_by(label_set, scene) for scene in scenes)
    return protocol.evaluate(labelled, predict_scene, label_set)["scenes"].scores()


def _labelled_by(label_set: LabelSet, scene: Scene) -> Scene:
    wanted = label_set.classes.name
    own = None if scene.label_set is None else scene.label_set.classes.name
    if scene.labels is not None and own != wanted:
        raise InputError(
            f"evaluate: labels of {wanted} are required, got those of {own} "
            f"({scene.name}). Open it with label_set=<the same>."
        )
    return scene


def _own_classes(source: Source) -> TextFeatures:
    """Return the texts of the classes that a student was trained with."""
    if not isinstance(source, Predictor) or not source.student.class_names:
        raise InputError(
            "predict: classes are required, got none, and only a student that was "
            'trained here has some of its own. Give names, e.g. ["wall", "chair"].'
        )
    return TextFeatures(source.student.text_features, source.student.text_space)
