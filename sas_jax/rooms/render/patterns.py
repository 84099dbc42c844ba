"""Draw the seamless pattern images of the atlas.

Every pattern is a function `(rng, side, units) -> f32 [side, side, 3]`; `units` is the
number of texture periods across the image. Rows lead along v (up), columns along u.
Values are linear RGB: a factor near 1 on a face's albedo, or the albedo itself.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from sas_jax.rooms.geometry import mesh as m
from sas_jax.rooms.render.paintings import books, outside, picture, screen

Image = Float[np.ndarray, "S S 3"]


def _gray(factor: Float[np.ndarray, "S S"]) -> Image:
    return np.repeat(factor[..., None], 3, axis=2)


def noise(
    rng: np.random.Generator, side: int, cells: tuple[int, int]
) -> Float[np.ndarray, "S S"]:
    """Return smooth seamless noise in [-1, 1] with `cells` (rows, columns) knots."""
    rows, columns = cells
    knots = rng.uniform(-1.0, 1.0, (rows, columns))
    y = np.arange(side) * rows / side
    x = np.arange(side) * columns / side
    i, j = y.astype(int), x.astype(int)
    fy, fx = (y - i)[:, None], (x - j)[None, :]
    fy, fx = fy * fy * (3 - 2 * fy), fx * fx * (3 - 2 * fx)
    i2, j2 = (i + 1) % rows, (j + 1) % columns
    top = knots[np.ix_(i, j)] * (1 - fx) + knots[np.ix_(i, j2)] * fx
    low = knots[np.ix_(i2, j)] * (1 - fx) + knots[np.ix_(i2, j2)] * fx
    return top * (1 - fy) + low * fy


def _cells(side: int, units: float, rows: float = 1.0) -> tuple[np.ndarray, ...]:
    """Texel centres in texture units as (v, u) grids; `rows` scales v."""
    line = (np.arange(side) + 0.5) * units / side
    return np.meshgrid(line * rows, line, indexing="ij")


def _second(rng: np.random.Generator) -> Float[np.ndarray, " 3"]:
    """Second colour of a two-coloured pattern, as a factor on the first."""
    return rng.uniform(0.15, 0.75) * rng.uniform(0.6, 1.3, 3)


def _two_colors(rng: np.random.Generator, mask: Float[np.ndarray, "S S"]) -> Image:
    return 1.0 + mask[..., None] * (_second(rng) - 1.0)


def plain(rng: np.random.Generator, side: int, units: float) -> Image:
    """Return barely visible unevenness."""
    return _gray(1.0 + 0.03 * noise(rng, side, (8, 8)))


def paint(rng: np.random.Generator, side: int, units: float) -> Image:
    """Return roller marks on a painted wall."""
    coarse, fine = noise(rng, side, (6, 6)), noise(rng, side, (64, 64))
    return _gray(1.0 + 0.06 * coarse + 0.04 * fine)


def wood(rng: np.random.Generator, side: int, units: float) -> Image:
    """Return grain along u: long streaks and a few dark lines."""
    streaks = noise(rng, side, (96, 4)) * 0.16 + noise(rng, side, (24, 2)) * 0.2
    warp = noise(rng, side, (4, 4)) * 0.35
    v, _ = _cells(side, units)
    lines = np.clip(np.cos(2 * np.pi * (v + warp)) - 0.8, 0.0, None) * 1.4
    factor = 0.98 + streaks - lines
    tint = np.array([1.0, 0.97, 0.93])
    return _gray(factor) * np.where(factor[..., None] < 0.95, tint, 1.0)


def planks(rng: np.random.Generator, side: int, units: float) -> Image:
    """Return boards along u, one unit wide and four long, staggered."""
    v, u = _cells(side, units)
    row = v.astype(int)
    shift = rng.uniform(0.0, 4.0, int(units))[row]
    board = (((u + shift) / 4.0) % (units / 4.0)).astype(int)
    tone = rng.uniform(0.72, 1.12, (int(units), int(units) + 1))[row, board]
    gap = (v % 1.0 < 0.05) | ((u + shift) % 4.0 < 0.04)
    grain = 1.0 + 0.16 * noise(rng, side, (128, 6))
    return _gray(np.where(gap, 0.45, tone * grain))


def tiles(rng: np.random.Generator, side: int, units: float) -> Image:
    """Return square tiles with bright or dark joints."""
    v, u = _cells(side, units)
    joint = (v % 1.0 < 0.06) | (u % 1.0 < 0.06)
    tone = rng.uniform(0.86, 1.08, (int(units), int(units)))
    level = rng.choice([0.5, 0.65, 1.2])
    return _gray(np.where(joint, level, tone[v.astype(int), u.astype(int)]))


def brick(rng: np.random.Generator, side: int, units: float) -> Image:
    """Return bricks one unit long and a quarter high, in running bond."""
    v, u = _cells(side, units, rows=4.0)
    row = v.astype(int)
    shifted = (u + 0.5 * (row % 2)) % units
    joint = (v % 1.0 < 0.15) | (shifted % 1.0 < 0.05)
    tone = rng.uniform(0.65, 1.15, (int(units * 4), int(units)))
    tone = tone[row, shifted.astype(int)]
    rough = 1.0 + 0.15 * noise(rng, side, (64, 64))
    return _gray(np.where(joint, 1.25, tone * rough))


def fabric(rng: np.random.Generator, side: int, units: float) -> Image:
    """Return a weave of over and under threads with soft unevenness."""
    v, u = _cells(side, units)
    weave = np.where((v.astype(int) + u.astype(int)) % 2 == 0, 1.06, 0.9)
    soft = 0.07 * noise(rng, side, (8, 8)) + 0.07 * noise(rng, side, (64, 64))
    return _gray(weave + soft)


def stripes(rng: np.random.Generator, side: int, units: float) -> Image:
    """Return stripes along v in two colours, some with a thin third line."""
    _, u = _cells(side, units)
    width = rng.uniform(0.25, 0.6)
    image = _two_colors(rng, ((u % 1.0) < width).astype(float))
    if rng.random() < 0.5:
        thin = np.abs(u % 1.0 - 0.5 * (1 + width)) < 0.06
        image[thin] = _second(rng)
    return image


def checker(rng: np.random.Generator, side: int, units: float) -> Image:
    """Return a check: two overlaid bands or a chess board."""
    v, u = _cells(side, units)
    across, along = u % 1.0 < 0.5, v % 1.0 < 0.5
    if rng.random() < 0.5:
        return _two_colors(rng, (across ^ along).astype(float))
    return _two_colors(rng, 0.5 * across + 0.5 * along)


def dots(rng: np.random.Generator, side: int, units: float) -> Image:
    """Return staggered round spots."""
    v, u = _cells(side, units)
    u = u + 0.5 * (v.astype(int) % 2)
    distance = np.hypot(u % 1.0 - 0.5, v % 1.0 - 0.5)
    return _two_colors(rng, (distance < rng.uniform(0.2, 0.36)).astype(float))


def metal(rng: np.random.Generator, side: int, units: float) -> Image:
    """Return fine brush marks along u."""
    return _gray(1.0 + 0.08 * noise(rng, side, (128, 4)))


def marble(rng: np.random.Generator, side: int, units: float) -> Image:
    """Return clouds, veins and speckles."""
    cloud = noise(rng, side, (4, 4)) + 0.5 * noise(rng, side, (11, 11))
    veins = np.exp(-np.abs(cloud + 0.3 * noise(rng, side, (24, 24))) * 14.0)
    speckle = (rng.random((side, side)) < 0.04) * rng.uniform(-0.3, 0.4)
    return _gray(np.clip(1.0 + 0.1 * cloud - 0.35 * veins + speckle, 0.2, 1.5))


_DRAW: dict[int, Callable[[np.random.Generator, int, float], Image]] = {
    m.PLAIN: plain,
    m.WOOD: wood,
    m.TILES: tiles,
    m.FABRIC: fabric,
    m.PAINT: paint,
    m.STRIPES: stripes,
    m.PICTURE: picture,
    m.BOOKS: books,
    m.CHECKER: checker,
    m.METAL: metal,
    m.GLASS: outside,
    m.BRICK: brick,
    m.PLANKS: planks,
    m.MARBLE: marble,
    m.DOTS: dots,
    m.SCREEN: screen,
}


def draw(texture: int, rng: np.random.Generator, side: int, units: float) -> Image:
    """Draw one tile of a texture id of `mesh`."""
    return _DRAW[texture](rng, side, units)
