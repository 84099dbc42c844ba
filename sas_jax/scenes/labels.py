"""Label sets: what class index i is called, how it is drawn, which raw ids are of it.

A label set belongs to the annotated points of a data set: a list of classes, and what a
score and a picture need of each. Labels are class indices, i32, `IGNORE` = unlabelled.
The files of data sets hold ids of their own, here *raw ids*, of which a numbering is
named by whoever counts: `nyu40`, `matterport`, `lidarseg`, ...
"""

import colorsys
import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int, Int32, Integer, UInt8

from sas_jax.classes import Vocabulary, entry, vocabulary
from sas_jax.errors import ContractError, InputError

IGNORE = 255
NYU40_IDS = 41  # 0 is "unannotated", 1..40 are classes
NUMBERINGS: dict[str, int | None] = {
    "nyu40": NYU40_IDS,
    "scannet": None,  # column `id` of scannetv2-labels.combined.tsv; it has gaps
    "matterport": 1660,  # column `index` of category_mapping.tsv; 0 is unlabelled
    "lidarseg": 32,
    "semantickitti": 260,
    "replica": 102,
}
"""Numbering -> how many raw ids it has, from 0; None where any may occur."""

Ids = tuple[int | tuple[int, ...], ...]
"""Raw ids, one or several, of each class."""


@dataclasses.dataclass(frozen=True, eq=False)
class LabelSet:
    """The classes that a data set is labelled with.

    Attributes:
      classes: their names; index = label.
      palette: [K, 3] u8 sRGB colour of each class.
      raw_ids: numbering -> raw ids of each class, for those numberings that have them.
      groups: of each class, e.g. `head`, `common` or `tail`; empty without.
      asked: words that points are compared with, where these are not the names.
      answers: index of the class that each of `asked` answers for.
    """

    classes: Vocabulary
    palette: UInt8[np.ndarray, "K 3"]
    raw_ids: Mapping[str, Ids] = dataclasses.field(default_factory=dict)
    groups: tuple[str, ...] = ()
    asked: Vocabulary | None = None
    answers: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        name, count = self.classes.name, len(self.classes.names)
        if self.palette.shape != (count, 3):
            raise ContractError(
                f"label set {name}: palette must be [{count}, 3], got "
                f"{list(self.palette.shape)}. Give one colour per class."
            )
        per_class = {"groups": self.groups, **self.raw_ids}
        wrong = [k for k, v in per_class.items() if len(v) not in (count, 0)]
        if wrong or len(self.answers) != len(self.asked.names if self.asked else ()):
            raise ContractError(
                f"label set {name}: one entry per class ({count}) and one answer per "
                f"word is required, got others of {', '.join(wrong) or 'answers'}."
            )

    @property
    def questions(self) -> tuple[str, ...]:
        """The words that points are compared with, K or more."""
        return (self.asked or self.classes).names

    def table(self, numbering: str) -> Int32[np.ndarray, " R"]:
        """Return the table raw id -> class index, `IGNORE` where it is of no class.

        Args:
          numbering: of `NUMBERINGS`; the table is as long as that, or as long as the
            largest id of a class and one more, whose last entry is `IGNORE`.

        Raises:
          InputError: for a numbering that the set has no ids of.
        """
        if numbering not in self.raw_ids:
            known = ", ".join(self.raw_ids) or "none"
            raise InputError(
                f"label set {self.classes.name}: {numbering} ids are required, got "
                f"{known}. Choose a label set of the data set: --label_set."
            )
        return _table(numbering, tuple(self.raw_ids[numbering]))

    def from_raw(
        self, numbering: str, ids: Integer[np.ndarray, " P"], where: object
    ) -> Int32[np.ndarray, " P"]:
        """Return the class index of raw ids, `IGNORE` where they are of no class.

        Args:
          numbering: of the ids.
          ids: any integers.
          where: file that they are of, for the error.

        Raises:
          InputError: for ids outside of the numbering, or one that the set lacks.
        """
        table = self.table(numbering)
        limit = NUMBERINGS[numbering]
        low, high = (int(ids.min()), int(ids.max())) if ids.size else (0, 0)
        if low < 0 or (limit is not None and high >= limit):
            raise InputError(
                f"labels: {numbering} ids in 0..{'' if limit is None else limit - 1} "
                f"are required, got {low}..{high} ({where}). Take the labels that come "
                "with the data set."
            )
        return table[np.minimum(ids, len(table) - 1)]

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


@functools.lru_cache
def _table(numbering: str, ids: Ids) -> Int32[np.ndarray, " R"]:
    several = [(c,) if isinstance(c, int) else c for c in ids]
    size = NUMBERINGS[numbering] or max(max(c, default=0) for c in several) + 2
    table = np.full(size, IGNORE, np.int32)
    for index, of_class in enumerate(several):
        table[list(of_class)] = index
    table.setflags(write=False)
    return table


@functools.cache
def label_set(name: str) -> LabelSet:
    """Return the label set of a list of classes in `class_lists.json`.

    Raises:
      InputError: for an unknown name, listing the known ones.
    """
    known = entry(name)
    colors, asked = known.get("palette"), known.get("asked_by")
    return LabelSet(
        vocabulary(name),
        _distinct(len(known["names"]))
        if colors is None
        else np.array(colors, np.uint8),
        {n: _ids(known[f"{n}_ids"]) for n in NUMBERINGS if f"{n}_ids" in known},
        tuple(known.get("groups", ())),
        vocabulary(asked) if asked else None,
        tuple(entry(asked)["answers"]) if asked else (),
    )


def own_label_set(names: Sequence[str]) -> LabelSet:
    """Return a label set of any names, with colours that tell them apart."""
    return LabelSet(Vocabulary("own", tuple(names)), _distinct(len(names)))


def _ids(listed: list[Any]) -> Ids:
    return tuple(tuple(ids) if isinstance(ids, list) else ids for ids in listed)


def _distinct(count: int) -> UInt8[np.ndarray, "K 3"]:
    """Return colours for a list without published ones: hues a golden angle apart."""
    rgb = [
        colorsys.hsv_to_rgb(i * 0.618034 % 1, 0.45 + 0.15 * (i % 4), 1 - 0.15 * (i % 3))
        for i in range(count)
    ]
    return np.rint(np.array(rgb) * 255).astype(np.uint8)


SCANNET20 = label_set("scannet20")
MATTERPORT21 = label_set("matterport21")
