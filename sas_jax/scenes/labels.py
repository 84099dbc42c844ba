"""Label sets: what class index i is called, how it is drawn, which NYU40 id it is.

A label set belongs to the annotated points of a data set; the words that text towers
encode are vocabularies (`text.vocabulary`). Sources stand in `data/label_sets.json`.
Labels are class indices, i32, `IGNORE` = unlabelled.
"""

import dataclasses
import functools
import importlib.resources
import json
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from sas_jax.errors import ContractError, InputError

IGNORE = 255
NYU40_IDS = 41  # 0 is "unannotated", 1..40 are classes


@dataclasses.dataclass(frozen=True, eq=False)
class LabelSet:
    """Name the classes of a data set, in index order.

    Attributes:
      name: identifier that goes into artefacts.
      names: class names; index = label.
      palette: [K, 3] u8 sRGB colour of each class.
      other_index: index of the catch-all class, or None.
      nyu40_ids: NYU40 id of each class, or None for a set without that relation.
    """

    name: str
    names: tuple[str, ...]
    palette: UInt8[np.ndarray, "K 3"]
    other_index: int | None = None
    nyu40_ids: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.palette.shape != (len(self.names), 3):
            raise ContractError(
                f"label set {self.name}: palette must be [{len(self.names)}, 3], got "
                f"{list(self.palette.shape)}. Give one colour per class."
            )

    def colors(
        self,
        labels: Int[np.ndarray, " P"],
        ignore_color: tuple[int, int, int] = (0,) * 3,
    ) -> UInt8[np.ndarray, "P 3"]:
        """Colour labels by the palette; anything outside 0..K-1 gets `ignore_color`."""
        table = np.concatenate([self.palette, np.array([ignore_color], np.uint8)])
        known = (labels >= 0) & (labels < len(self.names))
        return table[np.where(known, labels, len(self.names))]


def _data(file_name: str) -> dict[str, Any]:
    folder = importlib.resources.files("sas_jax.scenes") / "data"
    return json.loads((folder / file_name).read_text(encoding="utf-8"))


def _label_set(name: str) -> LabelSet:
    entry = _data("label_sets.json")[name]
    return LabelSet(
        name=name,
        names=tuple(entry["names"]),
        palette=np.array(entry["palette"], np.uint8),
        other_index=entry["other_index"],
        nyu40_ids=tuple(entry["nyu40_ids"]),
    )


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
            f"label set {label_set.name}: NYU40 ids are required, got none. "
            "Use scannet20 or matterport21."
        )
    return _nyu40_table(label_set.nyu40_ids)
