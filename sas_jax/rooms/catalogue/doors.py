"""Doors: from the floor up, the leaf set into the wall, a casing around it."""

import numpy as np

from sas_jax.rooms.catalogue.base import Builder, Draft, Fit
from sas_jax.rooms.catalogue.colors import front, jitter, metal, pick, shade, wood
from sas_jax.rooms.catalogue.parts import casing, slab
from sas_jax.rooms.geometry.lofts import ellipsoid, prism, tube
from sas_jax.rooms.geometry.mesh import GLASS, Material, Mesh
from sas_jax.rooms.geometry.shapes import box

_LEAF_Y = (-0.06, -0.02)


def _door_size(rng: np.random.Generator) -> tuple[float, float]:
    return rng.uniform(0.78, 0.95), rng.uniform(1.98, 2.1)


def _lever(x: float, z: float, side: float, material: Material) -> list[Mesh]:
    """Door lever or knob with a plate, on the leaf's front."""
    y = _LEAF_Y[1]
    return [
        slab(x, y + 0.004, z - 0.1, 0.04, 0.008, 0.2, material),
        tube((x, y, z), (x, y + 0.05, z), 0.011, material),
        tube((x, y + 0.045, z), (x - side * 0.11, y + 0.045, z), 0.01, material),
    ]


def _knob(x: float, z: float, material: Material) -> list[Mesh]:
    y = _LEAF_Y[1]
    return [
        tube((x, y, z), (x, y + 0.04, z), 0.012, material),
        ellipsoid((x, y + 0.05, z), (0.03, 0.025, 0.03), material, segments=10),
    ]


def _handle(rng: np.random.Generator, w: float) -> list[Mesh]:
    """A lever or a knob on one side of the leaf, at about 1 m."""
    side = float(rng.choice([-1.0, 1.0]))
    x, z, material = side * (w / 2 - 0.09), rng.uniform(0.95, 1.05), metal(rng)
    if rng.random() < 0.5:
        return _lever(x, z, side, material)
    return _knob(x, z, material)


def _leaf(w: float, h: float, material: Material) -> Mesh:
    return box(
        (-w / 2 + 0.02, _LEAF_Y[0], 0), (w / 2 - 0.02, _LEAF_Y[1], h - 0.02), material
    )


def _door(noun: str, parts: list[Mesh], w: float, h: float) -> Draft:
    return Draft(noun, parts, "mounted", opening_m=(w, h, 0.0))


def _trim(rng: np.random.Generator, leaf: Material) -> Material:
    chance = rng.random()
    if chance < 0.45:
        return Material(jitter(rng, (0.9, 0.9, 0.88)))
    return leaf if chance < 0.8 else wood(rng)


def _flush(rng: np.random.Generator, fit: Fit) -> Draft:
    """Plain leaf."""
    (w, h), leaf = _door_size(rng), front(rng)
    parts = [_leaf(w, h, leaf), *casing(w, h, _trim(rng, leaf)), *_handle(rng, w)]
    return _door("door", parts, w, h)


def _panelled(rng: np.random.Generator, fit: Fit) -> Draft:
    """Leaf with raised stiles around two columns of panels."""
    (w, h), leaf = _door_size(rng), front(rng)
    parts = [
        box(
            (-w / 2 + 0.02, -0.06, 0),
            (w / 2 - 0.02, -0.04, h - 0.02),
            shade(leaf, 0.85),
        )
    ]
    y0, y1, b = -0.04, _LEAF_Y[1], 0.1
    x = w / 2 - 0.02
    for a, c in ((-x, -x + b), (-b / 2, b / 2), (x - b, x)):
        parts.append(box((a, y0, 0), (c, y1, h - 0.02), leaf))
    rows = pick(rng, ((0.0, 0.45, 1.0), (0.0, 0.3, 0.62, 1.0), (0.0, 0.55, 0.85, 1.0)))
    for share in rows:
        z = share * (h - 0.16)
        parts.append(box((-x + b, y0, z), (-b / 2, y1, z + 0.14), leaf))
        parts.append(box((b / 2, y0, z), (x - b, y1, z + 0.14), leaf))
    parts += [*casing(w, h, _trim(rng, leaf)), *_handle(rng, w)]
    return _door("panelled door", parts, w, h)


def _glazed(rng: np.random.Generator, fit: Fit) -> Draft:
    """Leaf with a window in its upper half."""
    (w, h), leaf = _door_size(rng), front(rng)
    x, low, b = w / 2 - 0.02, rng.uniform(0.75, 1.05), 0.12
    y0, y1 = _LEAF_Y
    glass = Material((0.7, 0.82, 0.9), GLASS)
    parts = [
        box((-x, y0, 0), (x, y1, low), leaf),
        box((-x, y0, low), (-x + b, y1, h - 0.02), leaf),
        box((x - b, y0, low), (x, y1, h - 0.02), leaf),
        box((-x + b, y0, h - 0.02 - b), (x - b, y1, h - 0.02), leaf),
        box((-x + b, -0.05, low), (x - b, -0.04, h - 0.02 - b), glass),
    ]
    if rng.random() < 0.6:
        mid = (low + h - b) / 2
        parts.append(box((-x + b, -0.04, mid), (x - b, y1, mid + 0.03), leaf))
        parts.append(box((-0.015, -0.04, low), (0.015, y1, h - 0.02 - b), leaf))
    parts += [*casing(w, h, _trim(rng, leaf)), *_handle(rng, w)]
    return _door("glazed door", parts, w, h)


def _planks(rng: np.random.Generator, fit: Fit) -> Draft:
    """Sliding barn door: boards and braces hanging on a rail in front of the wall."""
    w, h = rng.uniform(0.85, 1.0), rng.uniform(2.0, 2.1)
    body, steel = front(rng), metal(rng)
    y0, y1, count = 0.03, 0.06, int(rng.integers(5, 8))
    step = w / count
    parts = [
        box(
            (-w / 2 + k * step + 0.004, y0, 0.02),
            (-w / 2 + (k + 1) * step - 0.004, y1, h),
            body,
        )
        for k in range(count)
    ]
    trim = shade(body, 0.85)
    for z in (0.12, h / 2 - 0.06, h - 0.22):
        parts.append(box((-w / 2, y1, z), (w / 2, y1 + 0.02, z + 0.12), trim))
    brace = np.array(
        [
            [0.24, -w / 2],
            [h / 2 - 0.06, w / 2 - 0.14],
            [h / 2 - 0.06, w / 2],
            [0.24, -w / 2 + 0.14],
        ]
    )
    parts.append(prism(brace, y1, y1 + 0.018, trim, axis="y"))
    parts.append(
        box((-w / 2 - 0.08, 0.0, h + 0.05), (w / 2 + 0.08, 0.03, h + 0.1), steel)
    )
    for x in (-w / 2 + 0.15, w / 2 - 0.15):
        parts.append(
            box((x - 0.02, y1, h - 0.2), (x + 0.02, y1 + 0.03, h + 0.12), steel)
        )
    x = float(rng.choice([-1.0, 1.0])) * (w / 2 - 0.1)
    parts.append(tube((x, y1 + 0.05, 0.9), (x, y1 + 0.05, 1.2), 0.012, steel))
    return Draft("barn door", parts, "mounted", base_z_m=0.02)


def _double(rng: np.random.Generator, fit: Fit) -> Draft:
    """Two narrow leaves with a pair of knobs."""
    w, h = rng.uniform(1.15, 1.4), rng.uniform(2.0, 2.1)
    leaf, steel = front(rng), metal(rng)
    parts = []
    for s in (-1, 1):
        a, b = sorted((s * 0.005, s * (w / 2 - 0.02)))
        parts.append(box((a, *_LEAF_Y[:1], 0), (b, _LEAF_Y[1], h - 0.02), leaf))
        for z0, z1 in ((0.15, 0.8), (0.95, h - 0.2)):
            low, high = (a + 0.1, _LEAF_Y[1], z0), (b - 0.1, _LEAF_Y[1] + 0.012, z1)
            parts.append(box(low, high, shade(leaf, 0.88)))
        parts += _knob(s * 0.06, 1.0, steel)
    parts += casing(w, h, _trim(rng, leaf))
    return _door("double door", parts, w, h)


DOORS: tuple[Builder, ...] = (_flush, _panelled, _glazed, _planks, _double)
