"""Instances of one scene: masks over its points, with scores and classes.

K masks over P points are kept as bits: 500 masks of a million points take 63 MB.
Masks may overlap.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int, Int32, Int64, UInt8

from sas_jax.errors import ContractError, InputError

NO_CLASS = -1
_BYTES = 1024  # of each mask at once; 500 masks then take 16 MB as floats


@dataclasses.dataclass(frozen=True)
class Instances:
    """Masks over the points of one scene.

    Attributes:
      packed: [K, ceil(P / 8)] u8, bits of the masks, first point in the highest bit.
      num_points: P.
      scores: [K] f32 or f64, finite; a larger one is surer.
      classes: [K] i32, index of `class_names`, or -1.
      class_names: what the classes are called; may be empty where all are -1, or where
        a label set is understood.
    """

    packed: UInt8[np.ndarray, "K B"]
    num_points: int
    scores: Float[np.ndarray, " K"]
    classes: Int32[np.ndarray, " K"]
    class_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if fault := _fault(self):
            raise ContractError(f"instances: {fault}.")

    def __len__(self) -> int:
        return len(self.packed)

    def mask(self, index: int) -> Bool[np.ndarray, " P"]:
        """Return which points are of an instance."""
        return np.unpackbits(self.packed[index], count=self.num_points).view(bool)

    def masks(self) -> Iterator[Bool[np.ndarray, " P"]]:
        """Yield the masks one by one: all of them at once may not fit into memory."""
        return (self.mask(index) for index in range(len(self)))

    def sizes(self) -> Int64[np.ndarray, " K"]:
        """Return the number of points of each mask."""
        return np.bitwise_count(self.packed).sum(axis=1, dtype=np.int64)

    def chosen(
        self, which: Int[np.ndarray, " k"] | Bool[np.ndarray, " K"]
    ) -> "Instances":
        """Return some of the instances, in the order of their indices."""
        return dataclasses.replace(
            self,
            packed=self.packed[which],
            scores=self.scores[which],
            classes=self.classes[which],
        )

    def by_score(self) -> "Instances":
        """Return all instances, surest first; equal scores keep their order."""
        return self.chosen(np.argsort(-self.scores, kind="stable"))


def packed_masks(masks: Bool[np.ndarray, "K P"]) -> UInt8[np.ndarray, "K B"]:
    """Return the bits of masks, as `Instances.packed` holds them."""
    return np.packbits(masks, axis=1)


def shared_points(
    first: UInt8[np.ndarray, "K B"], second: UInt8[np.ndarray, "L B"]
) -> Int64[np.ndarray, "K L"]:
    """Return how many points each mask shares with each other one; both as bits."""
    counts = np.zeros((len(first), len(second)), np.int64)
    for start in range(0, first.shape[1], _BYTES):
        block = slice(start, start + _BYTES)
        bits = [
            np.unpackbits(part[:, block], axis=1).astype(np.float32)
            for part in ((first,) if second is first else (first, second))
        ]
        counts += (bits[0] @ bits[-1].T).astype(np.int64)  # exact below 2^24 points
    return counts


def of_masks(
    masks: Bool[np.ndarray, "K P"],
    scores: Float[np.ndarray, " K"] | None = None,
    classes: Int[np.ndarray, " K"] | None = None,
    class_names: Sequence[str] = (),
) -> Instances:
    """Return instances of masks that fit into memory.

    Args:
      masks: which points are of each.
      scores: all 1 by default.
      classes: all -1 by default.
      class_names: see `Instances`.
    """
    count = len(masks)
    if scores is None:
        scores = np.ones(count, np.float32)
    if classes is None:
        classes = np.full(count, NO_CLASS)
    return Instances(
        packed_masks(masks),
        masks.shape[1],
        scores,
        np.asarray(classes, np.int32),
        tuple(class_names),
    )


def of_ids(ids: Int[np.ndarray, " P"]) -> Instances:
    """Return an instance for each id >= 0 of points, ascending, with score 1."""
    unique = np.unique(ids[ids >= 0])
    packed = [np.packbits(ids == each) for each in unique]
    return Instances(
        np.reshape(packed, (len(unique), -(-len(ids) // 8))).astype(np.uint8),
        len(ids),
        np.ones(len(unique), np.float32),
        np.full(len(unique), NO_CLASS, np.int32),
    )


def check_same_points(
    instances: Instances, num_points: int, where: object
) -> Instances:
    """Return the instances; raises InputError unless they are of so many points."""
    if instances.num_points != num_points:
        raise InputError(
            f"instances: masks over the scene's {num_points} points are required, got "
            f"{instances.num_points} ({where}). Predict on the same points, in their "
            "order: those of the labelled mesh."
        )
    return instances


def _fault(instances: Instances) -> str | None:
    """Return what is wrong with the arrays of instances, in words."""
    packed, num_points = instances.packed, instances.num_points
    width = -(-num_points // 8)
    if packed.ndim != 2 or packed.dtype != np.uint8 or packed.shape[1] != width:
        return (
            f"bits u8 [K, {width}] of {num_points} points are required, got "
            f"{list(packed.shape)} of {packed.dtype}"
        )
    count = len(packed)
    if num_points % 8 and (packed[:, -1:] & (0xFF >> num_points % 8)).any():
        return f"no bits beyond {num_points} points are required, got some"
    scores, classes = instances.scores, instances.classes
    if scores.shape != (count,) or scores.dtype not in (np.float32, np.float64):
        return (
            f"f32 or f64 scores [{count}] are required, got {list(scores.shape)} of "
            f"{scores.dtype}"
        )
    if not np.isfinite(scores).all():
        return f"finite scores are required, got {(~np.isfinite(scores)).sum()} others"
    if classes.shape != (count,) or classes.dtype != np.int32:
        return (
            f"i32 classes [{count}] are required, got {list(classes.shape)} of "
            f"{classes.dtype}"
        )
    low, high = int(classes.min(initial=-1)), int(classes.max(initial=-1))
    names = len(instances.class_names)
    if low < NO_CLASS or (names and high >= names):
        return (
            f"classes in -1..{names - 1 if names else ''} are required, got "
            f"{low}..{high}"
        )
    return None
