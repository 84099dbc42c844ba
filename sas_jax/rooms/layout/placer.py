"""Find places for objects so that nothing interpenetrates and people can walk.

Walls are numbered 0 south (y = 0), 1 east, 2 north, 3 west. The frame of a wall is the
one of an object that stands with its back to it: u runs along the wall in the direction
of the object's x axis, v points into the room.
"""

import numpy as np
from jaxtyping import Float

from sas_jax.rooms.catalogue import Fit, Object, make_object
from sas_jax.rooms.geometry.mesh import Mesh, rotation, transform
from sas_jax.rooms.layout.config import RoomConfig
from sas_jax.rooms.layout.room import PlacedObject, free_cells

WALL_GAP_M = 0.02
_TOUCH_M = 1e-3
_WALL_REACH_M = 0.15
_WALK_CLEARANCE_M = 0.2
_WALK_CELL_M = 0.1
FIRST_FURNITURE_ID = 6


class Placer:
    """The state of a room while it is being furnished.

    Attributes:
      rng: source of every random choice.
      config: settings.
      size_m: inner width, depth and height.
      placed: furniture so far.
      openings: per wall, (u0, u1, z0, z1) of holes for windows and doors.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        config: RoomConfig,
        size_m: tuple[float, float, float],
    ) -> None:
        self.rng = rng
        self.config = config
        self.size_m = size_m
        self.placed: list[PlacedObject] = []
        self.openings: list[list[tuple[float, float, float, float]]] = [
            [] for _ in range(4)
        ]
        self._zones: list[tuple[np.ndarray, int]] = []

    def wall_length(self, wall: int) -> float:
        """Return the length of a wall in metres."""
        return self.size_m[wall % 2]

    def wall_point(self, wall: int, u: float, v: float) -> Float[np.ndarray, " 2"]:
        """Return the world (x, y) of a point given along and off a wall."""
        width, depth, _ = self.size_m
        origin = ((0.0, 0.0), (width, 0.0), (width, depth), (0.0, depth))[wall]
        turned = rotation("z", wall * np.pi / 2)[:2, :2] @ np.array([u, v])
        return np.asarray(origin) + turned

    def count(self, class_name: str, chance: float) -> int:
        """Draw how many optional objects of a class shall be tried.

        Args:
          class_name: its weight in the config scales the chance.
          chance: expected number at weight and clutter 1.

        Returns:
          The expected number, rounded up or down at random.
        """
        wanted = chance * self.config.weight(class_name) * self.config.clutter
        return int(wanted + self.rng.random())

    def wants(self, class_name: str, chance: float) -> bool:
        """Decide whether an optional object of a class shall be tried."""
        return self.count(class_name, chance) > 0

    @property
    def full(self) -> bool:
        """Say whether the room has as many objects as allowed."""
        return len(self.placed) >= self.config.max_objects

    def build(
        self,
        class_name: str,
        *,
        prefer: tuple[int, ...] | None = None,
        fit: Fit | None = None,
    ) -> Object | None:
        """Build a random allowed design.

        Args:
          class_name: what to build.
          prefer: designs to choose from where the config allows one of them.
          fit: size wishes.

        Returns:
          The object, or None where the config bans the class.
        """
        allowed = self.config.allowed_designs(class_name)
        if not allowed:
            return None
        wanted = [d for d in allowed if prefer is None or d in prefer] or allowed
        design = int(wanted[int(self.rng.integers(len(wanted)))])
        return make_object(class_name, design, self.rng, fit)

    def put(
        self,
        thing: Object,
        position_m: tuple[float, float, float],
        yaw: float,
        *,
        parent: PlacedObject | None = None,
        within: PlacedObject | None = None,
        zone_m: float = 0.0,
    ) -> PlacedObject | None:
        """Place an object if its box is free and the floor stays walkable.

        Args:
          thing: what to place.
          position_m: world position of its origin.
          yaw: turn about z in radians.
          parent: carrier or partner whose box and free zone it may enter.
          within: partner whose free zone, but not box, it may enter.
          zone_m: floor kept free in front of it.

        Returns:
          The placed object, or None where there is no room for it.
        """
        if self.full:
            return None
        mesh = transform(thing.mesh, rotate_z=yaw, translate=position_m)
        box = mesh.bounds().astype(np.float64)
        owner = None if parent is None else parent.instance_id
        host = owner if within is None else within.instance_id
        if not self._inside(thing, box) or not self._fits(box, owner, host):
            return None
        if not self._walkable(thing, box):
            return None
        zone = front_zone(box, yaw, zone_m)
        if zone_m and not self._clear(zone, owner):
            return None
        return self._commit(thing, mesh, position_m, yaw, owner, zone_m and zone)

    def _commit(
        self,
        thing: Object,
        mesh: Mesh,
        position_m: tuple[float, float, float],
        yaw: float,
        owner: int | None,
        zone: np.ndarray | float,
    ) -> PlacedObject:
        x, y, z = (float(v) for v in position_m)
        spot = PlacedObject(
            object=thing,
            instance_id=FIRST_FURNITURE_ID + len(self.placed),
            position_m=(x, y, z),
            yaw=float(yaw),
            mesh=mesh,
            parent_id=owner,
        )
        self.placed.append(spot)
        if isinstance(zone, np.ndarray):
            self._zones.append((zone, spot.instance_id))
        return spot

    def mark(self) -> tuple[int, int]:
        """Return a mark for `rollback`."""
        return len(self.placed), len(self._zones)

    def rollback(self, mark: tuple[int, int]) -> None:
        """Remove everything that was placed after the mark."""
        del self.placed[mark[0] :]
        del self._zones[mark[1] :]

    def _inside(self, thing: Object, box: np.ndarray) -> bool:
        """Say whether a box is in the room; windows and doors reach into walls."""
        reach = _WALL_REACH_M if thing.opening_m is not None else _TOUCH_M
        width, depth, height = self.size_m
        if box[0, :2].min() < -reach or box[0, 2] < -_TOUCH_M:
            return False
        return bool((box[1] < (width + reach, depth + reach, height + 0.01)).all())

    def _fits(self, box: np.ndarray, owner: int | None, host: int | None) -> bool:
        """Say whether a box is free of objects and of zones of others."""
        zones = [zone for zone, zone_owner in self._zones if zone_owner != host]
        return self._clear(box, owner) and not _hits(box, zones)

    def _clear(self, box: np.ndarray, owner: int | None) -> bool:
        boxes = [p.box for p in self.placed if p.instance_id != owner]
        return not _hits(box, boxes)

    def _walkable(self, thing: Object, box: np.ndarray) -> bool:
        if thing.placement not in ("floor", "wall"):
            return True
        boxes = [p.box for p in self.placed if p.box[0, 2] < 1.2]
        free = free_cells(
            self.size_m, np.array([*boxes, box]), _WALK_CLEARANCE_M, _WALK_CELL_M
        )
        return float(free.mean()) >= self.config.min_walk_fraction

    def at_wall(
        self,
        thing: Object,
        wall: int,
        u: float,
        v: float,
        *,
        base_z_m: float = 0.0,
        zone_m: float = 0.0,
        parent: PlacedObject | None = None,
        within: PlacedObject | None = None,
    ) -> PlacedObject | None:
        """Place an object at (u, v) of a wall with its front into the room."""
        x, y = self.wall_point(wall, u, v)
        yaw = wall * np.pi / 2
        spot = (float(x), float(y), base_z_m)
        return self.put(thing, spot, yaw, parent=parent, within=within, zone_m=zone_m)

    def wall_of(self, spot: PlacedObject) -> tuple[int, float, float]:
        """Return wall, u and v of an object that faces into the room."""
        wall = round(spot.yaw / (np.pi / 2)) % 4
        offset = np.asarray(spot.position_m[:2]) - self.wall_point(wall, 0.0, 0.0)
        u, v = rotation("z", -wall * np.pi / 2)[:2, :2] @ offset
        return wall, float(u), float(v)

    def cut(self, wall: int, u: float, thing: Object, base_z_m: float) -> None:
        """Cut the hole of a window or door into a wall."""
        assert thing.opening_m is not None  # no other class comes here
        width, height, sill = thing.opening_m
        half = 0.5 * width
        low = base_z_m + sill
        self.openings[wall].append((u - half, u + half, low, low + height))


def front_zone(
    box: Float[np.ndarray, "2 3"], yaw: float, depth_m: float
) -> Float[np.ndarray, "2 3"]:
    """Return the box in front of a placed object, two metres high."""
    ahead = np.round(np.array([-np.sin(yaw), np.cos(yaw)]), 9)
    zone = box.copy()
    for axis in range(2):
        if ahead[axis] > 0.5:
            zone[:, axis] = box[1, axis], box[1, axis] + depth_m
        elif ahead[axis] < -0.5:
            zone[:, axis] = box[0, axis] - depth_m, box[0, axis]
    zone[:, 2] = 0.0, 2.0
    return zone


def _hits(box: np.ndarray, others: list[np.ndarray]) -> bool:
    """Say whether a box shares volume with one of the others."""
    if not others:
        return False
    stack = np.asarray(others)
    overlap = (box[0] < stack[:, 1] - _TOUCH_M) & (stack[:, 0] + _TOUCH_M < box[1])
    return bool(overlap.all(1).any())
