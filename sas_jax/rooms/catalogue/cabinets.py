"""Cabinets: closed boxes with doors or drawers at +y, back to a wall."""

import numpy as np

from sas_jax.rooms.catalogue.base import Builder, Draft, Fit
from sas_jax.rooms.catalogue.colors import (
    chrome,
    front,
    household_color,
    metal,
    pick,
    shade,
    wood,
)
from sas_jax.rooms.catalogue.parts import (
    PULLS,
    doors,
    drawers,
    pull_parts,
    slab,
    splayed_legs,
    trinket,
)
from sas_jax.rooms.geometry.mesh import METAL, Material
from sas_jax.rooms.geometry.shapes import box

WALL_HUNG = (3,)
BEDSIDE = (6,)
LOW = (1, 2)


def _wardrobe(rng: np.random.Generator, fit: Fit) -> Draft:
    """Tall two- or three-door closet, sometimes with drawers below."""
    count = int(rng.integers(2, 4))
    w = count * rng.uniform(0.40, 0.52)
    d, h = rng.uniform(0.5, 0.62), rng.uniform(1.75, 2.1)
    body, handle, pull = front(rng), chrome(rng), pick(rng, PULLS)
    face = body if rng.random() < 0.5 else front(rng)
    framed, y = bool(rng.random() < 0.5), d / 2 - 0.02
    parts = [slab(0, -0.01, 0.06, w, d - 0.02, h - 0.06, shade(body, 0.85))]
    parts.append(slab(0, -0.03, 0, w - 0.04, d - 0.08, 0.06, shade(body, 0.7)))
    parts.append(slab(0, 0, h - 0.04, w + 0.02, d, 0.04, body))
    low = 0.08
    if rng.random() < 0.4:
        low = 0.42
        parts += drawers(-w / 2, w / 2, 0.08, low, y, 1, face, handle, pull)
    parts += doors(
        -w / 2,
        w / 2,
        low,
        h - 0.05,
        y,
        count,
        face,
        handle,
        pull,
        framed=framed,
        handle_z=1.05,
    )
    return Draft("wardrobe", parts, "wall")


def _chest(rng: np.random.Generator, fit: Fit) -> Draft:
    """Chest of drawers."""
    w, d, h = rng.uniform(0.7, 1.1), rng.uniform(0.4, 0.5), rng.uniform(0.75, 1.1)
    body, face = front(rng), front(rng)
    if rng.random() < 0.5:
        face = body
    parts = [slab(0, -0.01, 0.07, w, d - 0.02, h - 0.07, shade(body, 0.8))]
    parts.append(slab(0, 0, h - 0.03, w + 0.03, d + 0.01, 0.03, body))
    for s in (-1, 1):
        parts.append(slab(s * (w / 2 - 0.03), 0, 0, 0.06, d - 0.04, 0.07, body))
    rows, handle, pull = int(rng.integers(3, 6)), chrome(rng), pick(rng, PULLS)
    parts += drawers(
        -w / 2, w / 2, 0.08, h - 0.04, d / 2 - 0.02, rows, face, handle, pull
    )
    return Draft("chest of drawers", parts, "wall", top_z_m=h)


def _sideboard(rng: np.random.Generator, fit: Fit) -> Draft:
    """Long low cabinet on legs: doors, with drawers in the middle."""
    w, d, h = rng.uniform(1.1, 1.6), rng.uniform(0.38, 0.46), rng.uniform(0.62, 0.8)
    body, foot = front(rng), rng.uniform(0.1, 0.2)
    face = body if rng.random() < 0.4 else front(rng)
    y, handle, pull = d / 2 - 0.02, chrome(rng), pick(rng, PULLS)
    parts = splayed_legs(w - 0.08, d - 0.04, foot, 0.025, wood(rng))
    parts.append(slab(0, -0.01, foot, w, d - 0.02, h - foot, shade(body, 0.9)))
    parts.append(slab(0, 0, h - 0.025, w + 0.01, d, 0.025, body))
    third, top = w / 6, h - 0.03
    for x0, x1 in ((-w / 2, -third), (third, w / 2)):
        parts += doors(x0, x1, foot, top, y, 1, face, handle, pull)
    parts += drawers(-third, third, foot, top, y, 3, face, handle, pull)
    return Draft("sideboard", parts, "wall", top_z_m=h)


def _hung(rng: np.random.Generator, fit: Fit) -> Draft:
    """Wall cabinet with doors, high above the floor."""
    count = int(rng.integers(1, 4))
    w = fit.width_m or count * rng.uniform(0.36, 0.48)
    count = max(1, round(w / 0.42))
    d, h = rng.uniform(0.3, 0.36), rng.uniform(0.5, 0.72)
    face = front(rng)
    parts = [box((-w / 2, 0, 0), (w / 2, d - 0.02, h), shade(face, 0.85))]
    parts += doors(
        -w / 2,
        w / 2,
        0,
        h,
        d - 0.02,
        count,
        face,
        chrome(rng),
        pick(rng, PULLS),
        framed=bool(rng.random() < 0.5),
        handle_z=0.12,
    )
    base = rng.uniform(1.38, 1.5)
    return Draft("wall cabinet", parts, "mounted", base_z_m=base)


def _filing(rng: np.random.Generator, fit: Fit) -> Draft:
    """Steel cabinet for files: narrow, deep drawers, label holders."""
    rows = int(rng.integers(2, 5))
    w, d, h = rng.uniform(0.4, 0.48), rng.uniform(0.48, 0.6), 0.33 * rows + 0.04
    color = household_color(rng) if rng.random() < 0.5 else metal(rng).color
    steel = Material(color, METAL, 0.3)
    y = d / 2 - 0.02
    parts = [slab(0, -0.01, 0, w, d - 0.02, h, shade(steel, 0.8))]
    step = (h - 0.04) / rows
    label = Material((0.92, 0.92, 0.88))
    for k in range(rows):
        z = 0.02 + k * step
        face = slab(0, y + 0.01, z + 0.006, w - 0.02, 0.02, step - 0.012, steel)
        parts.append(face)
        parts += pull_parts("bar", 0, y + 0.02, z + step * 0.6, False, chrome(rng))
        parts.append(slab(0, y + 0.02, z + step * 0.75, 0.08, 0.008, 0.035, label))
    return Draft("filing cabinet", parts, "wall", top_z_m=h)


def _display(rng: np.random.Generator, fit: Fit) -> Draft:
    """Tall cupboard: closed below, glazed doors with crockery above."""
    w, d, h = rng.uniform(0.8, 1.1), rng.uniform(0.38, 0.46), rng.uniform(1.7, 2.0)
    body, handle, pull = front(rng), chrome(rng), pick(rng, PULLS)
    mid, y, t = rng.uniform(0.7, 0.85), d / 2 - 0.02, 0.03
    parts = [slab(0, -0.01, 0.05, w, d - 0.02, mid - 0.05, shade(body, 0.85))]
    parts.append(slab(0, 0, mid, w + 0.02, d, 0.03, body))
    parts += doors(-w / 2, w / 2, 0.06, mid, y, 2, body, handle, pull, framed=True)
    rear = shade(body, 0.7)
    parts.append(slab(0, -d / 2 + 0.01, mid, w, 0.02, h - mid, rear))
    parts.append(slab(0, 0, h - 0.04, w + 0.03, d, 0.04, body))
    for s in (-1, 1):
        parts.append(slab(s * (w - t) / 2, -0.01, mid, t, d - 0.02, h - mid, body))
    gap = (h - 0.04 - mid - 0.03) / 3
    for k in range(1, 3):
        parts.append(slab(0, -0.03, mid + 0.03 + k * gap, w - t, d - 0.08, 0.015, body))
    for k in range(3):
        for x in rng.uniform(-w / 2 + 0.12, w / 2 - 0.12, int(rng.integers(1, 4))):
            parts.append(trinket(rng, x, -0.04, mid + 0.045 + k * gap, gap - 0.04))
    for x in (-w / 2 + 0.02, -0.025, 0.025, w / 2 - 0.02):
        parts.append(slab(x, y + 0.01, mid + 0.03, 0.04, 0.02, h - mid - 0.07, body))
    for z in (mid + 0.03, h - 0.09):
        parts.append(slab(0, y + 0.01, z, w, 0.02, 0.05, body))
    return Draft("display cabinet", parts, "wall")


def _bedside(rng: np.random.Generator, fit: Fit) -> Draft:
    """Small cabinet with two drawers or a door, at the side of a bed."""
    w, d, h = rng.uniform(0.4, 0.52), rng.uniform(0.36, 0.44), rng.uniform(0.46, 0.62)
    body, handle, pull = front(rng), chrome(rng), pick(rng, PULLS)
    foot, y = rng.uniform(0.05, 0.16), d / 2 - 0.02
    parts = splayed_legs(w - 0.02, d - 0.02, foot, 0.02, body, splay=0.02)
    parts.append(slab(0, -0.01, foot, w, d - 0.02, h - foot, shade(body, 0.85)))
    parts.append(slab(0, 0, h - 0.02, w + 0.02, d + 0.01, 0.02, body))
    split = foot + (h - foot) * rng.uniform(0.45, 0.65)
    parts += drawers(-w / 2, w / 2, split, h - 0.02, y, 1, body, handle, pull)
    if rng.random() < 0.5:
        parts += drawers(-w / 2, w / 2, foot, split, y, 1, body, handle, pull)
    else:
        parts += doors(-w / 2, w / 2, foot, split, y, 1, body, handle, pull)
    return Draft("bedside cabinet", parts, "wall", top_z_m=h)


CABINETS: tuple[Builder, ...] = (
    _wardrobe,
    _chest,
    _sideboard,
    _hung,
    _filing,
    _display,
    _bedside,
)
