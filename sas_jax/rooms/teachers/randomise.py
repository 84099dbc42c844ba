"""Random surfaces and light in labelled pictures; shapes stay.

Networks like to tell furniture by its colour and pattern. In a crop whose instances are
known each of them can be covered with another colour and pattern, and another light can
fall across, at no cost of rendering.
"""

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from sas_jax.rooms.catalogue.colors import any_color

_DARKEST = 24.0
"""Mean grey level below which a surface is not made brighter in proportion."""


def repaint(
    rgb: UInt8[np.ndarray, "h w 3"],
    instance: UInt8[np.ndarray, "h w"],
    chance: float,
    rng: np.random.Generator,
) -> tuple[UInt8[np.ndarray, "h w 3"], Bool[np.ndarray, " 256"]]:
    """Cover some instances with another colour, half of them with a pattern.

    Args:
      rgb: a picture.
      instance: the instance of every pixel.
      chance: of an instance to be covered.
      rng: every random choice comes from here.

    Returns:
      The picture, with the shading that it had, and which instances were covered.
    """
    covered = np.zeros(256, bool)
    rgb, flat = rgb.copy(), instance.ravel()
    pixels = rgb.reshape(-1, 3)
    for i in np.flatnonzero(np.bincount(flat)):
        if rng.random() >= chance:
            continue
        covered[i] = True
        at = np.flatnonzero(flat == i)
        old = pixels[at].astype(np.float32)
        grey = old @ np.full(3, 1 / 3, np.float32)
        gain = 255.0 * np.asarray(any_color(rng)) / max(float(grey.mean()), _DARKEST)
        mix = rng.uniform(0.4, 1.0)
        if rng.random() < 0.5:
            grey *= _pattern(*np.divmod(at, instance.shape[1]), rng)
        new = grey[:, None] * (mix * gain).astype(np.float32)
        new += np.float32(1.0 - mix) * old
        pixels[at] = np.minimum(new, 255).astype(np.uint8)
    return rgb, covered


def _pattern(row, column, rng: np.random.Generator) -> Float32[np.ndarray, " N"]:
    """Return stripes or a chequer of any size and direction, as factors about 1."""
    angle, length = rng.uniform(0, np.pi), rng.uniform(2.0, 20.0)
    across = np.float32(np.cos(angle) / length), np.float32(np.sin(angle) / length)
    odd = np.floor(across[0] * column + across[1] * row + np.float32(rng.random()))
    if rng.random() < 0.5:
        odd += np.floor(across[0] * row - across[1] * column)
    depth = np.float32(rng.uniform(0.05, 0.4))
    return 1 + depth * (2 * np.mod(odd, np.float32(2)) - 1)


def relight(
    rgb: UInt8[np.ndarray, "h w 3"], strength: float, rng: np.random.Generator
) -> UInt8[np.ndarray, "h w 3"]:
    """Let light fall across a picture from one side, half the time with a shadow.

    Args:
      rgb: a picture.
      strength: the brightest side may be exp(strength) times as bright as the middle.
      rng: every random choice comes from here.
    """
    height, width = rgb.shape[:2]
    row = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    column = np.linspace(-1, 1, width, dtype=np.float32)[None]

    def across() -> np.ndarray:
        angle = rng.uniform(0, 2 * np.pi)
        return np.float32(np.cos(angle)) * column + np.float32(np.sin(angle)) * row

    light = np.exp(across() * np.float32(strength * rng.uniform(0, 0.7)))
    if rng.random() < 0.5:
        dark, sharp = rng.uniform(0.0, 0.6), np.float32(rng.uniform(2.0, 20.0))
        edge = sharp * (across() - np.float32(rng.uniform(-0.8, 0.8)))
        light *= 1 - np.float32(dark) * np.clip(edge + np.float32(0.5), 0, 1)
    return np.minimum(rgb * light[..., None], 255).astype(np.uint8)
