"""Desks: against a wall, closed at the back or on a side, open for knees at +y."""

import numpy as np

from sas_jax.rooms.catalogue.base import Builder, Draft, Fit
from sas_jax.rooms.catalogue.colors import chrome, front, metal, pick, shade, wood
from sas_jax.rooms.catalogue.parts import PULLS, books, drawers, slab, splayed_legs
from sas_jax.rooms.geometry.mesh import Material, Mesh
from sas_jax.rooms.geometry.shapes import box


def _size(rng: np.random.Generator) -> tuple[float, float, float]:
    """Width, depth and height of a writing desk."""
    return rng.uniform(1.05, 1.5), rng.uniform(0.55, 0.75), rng.uniform(0.71, 0.76)


def _pedestals(
    rng: np.random.Generator,
    spans: tuple[tuple[float, float], ...],
    d: float,
    h: float,
    body: Material,
) -> list[Mesh]:
    """Drawer units from the floor to the top, all with the same fronts."""
    face = body if rng.random() < 0.5 else front(rng)
    rows, handle, pull = int(rng.integers(3, 5)), chrome(rng), pick(rng, PULLS)
    y = d / 2 - 0.03
    parts = []
    for x0, x1 in spans:
        parts.append(box((x0, -y, 0.03), (x1, y, h), shade(body, 0.8)))
        parts += drawers(x0, x1, 0.04, h - 0.01, y, rows, face, handle, pull)
    return parts


def _one_pedestal(rng: np.random.Generator, fit: Fit) -> Draft:
    """Drawers on one side, a panel on the other."""
    w, d, h = _size(rng)
    body = front(rng)
    side = 1.0 if rng.random() < 0.5 else -1.0
    parts = [slab(0, 0, h - 0.03, w, d, 0.03, body)]
    x0, x1 = sorted((side * (w / 2 - 0.02), side * (w / 2 - 0.42)))
    parts += _pedestals(rng, ((x0, x1),), d, h - 0.03, body)
    parts.append(slab(-side * (w / 2 - 0.02), 0, 0, 0.035, d - 0.04, h - 0.03, body))
    parts.append(slab(0, -d / 2 + 0.04, h - 0.38, w - 0.06, 0.02, 0.35, body))
    return Draft("writing desk", parts, "wall", top_z_m=h)


def _executive(rng: np.random.Generator, fit: Fit) -> Draft:
    """Two drawer units and a full panel at the back."""
    w, d, h = rng.uniform(1.3, 1.6), rng.uniform(0.65, 0.8), rng.uniform(0.74, 0.78)
    body = wood(rng) if rng.random() < 0.7 else front(rng)
    parts = [slab(0, 0, h - 0.05, w, d, 0.05, body)]
    spans = ((-w / 2 + 0.03, -w / 2 + 0.42), (w / 2 - 0.42, w / 2 - 0.03))
    parts += _pedestals(rng, spans, d, h - 0.05, body)
    parts.append(slab(0, -d / 2 + 0.05, 0.05, w - 0.1, 0.03, h - 0.1, body))
    return Draft("executive desk", parts, "wall", top_z_m=h)


def _t_legs(rng: np.random.Generator, fit: Fit) -> Draft:
    """Office desk on two T-shaped metal feet with a modesty panel."""
    w, d, h = _size(rng)
    top, steel = front(rng), metal(rng)
    parts = [slab(0, 0, h - 0.028, w, d, 0.028, top)]
    for s in (-1, 1):
        x = s * (w / 2 - 0.18)
        parts.append(slab(x, 0, 0, 0.07, d - 0.06, 0.035, steel))
        parts.append(slab(x, -0.08, 0.035, 0.06, 0.09, h - 0.063, steel))
        parts.append(slab(x, 0, h - 0.06, 0.05, d - 0.12, 0.032, steel))
    panel = shade(top, 0.85) if rng.random() < 0.5 else steel
    parts.append(slab(0, -d / 2 + 0.08, h - 0.42, w - 0.3, 0.02, 0.36, panel))
    return Draft("office desk", parts, "wall", top_z_m=h)


def _hutch(rng: np.random.Generator, fit: Fit) -> Draft:
    """Desk with a rack of shelves standing on its back half."""
    w, d, h = rng.uniform(1.0, 1.3), rng.uniform(0.55, 0.68), rng.uniform(0.72, 0.76)
    body, deep, rise = front(rng), 0.24, rng.uniform(0.45, 0.65)
    parts = [slab(0, 0, h - 0.03, w, d, 0.03, body)]
    for s in (-1, 1):
        parts.append(slab(s * (w / 2 - 0.015), 0, 0, 0.03, d - 0.02, h - 0.03, body))
        parts.append(
            slab(s * (w / 2 - 0.012), (deep - d) / 2, h, 0.024, deep, rise, body)
        )
    y = -d / 2
    parts.append(slab(0, y + 0.012, 0.25, w - 0.06, 0.02, h - 0.28, body))
    parts.append(slab(0, y + 0.008, h, w - 0.05, 0.016, rise, shade(body, 0.85)))
    shelf_z = h + rise * 0.5
    for z in (shelf_z, h + rise):
        parts.append(slab(0, y + deep / 2, z - 0.022, w, deep, 0.022, body))
    parts += books(
        rng,
        -w / 2 + 0.03,
        w / 2 - 0.03,
        y + 0.02,
        shelf_z,
        rise / 2 - 0.03,
        deep,
        fill=0.6,
    )
    face = front(rng)
    parts += drawers(
        w / 2 - 0.4,
        w / 2 - 0.03,
        h - 0.16,
        h - 0.03,
        d / 2 - 0.03,
        1,
        face,
        chrome(rng),
        pick(rng, PULLS),
    )
    return Draft("desk with a hutch", parts, "wall", top_z_m=h, top_back_m=deep)


def _secretary(rng: np.random.Generator, fit: Fit) -> Draft:
    """Slim desk on splayed legs with a drawer box and a raised back."""
    w, d, h = rng.uniform(0.95, 1.25), rng.uniform(0.5, 0.62), rng.uniform(0.72, 0.76)
    body, face = front(rng), front(rng)
    parts = splayed_legs(w - 0.06, d - 0.06, h - 0.14, 0.026, wood(rng), splay=0.05)
    parts.append(slab(0, 0, h - 0.14, w, d - 0.02, 0.14, body))
    count = int(rng.integers(2, 4))
    step = w / count
    handle, pull = chrome(rng), pick(rng, PULLS)
    for k in range(count):
        x0 = -w / 2 + k * step
        parts += drawers(
            x0 + 0.01,
            x0 + step - 0.01,
            h - 0.13,
            h - 0.01,
            d / 2 - 0.01,
            1,
            face,
            handle,
            pull,
        )
    rise = rng.uniform(0.12, 0.25)
    parts.append(slab(0, -d / 2 + 0.02, h, w, 0.02, rise, body))
    for s in (-1, 1):
        parts.append(
            slab(s * (w / 2 - 0.01), -d / 4, h, 0.02, d / 2 - 0.02, rise, body)
        )
    return Draft("secretary desk", parts, "wall", top_z_m=h, top_back_m=0.04)


DESKS: tuple[Builder, ...] = (_one_pedestal, _executive, _t_legs, _hutch, _secretary)
