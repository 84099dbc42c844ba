"""Screens and machines that ScanNet counts as other furniture."""

import numpy as np

from sas_jax.rooms.catalogue.base import Draft, Fit
from sas_jax.rooms.catalogue.colors import (
    any_color,
    dark,
    front,
    metal,
    shade,
    steel,
    white,
)
from sas_jax.rooms.catalogue.parts import corner_legs, slab
from sas_jax.rooms.geometry.lofts import cylinder, ellipsoid, tube
from sas_jax.rooms.geometry.mesh import SCREEN, Material, Mesh
from sas_jax.rooms.geometry.shapes import box, quad


def tv(rng: np.random.Generator, fit: Fit) -> Draft:
    """Television on a low open stand."""
    w, d, h = rng.uniform(1.0, 1.5), rng.uniform(0.36, 0.44), rng.uniform(0.36, 0.5)
    body = front(rng)
    parts = [slab(0, 0, h - 0.03, w, d, 0.03, body), slab(0, 0, 0.06, w, d, 0.03, body)]
    for x in (-w / 2 + 0.015, 0.0, w / 2 - 0.015):
        parts.append(slab(x, 0, 0.09, 0.03, d, h - 0.12, body))
    parts += corner_legs(w - 0.06, d - 0.06, 0.06, 0.05, body)
    parts.append(slab(-w / 4, 0.02, 0.09, w * 0.3, d * 0.6, 0.07, dark(rng)))
    tw = min(w * 0.92, rng.uniform(0.85, 1.25))
    parts += _screen(rng, tw, tw * 0.57, h + 0.05, 0.045)
    parts.append(slab(0, 0, h, tw * 0.35, 0.2, 0.015, dark(rng)))
    parts.append(slab(0, 0, h + 0.015, 0.08, 0.03, 0.06, dark(rng)))
    return Draft("television", parts, "wall")


def _screen(
    rng: np.random.Generator, w: float, h: float, z: float, deep: float
) -> list[Mesh]:
    """A flat screen around y = 0 that faces +y."""
    shell = dark(rng) if rng.random() < 0.8 else metal(rng)
    tone = (0.06, 0.07, 0.09) if rng.random() < 0.6 else any_color(rng)
    glass = Material(tone, SCREEN, 1.0, int(rng.integers(1 << 30)))
    y, b = deep / 2, 0.014
    x0, x1, z0, z1 = -w / 2 + b, w / 2 - b, z + b, z + h - b
    face = np.array([[x1, y, z0], [x0, y, z0], [x0, y, z1], [x1, y, z1]])
    face[:, 1] += 0.0015
    return [slab(0, 0, z, w, deep, h, shell), quad(face, glass)]


def monitor(rng: np.random.Generator, fit: Fit) -> Draft:
    """Computer screen on a foot, with a keyboard in front."""
    w = rng.uniform(0.48, 0.68)
    h = w * 0.58
    parts = _screen(rng, w, h, 0.1, 0.03)
    foot = dark(rng)
    parts.append(slab(0, -0.01, 0, 0.22, 0.16, 0.012, foot))
    parts.append(slab(0, -0.025, 0.012, 0.05, 0.02, 0.25, foot))
    parts.append(slab(-0.04, 0.19, 0, 0.4, 0.13, 0.018, shade(foot, 1.6)))
    parts.append(ellipsoid((0.24, 0.19, 0.016), (0.03, 0.05, 0.016), foot, segments=8))
    return Draft("computer monitor", parts, "top")


def washer(rng: np.random.Generator, fit: Fit) -> Draft:
    """Front-loading washing machine with a round door."""
    w, d, h = rng.uniform(0.58, 0.62), rng.uniform(0.52, 0.6), rng.uniform(0.83, 0.88)
    body = white(rng) if rng.random() < 0.75 else steel(rng)
    y = d / 2
    parts = [slab(0, 0, 0.02, w, d, h - 0.02, body)]
    parts.append(slab(0, y, h - 0.13, w - 0.02, 0.012, 0.11, shade(body, 0.85)))
    parts.append(
        slab(-w / 4, y + 0.008, h - 0.11, 0.18, 0.012, 0.07, shade(body, 0.95))
    )
    rim, glass = metal(rng), Material((0.12, 0.14, 0.18))
    z = h * 0.45
    parts.append(tube((0, y - 0.01, z), (0, y + 0.03, z), 0.2, rim, segments=24))
    parts.append(ellipsoid((0, y + 0.02, z), (0.15, 0.04, 0.15), glass))
    parts.append(tube((0.2, y, h - 0.075), (0.2, y + 0.03, h - 0.075), 0.03, rim))
    return Draft("washing machine", parts, "wall", top_z_m=h)


def stove(rng: np.random.Generator, fit: Fit) -> Draft:
    """Cooker with an oven door, knobs, four plates and a pot."""
    w, d, h = rng.uniform(0.5, 0.62), rng.uniform(0.58, 0.62), rng.uniform(0.86, 0.92)
    body, grip = white(rng) if rng.random() < 0.5 else steel(rng), metal(rng)
    y = d / 2
    parts = [slab(0, 0, 0.03, w, d, h - 0.03, body)]
    parts.append(slab(0, y, 0.18, w - 0.06, 0.025, h - 0.4, shade(body, 0.9)))
    parts.append(
        slab(0, y + 0.008, 0.26, w - 0.18, 0.03, h - 0.6, Material((0.08, 0.08, 0.1)))
    )
    parts.append(
        tube(
            (-w / 2 + 0.06, y + 0.05, h - 0.25),
            (w / 2 - 0.06, y + 0.05, h - 0.25),
            0.01,
            grip,
        )
    )
    for x in np.linspace(-w / 2 + 0.08, w / 2 - 0.08, 5):
        parts.append(
            tube(
                (x, y, h - 0.09), (x, y + 0.03, h - 0.09), 0.02, dark(rng), segments=10
            )
        )
    for sx in (-1, 1):
        for sy in (-1, 1):
            parts.append(
                cylinder(
                    (sx * w * 0.23, sy * d * 0.22, h),
                    0.08,
                    0.012,
                    Material((0.1, 0.1, 0.1)),
                )
            )
    if rng.random() < 0.6:
        pot = Material(any_color(rng))
        r = rng.uniform(0.08, 0.11)
        parts.append(cylinder((-w * 0.23, d * 0.22, h + 0.012), r, 0.12, pot))
    parts.append(box((-w / 2, -d / 2, h), (w / 2, -d / 2 + 0.03, h + 0.1), body))
    return Draft("stove", parts, "wall")
