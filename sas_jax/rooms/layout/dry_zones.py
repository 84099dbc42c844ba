"""Furnish bedrooms, living rooms, dining places and offices as groups."""

import numpy as np

from sas_jax.rooms.catalogue import Object
from sas_jax.rooms.catalogue.cabinets import BEDSIDE
from sas_jax.rooms.catalogue.others import MONITOR, TABLE_TOP, TELEVISION
from sas_jax.rooms.catalogue.seating import DESK_SEATS, DINING_SEATS, EASY_SEATS
from sas_jax.rooms.catalogue.tables import DINING
from sas_jax.rooms.catalogue.tables import LOW as LOW_TABLES
from sas_jax.rooms.layout.placer import WALL_GAP_M, Placer
from sas_jax.rooms.layout.room import PlacedObject
from sas_jax.rooms.layout.spots import against_wall, beside, in_open, on_top


def add_lamp(placer: Placer, carrier: PlacedObject | None, chance: float) -> None:
    """Stand a table lamp on something, or not."""
    if carrier is None or not placer.wants("other furniture", chance):
        return
    lamp = placer.build("other furniture", prefer=TABLE_TOP[:1])
    if lamp is not None and lamp.placement == "top":
        on_top(placer, lamp, carrier)


def add_bed(placer: Placer) -> None:
    """Add a bed with its head to a wall and cabinets at its sides."""
    bed = None
    for _ in range(4):
        thing = placer.build("bed")
        if thing is None:
            return
        bed = against_wall(placer, thing, corner_chance=0.45, tries=30)
        if bed is not None:
            break
    if bed is None:
        return
    wall, u, _ = placer.wall_of(bed)
    cabinet = placer.build("cabinet", prefer=BEDSIDE)
    if cabinet is None or cabinet.placement != "wall":
        return
    w, d, _ = cabinet.size_m
    for side in (-1.0, 1.0):
        if placer.wants("cabinet", 0.5):
            beside = u + side * (0.5 * (bed.object.size_m[0] + w) + 0.04)
            spot = placer.at_wall(cabinet, wall, beside, WALL_GAP_M + d / 2)
            add_lamp(placer, spot, 0.5)


def add_sofa(placer: Placer) -> None:
    """Add a sofa, a low table in front of it, an easy chair and a television."""
    sofa = None
    for _ in range(4):
        thing = placer.build("sofa")
        if thing is None:
            break
        sofa = against_wall(placer, thing, zone_m=0.5)
        if sofa is not None:
            break
    if sofa is not None and placer.wants("table", 0.7):
        table = placer.build("table", prefer=LOW_TABLES)
        if table is not None:
            away = 0.5 * (sofa.object.size_m[1] + table.size_m[1])
            for gap in (0.3, 0.4, 0.2):
                where = beside(sofa, 0.0, away + gap)
                if placer.put(table, where, sofa.yaw, within=sofa) is not None:
                    break
    if placer.wants("other furniture", 0.55):
        _add_television(placer, sofa)
    if placer.wants("chair", 0.5):
        chair = placer.build("chair", prefer=EASY_SEATS)
        if chair is not None:
            against_wall(placer, chair, zone_m=0.3, corner_chance=0.5)


def _add_television(placer: Placer, sofa: PlacedObject | None) -> None:
    """Put a television opposite the sofa, or at any wall."""
    thing = placer.build("other furniture", prefer=TELEVISION)
    if thing is None or thing.placement != "wall":
        return
    walls: tuple[int, ...] = (0, 1, 2, 3)
    if sofa is not None:
        walls = ((placer.wall_of(sofa)[0] + 2) % 4,)
    against_wall(placer, thing, walls=walls, corner_chance=0.1)


def _seats(table: Object, chair: Object) -> list[tuple[float, float, float]]:
    """Places around a table: (x, y, yaw) in its frame, long sides first."""
    w, d, _ = table.size_m
    reach = 0.5 * (d + chair.size_m[1])
    columns = (-0.25 * w, 0.25 * w) if w > 2.1 * chair.size_m[0] else (0.0,)
    places = []
    for x in columns:
        places += [(x, -reach, 0.0), (x, reach, np.pi)]
    side = 0.5 * (w + chair.size_m[1])
    return [*places, (-side, 0.0, -np.pi / 2), (side, 0.0, np.pi / 2)]


def add_dining(placer: Placer) -> None:
    """Add a table, in the open or at a wall, and chairs around it."""
    rng = placer.rng
    thing = placer.build("table", prefer=DINING)
    if thing is None:
        return
    table = None
    if rng.random() < 0.6:
        table = in_open(placer, thing)
    if table is None:
        table = against_wall(placer, thing, corner_chance=0.3)
    chair = placer.build("chair", prefer=DINING_SEATS)
    if table is None or chair is None:
        return
    wanted = int(rng.integers(2, 6))
    for x, y, yaw in _seats(thing, chair):
        if wanted <= 0:
            break
        # A chair may reach 4 cm under the table's edge, so the table is its parent.
        gap = float(rng.uniform(-0.04, 0.12))
        push = np.array([np.sin(yaw), -np.cos(yaw)]) * gap
        where = beside(table, x + push[0], y + push[1])
        turn = table.yaw + yaw + float(rng.normal(0.0, 0.08))
        if placer.put(chair, where, turn, parent=table) is not None:
            wanted -= 1


def add_desk(placer: Placer) -> None:
    """Add a desk at a wall with a chair, and a monitor or lamp on it."""
    desk = None
    for _ in range(4):
        thing = placer.build("desk")
        if thing is None:
            return
        desk = against_wall(placer, thing, zone_m=0.7)
        if desk is not None:
            break
    if desk is None:
        return
    if placer.wants("other furniture", 0.65):
        monitor = placer.build("other furniture", prefer=MONITOR)
        if monitor is not None and monitor.placement == "top":
            on_top(placer, monitor, desk)
    add_lamp(placer, desk, 0.35)
    chair = placer.build("chair", prefer=DESK_SEATS)
    if chair is None:
        return
    away = 0.5 * (desk.object.size_m[1] + chair.size_m[1])
    for _ in range(3):
        x, gap = placer.rng.uniform(-0.15, 0.15), placer.rng.uniform(0.02, 0.2)
        where = beside(desk, float(x), float(away + gap))
        turn = desk.yaw + np.pi + float(placer.rng.normal(0.0, 0.25))
        if placer.put(chair, where, turn, within=desk) is not None:
            break
