"""Draw the images whose content is their own colour: art, books, views, screens.

Same signature as in `patterns`: `(rng, side, units) -> f32 [side, side, 3]`, linear
RGB, row 0 at the bottom.
"""

import colorsys

import numpy as np
from jaxtyping import Float

Image = Float[np.ndarray, "S S 3"]
Color = Float[np.ndarray, " 3"]
GAMMA = 2.2


def color(
    rng: np.random.Generator,
    saturation: tuple[float, float] = (0.2, 0.9),
    value: tuple[float, float] = (0.2, 0.95),
) -> Color:
    """Draw a colour of any hue, linear RGB."""
    hsv = rng.random(), rng.uniform(*saturation), rng.uniform(*value)
    return np.asarray(colorsys.hsv_to_rgb(*(float(x) for x in hsv))) ** GAMMA


def _grid(side: int) -> tuple[np.ndarray, np.ndarray]:
    line = (np.arange(side) + 0.5) / side
    return np.meshgrid(line, line, indexing="ij")


def _gradient(side: int, low: Color, high: Color) -> Image:
    v, _ = _grid(side)
    return low + (high - low) * v[..., None]


def _hills(
    rng: np.random.Generator, image: Image, horizon: float, near: Color, far: Color
) -> None:
    """Paint overlapping ridges in place, far ones first."""
    v, u = _grid(len(image))
    for step in np.linspace(0.0, 1.0, 4):
        wave = sum(
            rng.uniform(0.02, 0.05) * np.sin(2 * np.pi * (f * u + rng.random()))
            for f in (1, 2, 5)
        )
        ridge = horizon * (1.0 - 0.75 * step) + wave
        image[v < ridge] = far + (near - far) * step


def _landscape(rng: np.random.Generator, side: int) -> Image:
    low, high = color(rng, (0.1, 0.5), (0.75, 1.0)), color(rng, (0.2, 0.8), (0.5, 0.95))
    image = _gradient(side, low, high)
    v, u = _grid(side)
    sun = np.hypot(u - rng.uniform(0.2, 0.8), v - rng.uniform(0.6, 0.85))
    image[sun < rng.uniform(0.04, 0.1)] = color(rng, (0.2, 0.6), (0.9, 1.0))
    near, far = color(rng, value=(0.1, 0.4)), color(rng, value=(0.4, 0.7))
    _hills(rng, image, rng.uniform(0.35, 0.6), near, far)
    return image


def _shapes(rng: np.random.Generator, side: int) -> Image:
    image = np.tile(color(rng, (0.0, 0.4), (0.6, 1.0)), (side, side, 1))
    v, u = _grid(side)
    for _ in range(int(rng.integers(4, 10))):
        x, y, size = rng.random(), rng.random(), rng.uniform(0.08, 0.3)
        if rng.random() < 0.5:
            mask = np.hypot(u - x, v - y) < size
        else:
            mask = (np.abs(u - x) < size) & (np.abs(v - y) < size * rng.uniform(0.3, 1))
        image[mask] = color(rng)
    return image


def _portrait(rng: np.random.Generator, side: int) -> Image:
    image = _gradient(side, color(rng, value=(0.1, 0.4)), color(rng, value=(0.2, 0.6)))
    v, u = _grid(side)
    skin = np.array([0.85, 0.62, 0.48]) ** GAMMA * rng.uniform(0.4, 1.1)
    image[np.hypot((u - 0.5) / 0.42, (v - 0.02) / 0.4) < 1.0] = color(rng)
    image[np.hypot((u - 0.5) / 0.21, (v - 0.62) / 0.29) < 1.0] = color(
        rng, (0.2, 0.6), (0.1, 0.5)
    )
    image[np.hypot((u - 0.5) / 0.16, (v - 0.57) / 0.22) < 1.0] = skin
    return image


def _bands(rng: np.random.Generator, side: int) -> Image:
    edges = np.sort(rng.random(int(rng.integers(3, 7))))
    palette = np.stack([color(rng) for _ in range(len(edges) + 1)])
    v, u = _grid(side)
    angle = rng.uniform(0.0, np.pi)
    along = (u - 0.5) * np.cos(angle) + (v - 0.5) * np.sin(angle) + 0.5
    return palette[np.searchsorted(edges, along)]


def picture(rng: np.random.Generator, side: int, units: float) -> Image:
    """Return a picture: landscape, shapes, portrait or bands, mostly with a mat."""
    kinds = (_landscape, _shapes, _portrait, _bands)
    image = kinds[int(rng.integers(len(kinds)))](rng, side)
    if rng.random() < 0.6:
        v, u = _grid(side)
        border = rng.uniform(0.05, 0.16)
        mat = np.minimum(np.minimum(u, 1 - u), np.minimum(v, 1 - v)) < border
        image[mat] = rng.uniform(0.75, 0.9)
    return image


def books(rng: np.random.Generator, side: int, units: float) -> Image:
    """Return book backs side by side, one row high, with gaps above short ones."""
    image = np.full((side, side, 3), 0.02)
    start = 0
    while start < side:
        width = int(rng.integers(side // 28, side // 11))
        height = int(side * rng.uniform(0.72, 1.0))
        back = image[:height, start : start + width]
        back[:] = color(rng, (0.1, 0.9), (0.2, 0.95))
        for place in rng.uniform(0.1, 0.9, int(rng.integers(0, 3))):
            row = int(place * height)
            back[row : row + side // 24] = color(rng, (0.0, 0.4), (0.5, 1.0))
        back[:, -1:] *= 0.3
        start += width
    return image


def outside(rng: np.random.Generator, side: int, units: float) -> Image:
    """Return what is seen through a window: bright sky over trees or houses."""
    sky = np.array([0.62, 0.78, 1.0]) * rng.uniform(0.85, 1.1)
    image = _gradient(side, np.array([1.05, 1.05, 1.05]), sky)
    horizon = rng.uniform(0.2, 0.45)
    if rng.random() < 0.5:
        green = np.array([0.16, 0.32, 0.1]) * rng.uniform(0.7, 1.6)
        _hills(rng, image, horizon, green, np.array([0.45, 0.6, 0.5]))
        return image
    for left in np.arange(0.0, 1.0, 0.2) + rng.uniform(-0.06, 0.06, 5):
        rows = int(side * horizon * rng.uniform(0.5, 1.5))
        first, last = int(max(left, 0) * side), int((left + 0.17) * side)
        wall = color(rng, (0.05, 0.4), (0.5, 0.85))
        image[:rows, first:last] = wall
        for y in range(side // 20, rows - side // 24, side // 12):
            for x in range(first + side // 40, last - side // 40, side // 20):
                image[y : y + side // 24, x : x + side // 40] = wall * 0.3
    return image


def screen(rng: np.random.Generator, side: int, units: float) -> Image:
    """Return a screen: off with a sheen, or on with windows of text."""
    v, u = _grid(side)
    if rng.random() < 0.5:
        sheen = np.clip(0.15 - np.abs(u + 0.6 * v - rng.uniform(0.5, 1.1)), 0, None)
        return 0.015 + sheen[..., None] * np.array([0.5, 0.55, 0.6])
    image = _gradient(side, color(rng, value=(0.1, 0.5)), color(rng, value=(0.2, 0.7)))
    x0, x1 = int(side * rng.uniform(0.05, 0.3)), int(side * rng.uniform(0.6, 0.95))
    y0, y1 = int(side * rng.uniform(0.1, 0.3)), int(side * rng.uniform(0.7, 0.92))
    image[y0:y1, x0:x1] = rng.choice([0.03, 0.8])
    for row in range(y0 + side // 32, y1 - side // 32, side // 20):
        end = x0 + int((x1 - x0) * rng.uniform(0.3, 0.95))
        image[row : row + side // 64, x0 + side // 40 : end] = color(rng)
    return image
