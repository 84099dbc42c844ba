"""Bookshelves: open at +y, boards with rows of books."""

import numpy as np

from sas_jax.rooms.catalogue.base import Builder, Draft, Fit
from sas_jax.rooms.catalogue.colors import front, metal, shade, wood
from sas_jax.rooms.catalogue.parts import books, slab, trinket
from sas_jax.rooms.geometry.lofts import tube
from sas_jax.rooms.geometry.mesh import Material, Mesh
from sas_jax.rooms.geometry.shapes import box


def _fill(
    rng: np.random.Generator,
    span: tuple[float, float],
    y: float,
    z: float,
    room_h: float,
    depth: float,
) -> list[Mesh]:
    """Books on one board; now and then trinkets or nothing."""
    x0, x1 = span
    chance = rng.random()
    if chance < 0.08:
        return []
    if chance < 0.22 or x1 - x0 < 0.15:
        x = rng.uniform(x0 + 0.11, x1 - 0.11) if x1 - x0 > 0.24 else (x0 + x1) / 2
        return [trinket(rng, float(x), y + depth / 2, z, room_h)]
    end = x1 if rng.random() < 0.6 else x0 + (x1 - x0) * rng.uniform(0.45, 0.9)
    return books(rng, x0, end, y, z, room_h, depth, fill=rng.uniform(0.8, 0.98))


def _case(
    rng: np.random.Generator, w: float, d: float, h: float, rows: int, body: Material
) -> list[Mesh]:
    """A box with a back, boards and books."""
    t, foot = 0.025, 0.06
    y = -d / 2
    parts = [slab(s * (w - t) / 2, 0, 0, t, d, h, body) for s in (-1, 1)]
    parts.append(box((-w / 2, y, 0), (w / 2, y + 0.012, h), shade(body, 0.75)))
    step = (h - foot - t) / rows
    for k in range(rows + 1):
        parts.append(slab(0, 0, foot + k * step, w - 2 * t, d, t, body))
    parts.append(slab(0, d / 2 - 0.03, 0, w - 2 * t, 0.02, foot, body))
    for k in range(rows):
        z = foot + k * step + t
        parts += _fill(rng, (-w / 2 + t, w / 2 - t), y + 0.015, z, step - t, d - 0.03)
    return parts


def _tall(rng: np.random.Generator, fit: Fit) -> Draft:
    """Upright bookcase."""
    w, d, h = rng.uniform(0.65, 1.0), rng.uniform(0.26, 0.34), rng.uniform(1.6, 2.1)
    parts = _case(rng, w, d, h, int(rng.integers(4, 7)), front(rng))
    return Draft("bookcase", parts, "wall")


def _low(rng: np.random.Generator, fit: Fit) -> Draft:
    """Wide bookcase of two or three rows."""
    w, d = rng.uniform(1.0, 1.4), rng.uniform(0.28, 0.34)
    rows = int(rng.integers(2, 4))
    h = 0.33 * rows + rng.uniform(0.06, 0.15)
    parts = _case(rng, w, d, h, rows, front(rng))
    return Draft("low bookcase", parts, "wall", top_z_m=h)


def _cubes(rng: np.random.Generator, fit: Fit) -> Draft:
    """Grid of square compartments without a back."""
    columns, rows = int(rng.integers(2, 5)), int(rng.integers(3, 5))
    cell, t, d = rng.uniform(0.32, 0.36), 0.03, rng.uniform(0.32, 0.38)
    w = columns * cell + t
    body = front(rng)
    parts = [slab(0, 0, k * cell, w, d, t, body) for k in range(rows + 1)]
    for c in range(columns + 1):
        x = -w / 2 + t / 2 + c * cell
        parts += [slab(x, 0, r * cell + t, t, d, cell - t, body) for r in range(rows)]
    for r in range(rows):
        for c in range(columns):
            x0 = -w / 2 + t + c * cell
            parts += _fill(
                rng,
                (x0, x0 + cell - t),
                -d / 2 + 0.02,
                r * cell + t,
                cell - t,
                d - 0.06,
            )
    return Draft("cube bookshelf", parts, "wall")


def _ladder(rng: np.random.Generator, fit: Fit) -> Draft:
    """Leaning ladder: boards grow deeper towards the floor."""
    w, d, h = rng.uniform(0.6, 0.85), rng.uniform(0.4, 0.5), rng.uniform(1.6, 1.9)
    body = wood(rng) if rng.random() < 0.6 else metal(rng)
    board = body if rng.random() < 0.6 else front(rng)
    y = -d / 2
    parts = []
    for s in (-1, 1):
        x = s * (w / 2 - 0.02)
        parts.append(tube((x, d / 2 - 0.02, 0), (x, y + 0.04, h), 0.02, body))
        parts.append(tube((x, y + 0.02, 0), (x, y + 0.02, h), 0.016, body))
    rows = int(rng.integers(4, 6))
    gap = (h - 0.25) / rows
    for k in range(rows):
        z = 0.2 + k * gap
        deep = d - 0.02 - (d - 0.06) * z / h * 0.85
        parts.append(slab(0, y + deep / 2, z, w - 0.02, deep, 0.022, board))
        span = (-w / 2 + 0.05, w / 2 - 0.05)
        parts += _fill(rng, span, y + 0.03, z + 0.022, gap * 0.85, deep * 0.8)
    return Draft("ladder bookshelf", parts, "wall")


def _metal_rack(rng: np.random.Generator, fit: Fit) -> Draft:
    """Steel posts and wooden boards without a back."""
    w, d, h = rng.uniform(0.8, 1.2), rng.uniform(0.3, 0.38), rng.uniform(1.3, 1.9)
    steel, board, t = metal(rng), front(rng), 0.028
    parts = []
    for sx in (-1, 1):
        for sy in (-1, 1):
            parts.append(slab(sx * (w - t) / 2, sy * (d - t) / 2, 0, t, t, h, steel))
    rows = int(rng.integers(3, 6))
    gap = (h - 0.12) / rows
    for k in range(rows + 1):
        parts.append(slab(0, 0, 0.1 + k * gap - 0.01, w - 0.01, d - 0.01, 0.03, board))
    for k in range(rows):
        span = (-w / 2 + 0.03, w / 2 - 0.03)
        parts += _fill(rng, span, -d / 2 + 0.03, 0.12 + k * gap, gap - 0.03, d - 0.05)
    return Draft("steel bookshelf", parts, "wall")


def _floating(rng: np.random.Generator, fit: Fit) -> Draft:
    """Two or three boards on the wall, with books and end stops."""
    w, d = rng.uniform(0.7, 1.2), rng.uniform(0.2, 0.27)
    body, rows, gap = front(rng), int(rng.integers(2, 4)), rng.uniform(0.3, 0.36)
    parts = []
    for k in range(rows):
        z = k * gap
        parts.append(box((-w / 2, 0, z), (w / 2, d, z + 0.03), body))
        parts.append(slab(-w / 2 + 0.01, d / 2, z + 0.03, 0.02, d, 0.16, body))
        parts.append(slab(w / 2 - 0.01, d / 2, z + 0.03, 0.02, d, 0.16, body))
        parts += books(
            rng,
            -w / 2 + 0.03,
            w / 2 - 0.03,
            0.01,
            z + 0.03,
            gap - 0.05,
            d - 0.02,
            fill=rng.uniform(0.7, 0.95),
        )
    base = rng.uniform(1.15, 1.35)
    return Draft("wall bookshelf", parts, "mounted", base_z_m=base)


BOOKSHELVES: tuple[Builder, ...] = (
    _tall,
    _low,
    _cubes,
    _ladder,
    _metal_rack,
    _floating,
)
