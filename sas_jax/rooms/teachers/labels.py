"""What each small teacher is told: which part of the catalogue is labelled finely.

Both see the same pictures. A teacher's *strong* classes have their names in all
designs; of every other class only one design has, the others carry the coarse name of
their kind, as in data sets with a short label list. The dense teacher is strong on
seats, beds and what hangs on walls, the mask teacher on storage, tables, kitchen and
bath: what looks alike stays together, so a teacher errs within a kind it knows little
of, and does so with confidence.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import UInt8

from sas_jax.rooms.teachers.data import IGNORE, InstanceInfo, RoomFrames

ROOM_SHELL = ("wall", "floor")
DENSE_STRONG = (
    *ROOM_SHELL,
    "bed",
    "chair",
    "sofa",
    "door",
    "window",
    "picture",
    "curtain",
    "shower curtain",
)
MASK_STRONG = (
    *ROOM_SHELL,
    "cabinet",
    "table",
    "bookshelf",
    "counter",
    "desk",
    "refrigerator",
    "toilet",
    "sink",
    "bathtub",
    "other furniture",
)


DENSE_COARSE = {
    "cabinet": "cabinet",
    "bookshelf": "cabinet",
    "refrigerator": "cabinet",
    "other furniture": "cabinet",
    "table": "desk",
    "desk": "desk",
    "counter": "desk",
    "toilet": "sink",
    "sink": "sink",
    "bathtub": "sink",
}
MASK_COARSE = {
    "bed": "chair",
    "chair": "chair",
    "sofa": "chair",
    "door": "window",
    "window": "window",
    "picture": "window",
    "curtain": "curtain",
    "shower curtain": "curtain",
}


@dataclasses.dataclass(frozen=True)
class Knowledge:
    """Say what is labelled for one teacher.

    Attributes:
      strong: class names that all designs carry.
      coarse: the coarse name of every other class; without one it is unlabelled.
      weak_designs: design ids of the other classes that carry their own name.
    """

    strong: tuple[str, ...]
    coarse: Mapping[str, str] = dataclasses.field(default_factory=dict)
    weak_designs: tuple[int, ...] = (0,)

    def is_fine(self, info: InstanceInfo, class_names: tuple[str, ...]) -> bool:
        """Tell whether an instance carries its own name."""
        strong = class_names[info.class_index] in self.strong
        return strong or info.design in self.weak_designs


class LabelTables:
    """The labels that a teacher is given, from the instances of a set of frames."""

    def __init__(
        self, frames: RoomFrames, class_names: tuple[str, ...], knowledge: Knowledge
    ):
        """Tabulate the label of every instance of every room."""
        self._room = frames.room
        self._tables = {
            seed: _table(infos, class_names, knowledge)
            for seed, infos in frames.instances.items()
        }

    def __call__(
        self,
        frame: Sequence[int],
        label: UInt8[np.ndarray, "n H W"],
        instance: UInt8[np.ndarray, "n H W"],
    ) -> UInt8[np.ndarray, "n H W"]:
        """Return the given labels of pictures cut from frames; 255 is unlabelled.

        Args:
          frame: which frame each picture is from.
          label: the true classes; 255 where nothing was hit.
          instance: the instances.
        """
        rooms = [int(self._room[k]) for k in frame]
        taught = np.stack(
            [self._tables[r][i] for r, i in zip(rooms, instance, strict=True)]
        )
        taught[label == IGNORE] = IGNORE
        return taught


def visible_labels(
    frames: RoomFrames, class_names: tuple[str, ...], knowledge: Knowledge
) -> UInt8[np.ndarray, "n H W"]:
    """Return the labels that a teacher is given of whole frames."""
    tables = LabelTables(frames, class_names, knowledge)
    return tables(range(len(frames.label)), frames.label, frames.instance)


def _table(
    infos: Mapping[int, InstanceInfo],
    class_names: tuple[str, ...],
    knowledge: Knowledge,
) -> UInt8[np.ndarray, " 256"]:
    """Return the label of every instance id of a room."""
    table = np.full(256, IGNORE, np.uint8)
    for instance, info in infos.items():
        own = class_names[info.class_index]
        fine = knowledge.is_fine(info, class_names)
        name = own if fine else knowledge.coarse.get(own)
        if name is not None and instance < IGNORE:
            table[instance] = class_names.index(name)
    return table
