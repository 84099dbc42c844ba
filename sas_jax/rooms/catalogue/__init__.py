"""The catalogue: parametric designs of every class, by theme.

`DESIGNS` says how many designs a class has; `make_object` builds one of them with
random proportions and colours. Walls and the floor belong to the layout.
"""

from collections.abc import Mapping

import numpy as np

from sas_jax.errors import InputError
from sas_jax.rooms.catalogue import (
    bathtubs,
    beds,
    bookshelves,
    cabinets,
    desks,
    doors,
    hangings,
    kitchen,
    others,
    pictures,
    refrigerators,
    seating,
    sinks,
    sofas,
    tables,
    toilets,
    windows,
)
from sas_jax.rooms.catalogue.base import CLASS_NAMES, NYU40_IDS, Fit, Object, finish

__all__ = [
    "CLASS_NAMES",
    "DESIGNS",
    "NYU40_IDS",
    "TYPICAL",
    "Fit",
    "Object",
    "make_object",
    "named_designs",
    "split_designs",
]

_BUILDERS = {
    "cabinet": cabinets.CABINETS,
    "bed": beds.BEDS,
    "chair": seating.CHAIRS,
    "sofa": sofas.SOFAS,
    "table": tables.TABLES,
    "door": doors.DOORS,
    "window": windows.WINDOWS,
    "bookshelf": bookshelves.BOOKSHELVES,
    "picture": pictures.PICTURES,
    "counter": kitchen.COUNTERS,
    "desk": desks.DESKS,
    "curtain": hangings.CURTAINS,
    "refrigerator": refrigerators.REFRIGERATORS,
    "shower curtain": hangings.SHOWER_CURTAINS,
    "toilet": toilets.TOILETS,
    "sink": sinks.SINKS,
    "bathtub": bathtubs.BATHTUBS,
    "other furniture": others.OTHERS,
}
Designs = Mapping[str, tuple[int, ...]]
DESIGNS: dict[str, int] = {name: len(table) for name, table in _BUILDERS.items()}

# What most people would draw, and what its shape alone tells from the other classes:
# no wardrobe beside refrigerators, no armchair beside sofas, no trestle beside desks.
# Roles that the layout fills (bedside, stove, monitor) keep a design each.
TYPICAL: Designs = {
    "cabinet": (1, 2, 3, 6),
    "bed": (0, 1, 2),
    "chair": (0, 1, 4),
    "sofa": (0, 1, 2),
    "table": (0, 1, 3),
    "door": (0, 1, 2),
    "window": (0, 1, 4),
    "bookshelf": (0, 1, 2),
    "picture": (0, 1, 3),
    "counter": (0, 1, 3),
    "desk": (0, 1, 3),
    "curtain": (0, 1, 2),
    "refrigerator": (0, 1, 3),
    "shower curtain": (0, 1),
    "toilet": (0, 1),
    "sink": (0, 2, 4),
    "bathtub": (0, 1),
    "other furniture": (0, 1, 2, 4, 8, 9, 10),
}


def split_designs(seed: int) -> tuple[Designs, Designs]:
    """Divide the designs of every class into some to train on and some held out.

    A third of a class, at least one, is held out. Design 0 never is: it is the one
    that teachers know the name of where they are weak (see `rooms.teachers.labels`).

    Args:
      seed: which division.

    Returns:
      Designs to train on, and the others, as `RoomConfig.designs` takes them.
    """
    rng = np.random.default_rng([seed, 0x53706C69])
    train, held_out = {}, {}
    for name, count in DESIGNS.items():
        taken = 1 + rng.permutation(count - 1)[: max(1, round(count / 3))]
        held_out[name] = tuple(sorted(int(design) for design in taken))
        train[name] = tuple(d for d in range(count) if d not in held_out[name])
    return train, held_out


def named_designs(name: str = "typical") -> Designs | None:
    """Return the designs of rooms as `RoomConfig.designs` takes them.

    Args:
      name: "typical" for `TYPICAL`, "all" for the whole catalogue, harder rooms;
        "train:<seed>" and "held-out:<seed>" for the parts of `split_designs`.

    Raises:
      InputError: for another name.
    """
    if name == "typical":
        return TYPICAL
    if name == "all":
        return None
    part, _, seed = name.partition(":")
    if part in ("train", "held-out") and seed.isdecimal():
        return split_designs(int(seed))[part == "held-out"]
    raise InputError(
        "designs: must be typical, all, train:<seed> or held-out:<seed>, got "
        f"{name!r}. Choose one of them."
    )


def make_object(
    class_name: str,
    design: int,
    rng: np.random.Generator,
    fit: Fit | None = None,
) -> Object:
    """Build one object with random proportions and colours.

    Args:
      class_name: a key of `DESIGNS`.
      design: index in [0, DESIGNS[class_name]).
      rng: source of every random choice.
      fit: size wishes; designs heed those that make sense for them.

    Returns:
      The object in its own frame (see `catalogue.base`).

    Raises:
      InputError: if the class or the design is not in the catalogue.

    Deterministic: the same generator state gives the same bits.
    """
    if class_name not in _BUILDERS:
        raise InputError(
            f"make_object: class must be one of {sorted(_BUILDERS)}, "
            f"got {class_name!r}. Walls and floors come from make_room."
        )
    builders = _BUILDERS[class_name]
    if not 0 <= design < len(builders):
        raise InputError(
            f"make_object: design of {class_name!r} must be in "
            f"[0, {len(builders)}), got {design}. See catalogue.DESIGNS."
        )
    return finish(class_name, design, builders[design](rng, fit or Fit()))
