"""Names of masks: the class whose text is nearest to what a mask looks like.

K masks, P points, C channels of the text space, A asked words, n classes. The feature
of a mask is the mean of the unit features, the student's or fused ones, of its points;
a word fits by the cosine. The paper does not say how features are pooled, which score
ranks a mask, or which classes are asked; these are the readings:

  "top1" gives each mask its nearest class; "topk" keeps the surest pairs of a mask and
  a class of a scene, as Mask3D's trainer does, so that a mask may come with several.
  Masks are ranked by their own score, by the probability of the class (softmax of the
  cosines over the classes), by the product of both, or not at all: OpenMask3D gives
  every mask the score 1.
  All classes are asked, wall and floor among them, as in OpenMask3D: what is called so
  is not scored, and drops out. With only those that are scored, everything has to be
  one of them.
"""

import dataclasses
from collections.abc import Collection
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Float32, Float64, Int32, Int64

from sas_jax.artefacts.features import Features
from sas_jax.artefacts.space import TextFeatures, one_space
from sas_jax.checks import in_range, one_of
from sas_jax.instances.masks import NO_CLASS, Instances, check_same_points
from sas_jax.instances.overlaps import instance_classes
from sas_jax.scenes.labels import LabelSet

Reading = Literal["top1", "topk"]
Rank = Literal["product", "mask", "class", "constant"]
Asked = Literal["all", "scored"]
_ROWS_AT_ONCE = 16_384


@dataclasses.dataclass(frozen=True)
class NamingConfig:
    """Settings.

    Attributes:
      reading: "top1": one class for each mask; "topk": the surest pairs of both.
      top_k: pairs of a scene that "topk" keeps.
      rank: what a mask's score is: its own, the probability of its class, their
        product, or constant, 1.
      temperature: of the softmax over cosines; CLIP's is 0.01.
      asked: whether wall and floor are asked, too, or only classes that are scored.
    """

    reading: Reading = "top1"
    top_k: int = 600
    rank: Rank = "product"
    temperature: float = 0.01
    asked: Asked = "all"

    def __post_init__(self) -> None:
        one_of("naming", "naming", self.reading, get_args(Reading))
        one_of("naming", "instance_score", self.rank, get_args(Rank))
        one_of("naming", "naming_classes", self.asked, get_args(Asked))
        in_range("naming", "naming_top_k", self.top_k, 1)
        in_range("naming", "naming_temperature", self.temperature, 0, above=True)


def mask_features(
    features: Features, instances: Instances
) -> Float32[np.ndarray, "K C"]:
    """Return the mean unit feature of the points of each mask, of unit length.

    Args:
      features: of any level, of the instances' points.
      instances: masks.

    Returns:
      Zeros for a mask of which no point has a feature.

    Raises:
      InputError: for masks of other points.
    """
    check_same_points(instances, features.num_points, "features of the scene")
    means = np.zeros((len(instances), features.feat.shape[1]), np.float64)
    seen = features.row >= 0
    for mean, mask in zip(means, instances.masks(), strict=True):
        rows, points = np.unique(features.row[mask & seen], return_counts=True)
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            block = slice(start, start + _ROWS_AT_ONCE)
            mean += points[block] @ _unit(features.feat[rows[block]])
    return _unit(means).astype(np.float32)


def class_cosines(
    rows: Float32[np.ndarray, "K C"], texts: TextFeatures, label_set: LabelSet
) -> Float32[np.ndarray, "K n"]:
    """Return how well each class fits each mask: the largest cosine of its words.

    Args:
      rows: see `mask_features`.
      texts: of the label set's questions, in their order.
      label_set: n classes.
    """
    cosines = rows @ texts.rows.T.astype(np.float32)
    if not label_set.answers:
        return cosines
    best = np.full((len(rows), len(label_set.classes.names)), -1, np.float32)
    np.maximum.at(best.T, np.array(label_set.answers), cosines.T)
    return best


def name_instances(
    instances: Instances,
    features: Features,
    texts: TextFeatures,
    label_set: LabelSet,
    config: NamingConfig | None = None,
) -> Instances:
    """Give masks classes, by the features of their points.

    Args:
      instances: masks with scores; classes are replaced.
      features: of the instances' points.
      texts: of the label set's questions, in their order.
      label_set: whose classes are given.
      config: default: `NamingConfig()`.

    Returns:
      Instances with the classes of the label set, surest first; -1 for a mask of which
      no point has a feature ("topk" leaves it out).

    Raises:
      InputError: for masks of other points, and features of another text space.
    """
    one_space("naming", {"the features": features.space, "the texts": texts.space})
    cosines = class_cosines(mask_features(features, instances), texts, label_set)
    return named_by(instances, cosines, label_set, config)


def named_by(
    instances: Instances,
    cosines: Float32[np.ndarray, "K n"],
    label_set: LabelSet,
    config: NamingConfig | None = None,
) -> Instances:
    """Give masks classes, by the cosines of `class_cosines`; see `name_instances`.

    A row of zeros is a mask without a feature.
    """
    config = config or NamingConfig()
    names = label_set.classes.names
    classes = tuple(range(len(names)))
    if config.asked == "scored":
        classes = instance_classes(label_set)
    chosen = (_top_k if config.reading == "topk" else _top_1)(
        _probabilities(cosines, classes, config.temperature), instances, config
    )
    mask, index, probability = chosen
    scores = {
        "product": instances.scores[mask] * probability,
        "mask": instances.scores[mask],
        "class": probability,
        "constant": np.ones(len(mask)),
    }[config.rank]
    found = Instances(
        instances.packed[mask],
        instances.num_points,
        scores.astype(np.float32),
        index.astype(np.int32),
        names,
    )
    return found.by_score()


_Chosen = tuple[
    Int64[np.ndarray, " k"], Int32[np.ndarray, " k"], Float64[np.ndarray, " k"]
]
"""Index of the mask, its class, and the probability of the class."""


def _top_1(
    table: Float64[np.ndarray, "K n"], instances: Instances, config: NamingConfig
) -> _Chosen:
    every = np.arange(len(table))
    best = table.argmax(axis=1)
    probability = table[every, best]
    return (
        every,
        np.where(probability > 0, best, NO_CLASS).astype(np.int32),
        probability,
    )


def _top_k(
    table: Float64[np.ndarray, "K n"], instances: Instances, config: NamingConfig
) -> _Chosen:
    """Return the pairs with the largest product of mask score and probability."""
    sure = (table * instances.scores[:, None]).ravel()
    pairs = np.argsort(-sure, kind="stable")[: config.top_k]
    pairs = pairs[table.ravel()[pairs] > 0]
    mask, index = np.divmod(pairs, table.shape[1])
    return mask, index.astype(np.int32), table[mask, index]


def _probabilities(
    cosines: Float32[np.ndarray, "K n"], classes: Collection[int], temperature: float
) -> Float64[np.ndarray, "K n"]:
    """Return softmax over some classes, 0 for others and where there is no feature."""
    table = np.zeros(cosines.shape)
    columns = list(classes)
    logits = cosines[:, columns].astype(np.float64) / temperature
    shares = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
    table[:, columns] = shares / shares.sum(axis=1, keepdims=True)
    table[~cosines.any(axis=1)] = 0
    return table


def _unit(rows: Float[np.ndarray, "n C"]) -> Float64[np.ndarray, "n C"]:
    rows = rows.astype(np.float64)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
