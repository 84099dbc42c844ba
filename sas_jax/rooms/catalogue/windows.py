"""Windows: glass and frame set into the wall, trim and sill in front of it."""

import numpy as np

from sas_jax.rooms.catalogue.base import Builder, Draft, Fit
from sas_jax.rooms.catalogue.colors import chrome, front, jitter, paint, wood
from sas_jax.rooms.catalogue.parts import casing
from sas_jax.rooms.geometry.mesh import GLASS, Material, Mesh
from sas_jax.rooms.geometry.shapes import box

_GLASS_Y = -0.075


def _window_size(rng: np.random.Generator) -> tuple[float, float]:
    return rng.uniform(0.75, 1.5), rng.uniform(0.9, 1.25)


def _window(noun: str, parts: list[Mesh], w: float, h: float, base: float) -> Draft:
    return Draft(noun, parts, "mounted", base_z_m=base, opening_m=(w, h, 0.0))


def _pane(w: float, h: float) -> Mesh:
    """Glass that fills the hole; it shows the sky."""
    sky = Material((0.72, 0.83, 0.93), GLASS)
    return box((-w / 2, _GLASS_Y - 0.01, 0), (w / 2, _GLASS_Y, h), sky)


def _frame(rng: np.random.Generator) -> Material:
    if rng.random() < 0.55:
        return Material(jitter(rng, (0.93, 0.93, 0.92), 0.02))
    return wood(rng) if rng.random() < 0.5 else paint(rng)


def _shell(rng: np.random.Generator, w: float, h: float, body: Material) -> list[Mesh]:
    """Glass, outer frame, trim and a protruding sill."""
    b, y0, y1 = 0.05, _GLASS_Y, -0.045
    x = w / 2
    parts = [
        _pane(w, h),
        box((-x, y0, 0), (-x + b, y1, h), body),
        box((x - b, y0, 0), (x, y1, h), body),
        box((-x + b, y0, 0), (x - b, y1, b), body),
        box((-x + b, y0, h - b), (x - b, y1, h), body),
        box((-x - 0.06, 0, -0.03), (x + 0.06, rng.uniform(0.04, 0.08), 0), body),
        box((-x, -0.1, -0.03), (x, 0, 0), body),
    ]
    if rng.random() < 0.7:
        parts += casing(w, h, body, b=rng.uniform(0.04, 0.08))
    return parts


def _bar_x(x: float, h: float, t: float, body: Material, y1: float = -0.05) -> Mesh:
    return box((x - t / 2, _GLASS_Y, 0.05), (x + t / 2, y1, h - 0.05), body)


def _bar_z(z: float, w: float, t: float, body: Material, y1: float = -0.05) -> Mesh:
    low = (-w / 2 + 0.05, _GLASS_Y, z - t / 2)
    return box(low, (w / 2 - 0.05, y1, z + t / 2), body)


def _casement(rng: np.random.Generator, fit: Fit) -> Draft:
    """Two wings with a handle on the middle post."""
    (w, h), body = _window_size(rng), _frame(rng)
    parts = [*_shell(rng, w, h, body), _bar_x(0, h, 0.1, body, -0.035)]
    parts.append(
        box((-0.012, -0.035, h / 2 - 0.07), (0.012, -0.005, h / 2 + 0.02), chrome(rng))
    )
    return _window("casement window", parts, w, h, rng.uniform(0.8, 0.95))


def _grid(rng: np.random.Generator, fit: Fit) -> Draft:
    """Many small panes."""
    (w, h), body = _window_size(rng), _frame(rng)
    parts = _shell(rng, w, h, body)
    for x in np.linspace(-w / 2, w / 2, max(3, round(w / 0.32)) + 1)[1:-1]:
        parts.append(_bar_x(x, h, 0.028, body))
    for z in np.linspace(0, h, max(3, round(h / 0.36)) + 1)[1:-1]:
        parts.append(_bar_z(z, w, 0.028, body))
    return _window("lattice window", parts, w, h, rng.uniform(0.75, 0.95))


def _sash(rng: np.random.Generator, fit: Fit) -> Draft:
    """Narrow and tall; the lower half stands in front of the upper."""
    w, h, body = rng.uniform(0.65, 0.95), rng.uniform(1.15, 1.4), _frame(rng)
    parts = [*_shell(rng, w, h, body), _bar_z(h / 2, w, 0.07, body, -0.03)]
    x = w / 2 - 0.05
    for s in (-1, 1):
        a, b = sorted((s * x, s * (x - 0.045)))
        parts.append(box((a, _GLASS_Y, 0.05), (b, -0.035, h / 2), body))
    parts.append(box((-x, _GLASS_Y, 0.05), (x, -0.035, 0.11), body))
    if rng.random() < 0.5:
        parts.append(_bar_x(0, h, 0.025, body))
    return _window("sash window", parts, w, h, rng.uniform(0.7, 0.85))


def _slider(rng: np.random.Generator, fit: Fit) -> Draft:
    """Wide window with one slim post off the middle."""
    w, h, body = rng.uniform(1.3, 1.8), rng.uniform(0.8, 1.1), _frame(rng)
    parts = [*_shell(rng, w, h, body)]
    parts.append(_bar_x(rng.uniform(-0.2, 0.2) * w, h, 0.05, body, -0.04))
    return _window("sliding window", parts, w, h, rng.uniform(0.9, 1.05))


def _blinds(rng: np.random.Generator, fit: Fit) -> Draft:
    """Window with a half-lowered slatted blind."""
    (w, h), body = _window_size(rng), _frame(rng)
    parts = [*_shell(rng, w, h, body), _bar_x(0, h, 0.07, body, -0.05)]
    slat = (
        Material(jitter(rng, (0.88, 0.87, 0.83))) if rng.random() < 0.6 else front(rng)
    )
    parts.append(
        box((-w / 2 + 0.03, -0.04, h - 0.06), (w / 2 - 0.03, -0.005, h - 0.02), slat)
    )
    for z in np.arange(h - 0.1, h * rng.uniform(0.15, 0.6), -0.045):
        parts.append(
            box((-w / 2 + 0.04, -0.035, z), (w / 2 - 0.04, -0.01, z + 0.022), slat)
        )
    return _window("window with blinds", parts, w, h, rng.uniform(0.8, 0.95))


WINDOWS: tuple[Builder, ...] = (_casement, _grid, _sash, _slider, _blinds)
