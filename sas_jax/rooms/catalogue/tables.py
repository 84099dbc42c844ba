"""Tables: a top open on all sides, no drawers to the floor; they stand free."""

import numpy as np

from sas_jax.rooms.catalogue.base import Builder, Draft, Fit
from sas_jax.rooms.catalogue.colors import front, metal, stone, wood
from sas_jax.rooms.catalogue.parts import corner_legs, slab, splayed_legs
from sas_jax.rooms.geometry.lofts import cylinder, lathe, tube
from sas_jax.rooms.geometry.mesh import PLAIN, Material, tilt

DINING = (0, 1, 2, 6)
LOW = (3, 4, 5)


def _four_legged(rng: np.random.Generator, fit: Fit) -> Draft:
    """Rectangular dining table with corner legs and an apron."""
    w, d, h = rng.uniform(1.0, 1.6), rng.uniform(0.72, 0.9), rng.uniform(0.72, 0.77)
    body, t = front(rng), rng.uniform(0.05, 0.08)
    top = body if rng.random() < 0.6 else stone(rng)
    parts = corner_legs(w - 0.06, d - 0.06, h - 0.035, t, body)
    parts.append(slab(0, 0, h - 0.035, w, d, 0.035, top))
    parts.append(slab(0, 0, h - 0.12, w - 0.1, d - 0.1, 0.085, body))
    return Draft("dining table", parts, "floor", top_z_m=h)


def _round(rng: np.random.Generator, fit: Fit) -> Draft:
    """Round top on a turned pedestal."""
    r, h = rng.uniform(0.42, 0.6), rng.uniform(0.72, 0.76)
    body = front(rng)
    top = body if rng.random() < 0.5 else stone(rng)
    foot = [(0.6 * r, 0.0), (0.58 * r, 0.03), (0.12, 0.07), (0.05, 0.14)]
    post = [(0.045, 0.3), (0.06, 0.45), (0.045, h - 0.1), (0.16, h - 0.03)]
    parts = [lathe(foot + post, body)]
    parts.append(cylinder((0, 0, h - 0.03), r, 0.03, top, segments=28))
    return Draft("round table", parts, "floor", top_z_m=h)


def _trestle(rng: np.random.Generator, fit: Fit) -> Draft:
    """Plank top on two crossed trestles."""
    w, d, h = rng.uniform(1.1, 1.7), rng.uniform(0.7, 0.85), rng.uniform(0.72, 0.77)
    top, leg = front(rng), wood(rng) if rng.random() < 0.6 else metal(rng)
    parts = [slab(0, 0, h - 0.04, w, d, 0.04, top)]
    angle = float(np.arctan2(d - 0.16, h - 0.04))
    length = float(np.hypot(d - 0.16, h - 0.04)) - 0.02
    for s in (-1, 1):
        for turn in (-angle, angle):
            bar = slab(s * (w / 2 - 0.2), 0, -length / 2, 0.05, 0.06, length, leg)
            bar = tilt(bar, "x", turn)
            bar.vertices[:, 2] -= bar.vertices[:, 2].min()
            parts.append(bar)
    parts.append(slab(0, 0, h / 2 - 0.05, w - 0.36, 0.04, 0.08, leg))
    return Draft("trestle table", parts, "floor", top_z_m=h)


def _coffee(rng: np.random.Generator, fit: Fit) -> Draft:
    """Low table with a shelf under its top."""
    w, d, h = rng.uniform(0.75, 1.15), rng.uniform(0.45, 0.62), rng.uniform(0.36, 0.46)
    body, t = front(rng), rng.uniform(0.04, 0.06)
    parts = corner_legs(w, d, h - 0.04, t, body)
    parts.append(slab(0, 0, h - 0.04, w, d, 0.04, body))
    parts.append(slab(0, 0, 0.12, w - 2 * t, d - 2 * t, 0.025, body))
    return Draft("coffee table", parts, "floor", top_z_m=h)


def _glass(rng: np.random.Generator, fit: Fit) -> Draft:
    """Glass plate on a frame of metal bars."""
    w, d, h = rng.uniform(0.7, 1.1), rng.uniform(0.5, 0.65), rng.uniform(0.38, 0.5)
    steel, t = metal(rng), 0.03
    pane = Material((0.70, 0.80, 0.79), PLAIN)
    parts = corner_legs(w, d, h - 0.012, t, steel)
    parts.append(slab(0, 0, h - 0.012, w, d, 0.012, pane))
    for s in (-1, 1):
        for z in (0.0, h - 0.012 - t):
            parts.append(slab(0, s * (d - t) / 2, z, w - 2 * t, t, t, steel))
            parts.append(slab(s * (w - t) / 2, 0, z, t, d - 2 * t, t, steel))
    return Draft("glass table", parts, "floor", top_z_m=h)


def _side(rng: np.random.Generator, fit: Fit) -> Draft:
    """Small round table on three legs."""
    r, h = rng.uniform(0.2, 0.3), rng.uniform(0.42, 0.6)
    top, leg = stone(rng), front(rng)
    parts = [cylinder((0, 0, h - 0.025), r, 0.025, top, segments=24)]
    for k in range(3):
        a = 2 * np.pi * k / 3 + 0.5
        x, y = np.cos(a), np.sin(a)
        parts.append(
            tube(
                (0.9 * r * x, 0.9 * r * y, 0),
                (0.4 * r * x, 0.4 * r * y, h - 0.02),
                0.014,
                leg,
            )
        )
    return Draft("side table", parts, "floor", top_z_m=h)


def _mid_century(rng: np.random.Generator, fit: Fit) -> Draft:
    """Oval top on splayed round legs."""
    w, d, h = rng.uniform(1.1, 1.6), rng.uniform(0.75, 0.95), rng.uniform(0.72, 0.76)
    body = front(rng)
    top = lathe(
        [(0.97, h - 0.03), (1.0, h - 0.015), (0.99, h)],
        body,
        stretch=(w / 2, d / 2),
        segments=32,
        power=3.0,
    )
    legs = splayed_legs(w - 0.2, d - 0.14, h - 0.03, 0.03, body, splay=0.09)
    return Draft("oval table", [top, *legs], "floor", top_z_m=h)


TABLES: tuple[Builder, ...] = (
    _four_legged,
    _round,
    _trestle,
    _coffee,
    _glass,
    _side,
    _mid_century,
)
