"""Parts that many pieces of furniture share: slabs, legs, fronts, handles, books.

`slab` places a box by the centre of its footprint and its lower side, which is how
furniture is thought of; fronts and handles lie in planes y = constant and face +y.
"""

from typing import Literal

import numpy as np

from sas_jax.rooms.catalogue.colors import any_color, jitter, shade
from sas_jax.rooms.geometry.lofts import cylinder, ellipsoid, tube
from sas_jax.rooms.geometry.mesh import PLAIN, Material, Mesh, concat
from sas_jax.rooms.geometry.shapes import box

Pull = Literal["bar", "knob", "cup", "none"]
PULLS: tuple[Pull, ...] = ("bar", "bar", "knob", "knob", "cup")


def slab(
    x: float, y: float, z: float, w: float, d: float, h: float, material: Material
) -> Mesh:
    """Make a box with footprint centre (x, y), lower side z and extents w, d, h."""
    return box((x - w / 2, y - d / 2, z), (x + w / 2, y + d / 2, z + h), material)


def corner_legs(
    w: float, d: float, h: float, t: float, material: Material
) -> list[Mesh]:
    """Make four square legs of thickness t flush with the corners of w x d."""
    x, y = (w - t) / 2, (d - t) / 2
    return [
        slab(sx * x, sy * y, 0, t, t, h, material) for sx in (-1, 1) for sy in (-1, 1)
    ]


def splayed_legs(
    w: float, d: float, h: float, r: float, material: Material, splay: float = 0.04
) -> list[Mesh]:
    """Make four round tapered legs whose feet stand `splay` outside their heads."""
    legs = []
    for sx in (-1, 1):
        for sy in (-1, 1):
            x, y = sx * (w / 2 - r), sy * (d / 2 - r)
            foot = (x, y, 0.0)
            head = (x - sx * splay, y - sy * splay, h)
            legs.append(tube(foot, head, 0.65 * r, material, end_radius=r))
    return legs


def pull_parts(
    pull: Pull, x: float, y: float, z: float, upright: bool, material: Material
) -> list[Mesh]:
    """Make the handle of one front around (x, z) on the plane y."""
    if pull == "knob":
        return [
            ellipsoid((x, y + 0.016, z), (0.017, 0.017, 0.017), material, segments=8)
        ]
    if pull == "cup":
        return [slab(x, y + 0.014, z, 0.09, 0.028, 0.028, material)]
    if pull == "bar":
        a, b = (0.0, 0.08) if upright else (0.06, 0.0)
        posts = [
            slab(
                x + s * a * 0.8,
                y + 0.012,
                z + s * b * 0.8 - 0.005,
                0.01,
                0.024,
                0.01,
                material,
            )
            for s in (-1, 1)
        ]
        bar = tube(
            (x - a, y + 0.028, z - b),
            (x + a, y + 0.028, z + b),
            0.008,
            material,
            segments=6,
        )
        return [*posts, bar]
    return []


def front_panel(
    x0: float,
    x1: float,
    z0: float,
    z1: float,
    y: float,
    material: Material,
    framed: bool,
) -> list[Mesh]:
    """Make one door or drawer front, 18 mm proud of the plane y.

    A framed front has a recessed middle as shaker doors do.
    """
    if not framed or min(x1 - x0, z1 - z0) < 0.16:
        return [box((x0, y, z0), (x1, y + 0.018, z1), material)]
    b = 0.055
    inner = shade(material, 0.9)
    return [
        box((x0, y, z0), (x0 + b, y + 0.02, z1), material),
        box((x1 - b, y, z0), (x1, y + 0.02, z1), material),
        box((x0 + b, y, z0), (x1 - b, y + 0.02, z0 + b), material),
        box((x0 + b, y, z1 - b), (x1 - b, y + 0.02, z1), material),
        box((x0 + b, y, z0 + b), (x1 - b, y + 0.006, z1 - b), inner),
    ]


def doors(
    x0: float,
    x1: float,
    z0: float,
    z1: float,
    y: float,
    count: int,
    material: Material,
    handle: Material,
    pull: Pull,
    *,
    framed: bool = False,
    handle_z: float | None = None,
) -> list[Mesh]:
    """Make a row of doors; handles sit where neighbours meet."""
    parts = []
    step = (x1 - x0) / count
    level = 0.5 * (z0 + z1) if handle_z is None else handle_z
    for k in range(count):
        a, b = x0 + k * step + 0.004, x0 + (k + 1) * step - 0.004
        parts += front_panel(a, b, z0 + 0.004, z1 - 0.004, y, material, framed)
        x = b - 0.045 if k % 2 == 0 else a + 0.045
        parts += pull_parts(pull, x, y + 0.018, level, True, handle)
    return parts


def drawers(
    x0: float,
    x1: float,
    z0: float,
    z1: float,
    y: float,
    rows: int,
    material: Material,
    handle: Material,
    pull: Pull,
    *,
    framed: bool = False,
) -> list[Mesh]:
    """Make a column of drawer fronts; wide ones have two handles."""
    parts = []
    step = (z1 - z0) / rows
    middle, span = 0.5 * (x0 + x1), x1 - x0
    for k in range(rows):
        a, b = z0 + k * step + 0.004, z0 + (k + 1) * step - 0.004
        parts += front_panel(x0 + 0.004, x1 - 0.004, a, b, y, material, framed)
        xs = (middle,) if span < 0.65 else (middle - span / 4, middle + span / 4)
        for x in xs:
            parts += pull_parts(pull, x, y + 0.018, (a + b) / 2, False, handle)
    return parts


def books(
    rng: np.random.Generator,
    x0: float,
    x1: float,
    y: float,
    z: float,
    room_h: float,
    depth: float,
    fill: float = 0.9,
) -> list[Mesh]:
    """Make a row of standing books from x0 on; spines face +y.

    Args:
      rng: source of sizes and colours.
      x0: left end of the shelf.
      x1: right end.
      y: back of the books.
      z: upper side of the board they stand on.
      room_h: clear height above the board.
      depth: clear depth of the board.
      fill: chance that a slot of the shelf holds a book.

    Returns:
      One joined mesh in a list, or an empty list.
    """
    parts = []
    x = x0
    while x < x1 - 0.06:
        thick = float(rng.uniform(0.018, 0.055))
        if rng.random() < fill:
            tall = room_h * float(rng.uniform(0.62, 0.94))
            deep = depth * float(rng.uniform(0.6, 0.92))
            cover = Material(any_color(rng))
            parts.append(box((x, y, z), (x + thick, y + deep, z + tall), cover))
            x += thick + 0.001
        else:
            x += float(rng.uniform(0.04, 0.16))
    return [concat(parts)] if parts else []


def trinket(
    rng: np.random.Generator, x: float, y: float, z: float, room_h: float
) -> Mesh:
    """Make a small thing that stands on a shelf: a vase, a ball or a box."""
    material = Material(any_color(rng))
    r = float(rng.uniform(0.04, 0.07))
    tall = min(room_h * 0.7, float(rng.uniform(0.1, 0.22)))
    kind = int(rng.integers(3))
    if kind == 0:
        return cylinder(
            (x, y, z), r * 0.7, tall, material, top_radius=r * 0.45, segments=10
        )
    if kind == 1:
        return ellipsoid((x, y, z + r), (r, r, r), material, segments=10)
    return slab(x, y, z, 2.4 * r, 1.6 * r, tall * 0.7, material)


def plain_white(rng: np.random.Generator) -> Material:
    """Return bright linen or paper."""
    return Material(jitter(rng, (0.92, 0.91, 0.88), 0.02), PLAIN)


def casing(
    w: float, h: float, material: Material, b: float = 0.07, sill: bool = False
) -> list[Mesh]:
    """Make the trim around a hole [-w/2, w/2] x [0, h], with jambs in the wall."""
    x, out, deep = w / 2, 0.022, -0.1
    parts = [
        box((-x - b, 0, -b if sill else 0), (-x, out, h + b), material),
        box((x, 0, -b if sill else 0), (x + b, out, h + b), material),
        box((-x, 0, h), (x, out, h + b), material),
        box((-x, deep, 0), (-x + 0.02, 0.005, h), material),
        box((x - 0.02, deep, 0), (x, 0.005, h), material),
        box((-x + 0.02, deep, h - 0.02), (x - 0.02, 0.005, h), material),
    ]
    if sill:
        parts.append(box((-x, 0, -b), (x, out, 0), material))
    return parts
