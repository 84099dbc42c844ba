"""Chairs: seat at 0.42 to 0.66 m, a back at y < 0, the sitter looks to +y."""

import itertools

import numpy as np

from sas_jax.rooms.catalogue.base import Builder, Draft, Fit
from sas_jax.rooms.catalogue.colors import (
    dark,
    fabric,
    front,
    metal,
    paint,
    shade,
    wood,
)
from sas_jax.rooms.catalogue.parts import corner_legs, slab, splayed_legs
from sas_jax.rooms.geometry.lofts import cylinder, ellipsoid, tube
from sas_jax.rooms.geometry.mesh import Material, Mesh, tilt
from sas_jax.rooms.geometry.shapes import box

DINING_SEATS = (0, 2, 4, 5)
DESK_SEATS = (0, 1, 2, 4)
EASY_SEATS = (3, 6)


def _slats(
    rng: np.random.Generator,
    w: float,
    y: float,
    span: tuple[float, float],
    body: Material,
) -> list[Mesh]:
    """Upright or level bars between the posts of a back."""
    low, high = span
    if rng.random() < 0.5:
        xs = np.linspace(-w / 2 + 0.07, w / 2 - 0.07, int(rng.integers(3, 6)))
        return [slab(x, y, low, 0.028, 0.015, high - low, body) for x in xs]
    zs = np.linspace(low + 0.1, high - 0.1, 3)
    return [slab(0.0, y, z, w - 0.05, 0.015, 0.055, body) for z in zs]


def _slatted(rng: np.random.Generator, fit: Fit) -> Draft:
    """Dining chair with posts and slats."""
    w, d = rng.uniform(0.40, 0.48), rng.uniform(0.40, 0.48)
    seat, back, t = rng.uniform(0.43, 0.48), rng.uniform(0.86, 1.02), 0.036
    body = front(rng)
    cover = fabric(rng) if rng.random() < 0.5 else body
    parts = corner_legs(w, d, seat, t, body)
    parts.append(slab(0, 0, seat, w, d, 0.04, cover))
    y = -d / 2 + t / 2
    rear = [
        slab(s * (w - t) / 2, y, seat + 0.04, t, t, back - seat - 0.04, body)
        for s in (-1, 1)
    ]
    rear.append(slab(0, y, back - 0.09, w - 2 * t, 0.025, 0.09, body))
    rear += _slats(rng, w, y, (seat + 0.04, back - 0.09), body)
    lean = rng.uniform(0.0, 0.12)
    parts += [tilt(part, "x", lean, (0.0, -d / 2, seat)) for part in rear]
    return Draft("dining chair", parts, "floor")


def _star_base(r: float, hub_z: float, material: Material) -> list[Mesh]:
    """Five spokes on castors."""
    parts = []
    for k in range(5):
        a = 2 * np.pi * k / 5 + 0.3
        x, y = r * np.cos(a), r * np.sin(a)
        parts.append(tube((0, 0, hub_z), (x, y, 0.065), 0.022, material, segments=6))
        parts.append(
            ellipsoid((x, y, 0.03), (0.028, 0.028, 0.03), material, segments=6)
        )
    return parts


def _office(rng: np.random.Generator, fit: Fit) -> Draft:
    """Swivel chair with a five-armed base on castors."""
    cover, frame = fabric(rng), dark(rng) if rng.random() < 0.7 else metal(rng)
    seat, back = rng.uniform(0.44, 0.52), rng.uniform(0.5, 0.7)
    w, d = rng.uniform(0.22, 0.26), rng.uniform(0.22, 0.25)
    parts = _star_base(0.29, 0.12, frame)
    parts.append(cylinder((0, 0, 0.1), 0.028, seat - 0.1, frame, segments=10))
    parts.append(ellipsoid((0, 0, seat + 0.03), (w, d, 0.045), cover, power=5))
    rest = ellipsoid(
        (0, -d, seat + 0.12 + back / 2), (w * 0.9, 0.035, back / 2), cover, power=4
    )
    parts.append(tilt(rest, "x", rng.uniform(0.05, 0.18), (0, -d, seat)))
    parts.append(slab(0, -d - 0.02, seat, 0.06, 0.03, 0.25, frame))
    if rng.random() < 0.7:
        for s in (-1, 1):
            x = s * (w + 0.02)
            parts.append(slab(x, -0.01, seat + 0.2, 0.045, 0.26, 0.025, frame))
            parts.append(slab(x, 0, seat + 0.01, 0.02, 0.06, 0.19, frame))
    return Draft("office chair", parts, "floor")


def _cantilever(rng: np.random.Generator, fit: Fit) -> Draft:
    """Bent steel tube: no rear legs, the seat springs from the front."""
    steel, cover = metal(rng), fabric(rng)
    w, d = rng.uniform(0.22, 0.25), rng.uniform(0.22, 0.25)
    seat, back = rng.uniform(0.43, 0.47), rng.uniform(0.82, 0.95)
    parts = []
    for x in (-w, w):
        line = [
            (x, -d, 0.014),
            (x, d, 0.014),
            (x, d, seat),
            (x, -d, seat),
            (x, -d - 0.07, back),
        ]
        parts += [tube(a, b, 0.013, steel) for a, b in itertools.pairwise(line)]
    parts.append(tube((-w, -d, 0.014), (w, -d, 0.014), 0.013, steel))
    parts.append(box((-w, -d, seat), (w, d, seat + 0.035), cover))
    rest = box((-w, -d - 0.012, seat + 0.17), (w, -d + 0.012, back), cover)
    lean = float(np.arctan2(0.07, back - seat))
    parts.append(tilt(rest, "x", lean, (0, -d, seat)))
    return Draft("cantilever chair", parts, "floor")


def _armchair(rng: np.random.Generator, fit: Fit) -> Draft:
    """Upholstered single seat on short legs with low side arms."""
    cover, foot = fabric(rng), wood(rng)
    w, d = rng.uniform(0.60, 0.72), rng.uniform(0.62, 0.72)
    seat, back, arm = rng.uniform(0.40, 0.45), rng.uniform(0.8, 1.0), 0.09
    parts = corner_legs(w - 0.04, d - 0.04, 0.14, 0.045, foot)
    parts.append(slab(0, 0, 0.14, w, d, 0.13, cover))
    cushion = shade(cover, 1.1)
    parts.append(
        ellipsoid(
            (0, 0.06, seat - 0.06), (w / 2 - arm, d / 2 - 0.05, 0.1), cushion, power=5
        )
    )
    y = -d / 2 + 0.09
    rest = ellipsoid(
        (0, y, 0.1 + back / 2), (w / 2 - 0.02, 0.08, back / 2 - 0.1), cover, power=5
    )
    parts.append(tilt(rest, "x", rng.uniform(0.03, 0.15), (0, y, 0.27)))
    rise = rng.uniform(0.29, 0.37)
    for s in (-1, 1):
        parts.append(slab(s * (w - arm) / 2, 0.05, 0.27, arm, d - 0.1, rise, cover))
    return Draft("armchair", parts, "floor")


def _shell(rng: np.random.Generator, fit: Fit) -> Draft:
    """Moulded plastic shell on four splayed legs."""
    shell, leg = paint(rng), wood(rng) if rng.random() < 0.6 else metal(rng)
    seat, w = rng.uniform(0.42, 0.46), rng.uniform(0.22, 0.25)
    parts = splayed_legs(1.9 * w, 1.9 * w, seat, 0.019, leg, splay=0.09)
    parts.append(ellipsoid((0, 0.01, seat + 0.01), (w, w, 0.035), shell, power=3))
    y = -w + 0.02
    rest = ellipsoid((0, y, seat + 0.22), (w * 0.92, 0.025, 0.21), shell, power=2.6)
    parts.append(tilt(rest, "x", rng.uniform(0.1, 0.25), (0, y, seat)))
    return Draft("shell chair", parts, "floor")


def _stool(rng: np.random.Generator, fit: Fit) -> Draft:
    """Round seat on four legs with a low back and a foot ring."""
    body, cover = front(rng), fabric(rng)
    seat, r = rng.uniform(0.46, 0.66), rng.uniform(0.17, 0.2)
    parts = [cylinder((0, 0, seat), r, 0.05, cover, segments=20)]
    angles = np.pi / 4 + np.pi / 2 * np.arange(5)
    corners = np.stack([np.cos(angles), np.sin(angles)], 1) * r
    for x, y in corners[:4]:
        parts.append(
            tube((1.1 * x, 1.1 * y, 0), (0.75 * x, 0.75 * y, seat), 0.016, body)
        )
    for (x0, y0), (x1, y1) in itertools.pairwise(corners):
        parts.append(tube((x0, y0, 0.18), (x1, y1, 0.18), 0.009, body, segments=6))
    for x in (-0.1, 0.1):
        parts.append(
            tube((x, -r + 0.03, seat + 0.05), (x, -r, seat + 0.27), 0.011, body)
        )
    parts.append(slab(0, -r, seat + 0.2, 0.32, 0.03, 0.11, cover))
    return Draft("stool with a back", parts, "floor")


def _easy(rng: np.random.Generator, fit: Fit) -> Draft:
    """Bentwood arm chair: open wooden arms, cushions for seat and back."""
    body, cover = wood(rng), fabric(rng)
    w, d = rng.uniform(0.58, 0.68), rng.uniform(0.6, 0.7)
    seat, back = rng.uniform(0.38, 0.43), rng.uniform(0.78, 0.9)
    arm_z = seat + rng.uniform(0.18, 0.24)
    parts = []
    for s in (-1, 1):
        x = s * (w / 2 - 0.025)
        parts.append(slab(x, d / 2 - 0.05, 0, 0.05, 0.05, arm_z, body))
        parts.append(slab(x, -d / 2 + 0.08, 0, 0.05, 0.05, arm_z, body))
        parts.append(slab(x, 0.0, arm_z, 0.07, d, 0.03, body))
    parts.append(slab(0, 0.03, seat - 0.16, w - 0.1, d - 0.1, 0.04, body))
    parts.append(
        ellipsoid(
            (0, 0.04, seat - 0.05), (w / 2 - 0.06, d / 2 - 0.07, 0.075), cover, power=6
        )
    )
    y = -d / 2 + 0.14
    rest = ellipsoid(
        (0, y, (seat + back) / 2),
        (w / 2 - 0.06, 0.065, (back - seat) / 2 + 0.06),
        cover,
        power=5,
    )
    parts.append(tilt(rest, "x", rng.uniform(0.15, 0.3), (0, y, seat)))
    return Draft("easy chair", parts, "floor")


CHAIRS: tuple[Builder, ...] = (
    _slatted,
    _office,
    _cantilever,
    _armchair,
    _shell,
    _stool,
    _easy,
)
