"""Furnish kitchens and bathrooms: everything that belongs together, together."""

from sas_jax.rooms.catalogue import Fit, Object
from sas_jax.rooms.catalogue.cabinets import LOW, WALL_HUNG
from sas_jax.rooms.catalogue.kitchen import SLOTTED
from sas_jax.rooms.catalogue.others import STOVE, WASHER
from sas_jax.rooms.catalogue.sinks import INSET, RIM_DROP_M, STANDING, VESSEL
from sas_jax.rooms.layout.placer import WALL_GAP_M, Placer
from sas_jax.rooms.layout.room import PlacedObject
from sas_jax.rooms.layout.spots import against_wall, beside, on_top

_FRONT_M = 0.55
_ROW_GAP_M = 0.015


def _counter(
    placer: Placer, width_m: float, sink_chance: float, sinks: tuple[int, ...]
) -> tuple[Object | None, Object | None]:
    """Build a counter and, if it gets one, the sink that fits its hole."""
    sink = None
    if placer.rng.random() < sink_chance:
        sink = placer.build("sink", prefer=sinks)
    if sink is None or sink.placement != "inset":
        return placer.build("counter", fit=Fit(width_m=width_m)), None
    slot = (sink.size_m[0] - 0.03, sink.size_m[1] - 0.03)
    fit = Fit(width_m=max(width_m, slot[0] + 0.2), slot_m=slot)
    counter = placer.build("counter", prefer=SLOTTED, fit=fit)
    if counter is None or counter.slot_xy_m is None:
        return counter, None
    return counter, sink


def _inset(placer: Placer, sink: Object | None, counter: PlacedObject) -> None:
    """Hang a sink into the hole of a counter."""
    slot, top = counter.object.slot_xy_m, counter.object.top_z_m
    if sink is not None and slot is not None and top is not None:
        where = beside(counter, *slot, top - RIM_DROP_M)
        placer.put(sink, where, counter.yaw, parent=counter)


def _row(placer: Placer, things: list[Object], tries: int = 30) -> list[PlacedObject]:
    """Place objects side by side along one wall, all or none."""
    rng = placer.rng
    total = sum(thing.size_m[0] for thing in things) + _ROW_GAP_M * (len(things) - 1)
    for _ in range(tries):
        wall = int(rng.integers(4))
        slack = placer.wall_length(wall) - total - 2 * WALL_GAP_M
        if slack < 0:
            continue
        share = float(rng.choice([0.0, 1.0, rng.random()]))
        u, mark, spots = WALL_GAP_M + share * slack, placer.mark(), []
        for thing in things:
            w, d, _ = thing.size_m
            v = WALL_GAP_M + d / 2
            spot = placer.at_wall(thing, wall, u + w / 2, v, zone_m=_FRONT_M)
            if spot is None:
                break
            spots.append(spot)
            u += w + _ROW_GAP_M
        if len(spots) == len(things):
            return spots
        placer.rollback(mark)
    return []


def _row_or_parts(placer: Placer, things: list[Object]) -> list[PlacedObject]:
    """Place a row; where no wall is long enough, place its members one by one."""
    spots = _row(placer, things)
    if spots:
        return spots
    loose = (_row(placer, [thing]) for thing in things)
    return [spot for group in loose for spot in group]


def _add_hung_cabinet(placer: Placer, counter: PlacedObject) -> None:
    """Hang a cabinet above a counter."""
    wall, u, _ = placer.wall_of(counter)
    width = min(counter.object.size_m[0], placer.rng.uniform(0.8, 1.4))
    thing = placer.build("cabinet", prefer=WALL_HUNG, fit=Fit(width_m=width))
    if thing is not None and thing.placement == "mounted":
        slack = 0.5 * (counter.object.size_m[0] - thing.size_m[0])
        shift = float(placer.rng.uniform(-1.0, 1.0)) * max(0.0, slack)
        base = min(thing.base_z_m, placer.size_m[2] - thing.size_m[2] - 0.02)
        placer.at_wall(thing, wall, u + shift, 0.0, base_z_m=base)


def add_kitchen(placer: Placer, small: bool = False) -> None:
    """Add refrigerator, counter with sink, stove and hung cabinets."""
    rng = placer.rng
    width = float(rng.uniform(1.0, 1.3) if small else rng.uniform(1.3, 2.1))
    counter, sink = _counter(placer, width, 0.9, INSET)
    fridge = placer.build("refrigerator")
    stove = None
    if placer.wants("other furniture", 0.35 if small else 0.6):
        stove = placer.build("other furniture", prefer=STOVE)
    things = [t for t in (fridge, counter, stove) if t is not None]
    things = [t for t in things if t.placement == "wall"]
    if rng.random() < 0.5:
        things.reverse()
    for spot in _row_or_parts(placer, things):
        if spot.class_name == "counter":
            _inset(placer, sink, spot)
            if placer.wants("cabinet", 0.7):
                _add_hung_cabinet(placer, spot)


def _add_bathtub(placer: Placer) -> None:
    """Add a tub, mostly in a corner and with a shower curtain in front."""
    tub = None
    for _ in range(4):
        thing = placer.build("bathtub")
        if thing is None:
            return
        tub = against_wall(placer, thing, zone_m=0.4, corner_chance=0.9)
        if tub is not None:
            break
    if tub is None or not placer.wants("shower curtain", 0.92):
        return
    wall, u, v = placer.wall_of(tub)
    front = v + 0.5 * tub.object.size_m[1] + 0.05
    hem = float(placer.rng.uniform(0.1, 0.25))
    top = min(placer.size_m[2] - 0.1, float(placer.rng.uniform(1.9, 2.05)))
    fit = Fit(
        width_m=tub.object.size_m[0] - 0.02, height_m=top - hem, depth_m=front - 0.01
    )
    thing = placer.build("shower curtain", fit=fit)
    if thing is not None:
        placer.at_wall(thing, wall, u, front, base_z_m=hem, parent=tub)


def _add_wash_place(placer: Placer) -> None:
    """Add a sink on its own foot, on the wall, in a counter or on a cabinet."""
    rng = placer.rng
    chance = rng.random()
    if chance < 0.25:
        counter, sink = _counter(placer, float(rng.uniform(0.75, 1.1)), 1.0, INSET[1:])
        if counter is not None and sink is not None:
            for spot in _row(placer, [counter]):
                _inset(placer, sink, spot)
                return
    if chance > 0.8:
        cabinet = placer.build("cabinet", prefer=LOW)
        bowl = placer.build("sink", prefer=VESSEL)
        if cabinet is not None and bowl is not None and bowl.placement == "top":
            spots = _row(placer, [cabinet], tries=12)
            if spots and on_top(placer, bowl, spots[0]) is not None:
                return
    thing = placer.build("sink", prefer=STANDING)
    if thing is not None and thing.placement in ("wall", "mounted"):
        against_wall(placer, thing, base_z_m=thing.base_z_m, zone_m=0.5)


def add_bath(placer: Placer) -> None:
    """Add bathtub, toilet, sink and sometimes a washing machine."""
    _add_bathtub(placer)
    toilet = placer.build("toilet")
    if toilet is not None:
        against_wall(placer, toilet, zone_m=0.45)
    _add_wash_place(placer)
    if placer.wants("other furniture", 0.3):
        washer = placer.build("other furniture", prefer=WASHER)
        if washer is not None and washer.placement == "wall":
            against_wall(placer, washer, zone_m=0.4)
