"""Bathtubs: hollow, 0.5 to 0.72 m high, a long side to a wall."""

import numpy as np

from sas_jax.rooms.catalogue.base import Builder, Draft, Fit
from sas_jax.rooms.catalogue.colors import (
    chrome,
    front,
    household_color,
    shade,
    white,
    wood,
)
from sas_jax.rooms.catalogue.parts import slab
from sas_jax.rooms.geometry.lofts import ellipsoid, lathe, loft, ring, tube
from sas_jax.rooms.geometry.mesh import TILES, Material, Mesh

_Levels = tuple[tuple[float, float], ...]


def _size(rng: np.random.Generator) -> tuple[float, float, float]:
    return rng.uniform(1.45, 1.7), rng.uniform(0.7, 0.78), rng.uniform(0.5, 0.6)


def _basin(w: float, d: float, body: Material, levels: _Levels, power: float) -> Mesh:
    """A hollow tub: `levels` are (scale, height) of the outside, then the inside."""
    rings = [
        ring((0, 0, z), (w / 2 * s, d / 2 * s), segments=36, power=power)
        for s, z in levels
    ]
    return loft(np.stack(rings), body)


def _inside(h: float, rim: float, floor_z: float) -> _Levels:
    return ((1.0 - rim, h), (0.95 - rim, h - 0.1), (0.80 - rim, floor_z))


def _tap(x: float, y: float, z: float, steel: Material) -> list[Mesh]:
    """Spout and two handles standing at (x, y) on the rim, spout towards +x."""
    return [
        tube((x, y, z), (x, y, z + 0.14), 0.016, steel),
        tube((x, y, z + 0.135), (x + 0.13, y, z + 0.11), 0.014, steel),
        tube((x, y - 0.09, z), (x, y - 0.09, z + 0.06), 0.018, steel),
        tube((x, y + 0.09, z), (x, y + 0.09, z + 0.06), 0.018, steel),
    ]


def _built_in(rng: np.random.Generator, fit: Fit) -> Draft:
    """Rectangular tub behind a flat apron of enamel, wood or tiles."""
    (w, d, h), body = _size(rng), white(rng)
    chance = rng.random()
    apron = body if chance < 0.4 else front(rng)
    if chance > 0.7:
        apron = Material(household_color(rng), TILES, 0.15)
    levels: _Levels = ((0.97, 0.02), (0.97, h - 0.04), (1.0, h - 0.03), (1.0, h))
    levels += _inside(h, 0.1, 0.12)
    parts = [_basin(w, d, body, levels, 9.0)]
    t = 0.03
    for s in (-1, 1):
        parts.append(slab(0, s * (d - t) / 2, 0, w, t, h - 0.03, apron))
        parts.append(slab(s * (w - t) / 2, 0, 0, t, d - 2 * t, h - 0.03, apron))
    parts += _tap(-w / 2 + 0.05, 0, h, chrome(rng))
    return Draft("bathtub", parts, "wall")


def _oval(rng: np.random.Generator, fit: Fit) -> Draft:
    """Freestanding egg-shaped tub."""
    (w, d, h), body = _size(rng), white(rng)
    levels: _Levels = ((0.72, 0.0), (0.82, 0.12), (0.92, h * 0.6), (1.0, h))
    levels += ((0.94, h), (0.86, h * 0.6), (0.68, 0.12))
    parts = [_basin(w, d, body, levels, 2.4)]
    steel = chrome(rng)
    if rng.random() < 0.5:
        parts += _tap(-w / 2 * 0.97, 0, h - 0.01, steel)
    else:
        y = -d / 2 - 0.05
        parts.append(tube((0, y, 0), (0, y, 0.85), 0.018, steel))
        parts.append(tube((0, y, 0.84), (0, y + 0.2, 0.82), 0.015, steel))
    return Draft("freestanding bathtub", parts, "wall")


def _claw_foot(rng: np.random.Generator, fit: Fit) -> Draft:
    """Rolled rim, curved outside, four metal feet."""
    (w, d, h), steel = _size(rng), chrome(rng)
    body = white(rng)
    outer = Material(household_color(rng)) if rng.random() < 0.5 else body
    # The coloured shell turns back inside itself, so that the lining stays visible.
    shell: _Levels = ((0.6, 0.14), (0.82, 0.2), (0.93, 0.34), (0.96, h - 0.04))
    shell += ((0.94, h - 0.045), (0.9, 0.34), (0.64, 0.175))
    lining: _Levels = ((0.58, 0.185), (0.86, 0.38), (0.92, h - 0.045), (1.0, h - 0.04))
    lining += ((1.0, h), (0.9, h), (0.84, 0.4), (0.56, 0.2))
    parts = [_basin(w, d, outer, shell, 2.8), _basin(w, d, body, lining, 2.8)]
    for sx in (-1, 1):
        for sy in (-1, 1):
            x, y = sx * w * 0.3, sy * d * 0.26
            parts.append(
                tube(
                    (x * 1.1, y * 1.2, 0.03),
                    (x, y, 0.24),
                    0.022,
                    steel,
                    end_radius=0.045,
                )
            )
            parts.append(
                ellipsoid(
                    (x * 1.1, y * 1.2, 0.03), (0.035, 0.035, 0.03), steel, segments=8
                )
            )
    parts += _tap(-w / 2 * 0.95, 0, h, steel)
    return Draft("claw-foot bathtub", parts, "wall")


def _soaking(rng: np.random.Generator, fit: Fit) -> Draft:
    """Short, deep tub clad with upright boards."""
    w, d, h = rng.uniform(1.15, 1.35), rng.uniform(0.75, 0.88), rng.uniform(0.62, 0.72)
    body, clad = white(rng), wood(rng)
    levels = ((1.0, 0.02), (1.0, h), *_inside(h, 0.07, 0.15))
    parts = [_basin(w - 0.06, d - 0.06, body, levels, 6.0)]
    count = round(w / 0.11)
    step = w / count
    for k in range(count):
        x = -w / 2 + (k + 0.5) * step
        for s in (-1, 1):
            parts.append(
                slab(x, s * (d / 2 - 0.015), 0, step - 0.006, 0.03, h - 0.02, clad)
            )
    for s in (-1, 1):
        parts.append(slab(s * (w / 2 - 0.015), 0, 0, 0.03, d - 0.06, h - 0.02, clad))
    parts.append(
        slab(0, d / 2 - 0.02, h - 0.03, w + 0.02, 0.06, 0.03, shade(clad, 0.8))
    )
    parts += _tap(-w / 2 + 0.06, 0, h, chrome(rng))
    return Draft("soaking bathtub", parts, "wall")


def _corner_round(rng: np.random.Generator, fit: Fit) -> Draft:
    """Wide tub with a rounded front and a step."""
    w, d, h = rng.uniform(1.3, 1.5), rng.uniform(0.95, 1.1), rng.uniform(0.5, 0.58)
    body = white(rng)
    levels = ((0.94, 0.0), (0.96, h - 0.05), (1.0, h - 0.04), (1.0, h))
    parts = [_basin(w, d, body, (*levels, *_inside(h, 0.16, 0.14)), 3.4)]
    step = lathe(
        [(0.3, 0.0), (0.3, 0.16)],
        wood(rng),
        center=(0, d / 2 - 0.02),
        stretch=(1.3, 0.75),
        power=3.0,
    )
    parts.append(step)
    parts += _tap(-w / 2 * 0.9, 0, h, chrome(rng))
    return Draft("whirlpool bathtub", parts, "wall")


BATHTUBS: tuple[Builder, ...] = (_built_in, _oval, _claw_foot, _soaking, _corner_round)
