"""Other furniture: lamps, plants, boxes, bins and what else stands about."""

import numpy as np

from sas_jax.rooms.catalogue import appliances
from sas_jax.rooms.catalogue.base import Builder, Draft, Fit
from sas_jax.rooms.catalogue.colors import (
    any_color,
    dark,
    fabric,
    jitter,
    metal,
    shade,
    wood,
)
from sas_jax.rooms.catalogue.parts import slab, splayed_legs
from sas_jax.rooms.geometry.lofts import cylinder, ellipsoid, lathe, tube
from sas_jax.rooms.geometry.mesh import Material, Mesh, tilt
from sas_jax.rooms.geometry.shapes import sheet

TABLE_TOP = (1, 8)
TELEVISION = (4,)
MONITOR = (8,)
WASHER = (9,)
STOVE = (10,)
ANYWHERE = ("cardboard box", "pouf", "ottoman", "trash can")


def _shade(r: float, z: float, h: float, material: Material, top: float = 0.65) -> Mesh:
    """A hollow lamp shade."""
    return lathe(
        [(r, z), (r * top, z + h), (r * top - 0.006, z + h), (r - 0.006, z)], material
    )


def _floor_lamp(rng: np.random.Generator, fit: Fit) -> Draft:
    """Post with a shade at the top, on a disc or a tripod."""
    h, r = rng.uniform(1.4, 1.75), rng.uniform(0.16, 0.25)
    steel, screen = metal(rng), Material(any_color(rng))
    if rng.random() < 0.6:
        parts = [cylinder((0, 0, 0), 0.14, 0.025, steel)]
        parts.append(tube((0, 0, 0.02), (0, 0, h - 0.1), 0.013, steel))
    else:
        leg = wood(rng)
        parts = [
            tube((0.26 * np.cos(a), 0.26 * np.sin(a), 0), (0, 0, h - 0.25), 0.015, leg)
            for a in 2 * np.pi * np.arange(3) / 3
        ]
        parts.append(tube((0, 0, h - 0.3), (0, 0, h - 0.1), 0.013, steel))
    tall = rng.uniform(0.22, 0.34)
    parts.append(_shade(r, h - tall, tall, screen, rng.uniform(0.55, 1.0)))
    parts.append(
        ellipsoid(
            (0, 0, h - tall / 2),
            (0.04, 0.04, 0.06),
            Material((0.97, 0.95, 0.85)),
            segments=8,
        )
    )
    return Draft("floor lamp", parts, "floor")


def _table_lamp(rng: np.random.Generator, fit: Fit) -> Draft:
    """Turned foot with a shade."""
    h, body = rng.uniform(0.34, 0.5), Material(any_color(rng))
    r = rng.uniform(0.11, 0.16)
    foot = [(0.07, 0), (0.07, 0.015), (0.03, 0.04), (0.06, h * 0.3), (0.02, h * 0.55)]
    parts = [lathe(foot, body, segments=14)]
    parts.append(tube((0, 0, h * 0.5), (0, 0, h - 0.03), 0.008, metal(rng)))
    parts.append(_shade(r, h * 0.58, h * 0.42, Material(any_color(rng))))
    return Draft("table lamp", parts, "top")


def _leaf(angle: float, length: float, rise: float, z: float, green: Material) -> Mesh:
    """A long bent leaf."""
    t = np.linspace(0.0, 1.0, 6)[:, None]
    width = 0.16 * length * np.sin(np.pi * np.clip(t + 0.08, 0, 1))
    side = np.array([-1.0, 0.0, 1.0])[None, :]
    grid = np.empty((6, 3, 3))
    grid[..., 0] = side * width
    grid[..., 1] = length * t * (0.4 + 0.5 * t)
    grid[..., 2] = z + rise * np.sin(1.5 * t) + 0.02 * np.abs(side)
    leaf = sheet(grid, green, thickness_m=0.006)
    return tilt(leaf, "z", angle)


def _plant(rng: np.random.Generator, fit: Fit) -> Draft:
    """Pot with long leaves or a round crown."""
    r, h = rng.uniform(0.13, 0.2), rng.uniform(0.2, 0.36)
    pot = Material(any_color(rng))
    soil = Material((0.2, 0.13, 0.09))
    green = Material(jitter(rng, (0.2, 0.45, 0.18), 0.08))
    profile = [(0.72 * r, 0), (r, h), (0.9 * r, h), (0.85 * r, h - 0.05)]
    parts = [lathe(profile, pot, segments=18)]
    parts.append(cylinder((0, 0, h - 0.06), 0.86 * r, 0.02, soil))
    size = rng.uniform(0.4, 0.75)
    if rng.random() < 0.6:
        count = int(rng.integers(9, 16))
        for k in range(count):
            length = size * rng.uniform(0.4, 0.62)
            rise = size * rng.uniform(0.5, 1.1)
            tone = shade(green, rng.uniform(0.8, 1.25))
            parts.append(_leaf(2.4 * k, length, rise, h - 0.05, tone))
    else:
        stem = size * 0.55
        parts.append(tube((0, 0, h - 0.05), (0, 0, h + stem), 0.022, wood(rng)))
        for _ in range(12):
            x, y, z = rng.normal(0, 0.1, 3)
            tone = shade(green, rng.uniform(0.75, 1.25))
            center = (
                float(np.clip(x, -0.2, 0.2)),
                float(np.clip(y, -0.2, 0.2)),
                h + stem + 0.08 + z,
            )
            parts.append(ellipsoid(center, (0.13, 0.13, 0.11), tone, segments=8))
    return Draft("potted plant", parts, "floor")


def _boxes(rng: np.random.Generator, fit: Fit) -> Draft:
    """One to three cardboard boxes; the top one may be open."""
    card = Material(jitter(rng, (0.66, 0.5, 0.33)))
    if rng.random() < 0.3:
        card = Material(any_color(rng))
    w, d, z = rng.uniform(0.38, 0.55), rng.uniform(0.32, 0.45), 0.0
    parts = []
    for _ in range(int(rng.integers(1, 4))):
        h = rng.uniform(0.24, 0.36)
        parts.append(slab(0, 0, z, w, d, h, card))
        tape = Material((0.8, 0.72, 0.5))
        parts.append(slab(0, 0, z + h, 0.05, d + 0.002, 0.002, tape))
        parts.append(slab(0, d / 2, z + h * 0.6, 0.05, 0.003, h * 0.4, tape))
        z, w, d = z + h + 0.002, w * rng.uniform(0.8, 0.98), d * rng.uniform(0.8, 0.98)
    if rng.random() < 0.4:
        for s in (-1, 1):
            flap = slab(0, s * d / 2, z, w, 0.008, 0.16, shade(card, 0.9))
            parts.append(tilt(flap, "x", -s * 0.6, (0, s * d / 2, z)))
    return Draft("cardboard box", parts, "floor")


def _bin(rng: np.random.Generator, fit: Fit) -> Draft:
    """Waste bin: open bucket or with a domed lid."""
    r, h = rng.uniform(0.12, 0.18), rng.uniform(0.28, 0.6)
    body = metal(rng) if rng.random() < 0.4 else Material(any_color(rng))
    low = r * rng.uniform(0.75, 1.0)
    if rng.random() < 0.5:
        profile = [(low, 0), (r, h), (r - 0.008, h), (low - 0.008, 0.02)]
        return Draft("trash can", [lathe(profile, body, segments=20)], "floor")
    parts = [lathe([(low, 0), (r, h)], body, segments=20)]
    parts.append(ellipsoid((0, 0, h), (r, r, 0.07), shade(body, 0.85)))
    parts.append(slab(0, r, 0.01, 0.1, 0.05, 0.02, dark(rng)))
    return Draft("trash can", parts, "floor")


def _ottoman(rng: np.random.Generator, fit: Fit) -> Draft:
    """Padded footstool, round or square."""
    r, h, cover = rng.uniform(0.22, 0.32), rng.uniform(0.34, 0.45), fabric(rng)
    if rng.random() < 0.5:
        parts = [ellipsoid((0, 0, h / 2), (r, r, h / 2), cover, segments=20, power=4)]
        return Draft("pouf", parts, "floor")
    parts = splayed_legs(1.8 * r, 1.6 * r, 0.15, 0.02, wood(rng), splay=0.02)
    parts.append(
        ellipsoid(
            (0, 0, 0.14 + (h - 0.14) / 2), (r, 0.85 * r, (h - 0.14) / 2), cover, power=7
        )
    )
    return Draft("ottoman", parts, "floor")


def _coat_rack(rng: np.random.Generator, fit: Fit) -> Draft:
    """Pole with hooks and a coat."""
    h = rng.uniform(1.6, 1.8)
    body = wood(rng) if rng.random() < 0.5 else metal(rng)
    parts = [tube((0, 0, 0.05), (0, 0, h), 0.02, body)]
    for a in np.pi / 4 + np.pi / 2 * np.arange(4):
        x, y = np.cos(a), np.sin(a)
        parts.append(tube((0.24 * x, 0.24 * y, 0), (0, 0, 0.22), 0.016, body))
        parts.append(tube((0, 0, h - 0.12), (0.13 * x, 0.13 * y, h - 0.02), 0.01, body))
    for _ in range(int(rng.integers(0, 3))):
        a = float(rng.choice(np.pi / 4 + np.pi / 2 * np.arange(4)))
        tall = rng.uniform(0.6, 0.85)
        coat = ellipsoid(
            (0, 0, h - 0.08 - tall / 2),
            (0.17, 0.07, tall / 2),
            fabric(rng),
            segments=12,
            power=3,
        )
        coat.vertices[:, 1] += np.float32(0.11)
        parts.append(tilt(coat, "z", a - np.pi / 2))
    return Draft("coat rack", parts, "floor")


OTHERS: tuple[Builder, ...] = (
    _floor_lamp,
    _table_lamp,
    _plant,
    _boxes,
    appliances.tv,
    _bin,
    _ottoman,
    _coat_rack,
    appliances.monitor,
    appliances.washer,
    appliances.stove,
)
