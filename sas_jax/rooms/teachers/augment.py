"""Training crops: scale, flip, surfaces, light, blur, low resolution and noise.

The teachers also look at synthesized 64 x 64 images that were enlarged, so a share of
the crops is shrunk and enlarged again, and close-ups are common.
"""

import dataclasses

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from sas_jax.rooms.teachers.data import RoomFrames
from sas_jax.rooms.teachers.randomise import relight, repaint


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
    """Set the crops.

    Attributes:
      crop: side of a training crop in pixels, a multiple of 16.
      zoom: range of magnifications, drawn log-uniformly.
      low_resolution: chance of shrinking to a side drawn from `low_sides` first.
      low_sides: range of that side.
      blur: chance of a Gaussian blur.
      noise: chance of pixel noise, up to `noise_sigma` grey levels.
      noise_sigma: see `noise`.
      grid_stride: labels come out at crop / grid_stride.
      stretch: most that a crop is made wider or higher than it was, as a factor.
      repaint: chance of an instance to get another colour and pattern.
      light: strength of a light that falls across the crop; see `relight`.
    """

    crop: int = 144
    zoom: tuple[float, float] = (0.75, 1.3)
    low_resolution: float = 0.25
    low_sides: tuple[int, int] = (40, 110)
    blur: float = 0.15
    noise: float = 0.5
    noise_sigma: float = 7.0
    grid_stride: int = 2
    stretch: float = 1.0
    repaint: float = 0.0
    light: float = 0.0


RANDOMISED = AugmentConfig(stretch=1.35, repaint=0.4, light=0.8)
"""Crops of furniture that looks like none in the catalogue."""


@dataclasses.dataclass(frozen=True)
class Batch:
    """Hold augmented crops.

    Attributes:
      rgb: uint8 [B, crop, crop, 3].
      label: uint8 [B, g, g] true classes on the output grid; 255 where nothing was hit.
      instance: uint8 [B, g, g]; 0 where nothing was hit.
      frame: int64 [B], which frame each crop is from.
      repainted: bool [B, g, g], where the instance's caption is no longer true.
    """

    rgb: UInt8[np.ndarray, "B c c 3"]
    label: UInt8[np.ndarray, "B g g"]
    instance: UInt8[np.ndarray, "B g g"]
    frame: np.ndarray
    repainted: Bool[np.ndarray, "B g g"]


def draw_batch(
    frames: RoomFrames,
    size: int,
    config: AugmentConfig,
    rng: np.random.Generator,
) -> Batch:
    """Draw frames at random and augment one crop of each.

    Args:
      frames: pictures, labels and instances.
      size: B.
      config: the augmentation.
      rng: every random choice comes from here.
    """
    chosen = rng.integers(len(frames.rgb), size=size)
    crops = [
        _crop(frames.rgb[i], frames.label[i], frames.instance[i], config, rng)
        for i in chosen
    ]
    rgb, label, instance, new = (np.stack(part) for part in zip(*crops, strict=True))
    return Batch(rgb, label, instance, chosen, new)


def _crop(rgb, label, instance, config: AugmentConfig, rng: np.random.Generator):
    height, width = label.shape
    zoom = np.exp(rng.uniform(*np.log(config.zoom)))
    side, half = config.crop / zoom, 0.5 * np.log(config.stretch)
    longer = np.exp(rng.uniform(-half, half))
    tall, wide = int(min(side * longer, height)), int(min(side / longer, width))
    top, left = rng.integers(height - tall + 1), rng.integers(width - wide + 1)
    window = np.s_[top : top + tall, left : left + wide]
    flip = np.s_[:, ::-1] if rng.random() < 0.5 else np.s_[:, :]
    picture, label, instance = (
        np.ascontiguousarray(m[window][flip]) for m in (rgb, label, instance)
    )
    covered = np.zeros(256, bool)
    if config.repaint:
        picture, covered = repaint(picture, instance, config.repaint, rng)
    if config.light:
        picture = relight(picture, config.light, rng)
    picture = _recolour(_degrade(picture, config, rng), config, rng)
    grid = (config.crop // config.grid_stride,) * 2
    label, instance = (
        cv2.resize(m, grid, interpolation=cv2.INTER_NEAREST_EXACT)
        for m in (label, instance)
    )
    return picture, label, instance, covered[instance]


def _degrade(
    rgb: UInt8[np.ndarray, "h w 3"], config: AugmentConfig, rng: np.random.Generator
) -> UInt8[np.ndarray, "c c 3"]:
    """Resize to the crop, sometimes by way of a few pixels only, sometimes blurred."""
    if rng.random() < config.low_resolution:
        low = int(rng.integers(*config.low_sides))
        rgb = cv2.resize(rgb, (low, low), interpolation=cv2.INTER_AREA)
    how = cv2.INTER_AREA if min(rgb.shape[:2]) > config.crop else cv2.INTER_LINEAR
    if rng.random() < 0.3:
        how = cv2.INTER_CUBIC
    rgb = cv2.resize(rgb, (config.crop, config.crop), interpolation=how)
    if rng.random() < config.blur:
        rgb = cv2.GaussianBlur(rgb, (0, 0), float(rng.uniform(0.5, 1.8)))
    return rgb


def _recolour(
    rgb: UInt8[np.ndarray, "c c 3"], config: AugmentConfig, rng: np.random.Generator
) -> UInt8[np.ndarray, "c c 3"]:
    """Change saturation, white balance, brightness, contrast and gamma; add noise."""
    saturation = rng.uniform(0.6, 1.3)
    gains = rng.uniform(0.88, 1.12, 3) * rng.uniform(0.7, 1.3)
    offset = rng.uniform(-20.0, 20.0)
    mix = saturation * np.eye(3) + (1.0 - saturation) / 3.0
    matrix = np.concatenate([np.diag(gains) @ mix, np.full((3, 1), offset)], 1)
    rgb = cv2.transform(rgb, matrix)
    levels = np.linspace(0.0, 1.0, 256) ** rng.uniform(0.8, 1.25)
    rgb = cv2.LUT(rgb, (255.0 * levels).astype(np.uint8))
    if rng.random() < config.noise:
        sigma = np.float32(rng.uniform(0.0, config.noise_sigma))
        grain: Float32[np.ndarray, "c c 3"] = rng.standard_normal(rgb.shape, np.float32)
        rgb = np.clip(rgb + sigma * grain, 0, 255).astype(np.uint8)
    return rgb
