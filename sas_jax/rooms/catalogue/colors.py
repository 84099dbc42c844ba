"""Random materials, and everyday names of colours.

Fabrics and small things come in any colour. Furniture fronts, floors and tiles mostly
come in what houses are painted with: whites, grays and muted tones. Wood tones, metal
and sanitary white have their own narrow ranges.
"""

import colorsys
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from sas_jax.rooms.geometry.mesh import (
    CHECKER,
    DOTS,
    FABRIC,
    MARBLE,
    METAL,
    PAINT,
    PLAIN,
    STRIPES,
    WOOD,
    Material,
)

Color = tuple[float, float, float]
_T = TypeVar("_T")

_WOODS = (
    (0.80, 0.65, 0.45),
    (0.68, 0.47, 0.28),
    (0.55, 0.36, 0.20),
    (0.42, 0.26, 0.16),
    (0.28, 0.18, 0.12),
    (0.86, 0.76, 0.60),
    (0.60, 0.32, 0.18),
)
_METALS = (
    (0.72, 0.73, 0.75),
    (0.55, 0.56, 0.58),
    (0.12, 0.12, 0.13),
    (0.78, 0.66, 0.36),
    (0.88, 0.88, 0.88),
)
_HUES = (
    (0.03, "red"),
    (0.105, "orange"),
    (0.19, "yellow"),
    (0.45, "green"),
    (0.54, "turquoise"),
    (0.70, "blue"),
    (0.82, "purple"),
    (0.94, "pink"),
    (1.01, "red"),
)


def color_name(color: Color) -> str:
    """Return the everyday name of an sRGB colour in [0, 1]."""
    hue, saturation, value = colorsys.rgb_to_hsv(*color)
    if value < 0.2:
        return "black"
    if saturation < 0.13:
        return "white" if value > 0.8 else "gray"
    name = next(name for limit, name in _HUES if hue < limit)
    if name in ("red", "orange", "yellow"):
        if saturation < 0.42 and value > 0.68:
            return "beige"
        if (name != "red" and value < 0.75) or (saturation < 0.6 and value < 0.65):
            return "brown"
    if name == "red" and saturation < 0.5 and value > 0.7:
        return "pink"
    # Dark magenta is called purple, only bright magenta pink.
    return "purple" if name == "pink" and value < 0.5 else name


def pick(rng: np.random.Generator, options: Sequence[_T]) -> _T:
    """Return one of the options with equal chance."""
    return options[int(rng.integers(len(options)))]


def seed(rng: np.random.Generator) -> int:
    """Return a fresh pattern seed."""
    return int(rng.integers(1 << 30))


def jitter(rng: np.random.Generator, color: Color, amount: float = 0.04) -> Color:
    """Return the colour with brightness and tint slightly changed."""
    gain = 1.0 + rng.uniform(-2 * amount, 2 * amount)
    shifted = np.asarray(color) * gain + rng.uniform(-amount, amount, 3)
    red, green, blue = np.clip(shifted, 0.02, 0.98)
    return float(red), float(green), float(blue)


def any_color(rng: np.random.Generator) -> Color:
    """Return a colour of any hue; a third of the draws are white, gray or black."""
    if rng.random() < 0.35:
        return jitter(rng, (float(rng.choice([0.1, 0.3, 0.5, 0.7, 0.88, 0.93])),) * 3)
    hsv = rng.random(), rng.uniform(0.25, 0.9), rng.uniform(0.25, 0.95)
    return colorsys.hsv_to_rgb(*(float(v) for v in hsv))


def household_color(rng: np.random.Generator) -> Color:
    """Return what laminates, carpets and tiles come in: a tenth is a strong colour."""
    kind = rng.random()
    if kind < 0.45:
        warmth, level = rng.uniform(0.0, 0.14), rng.uniform(0.78, 0.94)
        return jitter(
            rng, (level, level * (1 - warmth / 3), level * (1 - warmth)), 0.02
        )
    if kind < 0.65:
        return jitter(rng, (float(rng.uniform(0.08, 0.72)),) * 3, 0.02)
    if kind < 0.9:
        hsv = rng.random(), rng.uniform(0.08, 0.35), rng.uniform(0.35, 0.88)
        return colorsys.hsv_to_rgb(*(float(v) for v in hsv))
    return any_color(rng)


def shade(material: Material, factor: float) -> Material:
    """Return the same material, darker or brighter."""
    red, green, blue = (min(0.98, max(0.02, c * factor)) for c in material.color)
    return Material(
        (red, green, blue), material.texture, material.scale_m, material.seed
    )


def wood(rng: np.random.Generator) -> Material:
    """Return a wooden surface."""
    color = jitter(rng, pick(rng, _WOODS))
    return Material(color, WOOD, float(rng.uniform(0.06, 0.16)), seed(rng))


def paint(rng: np.random.Generator) -> Material:
    """Return a painted or laminated surface."""
    return Material(
        household_color(rng), int(rng.choice([PLAIN, PAINT])), 0.3, seed(rng)
    )


def white(rng: np.random.Generator) -> Material:
    """Return a sanitary surface: mostly white, sometimes cream, gray or pastel."""
    base = (0.93, 0.93, 0.92)
    if rng.random() < 0.2:
        base = pick(
            rng,
            (
                (0.88, 0.84, 0.74),
                (0.75, 0.77, 0.80),
                (0.80, 0.86, 0.88),
                (0.88, 0.78, 0.78),
            ),
        )
    return Material(jitter(rng, base, 0.02), PLAIN, 1.0, seed(rng))


def metal(rng: np.random.Generator) -> Material:
    """Return a metal surface: steel, black, brass or white enamel."""
    return Material(jitter(rng, pick(rng, _METALS), 0.02), METAL, 0.2, seed(rng))


def chrome(rng: np.random.Generator) -> Material:
    """Return the bright metal of taps and handles."""
    return Material(jitter(rng, (0.74, 0.75, 0.77), 0.02), METAL, 0.2, seed(rng))


def steel(rng: np.random.Generator) -> Material:
    """Return the skin of appliances: brushed steel or black."""
    color = (0.68, 0.69, 0.70) if rng.random() < 0.7 else (0.12, 0.12, 0.13)
    return Material(jitter(rng, color, 0.03), METAL, 0.2, seed(rng))


def fabric(rng: np.random.Generator) -> Material:
    """Return upholstery or bed linen: any colour, half of the time with a pattern."""
    textures = (FABRIC, FABRIC, FABRIC, PLAIN, STRIPES, CHECKER, DOTS)
    texture = pick(rng, textures)
    scale = 0.02 if texture == FABRIC else float(rng.uniform(0.06, 0.25))
    return Material(any_color(rng), texture, scale, seed(rng))


def front(rng: np.random.Generator) -> Material:
    """Return what furniture fronts are made of: wood or paint."""
    return wood(rng) if rng.random() < 0.5 else paint(rng)


def stone(rng: np.random.Generator) -> Material:
    """Return a worktop: stone, wood or laminate."""
    if rng.random() < 0.5:
        level = float(rng.choice([0.15, 0.35, 0.6, 0.85]))
        color = jitter(rng, (level, level, level))
        return Material(color, MARBLE, 0.4, seed(rng))
    return front(rng)


def dark(rng: np.random.Generator) -> Material:
    """Return dark plastic or rubber."""
    return Material(jitter(rng, (0.09, 0.09, 0.10), 0.02), PLAIN, 1.0, seed(rng))
