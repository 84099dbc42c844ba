"""Search for a place: along walls, in the open, on top of other objects."""

import numpy as np

from sas_jax.rooms.catalogue import Object
from sas_jax.rooms.geometry.mesh import rotation
from sas_jax.rooms.layout.placer import WALL_GAP_M, Placer
from sas_jax.rooms.layout.room import PlacedObject


def beside(
    spot: PlacedObject, x: float, y: float, z: float = 0.0
) -> tuple[float, float, float]:
    """Return the world position of a point given in an object's frame."""
    moved = rotation("z", spot.yaw)[:2, :2] @ np.array([x, y])
    px, py, pz = spot.position_m
    return float(px + moved[0]), float(py + moved[1]), float(pz + z)


def against_wall(
    placer: Placer,
    thing: Object,
    *,
    walls: tuple[int, ...] = (0, 1, 2, 3),
    base_z_m: float = 0.0,
    zone_m: float = 0.0,
    corner_chance: float = 0.25,
    margin_m: float = 0.0,
    tries: int = 24,
) -> PlacedObject | None:
    """Place an object with its back to a random wall, facing the room.

    Args:
      placer: the room.
      thing: standing or mounted object.
      walls: walls to choose from.
      base_z_m: height of its lowest point.
      zone_m: floor kept free in front of it.
      corner_chance: chance to push it into a corner.
      margin_m: least distance from the room's corners.
      tries: random places tried.

    Returns:
      The placed object, or None if no place was found.
    """
    width, depth, _ = thing.size_m
    mounted = thing.placement == "mounted"
    gap = max(margin_m, 0.0 if mounted else WALL_GAP_M)
    v = 0.0 if mounted else WALL_GAP_M + depth / 2
    for _ in range(tries):
        wall = int(walls[int(placer.rng.integers(len(walls)))])
        slack = placer.wall_length(wall) - width - 2 * gap
        if slack < 0:
            continue
        share = placer.rng.random()
        if placer.rng.random() < corner_chance:
            share = float(share > 0.5)
        u = gap + width / 2 + share * slack
        spot = placer.at_wall(thing, wall, u, v, base_z_m=base_z_m, zone_m=zone_m)
        if spot is not None:
            return spot
    return None


def in_open(
    placer: Placer, thing: Object, *, zone_m: float = 0.0, tries: int = 24
) -> PlacedObject | None:
    """Place an object anywhere on the floor, turned by a quarter at random."""
    reach = 0.5 * max(thing.size_m[:2]) + WALL_GAP_M
    low, high = np.full(2, reach), np.asarray(placer.size_m[:2]) - reach
    if (low > high).any():
        return None
    for _ in range(tries):
        x, y = placer.rng.uniform(low, high)
        yaw = int(placer.rng.integers(4)) * np.pi / 2
        spot = placer.put(thing, (float(x), float(y), 0.0), yaw, zone_m=zone_m)
        if spot is not None:
            return spot
    return None


def on_top(
    placer: Placer,
    thing: Object,
    carrier: PlacedObject,
    *,
    tries: int = 6,
) -> PlacedObject | None:
    """Stand a small object near the back of another object's upper surface."""
    base = carrier.object
    if base.top_z_m is None:
        return None
    half = 0.5 * (base.size_m[0] - thing.size_m[0]) - 0.02
    low = -0.5 * base.size_m[1] + base.top_back_m + 0.5 * thing.size_m[1] + 0.02
    high = 0.5 * (base.size_m[1] - thing.size_m[1])
    if half < 0.0 or low > high:
        return None
    for _ in range(tries):
        x = float(placer.rng.uniform(-half, half))
        y = float(low + 0.3 * placer.rng.random() * (high - low))
        where = beside(carrier, x, y, base.top_z_m)
        spot = placer.put(thing, where, carrier.yaw, parent=carrier)
        if spot is not None:
            return spot
    return None
