"""Counters: a worktop at 0.86 to 1.08 m, mostly on closed base cabinets.

Counters heed `Fit.width_m` and leave a hole of `Fit.slot_m` in the worktop for an
inset sink; what is below the hole is lowered so that the basin has room.
"""

from dataclasses import dataclass

import numpy as np

from sas_jax.rooms.catalogue.base import Builder, Draft, Fit
from sas_jax.rooms.catalogue.colors import (
    any_color,
    chrome,
    dark,
    front,
    household_color,
    pick,
    shade,
    stone,
)
from sas_jax.rooms.catalogue.parts import PULLS, doors, drawers, slab
from sas_jax.rooms.geometry.lofts import cylinder, tube
from sas_jax.rooms.geometry.mesh import METAL, TILES, Material, Mesh, transform
from sas_jax.rooms.geometry.shapes import box

SLOT_DROP_M = 0.26
SLOTTED = (0, 1, 2)


def _worktop(
    w: float, d: float, z: float, thick: float, top: Material, slot: tuple | None
) -> list[Mesh]:
    """A slab with an optional rectangular hole (x0, x1, y0, y1)."""
    if slot is None:
        return [slab(0, 0, z, w, d, thick, top)]
    x0, x1, y0, y1 = slot
    return [
        box((-w / 2, -d / 2, z), (x0, d / 2, z + thick), top),
        box((x1, -d / 2, z), (w / 2, d / 2, z + thick), top),
        box((x0, -d / 2, z), (x1, y0, z + thick), top),
        box((x0, y1, z), (x1, d / 2, z + thick), top),
    ]


def _slot(
    rng: np.random.Generator, fit: Fit, w: float, d: float
) -> tuple[float, float, float, float] | None:
    """Choose where along the worktop the hole is."""
    if fit.slot_m is None:
        return None
    sw, sd = fit.slot_m
    x = rng.uniform(-1, 1) * max(0.0, w / 2 - sw / 2 - 0.06)
    y = min(0.02, d / 2 - sd / 2 - 0.02)
    return x - sw / 2, x + sw / 2, y - sd / 2, y + sd / 2


def _carcass(
    w: float, d: float, z0: float, z1: float, body: Material, slot: tuple | None
) -> list[Mesh]:
    """The box under a worktop, lower where the sink hangs."""
    if slot is None:
        return [slab(0, 0, z0, w, d, z1 - z0, body)]
    x0, x1 = slot[0] - 0.01, slot[1] + 0.01
    parts = [box((x0, -d / 2, z0), (x1, d / 2, z1 - SLOT_DROP_M), body)]
    parts.append(box((x0, d / 2 - 0.02, z1 - SLOT_DROP_M), (x1, d / 2, z1), body))
    for a, b in ((-w / 2, x0), (x1, w / 2)):
        if b - a > 0.005:
            parts.append(box((a, -d / 2, z0), (b, d / 2, z1), body))
    return parts


@dataclass(frozen=True)
class _Base:
    """What all closed counters share.

    Attributes:
      parts: plinth, carcass, worktop and splash.
      w: width.
      d: depth.
      h: height of the worktop's upper side.
      under: height of its lower side.
      face: material of the fronts.
      slot: hole in the worktop, see `_worktop`.
    """

    parts: list[Mesh]
    w: float
    d: float
    h: float
    under: float
    face: Material
    slot: tuple[float, float, float, float] | None


def _base(rng: np.random.Generator, fit: Fit, splash: bool) -> _Base:
    """Plinth, carcass and worktop of a closed counter."""
    w, d = fit.width_m or rng.uniform(1.2, 2.0), rng.uniform(0.58, 0.65)
    h, thick = rng.uniform(0.86, 0.94), rng.uniform(0.03, 0.05)
    face, top = front(rng), stone(rng)
    slot = _slot(rng, fit, w, d)
    parts = [slab(0, -0.03, 0, w - 0.02, d - 0.1, 0.1, dark(rng))]
    shell = _carcass(w, d - 0.04, 0.1, h - thick, shade(face, 0.8), slot)
    parts += [transform(part, translate=(0, -0.02, 0)) for part in shell]
    parts += _worktop(w + 0.01, d, h - thick, thick, top, slot)
    if splash:
        color = household_color(rng) if rng.random() < 0.5 else (0.9, 0.9, 0.88)
        low = (-w / 2, -d / 2, h)
        high = (w / 2, -d / 2 + 0.012, h + rng.uniform(0.1, 0.4))
        parts.append(box(low, high, Material(color, TILES, 0.1)))
    return _Base(parts, w, d, h, h - thick, face, slot)


def _finish(
    parts: list[Mesh],
    noun: str,
    top: float,
    slot: tuple[float, float, float, float] | None,
) -> Draft:
    middle = None
    if slot is not None:
        middle = ((slot[0] + slot[1]) / 2, (slot[2] + slot[3]) / 2)
    return Draft(noun, parts, "wall", top_z_m=top, slot_xy_m=middle)


def _with_doors(rng: np.random.Generator, fit: Fit) -> Draft:
    """Row of base cabinets with doors and a drawer above each."""
    base = _base(rng, fit, bool(rng.random() < 0.4))
    handle, pull, framed = chrome(rng), pick(rng, PULLS), bool(rng.random() < 0.5)
    w, y, split = base.w, base.d / 2 - 0.04, base.under - 0.17
    count = max(2, round(w / 0.5))
    step = w / count
    parts = list(base.parts)
    for k in range(count):
        x0 = -w / 2 + k * step
        parts += drawers(
            x0, x0 + step, split, base.under - 0.01, y, 1, base.face, handle, pull
        )
    parts += doors(
        -w / 2,
        w / 2,
        0.1,
        split,
        y,
        count,
        base.face,
        handle,
        pull,
        framed=framed,
        handle_z=split - 0.12,
    )
    return _finish(parts, "kitchen counter", base.h, base.slot)


def _with_drawers(rng: np.random.Generator, fit: Fit) -> Draft:
    """Wide drawers beside doors."""
    base = _base(rng, fit, False)
    handle, pull, w = chrome(rng), pick(rng, PULLS), base.w
    y, top = base.d / 2 - 0.04, base.under - 0.01
    cut = w * rng.uniform(0.1, 0.25)
    count = max(1, round((w / 2 - cut) / 0.5))
    parts = list(base.parts)
    parts += drawers(-w / 2, cut, 0.1, top, y, 3, base.face, handle, pull)
    parts += doors(
        cut, w / 2, 0.1, top, y, count, base.face, handle, pull, handle_z=top - 0.14
    )
    return _finish(parts, "kitchen counter", base.h, base.slot)


def _open_shelves(rng: np.random.Generator, fit: Fit) -> Draft:
    """Worktop on posts with open boards below."""
    w, d = fit.width_m or rng.uniform(1.1, 1.8), rng.uniform(0.56, 0.64)
    h, thick, t = rng.uniform(0.86, 0.94), rng.uniform(0.04, 0.06), 0.06
    body, top = front(rng), stone(rng)
    slot = _slot(rng, fit, w, d)
    parts = _worktop(w, d, h - thick, thick, top, slot)
    posts = 3 if w > 1.4 else 2
    for x in np.linspace(-w / 2 + t / 2 + 0.01, w / 2 - t / 2 - 0.01, posts):
        parts.append(slab(x, 0, 0, t, d - 0.04, h - thick, body))
    for z in (0.14, 0.42):
        parts.append(slab(0, 0, z, w - 0.04, d - 0.06, 0.025, body))
    for x in np.linspace(-w / 2 + 0.25, w / 2 - 0.25, max(2, int(w / 0.4))):
        pot = Material(any_color(rng), METAL, 0.3)
        z = float(rng.choice([0.165, 0.445]))
        r, tall = rng.uniform(0.08, 0.13), rng.uniform(0.08, 0.15)
        parts.append(cylinder((x, 0.08, z), r, tall, pot))
    return _finish(parts, "kitchen bench", h, slot)


def _bar(rng: np.random.Generator, fit: Fit) -> Draft:
    """Breakfast bar: closed panel, raised and overhanging top."""
    w, h = fit.width_m or rng.uniform(1.1, 1.7), rng.uniform(0.96, 1.08)
    d, panel = rng.uniform(0.5, 0.62), front(rng)
    parts = [slab(0, -0.08, 0, w - 0.06, d - 0.24, h - 0.05, panel)]
    parts.append(slab(0, 0, h - 0.05, w, d, 0.05, stone(rng)))
    edge = shade(panel, 0.8)
    y = d / 2 - 0.2
    for x in np.linspace(-w / 2 + 0.08, w / 2 - 0.08, max(3, int(w / 0.4))):
        parts.append(slab(x, y + 0.008, 0.1, 0.05, 0.016, h - 0.2, edge))
    parts.append(slab(0, y + 0.01, 0, w - 0.06, 0.02, 0.1, edge))
    for x in (-w / 2 + 0.12, w / 2 - 0.12):
        parts.append(tube((x, y, h - 0.3), (x, d / 2 - 0.04, h - 0.05), 0.018, edge))
    return _finish(parts, "bar counter", h, None)


COUNTERS: tuple[Builder, ...] = (_with_doors, _with_drawers, _open_shelves, _bar)
