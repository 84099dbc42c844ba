"""Sofas: seats for two or more, back to y < 0."""

import numpy as np

from sas_jax.rooms.catalogue.base import Builder, Draft, Fit
from sas_jax.rooms.catalogue.colors import fabric, metal, shade, wood
from sas_jax.rooms.catalogue.parts import corner_legs, slab, splayed_legs
from sas_jax.rooms.geometry.lofts import ellipsoid, tube
from sas_jax.rooms.geometry.mesh import Material, Mesh, tilt


def _cushion(
    x: float, y: float, z: float, w: float, d: float, h: float, material: Material
) -> Mesh:
    """A soft block with footprint centre (x, y) and lower side z."""
    return ellipsoid(
        (x, y, z + h / 2), (w / 2, d / 2, h / 2), material, segments=20, power=6
    )


def _seat_row(
    w: float, y: float, z: float, d: float, count: int, material: Material
) -> list[Mesh]:
    """Seat cushions side by side."""
    step = w / count
    xs = -w / 2 + step * (np.arange(count) + 0.5)
    return [_cushion(x, y, z, step - 0.006, d, 0.15, material) for x in xs]


def _back_row(
    w: float, y: float, z: float, h: float, count: int, material: Material
) -> list[Mesh]:
    """Leaning back cushions side by side."""
    step = w / count
    xs = -w / 2 + step * (np.arange(count) + 0.5)
    return [
        tilt(_cushion(x, y, z, step - 0.008, 0.16, h, material), "x", 0.14, (0, y, z))
        for x in xs
    ]


def _throw_pillows(
    rng: np.random.Generator, w: float, y: float, z: float
) -> list[Mesh]:
    """Up to three pillows of other colours against the back."""
    parts = []
    for _ in range(int(rng.integers(0, 4))):
        x = rng.uniform(-w / 2 + 0.22, w / 2 - 0.22)
        pillow = ellipsoid((x, y, z + 0.17), (0.2, 0.06, 0.18), fabric(rng), power=3)
        parts.append(tilt(pillow, "x", 0.3, (x, y, z)))
    return parts


def _boxy(rng: np.random.Generator, fit: Fit) -> Draft:
    """Two or three loose seats between square arms."""
    cover, count = fabric(rng), int(rng.integers(2, 4))
    w, d = rng.uniform(0.62, 0.7) * count + 0.34, rng.uniform(0.8, 0.95)
    arm, arm_z = rng.uniform(0.14, 0.2), rng.uniform(0.55, 0.66)
    inner = w - 2 * arm
    parts = corner_legs(w - 0.04, d - 0.04, 0.08, 0.05, wood(rng))
    parts.append(slab(0, 0, 0.08, w, d, 0.2, cover))
    parts.append(slab(0, -d / 2 + 0.07, 0.28, w, 0.14, rng.uniform(0.45, 0.52), cover))
    for s in (-1, 1):
        parts.append(slab(s * (w - arm) / 2, 0, 0.28, arm, d, arm_z - 0.28, cover))
    parts += _seat_row(inner, 0.1, 0.28, d - 0.2, count, shade(cover, 1.1))
    parts += _back_row(inner, -d / 2 + 0.24, 0.4, 0.42, count, shade(cover, 1.06))
    parts += _throw_pillows(rng, inner, 0.0, 0.43)
    return Draft("sofa", parts, "wall")


def _sectional(rng: np.random.Generator, fit: Fit) -> Draft:
    """L-shaped: a long seat with a chaise at one end."""
    cover = fabric(rng)
    w, d, long = rng.uniform(1.9, 2.3), rng.uniform(0.82, 0.92), rng.uniform(1.3, 1.55)
    side = 1.0 if rng.random() < 0.5 else -1.0
    chaise = 0.72
    parts = [slab(0, 0, 0.05, w, d, 0.24, cover)]
    x = side * (w - chaise) / 2
    extra = long - d
    parts.append(slab(x, (d + extra) / 2, 0.05, chaise, extra, 0.24, cover))
    parts.append(slab(0, -d / 2 + 0.1, 0.29, w, 0.2, 0.48, cover))
    parts.append(slab(-side * (w / 2 - 0.1), 0, 0.29, 0.2, d, 0.3, cover))
    light = shade(cover, 1.1)
    inner = w - chaise - 0.2
    mid = -side * (w / 2 - 0.2 - inner / 2)
    for k in (-0.25, 0.25):
        parts.append(
            _cushion(mid + k * inner, 0.1, 0.28, inner / 2, d - 0.2, 0.15, light)
        )
        parts.append(
            _cushion(mid + k * inner, -d / 2 + 0.27, 0.42, inner / 2, 0.16, 0.38, light)
        )
    parts.append(_cushion(x, 0.1 + extra / 2, 0.28, chaise, long - 0.2, 0.15, light))
    parts.append(_cushion(x, -d / 2 + 0.27, 0.42, chaise - 0.04, 0.16, 0.38, light))
    parts += _throw_pillows(rng, w - 0.5, -0.02, 0.43)
    return Draft("corner sofa", parts, "wall")


def _rolled(rng: np.random.Generator, fit: Fit) -> Draft:
    """Chesterfield: rolled arms as high as the rolled back."""
    cover, w, d = fabric(rng), rng.uniform(1.5, 2.0), rng.uniform(0.8, 0.92)
    top, r = rng.uniform(0.62, 0.7), 0.1
    parts = [
        ellipsoid(
            (sx * (w / 2 - 0.1), sy * (d / 2 - 0.1), 0.04),
            (0.04, 0.04, 0.04),
            wood(rng),
            segments=8,
        )
        for sx in (-1, 1)
        for sy in (-1, 1)
    ]
    parts.append(slab(0, 0, 0.07, w - 0.06, d - 0.04, 0.2, cover))
    back_y = -d / 2 + r
    parts.append(slab(0, back_y, 0.27, w - 0.2, 0.14, top - 0.27, cover))
    parts.append(
        tube((-w / 2 + r, back_y, top), (w / 2 - r, back_y, top), r, cover, segments=14)
    )
    for s in (-1, 1):
        x = s * (w / 2 - r)
        parts.append(slab(x, 0.01, 0.1, 0.15, d - 0.06, top - 0.1, cover))
        parts.append(
            tube((x, -d / 2 + 0.02, top), (x, d / 2, top), r, cover, segments=14)
        )
    count = int(rng.integers(2, 4))
    parts += _seat_row(w - 0.36, 0.08, 0.27, d - 0.22, count, shade(cover, 1.12))
    return Draft("chesterfield sofa", parts, "wall")


def _mid_century(rng: np.random.Generator, fit: Fit) -> Draft:
    """Thin cushions on a visible wooden frame with splayed legs."""
    cover, body = fabric(rng), wood(rng)
    w, d = rng.uniform(1.5, 1.95), rng.uniform(0.75, 0.85)
    parts = splayed_legs(w - 0.1, d - 0.06, 0.24, 0.028, body)
    parts.append(slab(0, 0, 0.24, w, d, 0.05, body))
    for s in (-1, 1):
        x = s * (w / 2 - 0.025)
        parts.append(slab(x, 0.02, 0.54, 0.06, d - 0.06, 0.03, body))
        parts.append(slab(x, d / 2 - 0.08, 0.29, 0.04, 0.05, 0.25, body))
        parts.append(slab(x, -d / 2 + 0.1, 0.29, 0.04, 0.05, 0.25, body))
    count = int(rng.integers(2, 4))
    inner = w - 0.12
    parts += _seat_row(inner, 0.05, 0.29, d - 0.12, count, cover)
    parts += _back_row(inner, -d / 2 + 0.18, 0.42, 0.38, count, cover)
    parts += _throw_pillows(rng, inner, 0.0, 0.44)
    return Draft("loveseat", parts, "wall")


def _daybed(rng: np.random.Generator, fit: Fit) -> Draft:
    """Armless futon on a metal or wooden frame."""
    cover = fabric(rng)
    frame = metal(rng) if rng.random() < 0.5 else wood(rng)
    w, d = rng.uniform(1.4, 1.9), rng.uniform(0.8, 0.92)
    parts = corner_legs(w - 0.06, d - 0.1, 0.26, 0.04, frame)
    parts.append(slab(0, 0, 0.24, w - 0.04, d - 0.06, 0.04, frame))
    parts.append(_cushion(0, 0.05, 0.28, w, d - 0.1, 0.17, cover))
    rest = _cushion(0, -d / 2 + 0.1, 0.36, w, 0.16, 0.48, cover)
    parts.append(tilt(rest, "x", 0.2, (0, -d / 2 + 0.1, 0.36)))
    parts += _throw_pillows(rng, w, 0.0, 0.44)
    return Draft("futon", parts, "wall")


SOFAS: tuple[Builder, ...] = (_boxy, _sectional, _rolled, _mid_century, _daybed)
