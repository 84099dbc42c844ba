"""What each kind of room holds, and the order in which it is placed."""

from collections.abc import Callable

from sas_jax.rooms.catalogue import others
from sas_jax.rooms.catalogue.cabinets import BEDSIDE, WALL_HUNG
from sas_jax.rooms.layout.dry_zones import (
    add_bed,
    add_desk,
    add_dining,
    add_lamp,
    add_sofa,
)
from sas_jax.rooms.layout.openings import add_door, add_window
from sas_jax.rooms.layout.placer import Placer
from sas_jax.rooms.layout.spots import against_wall, in_open
from sas_jax.rooms.layout.wet_zones import add_bath, add_kitchen

_FLOOR_THINGS = (0, 2, 3, 5, 6, 7)
_STANDING_CABINETS = tuple(d for d in range(7) if d not in (*BEDSIDE, *WALL_HUNG))
# Expected number of optional (cabinet, bookshelf, picture, other) objects.
_OPTIONAL = {
    "bedroom": (1.0, 0.7, 1.3, 1.4),
    "living room": (0.8, 1.1, 1.7, 1.6),
    "kitchen": (0.4, 0.3, 1.0, 1.0),
    "bathroom": (0.45, 0.0, 0.5, 0.7),
    "office": (0.8, 1.2, 1.2, 1.4),
    "studio": (0.6, 0.8, 1.3, 1.1),
}


def furnish(placer: Placer, kind: str) -> None:
    """Fill an empty room.

    Args:
      placer: the empty room.
      kind: one of `config.KINDS`.
    """
    add_door(placer)
    if placer.rng.random() < 0.12:
        add_door(placer)
    windows = (0.75, 0.1) if kind == "bathroom" else (0.95, 0.45)
    for chance in windows:
        if placer.wants("window", chance):
            add_window(placer, 0.5 if kind == "bathroom" else 0.75)
    for add in _programme(placer, kind):
        add(placer)
    _add_optional(placer, kind)


def _programme(placer: Placer, kind: str) -> list[Callable[[Placer], None]]:
    """Choose the groups of a room, large and demanding ones first."""
    rng = placer.rng
    if kind == "studio":
        zones = (_small_kitchen, add_bath, add_bed, add_sofa, add_desk)
        order = sorted(rng.permutation(5)[:3])
        chosen: list[Callable[[Placer], None]] = [zones[int(k)] for k in order]
        if rng.random() < 0.25:
            chosen.append(add_dining)
        return chosen
    chance = rng.random()
    if kind == "bedroom":
        return [add_bed, add_desk] if chance < 0.55 else [add_bed]
    if kind == "living room":
        return [add_sofa, add_dining] if chance < 0.6 else [add_sofa]
    if kind == "kitchen":
        return [add_kitchen, add_dining] if chance < 0.85 else [add_kitchen]
    if kind == "bathroom":
        return [add_bath]
    if chance < 0.45:
        return [add_desk, add_sofa]
    return [add_desk, add_desk] if chance < 0.75 else [add_desk]


def _small_kitchen(placer: Placer) -> None:
    add_kitchen(placer, small=True)


def _add_optional(placer: Placer, kind: str) -> None:
    """Add storage, decoration and clutter in random order."""
    cabinets, shelves, pictures, things = _OPTIONAL[kind]
    jobs = [_add_cabinet] * placer.count("cabinet", cabinets)
    jobs += [_add_bookshelf] * placer.count("bookshelf", shelves)
    jobs += [_add_thing] * placer.count("other furniture", things)
    jobs += [_add_chair] * placer.count("chair", 0.25)
    jobs += [_add_side_table] * placer.count("table", 0.2)
    for index in placer.rng.permutation(len(jobs)):
        jobs[int(index)](placer)
    for _ in range(placer.count("picture", pictures)):
        _add_picture(placer)


def _add_cabinet(placer: Placer) -> None:
    thing = placer.build("cabinet", prefer=_STANDING_CABINETS)
    if thing is not None and thing.placement == "wall":
        spot = against_wall(placer, thing, zone_m=0.4, corner_chance=0.5)
        add_lamp(placer, spot, 0.3)


def _add_bookshelf(placer: Placer) -> None:
    thing = placer.build("bookshelf")
    if thing is not None:
        zone = 0.3 if thing.placement == "wall" else 0.0
        against_wall(
            placer, thing, base_z_m=thing.base_z_m, zone_m=zone, corner_chance=0.4
        )


def _add_chair(placer: Placer) -> None:
    thing = placer.build("chair")
    if thing is not None:
        against_wall(placer, thing, corner_chance=0.4)


def _add_side_table(placer: Placer) -> None:
    thing = placer.build("table")
    if thing is not None:
        add_lamp(placer, against_wall(placer, thing, corner_chance=0.6), 0.4)


def _add_thing(placer: Placer) -> None:
    thing = placer.build("other furniture", prefer=_FLOOR_THINGS)
    if thing is None or thing.placement not in ("floor", "wall"):
        return
    if thing.noun in others.ANYWHERE and placer.rng.random() < 0.3:
        in_open(placer, thing)
    else:
        against_wall(placer, thing, corner_chance=0.5)


def _add_picture(placer: Placer) -> None:
    thing = placer.build("picture")
    if thing is not None:
        highest = placer.size_m[2] - thing.size_m[2] - 0.05
        base = min(thing.base_z_m, highest)
        against_wall(placer, thing, base_z_m=base, corner_chance=0.0, margin_m=0.1)
