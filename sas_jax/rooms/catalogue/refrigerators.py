"""Refrigerators: one closed body, full-width doors and long handles at +y."""

import numpy as np

from sas_jax.rooms.catalogue.base import Builder, Draft, Fit
from sas_jax.rooms.catalogue.colors import (
    chrome,
    dark,
    household_color,
    shade,
    steel,
    white,
)
from sas_jax.rooms.catalogue.parts import slab
from sas_jax.rooms.geometry.lofts import cylinder, ellipsoid
from sas_jax.rooms.geometry.mesh import Material, Mesh
from sas_jax.rooms.geometry.shapes import box


def _enamel(rng: np.random.Generator) -> Material:
    """White, steel, black or a retro colour."""
    chance = rng.random()
    if chance < 0.5:
        return white(rng)
    if chance < 0.8:
        return steel(rng)
    return Material(household_color(rng))


def _grip(x: float, y: float, z0: float, z1: float, material: Material) -> list[Mesh]:
    """A long upright bar handle on the plane y."""
    parts = [slab(x, y + 0.02, z, 0.02, 0.04, 0.02, material) for z in (z0, z1 - 0.02)]
    parts.append(slab(x, y + 0.045, z0, 0.025, 0.015, z1 - z0, material))
    return parts


def _leaf(
    x0: float, x1: float, z0: float, z1: float, y: float, material: Material
) -> Mesh:
    """One refrigerator door, 6 cm thick with a dark seal behind it."""
    return box(
        (x0 + 0.003, y, z0 + 0.004), (x1 - 0.003, y + 0.06, z1 - 0.004), material
    )


def _body(w: float, d: float, h: float, skin: Material) -> list[Mesh]:
    y = d / 2 - 0.07
    return [
        box((-w / 2, -d / 2, 0.03), (w / 2, y, h), shade(skin, 0.92)),
        box(
            (-w / 2 + 0.02, y, 0.05),
            (w / 2 - 0.02, y + 0.01, h - 0.01),
            Material((0.12, 0.12, 0.12)),
        ),
        slab(0, -0.02, 0, w - 0.04, d - 0.12, 0.03, Material((0.1, 0.1, 0.1))),
    ]


def _single(rng: np.random.Generator, fit: Fit) -> Draft:
    """One tall door."""
    w, d, h = rng.uniform(0.55, 0.62), rng.uniform(0.58, 0.66), rng.uniform(1.5, 1.85)
    skin, y = _enamel(rng), d / 2 - 0.06
    side = float(rng.choice([-1.0, 1.0]))
    parts = _body(w, d, h, skin)
    parts.append(_leaf(-w / 2, w / 2, 0.05, h, y, skin))
    parts += _grip(side * (w / 2 - 0.06), d / 2, h * 0.45, h * 0.75, chrome(rng))
    return Draft("refrigerator", parts, "wall")


def _freezer_top(rng: np.random.Generator, fit: Fit) -> Draft:
    """Two doors above each other; the freezer is above or below."""
    w, d, h = rng.uniform(0.58, 0.7), rng.uniform(0.6, 0.7), rng.uniform(1.6, 1.85)
    skin, y, handle = _enamel(rng), d / 2 - 0.06, chrome(rng)
    split = h * float(rng.choice([0.36, 0.68]))
    x = float(rng.choice([-1.0, 1.0])) * (w / 2 - 0.06)
    parts = _body(w, d, h, skin)
    parts.append(_leaf(-w / 2, w / 2, 0.05, split - 0.004, y, skin))
    parts.append(_leaf(-w / 2, w / 2, split + 0.004, h, y, skin))
    parts += _grip(x, d / 2, max(0.15, split - 0.42), split - 0.06, handle)
    parts += _grip(x, d / 2, split + 0.06, min(h - 0.1, split + 0.36), handle)
    return Draft("two-door refrigerator", parts, "wall")


def _side_by_side(rng: np.random.Generator, fit: Fit) -> Draft:
    """Two tall doors with an ice dispenser."""
    w, d, h = rng.uniform(0.84, 0.92), rng.uniform(0.65, 0.72), rng.uniform(1.7, 1.85)
    skin, y, handle = _enamel(rng), d / 2 - 0.06, chrome(rng)
    split = w * rng.uniform(-0.1, 0.0)
    parts = _body(w, d, h, skin)
    parts.append(_leaf(-w / 2, split - 0.003, 0.05, h, y, skin))
    parts.append(_leaf(split + 0.003, w / 2, 0.05, h, y, skin))
    parts += _grip(split - 0.05, d / 2, h * 0.4, h * 0.8, handle)
    parts += _grip(split + 0.05, d / 2, h * 0.4, h * 0.8, handle)
    x = (-w / 2 + split) / 2 - 0.02
    parts.append(slab(x, d / 2, 0.95, 0.2, 0.016, 0.34, dark(rng)))
    parts.append(slab(x, d / 2 + 0.008, 1.2, 0.14, 0.016, 0.06, handle))
    return Draft("side-by-side refrigerator", parts, "wall")


def _french(rng: np.random.Generator, fit: Fit) -> Draft:
    """Two doors above a wide freezer drawer."""
    w, d, h = rng.uniform(0.78, 0.9), rng.uniform(0.65, 0.72), rng.uniform(1.7, 1.82)
    skin, y, handle, split = _enamel(rng), d / 2 - 0.06, chrome(rng), 0.62
    parts = _body(w, d, h, skin)
    parts.append(_leaf(-w / 2, -0.003, split, h, y, skin))
    parts.append(_leaf(0.003, w / 2, split, h, y, skin))
    parts.append(_leaf(-w / 2, w / 2, 0.05, split - 0.006, y, skin))
    for x in (-0.05, 0.05):
        parts += _grip(x, d / 2, split + 0.1, split + 0.65, handle)
    for x in (-w * 0.3, w * 0.3):
        parts.append(slab(x, d / 2 + 0.02, split - 0.1, 0.02, 0.04, 0.02, handle))
    parts.append(slab(0, d / 2 + 0.045, split - 0.1, w * 0.7, 0.015, 0.025, handle))
    return Draft("french-door refrigerator", parts, "wall")


def _retro(rng: np.random.Generator, fit: Fit) -> Draft:
    """Rounded coloured body with a lever handle."""
    w, d, h = rng.uniform(0.55, 0.62), rng.uniform(0.58, 0.65), rng.uniform(1.15, 1.5)
    skin = Material(household_color(rng)) if rng.random() < 0.7 else white(rng)
    y = d / 2 - 0.07
    round_body = ellipsoid(
        (0, -0.04, 0.04 + (h - 0.04) / 2),
        (w / 2, d / 2 - 0.04, (h - 0.04) / 2),
        skin,
        segments=24,
        power=9,
    )
    door = ellipsoid(
        (0, y, 0.1 + (h - 0.12) / 2),
        (w / 2 - 0.01, 0.07, (h - 0.13) / 2),
        shade(skin, 1.05),
        segments=24,
        power=7,
    )
    handle = chrome(rng)
    side = float(rng.choice([-1.0, 1.0]))
    parts = [
        round_body,
        door,
        *_grip(side * (w / 2 - 0.08), d / 2 - 0.005, h * 0.6, h * 0.6 + 0.22, handle),
    ]
    parts.append(slab(-side * 0.05, d / 2 + 0.002, h * 0.8, 0.14, 0.012, 0.03, handle))
    for sx in (-1, 1):
        for sy in (-1, 1):
            parts.append(
                cylinder(
                    (sx * (w / 2 - 0.08), sy * (d / 2 - 0.12) - 0.03, 0),
                    0.025,
                    0.08,
                    dark(rng),
                    segments=8,
                )
            )
    return Draft("retro refrigerator", parts, "wall")


REFRIGERATORS: tuple[Builder, ...] = (
    _single,
    _freezer_top,
    _side_by_side,
    _french,
    _retro,
)
