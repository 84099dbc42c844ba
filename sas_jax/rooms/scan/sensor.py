"""What a cheap colour-and-depth camera makes of a perfect image.

Colour: vignetting, exposure, white balance, slight blur, gamma, shot and read noise.
Depth: noise that grows with the square of the distance (structured light), holes at
grazing angles, at depth edges and far away, millimetre steps.
"""

import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy import ndimage

from sas_jax.rooms.render.paintings import GAMMA
from sas_jax.rooms.render.renderer import Rendered
from sas_jax.rooms.scan.config import SensorConfig


def apply_sensor(
    rendered: Rendered, rng: np.random.Generator, config: SensorConfig | None = None
) -> tuple[UInt8[np.ndarray, "H W 3"], Float[np.ndarray, "H W"]]:
    """Return what a camera would have recorded.

    Args:
      rendered: the perfect view; stays as it is.
      rng: source of every random choice.
      config: strength of the effects; None means the defaults.

    Returns:
      rgb: u8 [H, W, 3].
      depth_m: f32 [H, W], whole millimetres; 0 = no reading.
    """
    config = config or SensorConfig()
    color = _color(rendered.rgb, rng, config)
    return color, _depth(rendered, rng, config)


def _color(
    rgb: UInt8[np.ndarray, "H W 3"], rng: np.random.Generator, config: SensorConfig
) -> UInt8[np.ndarray, "H W 3"]:
    height, width = rgb.shape[:2]
    table = ((np.arange(256) / 255.0) ** GAMMA).astype(np.float32)
    light = table[rgb]
    y = (np.arange(height, dtype=np.float32) - 0.5 * height)[:, None] / (0.5 * width)
    x = (np.arange(width, dtype=np.float32) - 0.5 * width)[None] / (0.5 * width)
    loss = np.float32(rng.uniform(0.0, config.vignette) / 1.5625)
    gain = np.float32(2.0 ** np.clip(rng.normal(0.0, config.exposure_stops), -0.6, 0.6))
    balance = np.exp(rng.normal(0.0, config.white_balance, 3) * [1.0, 0.3, 1.0])
    light *= (gain * (1.0 - loss * (x * x + y * y)))[..., None]
    light *= balance.astype(np.float32)
    sigma = rng.uniform(*config.blur_px) * width / 320.0
    light = ndimage.gaussian_filter(light, (sigma, sigma, 0.0), truncate=3.0)
    # Noise is mixed by the colour filter array, so neighbours share a part of it.
    noise = rng.standard_normal(light.shape, np.float32)
    light += (
        noise
        * np.sqrt(
            np.float32(config.read**2)
            + np.float32(config.shot**2) * np.maximum(light, 0.0)
        )
        * np.float32(0.5)
    )
    contrast = np.float32(np.exp(rng.normal(0.0, config.gamma)) / GAMMA)
    display = np.clip(light, 0.0, 1.0) ** contrast
    return (display * np.float32(255.0) + np.float32(0.5)).astype(np.uint8)


def _edges(depth_m: Float[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    """Tell which pixels have a neighbour at a clearly different depth."""
    edge = np.zeros(depth_m.shape, bool)
    limit = np.float32(0.04)
    for axis in (0, 1):
        a = np.take(depth_m, range(depth_m.shape[axis] - 1), axis)
        b = np.take(depth_m, range(1, depth_m.shape[axis]), axis)
        jump = np.abs(a - b) > limit * np.minimum(a, b)
        low = [(0, 1) if k == axis else (0, 0) for k in (0, 1)]
        high = [(1, 0) if k == axis else (0, 0) for k in (0, 1)]
        edge |= np.pad(jump, low) | np.pad(jump, high)
    return edge


def _depth(
    rendered: Rendered, rng: np.random.Generator, config: SensorConfig
) -> Float[np.ndarray, "H W"]:
    depth = rendered.depth_m
    shape = depth.shape
    sigma = np.float32(config.depth_noise) * depth * depth
    fine = rng.standard_normal(shape, np.float32)
    coarse = rng.standard_normal((shape[0] // 6 + 2, shape[1] // 6 + 2), np.float32)
    rows = np.arange(shape[0]) // 6
    blocks = coarse[rows[:, None], np.arange(shape[1]) // 6]
    noisy = depth + sigma * (np.float32(0.8) * fine + np.float32(0.6) * blocks)
    chance = rng.random(shape, np.float32)
    grazing = chance * np.float32(config.min_cosine) > rendered.cosine
    hole = grazing | (_edges(depth) & (chance < np.float32(config.edge_loss)))
    hole |= (depth <= 0.0) | (noisy > config.max_depth_m) | (noisy < 0.2)
    hole |= chance > np.float32(0.998)
    millimetres = np.round(np.where(hole, 0.0, noisy) * np.float32(1000.0))
    return (millimetres / np.float32(1000.0)).astype(np.float32)
