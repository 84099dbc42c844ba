"""Label sets: what class index i is called, how it is drawn, which NYU40 id it is.

A label set belongs to the annotated points of a data set: a list of classes, and what a
score and a picture need of each. Labels are class indices, i32, `IGNORE` = unlabelled.
"""

import dataclasses
import functools

import numpy as np
from jaxtyping import Int, UInt8

from sas_jax.classes import Vocabulary, per_class, vocabulary
from sas_jax.errors import ContractError, InputError

IGNORE = 255
NYU40_IDS = 41  # 0 is "unannotated", 1..40 are classes


@dataclasses.dataclass(frozen=True, eq=False)
class LabelSet:
    """The classes that a data set is labelled with.

    Attributes:
      classes: their names; index = label.
      palette: [K, 3] u8 sRGB colour of each class.
      nyu40_ids: NYU40 id of each class, or None for a set without that relation.
    """

    classes: Vocabulary
    palette: UInt8[np.ndarray, "K 3"]
    nyu40_ids: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        count = len(self.classes.names)
        if self.palette.shape != (count, 3):
            raise ContractError(
                f"label set {self.classes.name}: palette must be [{count}, 3], got "
                f"{list(self.palette.shape)}. Give one colour per class."
            )

    def from_raw(
        self, numbering: str, ids: Int[np.ndarray, " P"], where: object
    ) -> Int[np.ndarray, " P"]:
        """Return the class index of raw ids, `IGNORE` where they are of no class."""
        classes = per_class(self.classes.name, f"{numbering}_ids")
        table = np.full({"lidarseg": 32, "semantickitti": 260}[numbering], IGNORE)
        for index, of_class in enumerate(classes):
            table[of_class] = index
        if ids.size and int(ids.max()) >= len(table):
            raise InputError(
                f"labels: {numbering} ids in 0..{len(table) - 1} are required, got "
                f"{ids.min()}..{ids.max()} ({where}). Take the labels that come with "
                "the data set."
            )
        return table[ids].astype(np.int32)

    def colors(
        self,
        labels: Int[np.ndarray, " P"],
        ignore_color: tuple[int, int, int] = (0,) * 3,
    ) -> UInt8[np.ndarray, "P 3"]:
        """Colour labels by the palette; anything outside 0..K-1 gets `ignore_color`."""
        table = np.concatenate([self.palette, np.array([ignore_color], np.uint8)])
        count = len(self.palette)
        known = (labels >= 0) & (labels < count)
        return table[np.where(known, labels, count)]


def _label_set(name: str) -> LabelSet:
    return LabelSet(
        vocabulary(name),
        palette=np.array(per_class(name, "palette"), np.uint8),
        nyu40_ids=per_class(name, "nyu40_ids"),
    )


@functools.cache
def label_set(name: str) -> LabelSet:
    """Return the label set of a list of classes that is scored through raw ids."""
    palette = np.array(per_class(name, "palette"), np.uint8)
    return LabelSet(vocabulary(name), palette)


SCANNET20 = _label_set("scannet20")
MATTERPORT21 = _label_set("matterport21")


@functools.lru_cache
def _nyu40_table(nyu40_ids: tuple[int, ...]) -> Int[np.ndarray, " 41"]:
    table = np.full(NYU40_IDS, IGNORE, np.int32)
    table[list(nyu40_ids)] = np.arange(len(nyu40_ids), dtype=np.int32)
    table.setflags(write=False)
    return table


def nyu40_lookup(label_set: LabelSet) -> Int[np.ndarray, " 41"]:
    """Return the table NYU40 id -> class index (IGNORE where the set has no class).

    Raises:
      InputError: for a label set without NYU40 ids.
    """
    if label_set.nyu40_ids is None:
        raise InputError(
            f"label set {label_set.classes.name}: NYU40 ids are required, got none. "
            "Use scannet20 or matterport21."
        )
    return _nyu40_table(label_set.nyu40_ids)
