"""Floor and walls, with holes where windows and doors are."""

import itertools

import numpy as np

from sas_jax.rooms.catalogue.base import Draft, Object, finish
from sas_jax.rooms.catalogue.colors import (
    any_color,
    household_color,
    jitter,
    pick,
    seed,
    wood,
)
from sas_jax.rooms.geometry.mesh import (
    BRICK,
    CHECKER,
    DOTS,
    FABRIC,
    MARBLE,
    PAINT,
    PLANKS,
    STRIPES,
    TILES,
    Material,
    Mesh,
    concat,
    transform,
)
from sas_jax.rooms.geometry.shapes import box
from sas_jax.rooms.layout.placer import Placer
from sas_jax.rooms.layout.room import PlacedObject

WALL_THICKNESS_M = 0.16
_BOARD_M = (0.012, 0.08)


def _floor_material(rng: np.random.Generator, wet: bool) -> Material:
    """Planks, carpet, tiles or concrete; wet rooms have tiles."""
    gray = float(rng.uniform(0.35, 0.85))
    choice = int(rng.integers(3, 6)) if wet else int(rng.integers(0, 5))
    if choice <= 1:
        base = wood(rng)
        return Material(base.color, PLANKS, float(rng.uniform(0.09, 0.18)), seed(rng))
    if choice == 2:
        return Material(household_color(rng), FABRIC, 0.03, seed(rng))
    if choice == 3:
        tint = jitter(rng, (gray, gray, gray * 0.95))
        return Material(tint, TILES, float(rng.uniform(0.2, 0.6)), seed(rng))
    if choice == 4:
        tint = jitter(rng, (gray, gray, gray))
        texture = pick(rng, (PAINT, MARBLE))
        return Material(tint, texture, 0.8, seed(rng))
    scale = float(rng.uniform(0.3, 0.6))
    return Material(household_color(rng), CHECKER, scale, seed(rng))


def _wall_color(rng: np.random.Generator) -> tuple[float, float, float]:
    """Mostly light tints, sometimes a strong colour."""
    color = np.asarray(any_color(rng))
    if rng.random() < 0.12:
        color = color * max(1.0, 0.4 / color.max())
    else:
        light = float(rng.uniform(0.75, 0.95))
        color = light * (0.8 + 0.2 * color / color.max())
    red, green, blue = (float(v) for v in color)
    return red, green, blue


def _wall_material(rng: np.random.Generator) -> Material:
    texture = pick(rng, (PAINT, PAINT, PAINT, PAINT, STRIPES, DOTS, BRICK))
    scale = {STRIPES: rng.uniform(0.1, 0.4), DOTS: rng.uniform(0.1, 0.3)}
    return Material(
        _wall_color(rng), texture, float(scale.get(texture, 0.25)), seed(rng)
    )


def _panels(
    length: float,
    low: float,
    high: float,
    holes: list[tuple[float, float, float, float]],
    material: Material,
) -> list[Mesh]:
    """Boxes that fill the strip z in [low, high] of a wall around its holes."""
    cuts = {-WALL_THICKNESS_M, length + WALL_THICKNESS_M}
    for u0, u1, _, _ in holes:
        cuts |= {u0, u1}
    edges = sorted(cuts)
    parts = []
    for left, right in itertools.pairwise(edges):
        spans = [(low, high)]
        for u0, u1, z0, z1 in holes:
            if u0 <= left and right <= u1:
                spans = [
                    piece
                    for a, b in spans
                    for piece in ((a, min(b, z0)), (max(a, z1), b))
                ]
        for a, b in spans:
            if b - a > 1e-3 and right - left > 1e-3:
                parts.append(
                    box((left, -WALL_THICKNESS_M, a), (right, 0.0, b), material)
                )
    return parts


def _baseboard(length: float, holes: list, material: Material) -> list[Mesh]:
    """A skirting board that stops at doors."""
    edges = [0.0]
    for u0, u1, z0, _ in sorted(holes):
        if z0 < _BOARD_M[1]:
            edges += [u0 - 0.1, u1 + 0.1]
    edges.append(length)
    return [
        box((a, 0.0, 0.0), (b, _BOARD_M[0], _BOARD_M[1]), material)
        for a, b in zip(edges[::2], edges[1::2], strict=True)
        if b - a > 0.02
    ]


def _wrap(class_name: str, parts: list[Mesh]) -> Object:
    """Make an object whose frame is the one its parts are given in."""
    thing = finish(class_name, 0, Draft(class_name, parts, "floor"))
    mesh = concat(parts)
    return Object(
        class_name,
        0,
        class_name,
        mesh,
        thing.size_m,
        "floor",
        0.0,
        thing.color,
        thing.color_name,
    )


def build_shell(placer: Placer, wet: bool) -> list[PlacedObject]:
    """Build the floor (instance 1) and the walls (instances 2 to 5).

    Args:
      placer: room with its openings decided.
      wet: tile the floor and the lower walls.

    Returns:
      Five placed objects; wall meshes are 16 cm thick and stand outside the room.
    """
    rng = placer.rng
    width, depth, height = placer.size_m
    t = WALL_THICKNESS_M
    ground = box((-t, -t, -0.1), (width + t, depth + t, 0.0), _floor_material(rng, wet))
    thing = _wrap("floor", [ground])
    shell = [PlacedObject(thing, 1, (0.0, 0.0, 0.0), 0.0, thing.mesh)]
    common = _wall_material(rng)
    accent = int(rng.integers(4)) if rng.random() < 0.3 else -1
    accent_material = _wall_material(rng)
    tile_top = float(rng.choice([1.2, 1.6, height])) if wet else 0.0
    gray = float(rng.uniform(0.6, 0.95))
    tile_color = household_color(rng) if rng.random() < 0.4 else (gray, gray, gray)
    tiles = Material(tile_color, TILES, float(rng.choice([0.1, 0.15, 0.25, 0.4])))
    board = Material(jitter(rng, (0.9, 0.9, 0.88)))
    has_board = not wet and rng.random() < 0.7
    for wall in range(4):
        paper = accent_material if wall == accent else common
        length, holes = placer.wall_length(wall), placer.openings[wall]
        parts = []
        if tile_top > 0.0:
            parts += _panels(length, 0.0, tile_top, holes, tiles)
        if tile_top < height:
            parts += _panels(length, tile_top, height, holes, paper)
        if has_board:
            parts += _baseboard(length, holes, board)
        thing = _wrap("wall", parts)
        x, y = placer.wall_point(wall, 0.0, 0.0)
        yaw = wall * np.pi / 2
        mesh = transform(thing.mesh, rotate_z=yaw, translate=(x, y, 0.0))
        spot = (float(x), float(y), 0.0)
        shell.append(PlacedObject(thing, wall + 2, spot, yaw, mesh))
    return shell
