"""Pictures: thin rectangles or ovals on the wall, 2 to 7 cm deep, at eye height."""

import numpy as np

from sas_jax.rooms.catalogue.base import Builder, Draft, Fit
from sas_jax.rooms.catalogue.colors import (
    any_color,
    front,
    jitter,
    metal,
    seed,
    shade,
    wood,
)
from sas_jax.rooms.geometry.lofts import cylinder, tube
from sas_jax.rooms.geometry.mesh import PICTURE, Material, Mesh, transform
from sas_jax.rooms.geometry.shapes import box, quad


def _art(rng: np.random.Generator) -> Material:
    """A painting or photograph."""
    return Material(any_color(rng), PICTURE, 1.0, seed(rng))


def _face(x0: float, x1: float, z0: float, z1: float, y: float, art: Material) -> Mesh:
    """A painted rectangle that faces +y."""
    return quad(np.array([[x1, y, z0], [x0, y, z0], [x0, y, z1], [x1, y, z1]]), art)


def _rim(rng: np.random.Generator) -> Material:
    return front(rng) if rng.random() < 0.6 else metal(rng)


def _framed(
    x: float,
    z: float,
    w: float,
    h: float,
    rim: Material,
    mat: Material | None,
    art: Material,
    b: float = 0.03,
    deep: float = 0.05,
) -> list[Mesh]:
    """Frame, optional mat and the art, centred on (x, z)."""
    x0, x1, z0, z1 = x - w / 2, x + w / 2, z - h / 2, z + h / 2
    parts = [
        box((x0, 0, z0), (x0 + b, deep, z1), rim),
        box((x1 - b, 0, z0), (x1, deep, z1), rim),
        box((x0 + b, 0, z0), (x1 - b, deep, z0 + b), rim),
        box((x0 + b, 0, z1 - b), (x1 - b, deep, z1), rim),
        box((x0 + b, 0, z0 + b), (x1 - b, 0.008, z1 - b), mat or shade(art, 1.0)),
    ]
    m = b + (0.16 * min(w, h) if mat else 0.0)
    parts.append(_face(x0 + m, x1 - m, z0 + m, z1 - m, 0.0095, art))
    return parts


def _paper(rng: np.random.Generator) -> Material:
    return Material(jitter(rng, (0.92, 0.91, 0.87), 0.02))


def _with_mat(rng: np.random.Generator, fit: Fit) -> Draft:
    """Upright frame with a white mat."""
    w, h = rng.uniform(0.35, 0.6), rng.uniform(0.45, 0.75)
    parts = _framed(
        0, 0, w, h, _rim(rng), _paper(rng), _art(rng), b=rng.uniform(0.02, 0.035)
    )
    return Draft("framed picture", parts, "mounted", base_z_m=rng.uniform(1.15, 1.4))


def _canvas(rng: np.random.Generator, fit: Fit) -> Draft:
    """Painting on canvas without a frame."""
    w, h, deep = rng.uniform(0.5, 0.95), rng.uniform(0.4, 0.7), rng.uniform(0.05, 0.07)
    art = _art(rng)
    parts = [box((-w / 2, 0, 0), (w / 2, deep, h), Material(art.color))]
    parts.append(_face(-w / 2, w / 2, 0, h, deep + 0.0015, art))
    return Draft("canvas painting", parts, "mounted", base_z_m=rng.uniform(1.15, 1.4))


def _gallery(rng: np.random.Generator, fit: Fit) -> Draft:
    """Two to four small frames in a row or a grid."""
    columns, rows = ((2, 1), (3, 1), (2, 2))[int(rng.integers(3))]
    w, h, gap = rng.uniform(0.22, 0.32), rng.uniform(0.26, 0.38), rng.uniform(0.04, 0.1)
    rim, mat = _rim(rng), _paper(rng) if rng.random() < 0.6 else None
    parts = []
    for c in range(columns):
        for r in range(rows):
            x, z = c * (w + gap), r * (h + gap)
            parts += _framed(x, z, w, h, rim, mat, _art(rng), b=0.022)
    base = rng.uniform(1.1, 1.3)
    return Draft("set of pictures", parts, "mounted", base_z_m=base)


def _classic(rng: np.random.Generator, fit: Fit) -> Draft:
    """Landscape painting in a broad stepped frame."""
    w, h, b = rng.uniform(0.65, 1.1), rng.uniform(0.45, 0.7), rng.uniform(0.06, 0.09)
    rim = wood(rng) if rng.random() < 0.5 else metal(rng)
    parts = _framed(0, 0, w, h, rim, None, _art(rng), b=b, deep=0.06)
    edge = shade(rim, 0.8)
    for s in (-1, 1):
        x, z = s * (w / 2 - b), s * (h / 2 - b)
        parts.append(
            box((x - 0.012, 0, -h / 2 + b), (x + 0.012, 0.028, h / 2 - b), edge)
        )
        parts.append(
            box((-w / 2 + b, 0, z - 0.012), (w / 2 - b, 0.028, z + 0.012), edge)
        )
    return Draft("painting", parts, "mounted", base_z_m=rng.uniform(1.15, 1.35))


def _poster(rng: np.random.Generator, fit: Fit) -> Draft:
    """Tall paper between two wooden bars on a string."""
    w, h, bar = rng.uniform(0.45, 0.65), rng.uniform(0.65, 0.95), wood(rng)
    parts = [box((-w / 2, 0, 0), (w / 2, 0.006, h), _paper(rng))]
    parts.append(_face(-w / 2 + 0.01, w / 2 - 0.01, 0.01, h - 0.01, 0.0075, _art(rng)))
    for z in (0.0, h - 0.025):
        parts.append(box((-w / 2 - 0.015, 0, z), (w / 2 + 0.015, 0.02, z + 0.025), bar))
    for s in (-1, 1):
        parts.append(
            tube((s * w * 0.42, 0.008, h), (0, 0.008, h + 0.12), 0.003, bar, segments=5)
        )
    return Draft("poster", parts, "mounted", base_z_m=rng.uniform(0.95, 1.2))


def _oval(rng: np.random.Generator, fit: Fit) -> Draft:
    """Portrait in a round or oval frame."""
    r, tall = rng.uniform(0.2, 0.3), rng.uniform(1.0, 1.4)
    rim = _rim(rng)
    disc = cylinder((0, 0, 0), r, 0.03, rim, segments=28)
    art = cylinder((0, 0, 0.03), r * 0.84, 0.004, _art(rng), segments=28)
    parts = []
    for part in (disc, art):
        # The disc's axis z becomes the wall normal y, its y becomes -z.
        part.vertices[:] = part.vertices[:, [0, 2, 1]] * np.array(
            [-1, 1, 1], np.float32
        )
        parts.append(transform(part, scale=(1.0, 1.0, tall)))
    return Draft("round picture", parts, "mounted", base_z_m=rng.uniform(1.2, 1.45))


PICTURES: tuple[Builder, ...] = (
    _with_mat,
    _canvas,
    _gallery,
    _classic,
    _poster,
    _oval,
)
