"""Toilets: bowl, seat, lid and tank, back to a wall."""

import numpy as np

from sas_jax.rooms.catalogue.base import Builder, Draft, Fit
from sas_jax.rooms.catalogue.colors import chrome, household_color, white, wood
from sas_jax.rooms.catalogue.parts import slab
from sas_jax.rooms.geometry.lofts import cylinder, ellipsoid, loft, ring, tube
from sas_jax.rooms.geometry.mesh import TILES, Material, Mesh, tilt

_WATER = Material((0.62, 0.74, 0.80))


def _egg(y: float, z: float, w: float, length: float) -> np.ndarray:
    """A ring that is round at the front (+y) and squarer at the back."""
    points = ring((0, y, z), (w / 2, length / 2), segments=24)
    boxy = ring((0, y, z), (w / 2, length / 2), segments=24, power=3.6)
    return np.where(points[:, 1:2] > y, points, boxy)


def _seat(y: float, z: float, w: float, length: float, material: Material) -> Mesh:
    """The ring one sits on, hollow in the middle."""
    outer, inner = (w, length), (w * 0.62, length * 0.66)
    levels = ((outer, z), (outer, z + 0.025), (inner, z + 0.025), (inner, z))
    rings = [_egg(y, height, *size) for size, height in levels]
    return loft(np.stack(rings), material, looped=True)


def _bowl(
    y: float, top: float, w: float, length: float, material: Material, foot: float
) -> list[Mesh]:
    """The bowl under the seat with water in it; `foot` scales its base."""
    levels = (
        (0.0, foot, y - 0.06),
        (0.06, foot * 0.92, y - 0.06),
        (0.5, max(foot * 0.85, 0.55), y - 0.05),
        (0.8, 0.92, y),
        (1.0, 1.0, y),
    )
    rings = [_egg(dy, share * top, w * s, length * s) for share, s, dy in levels]
    rings.append(_egg(y, top, w * 0.66, length * 0.7))
    rings.append(_egg(y, top - 0.14, w * 0.4, length * 0.4))
    return [
        loft(np.stack(rings), material),
        loft(
            np.stack(
                [
                    _egg(y, top - 0.139, w * 0.38, length * 0.38),
                    _egg(y, top - 0.128, w * 0.42, length * 0.42),
                ]
            ),
            _WATER,
        ),
    ]


def _lid(
    rng: np.random.Generator,
    y: float,
    z: float,
    w: float,
    length: float,
    material: Material,
) -> Mesh:
    """The lid, closed or leaning open."""
    rings = [_egg(y, z, w, length), _egg(y, z + 0.02, w * 0.98, length * 0.98)]
    lid = loft(np.stack(rings), material)
    if rng.random() < 0.5:
        return lid
    return tilt(lid, "x", 1.75, (0, y - length / 2 + 0.02, z))


def _tank(
    w: float, y: float, z: float, d: float, h: float, body: Material, steel: Material
) -> list[Mesh]:
    """Cistern with a lid and a button."""
    return [
        ellipsoid((0, y, z + h / 2), (w / 2, d / 2, h / 2), body, power=8),
        slab(0, y, z + h, w + 0.02, d + 0.02, 0.03, body),
        cylinder((0, y, z + h + 0.03), 0.025, 0.012, steel, segments=10),
    ]


def _close_coupled(rng: np.random.Generator, fit: Fit) -> Draft:
    """Bowl on a foot with the tank on its back."""
    body, steel = white(rng), chrome(rng)
    w, length, top = rng.uniform(0.35, 0.39), rng.uniform(0.46, 0.52), 0.40
    parts = _bowl(0.1, top, w, length, body, rng.uniform(0.5, 0.62))
    parts.append(slab(0, -0.2, top - 0.16, w * 0.7, 0.2, 0.15, body))
    parts += _tank(
        w + 0.03, -0.24, top - 0.02, 0.19, rng.uniform(0.34, 0.4), body, steel
    )
    parts.append(_seat(0.1, top, w, length, body))
    parts.append(_lid(rng, 0.1, top + 0.03, w, length, body))
    return Draft("toilet", parts, "wall")


def _skirted(rng: np.random.Generator, fit: Fit) -> Draft:
    """One smooth body from the floor up, low tank."""
    body, steel = white(rng), chrome(rng)
    w, length, top = rng.uniform(0.36, 0.4), rng.uniform(0.5, 0.56), 0.39
    rings = [
        _egg(0.02, z, w * s, (length + 0.16) * s)
        for z, s in ((0, 0.86), (0.2, 0.88), (top - 0.08, 0.97))
    ]
    parts = [loft(np.stack(rings), body)]
    parts += _bowl(0.1, top, w, length, body, 0.6)
    parts += _tank(w, -0.24, 0.0, 0.2, rng.uniform(0.56, 0.68), body, steel)
    parts.append(_seat(0.1, top, w, length, body))
    parts.append(_lid(rng, 0.1, top + 0.03, w, length, body))
    return Draft("one-piece toilet", parts, "wall")


def _wall_hung(rng: np.random.Generator, fit: Fit) -> Draft:
    """Bowl that floats in front of a tiled box with a flush plate."""
    body = white(rng)
    color = household_color(rng) if rng.random() < 0.5 else (0.85, 0.85, 0.84)
    wall = Material(color, TILES, 0.2)
    w, length, top = rng.uniform(0.35, 0.39), rng.uniform(0.48, 0.54), 0.42
    h = rng.uniform(1.0, 1.2)
    parts = [slab(0, -0.28, 0, rng.uniform(0.55, 0.75), 0.16, h, wall)]
    lift = [
        _egg(0.07, z, w * s, length * s)
        for z, s in ((0.12, 0.5), (0.2, 0.72), (0.34, 0.95), (top, 1.0))
    ]
    lift.append(_egg(0.07, top, w * 0.66, length * 0.7))
    lift.append(_egg(0.07, top - 0.14, w * 0.4, length * 0.4))
    parts.append(loft(np.stack(lift), body))
    parts.append(slab(0, -0.14, 0.14, w * 0.8, 0.16, top - 0.15, body))
    parts.append(slab(0, -0.196, h - 0.28, 0.24, 0.012, 0.16, chrome(rng)))
    parts.append(_seat(0.07, top, w, length, body))
    parts.append(_lid(rng, 0.07, top + 0.03, w, length, body))
    return Draft("wall-hung toilet", parts, "wall")


def _high_tank(rng: np.random.Generator, fit: Fit) -> Draft:
    """Old toilet: wooden seat, pipe to a tank high on the wall, pull chain."""
    body, steel, seat = white(rng), chrome(rng), wood(rng)
    w, length, top = rng.uniform(0.35, 0.38), rng.uniform(0.45, 0.5), 0.40
    high = rng.uniform(1.25, 1.6)
    parts = _bowl(0.06, top, w, length, body, rng.uniform(0.5, 0.6))
    parts.append(slab(0, -0.2, 0.1, w * 0.5, 0.14, 0.24, body))
    parts.append(tube((0, -0.24, 0.3), (0, -0.24, high), 0.022, steel))
    parts += _tank(0.42, -0.22, high, 0.18, 0.3, body, steel)
    parts.append(
        tube(
            (0.24, -0.2, high - 0.4), (0.24, -0.2, high + 0.2), 0.005, steel, segments=5
        )
    )
    parts.append(
        ellipsoid((0.24, -0.2, high - 0.43), (0.02, 0.02, 0.035), seat, segments=8)
    )
    parts.append(slab(0.225, -0.2, high + 0.19, 0.06, 0.02, 0.015, steel))
    parts.append(_seat(0.06, top, w, length, seat))
    parts.append(_lid(rng, 0.06, top + 0.03, w, length, seat))
    return Draft("high-tank toilet", parts, "wall")


TOILETS: tuple[Builder, ...] = (_close_coupled, _skirted, _wall_hung, _high_tank)
