"""Put doors and windows into the walls and hang curtains beside windows."""

from sas_jax.rooms.catalogue import Fit
from sas_jax.rooms.layout.placer import Placer
from sas_jax.rooms.layout.room import PlacedObject
from sas_jax.rooms.layout.spots import against_wall

_DOOR_ZONE_M = 0.85
_CORNER_MARGIN_M = 0.12


def add_door(placer: Placer) -> PlacedObject | None:
    """Add a door and keep the floor in front of it free."""
    thing = placer.build("door")
    if thing is None:
        return None
    spot = against_wall(
        placer,
        thing,
        base_z_m=thing.base_z_m,
        zone_m=_DOOR_ZONE_M,
        corner_chance=0.2,
        margin_m=_CORNER_MARGIN_M,
    )
    _cut(placer, spot)
    return spot


def add_window(placer: Placer, curtain_chance: float) -> PlacedObject | None:
    """Add a window, often with a curtain."""
    thing = placer.build("window")
    if thing is None:
        return None
    highest = placer.size_m[2] - thing.size_m[2] - 0.04
    spot = against_wall(
        placer,
        thing,
        base_z_m=min(thing.base_z_m, highest),
        corner_chance=0.0,
        margin_m=_CORNER_MARGIN_M + 0.15,
    )
    _cut(placer, spot)
    if spot is not None and placer.wants("curtain", curtain_chance):
        _add_curtain(placer, spot)
    return spot


def _cut(placer: Placer, spot: PlacedObject | None) -> None:
    if spot is not None and spot.object.opening_m is not None:
        wall, u, _ = placer.wall_of(spot)
        placer.cut(wall, u, spot.object, spot.position_m[2])


def _add_curtain(placer: Placer, window: PlacedObject) -> PlacedObject | None:
    """Hang a curtain from above the window to the floor or below the sill."""
    rng = placer.rng
    wall, u, _ = placer.wall_of(window)
    base, head = window.position_m[2], window.box[1, 2]
    for _ in range(3):
        reach = min(u, placer.wall_length(wall) - u) - 0.03
        half = min(reach, window.object.size_m[0] / 2 + rng.uniform(0.1, 0.28))
        top = min(placer.size_m[2] - 0.05, float(head) + rng.uniform(0.03, 0.2))
        hem = 0.03 if rng.random() < 0.5 else base - rng.uniform(0.05, 0.2)
        fit = Fit(width_m=2 * half - 0.06, height_m=top - hem)
        thing = placer.build("curtain", fit=fit)
        if thing is None:
            return None
        spot = placer.at_wall(thing, wall, u, 0.0, base_z_m=hem, parent=window)
        if spot is not None:
            return spot
    return None
