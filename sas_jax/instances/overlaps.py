"""What average precision needs to know of a scene: who shares how many points.

K predicted masks, G true instances, P points, C classes. A true instance is what has
one class and one instance id. Counts are taken mask by mask, so that memory does not
grow with their number: 500 masks of a million points are counted in tens of megabytes.
"""

import dataclasses
from collections.abc import Collection
from typing import Literal

import numpy as np
from jaxtyping import Float64, Int, Int32, Int64

from sas_jax.errors import ContractError
from sas_jax.instances.masks import NO_CLASS, Instances, check_same_points
from sas_jax.scenes.labels import LabelSet

_BACKGROUND = frozenset({"wall", "floor", "ceiling"})
_SCORED = {"scannet200": {"ceiling"}}  # by its benchmark: 198 of the 200

Compat = Literal["paper", "official"]


@dataclasses.dataclass(frozen=True)
class Overlaps:
    """Counts of one scene.

    Attributes:
      truth_classes: [G] i32, class index of each true instance, in the order of class
        and instance id.
      truth_sizes: [G] i64, its points.
      classes: [K] i32, class index of each prediction; -1: it is of none that is
        scored.
      scores: [K] f64.
      sizes: [K] i64, its points.
      void: [K] i64, those of its points where no true instance is known.
      shared: [K, G] i64, points that a prediction and a true instance share.
    """

    truth_classes: Int32[np.ndarray, " G"]
    truth_sizes: Int64[np.ndarray, " G"]
    classes: Int32[np.ndarray, " K"]
    scores: Float64[np.ndarray, " K"]
    sizes: Int64[np.ndarray, " K"]
    void: Int64[np.ndarray, " K"]
    shared: Int64[np.ndarray, "K G"]

    def agnostic(self) -> "Overlaps":
        """Return the same with one class, 0, of all true instances and predictions."""
        return dataclasses.replace(
            self,
            truth_classes=np.zeros_like(self.truth_classes),
            classes=np.zeros_like(self.classes),
        )


def overlaps(
    instances: Instances,
    labels: Int[np.ndarray, " P"],
    ids: Int[np.ndarray, " P"],
    scored: Collection[int],
    *,
    compat: Compat = "paper",
    where: object = "predictions",
) -> Overlaps:
    """Count the points that predictions and true instances of a scene share.

    Args:
      instances: predicted; their classes are indices as in `labels`.
      labels: class index of each point; what is not scored, 255 too, is void.
      ids: instance of each point, -1 = none.
      scored: indices of the classes that are scored.
      compat: of a labelled point without an instance nobody knows where its object
        ends, so it is void; "official" takes all such points of a class for one object,
        as ids `1000 * label` do there.
      where: the predictions come from, for errors.

    Raises:
      InputError: for predictions of other points.
    """
    check_same_points(instances, len(labels), where)
    if labels.shape != ids.shape:
        raise ContractError(
            f"overlaps: one instance per label ({len(labels)}) is required, got "
            f"{list(ids.shape)}."
        )
    truth_classes, owner = _true_instances(labels, ids, scored, compat)
    count = len(truth_classes)
    shared = np.zeros((len(instances), count + 1), np.int64)
    for row, mask in zip(shared, instances.masks(), strict=True):
        row[:] = np.bincount(owner[mask], minlength=count + 1)
    known = np.isin(instances.classes, list(scored))
    return Overlaps(
        truth_classes,
        np.bincount(owner, minlength=count + 1)[:count],
        np.where(known, instances.classes, NO_CLASS).astype(np.int32),
        instances.scores.astype(np.float64),
        shared.sum(axis=1),
        shared[:, count],
        shared[:, :count],
    )


def instance_classes(label_set: LabelSet) -> tuple[int, ...]:
    """Return the indices of the classes whose instances are scored.

    All but wall, floor and ceiling: 18 of ScanNet's 20 (with `other furniture`), 48 of
    Replica's 51; ScanNet200 scores ceilings, too.
    """
    left_out = _BACKGROUND - _SCORED.get(label_set.classes.name, set())
    names = label_set.classes.names
    return tuple(i for i, name in enumerate(names) if name not in left_out)


def _true_instances(
    labels: Int[np.ndarray, " P"],
    ids: Int[np.ndarray, " P"],
    scored: Collection[int],
    compat: Compat,
) -> tuple[Int32[np.ndarray, " G"], Int64[np.ndarray, " P"]]:
    """Return the class of each true instance, and the instance of each point.

    The latter is G where there is none.
    """
    known = np.isin(labels, list(scored))
    if compat == "paper":
        known &= ids >= 0
    stride = int(ids.max(initial=-1)) + 2
    code = labels[known].astype(np.int64) * stride + np.maximum(ids[known], -1) + 1
    unique, instance = np.unique(code, return_inverse=True)
    owner = np.full(len(labels), len(unique), np.int64)
    owner[known] = instance
    return (unique // stride).astype(np.int32), owner
