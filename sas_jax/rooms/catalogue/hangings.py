"""Curtains and shower curtains.

A curtain's wall plane is y = 0 and its hem z = 0. A shower curtain hangs in front of
a bathtub; its rod runs above y = 0 and its hem is z = 0.
"""

import itertools

import numpy as np

from sas_jax.rooms.catalogue.base import Builder, Draft, Fit
from sas_jax.rooms.catalogue.colors import (
    any_color,
    chrome,
    fabric,
    jitter,
    metal,
    seed,
    shade,
    wood,
)
from sas_jax.rooms.geometry.lofts import ellipsoid, tube
from sas_jax.rooms.geometry.mesh import (
    CHECKER,
    DOTS,
    FABRIC,
    PLAIN,
    STRIPES,
    Material,
    Mesh,
    transform,
    with_vertices,
)
from sas_jax.rooms.geometry.shapes import box, cloth, sheet

_ROD_Y = 0.09


def _rod(w: float, z: float, material: Material) -> list[Mesh]:
    """Rod with end knobs and brackets to the wall."""
    parts = [tube((-w / 2, _ROD_Y, z), (w / 2, _ROD_Y, z), 0.012, material)]
    for s in (-1, 1):
        x = s * w / 2
        parts.append(
            ellipsoid((x, _ROD_Y, z), (0.026, 0.026, 0.026), material, segments=8)
        )
        inner = x - s * 0.06
        parts.append(tube((inner, 0, z), (inner, _ROD_Y, z), 0.008, material))
    return parts


def _drape(
    rng: np.random.Generator, x0: float, x1: float, h: float, material: Material
) -> Mesh:
    """Folded cloth between x0 and x1 under the rod."""
    w = x1 - x0
    folds = max(2, round(w / rng.uniform(0.09, 0.14)))
    panel = cloth(
        w,
        h,
        material,
        folds=folds,
        amplitude_m=rng.uniform(0.03, 0.045),
        phase=float(rng.uniform(0, 6)),
        flare=rng.uniform(0.0, 0.4),
    )
    return transform(panel, translate=((x0 + x1) / 2, _ROD_Y, 0))


def _extent(rng: np.random.Generator, fit: Fit) -> tuple[float, float]:
    return fit.width_m or rng.uniform(1.2, 2.0), fit.height_m or rng.uniform(1.3, 2.1)


def _pair(rng: np.random.Generator, fit: Fit) -> Draft:
    """A drawn-back panel at each side of the window."""
    (w, h), cover = _extent(rng, fit), fabric(rng)
    share = rng.uniform(0.16, 0.26) * w
    parts = _rod(w, h, metal(rng) if rng.random() < 0.6 else wood(rng))
    parts.append(_drape(rng, -w / 2 + 0.07, -w / 2 + 0.07 + share, h, cover))
    parts.append(_drape(rng, w / 2 - 0.07 - share, w / 2 - 0.07, h, cover))
    return Draft("pair of curtains", parts, "mounted")


def _single(rng: np.random.Generator, fit: Fit) -> Draft:
    """One panel pulled to one side."""
    (w, h), cover = _extent(rng, fit), fabric(rng)
    share = rng.uniform(0.28, 0.42) * w
    parts = _rod(w, h, metal(rng) if rng.random() < 0.6 else wood(rng))
    x0 = -w / 2 + 0.07 if rng.random() < 0.5 else w / 2 - 0.07 - share
    parts.append(_drape(rng, x0, x0 + share, h, cover))
    return Draft("curtain", parts, "mounted")


def _closed(rng: np.random.Generator, fit: Fit) -> Draft:
    """Drawn over the whole width, two panels that meet."""
    (w, h), cover = _extent(rng, fit), fabric(rng)
    parts = _rod(w, h, metal(rng))
    meet = rng.uniform(-0.1, 0.1) * w
    parts.append(_drape(rng, -w / 2 + 0.07, meet - 0.01, h, cover))
    parts.append(_drape(rng, meet + 0.01, w / 2 - 0.07, h, cover))
    return Draft("closed curtain", parts, "mounted")


def _valance(rng: np.random.Generator, fit: Fit) -> Draft:
    """Side panels under a gathered top strip in front of them."""
    (w, h), cover = _extent(rng, fit), fabric(rng)
    share = rng.uniform(0.15, 0.24) * w
    top = cover if rng.random() < 0.5 else fabric(rng)
    parts = _rod(w, h, metal(rng))
    parts.append(_drape(rng, -w / 2 + 0.07, -w / 2 + 0.07 + share, h, cover))
    parts.append(_drape(rng, w / 2 - 0.07 - share, w / 2 - 0.07, h, cover))
    strip = cloth(
        w - 0.02,
        rng.uniform(0.22, 0.34),
        top,
        folds=max(4, round(w / 0.12)),
        amplitude_m=0.025,
    )
    tall = float(strip.vertices[:, 2].max())
    parts.append(transform(strip, translate=(0, _ROD_Y + 0.07, h - tall + 0.03)))
    return Draft("curtains with a valance", parts, "mounted")


def _gathered(
    x0: float, x1: float, h: float, knot: float, side: float, cover: Material
) -> Mesh:
    """A panel that a tie narrows at the height `knot` towards its outer side."""
    columns = np.linspace(0.0, 1.0, 41)
    rows = np.linspace(0.0, h, 15)
    squeeze = 1.0 - 0.68 * np.exp(-(((rows - knot) / (0.2 * h)) ** 2))
    grid = np.empty((len(rows), len(columns), 3))
    spread = (columns if side > 0 else columns - 1.0) * (x1 - x0)
    grid[..., 0] = (x0 if side > 0 else x1) + spread * squeeze[:, None]
    wave = np.sin(2 * np.pi * 5 * columns)
    grid[..., 1] = _ROD_Y + 0.035 * wave[None, :]
    grid[..., 2] = rows[:, None]
    return sheet(grid, cover, thickness_m=0.006)


def _tied(rng: np.random.Generator, fit: Fit) -> Draft:
    """Two panels tied back at the sides."""
    (w, h), cover = _extent(rng, fit), fabric(rng)
    knot, half = h * rng.uniform(0.38, 0.5), w / 2 - 0.07
    reach = half * rng.uniform(0.6, 0.85)
    parts = _rod(w, h, metal(rng))
    parts.append(_gathered(-half, -half + reach, h, knot, 1.0, cover))
    parts.append(_gathered(half - reach, half, h, knot, -1.0, cover))
    tie = shade(cover, 0.6)
    for s in (-1, 1):
        x = s * (half - 0.16 * reach)
        parts.append(
            box(
                (x - 0.19 * reach, 0.035, knot - 0.03),
                (x + 0.19 * reach, 0.145, knot + 0.03),
                tie,
            )
        )
    return Draft("tied curtains", parts, "mounted")


CURTAINS: tuple[Builder, ...] = (_pair, _single, _closed, _valance, _tied)


def _bath_cloth(rng: np.random.Generator) -> Material:
    """Waterproof cloth: often white or patterned, of any colour."""
    color = any_color(rng)
    if rng.random() < 0.4:
        color = jitter(rng, (0.92, 0.92, 0.93), 0.02)
    texture = int(rng.choice([PLAIN, DOTS, STRIPES, CHECKER, FABRIC]))
    scale = 0.02 if texture == FABRIC else float(rng.uniform(0.08, 0.3))
    return Material(color, texture, scale, seed(rng))


def _rings(x0: float, x1: float, z: float, steel: Material) -> list[Mesh]:
    """Small hooks between rod and cloth."""
    xs = np.linspace(x0 + 0.03, x1 - 0.03, max(4, round((x1 - x0) / 0.13)))
    return [
        box((x - 0.006, -0.02, z - 0.03), (x + 0.006, 0.02, z + 0.03), steel)
        for x in xs
    ]


def _hung(
    rng: np.random.Generator, x0: float, x1: float, h: float, cover: Material
) -> Mesh:
    panel = cloth(
        x1 - x0,
        h - 0.05,
        cover,
        folds=max(3, round((x1 - x0) / 0.13)),
        amplitude_m=rng.uniform(0.02, 0.035),
        phase=float(rng.uniform(0, 6)),
    )
    return transform(panel, translate=((x0 + x1) / 2, 0, 0))


def _rail(w: float, h: float, fit: Fit, rod: Material) -> list[Mesh]:
    """Straight rod, and its ends back to the wall."""
    parts = [tube((-w / 2, 0, h), (w / 2, 0, h), 0.014, rod)]
    if fit.depth_m is not None:
        for s in (-1, 1):
            x = s * (w / 2 - 0.01)
            parts.append(tube((x, -fit.depth_m, h), (x, 0, h), 0.012, rod))
    return parts


def _bath_extent(rng: np.random.Generator, fit: Fit) -> tuple[float, float]:
    return fit.width_m or rng.uniform(1.3, 1.7), fit.height_m or rng.uniform(1.7, 1.85)


def _half_drawn(rng: np.random.Generator, fit: Fit) -> Draft:
    """Straight rod, the cloth pushed to one end."""
    (w, h), steel = _bath_extent(rng, fit), chrome(rng)
    share = w * rng.uniform(0.35, 0.6)
    x0 = -w / 2 + 0.02 if rng.random() < 0.5 else w / 2 - 0.02 - share
    parts = _rail(w, h, fit, steel)
    parts += _rings(x0, x0 + share, h, steel)
    parts.append(_hung(rng, x0, x0 + share, h, _bath_cloth(rng)))
    return Draft("shower curtain", parts, "hung")


def _drawn(rng: np.random.Generator, fit: Fit) -> Draft:
    """Straight rod, the cloth along the whole tub."""
    (w, h), steel = _bath_extent(rng, fit), chrome(rng)
    parts = _rail(w, h, fit, steel)
    parts += _rings(-w / 2 + 0.02, w / 2 - 0.02, h, steel)
    parts.append(_hung(rng, -w / 2 + 0.02, w / 2 - 0.02, h, _bath_cloth(rng)))
    return Draft("drawn shower curtain", parts, "hung")


def _two_panels(rng: np.random.Generator, fit: Fit) -> Draft:
    """A panel at each end, open in the middle, with a coloured hem."""
    (w, h), steel, cover = _bath_extent(rng, fit), chrome(rng), _bath_cloth(rng)
    parts = _rail(w, h, fit, steel)
    hem = Material(any_color(rng), PLAIN)
    for s in (-1, 1):
        a, b = sorted((s * (w / 2 - 0.02), s * w * rng.uniform(0.1, 0.22)))
        parts += _rings(a, b, h, steel)
        upper = _hung(rng, a, b, h - 0.18, cover)
        parts.append(transform(upper, translate=(0, 0, 0.18)))
        parts.append(
            transform(
                cloth(
                    b - a,
                    0.19,
                    hem,
                    folds=max(3, round((b - a) / 0.13)),
                    amplitude_m=0.03,
                ),
                translate=((a + b) / 2, 0, 0),
            )
        )
    return Draft("pair of shower curtains", parts, "hung")


def _bow(mesh: Mesh, w: float, depth: float) -> Mesh:
    """Bend a mesh outwards (+y), most in the middle."""
    points = mesh.vertices.astype(np.float64)
    points[:, 1] += depth * np.clip(1.0 - (2 * points[:, 0] / w) ** 2, 0.0, None)
    return with_vertices(mesh, points)


def _bowed(rng: np.random.Generator, fit: Fit) -> Draft:
    """Bow-front rod, the cloth mostly drawn."""
    (w, h), steel = _bath_extent(rng, fit), chrome(rng)
    depth = rng.uniform(0.08, 0.13)
    x = np.linspace(-w / 2, w / 2, 9)
    parts = [
        _bow(tube((a, 0, h), (b, 0, h), 0.014, steel), w, depth)
        for a, b in itertools.pairwise(x)
    ]
    parts += _rail(w, h, fit, steel)[1:]
    share = w * rng.uniform(0.6, 0.9)
    x0 = -w / 2 + 0.02 if rng.random() < 0.5 else w / 2 - 0.02 - share
    parts += [_bow(ring, w, depth) for ring in _rings(x0, x0 + share, h, steel)]
    parts.append(_bow(_hung(rng, x0, x0 + share, h, _bath_cloth(rng)), w, depth))
    return Draft("bowed shower curtain", parts, "hung")


SHOWER_CURTAINS: tuple[Builder, ...] = (_half_drawn, _drawn, _two_panels, _bowed)
