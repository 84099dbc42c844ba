"""Beds: the head is at y < 0 against the wall, the foot at +y."""

import numpy as np

from sas_jax.rooms.catalogue.base import Builder, Draft, Fit
from sas_jax.rooms.catalogue.colors import fabric, front, metal, shade, wood
from sas_jax.rooms.catalogue.parts import corner_legs, plain_white, slab
from sas_jax.rooms.geometry.lofts import ellipsoid, tube
from sas_jax.rooms.geometry.mesh import Material, Mesh, tilt


def _bedding(
    rng: np.random.Generator, w: float, length: float, z: float, y: float = 0.0
) -> list[Mesh]:
    """Mattress, blanket and pillows on the plane z; the head is at -y."""
    sheet, blanket = plain_white(rng), fabric(rng)
    linen = plain_white(rng) if rng.random() < 0.5 else fabric(rng)
    thick = rng.uniform(0.16, 0.24)
    top = z + thick
    parts = [
        ellipsoid(
            (0, y, z + thick / 2), (w / 2, length / 2, thick / 2), sheet, power=12
        )
    ]
    cover = length * rng.uniform(0.58, 0.74)
    back = y + length / 2 - cover / 2 + 0.01
    parts.append(slab(0, back, z + thick * 0.35, w + 0.03, cover, thick * 0.7, blanket))
    if rng.random() < 0.6:
        edge = back - cover / 2 + 0.12
        parts.append(
            slab(
                0, edge, top, w + 0.034, 0.26, thick * 0.05 + 0.025, shade(linen, 0.95)
            )
        )
    count = 1 if w < 1.15 else 2
    for k in range(count):
        x = (k - (count - 1) / 2) * w / count
        pillow = ellipsoid(
            (x, y - length / 2 + 0.26, top + 0.06),
            (min(0.36, w / count / 2 - 0.03), 0.2, 0.075),
            linen,
            power=3,
        )
        parts.append(tilt(pillow, "x", -0.2, (0, y - length / 2 + 0.26, top + 0.06)))
    return parts


def _widths(rng: np.random.Generator) -> tuple[float, float]:
    """Width and length of a mattress."""
    return float(rng.choice([0.95, 1.2, 1.4, 1.6])), float(rng.uniform(1.9, 2.05))


def _platform(rng: np.random.Generator, fit: Fit) -> Draft:
    """Wooden box frame with a plain headboard."""
    w, length = _widths(rng)
    body, z = front(rng), rng.uniform(0.24, 0.34)
    parts = [slab(0, 0, 0, w + 0.08, length + 0.06, z - 0.02, body)]
    head = rng.uniform(0.8, 1.1)
    parts.append(slab(0, -length / 2 - 0.05, 0, w + 0.1, 0.05, head, body))
    parts += _bedding(rng, w, length, z - 0.03)
    return Draft("platform bed", parts, "wall")


def _bars(rng: np.random.Generator, fit: Fit) -> Draft:
    """Metal frame with barred head and foot."""
    w, length = _widths(rng)
    steel, z = metal(rng), rng.uniform(0.32, 0.42)
    parts = [slab(0, 0, z - 0.05, w + 0.02, length, 0.04, steel)]
    for y, top in (
        (-length / 2 - 0.02, rng.uniform(0.95, 1.15)),
        (length / 2 + 0.02, rng.uniform(0.6, 0.75)),
    ):
        for s in (-1, 1):
            x = s * (w / 2 + 0.02)
            parts.append(tube((x, y, 0), (x, y, top), 0.022, steel))
            parts.append(
                ellipsoid((x, y, top), (0.032, 0.032, 0.032), steel, segments=8)
            )
        for rail in (z + 0.1, top - 0.05):
            parts.append(
                tube((-w / 2, y, rail), (w / 2, y, rail), 0.016, steel, segments=6)
            )
        for x in np.linspace(-w / 2, w / 2, int(w / 0.14))[1:-1]:
            parts.append(
                tube((x, y, z + 0.1), (x, y, top - 0.05), 0.009, steel, segments=6)
            )
    parts += _bedding(rng, w, length, z)
    return Draft("metal bed", parts, "wall")


def _upholstered(rng: np.random.Generator, fit: Fit) -> Draft:
    """Box spring with a tall padded headboard."""
    w, length = _widths(rng)
    cover = fabric(rng)
    parts = corner_legs(w, length, 0.08, 0.05, wood(rng))
    parts.append(slab(0, 0, 0.08, w + 0.02, length, 0.28, cover))
    head, count = rng.uniform(1.05, 1.35), int(rng.integers(3, 6))
    step = (w + 0.1) / count
    for k in range(count):
        x = -(w + 0.1) / 2 + (k + 0.5) * step
        parts.append(
            ellipsoid(
                (x, -length / 2 - 0.05, head / 2),
                (step / 2, 0.06, head / 2),
                cover,
                power=8,
            )
        )
    parts += _bedding(rng, w, length, 0.36)
    return Draft("box spring bed", parts, "wall")


def _slatted(rng: np.random.Generator, fit: Fit) -> Draft:
    """Single bed with upright slats at head and foot."""
    w, length = rng.uniform(0.85, 1.0), rng.uniform(1.9, 2.0)
    body, z = front(rng), rng.uniform(0.3, 0.4)
    parts = [
        slab(s * (w / 2 + 0.02), 0, z - 0.14, 0.03, length, 0.16, body) for s in (-1, 1)
    ]
    parts.append(slab(0, 0, z - 0.03, w, length, 0.02, body))
    for y, top in (
        (-length / 2 - 0.025, rng.uniform(0.85, 1.0)),
        (length / 2 + 0.025, rng.uniform(0.6, 0.75)),
    ):
        for s in (-1, 1):
            parts.append(slab(s * (w / 2 + 0.01), y, 0, 0.06, 0.05, top, body))
        parts.append(slab(0, y, top - 0.08, w, 0.035, 0.08, body))
        parts.append(slab(0, y, z - 0.1, w, 0.035, 0.1, body))
        for x in np.linspace(-w / 2, w / 2, 8)[1:-1]:
            parts.append(slab(x, y, z, 0.035, 0.02, top - 0.08 - z, body))
    parts += _bedding(rng, w, length, z)
    return Draft("single bed", parts, "wall")


def _four_poster(rng: np.random.Generator, fit: Fit) -> Draft:
    """Tall posts joined by rails above."""
    w, length = float(rng.choice([1.4, 1.6])), rng.uniform(1.95, 2.05)
    body, z, top = front(rng), 0.36, rng.uniform(1.8, 2.05)
    parts = corner_legs(w + 0.14, length + 0.14, top, 0.06, body)
    parts.append(slab(0, 0, z - 0.14, w + 0.04, length + 0.04, 0.13, body))
    for s in (-1, 1):
        parts.append(slab(0, s * (length + 0.08) / 2, top - 0.05, w, 0.04, 0.05, body))
        parts.append(slab(s * (w + 0.08) / 2, 0, top - 0.05, 0.04, length, 0.05, body))
    parts.append(slab(0, -(length + 0.08) / 2, z, w, 0.03, 0.6, body))
    parts += _bedding(rng, w, length, z)
    return Draft("four-poster bed", parts, "wall")


def _ladder(w: float, length: float, top: float, body: Material) -> list[Mesh]:
    """Rungs on the long side of a bunk bed."""
    y = length / 2 - 0.25
    x = w / 2 + 0.07
    parts = [slab(x, y + s * 0.2, 0, 0.03, 0.04, top, body) for s in (-1, 1)]
    parts += [
        slab(x, y, z, 0.025, 0.36, 0.035, body) for z in np.arange(0.25, top, 0.27)
    ]
    return parts


def _bunk(rng: np.random.Generator, fit: Fit) -> Draft:
    """Two single beds above each other, with a ladder."""
    w, length, body = rng.uniform(0.85, 0.95), rng.uniform(1.88, 1.98), front(rng)
    top, high = rng.uniform(1.65, 1.85), rng.uniform(1.2, 1.35)
    parts = corner_legs(w + 0.1, length + 0.1, top, 0.06, body)
    for z in (0.32, high):
        parts.append(slab(0, 0, z - 0.1, w + 0.04, length + 0.04, 0.09, body))
        parts += _bedding(rng, w - 0.02, length - 0.02, z)
    for rail in (high + 0.22, top - 0.06):
        for s in (-1, 1):
            parts.append(slab(0, s * (length + 0.06) / 2, rail, w, 0.025, 0.05, body))
        parts.append(slab(-(w + 0.06) / 2, 0, rail, 0.025, length, 0.05, body))
        parts.append(slab((w + 0.06) / 2, -0.2, rail, 0.025, length - 0.44, 0.05, body))
    parts += _ladder(w, length, high + 0.1, body)
    return Draft("bunk bed", parts, "wall")


BEDS: tuple[Builder, ...] = (
    _platform,
    _bars,
    _upholstered,
    _slatted,
    _four_poster,
    _bunk,
)
