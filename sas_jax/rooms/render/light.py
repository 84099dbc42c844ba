"""Light that reaches points of a room: sky from above, lamps with soft shadows.

Light is linear RGB. The radiance towards the eye is
`albedo * (sky * openness + sum of lamps) + gloss * highlights`: the sky lights faces
that look up most (the room has no ceiling), `openness` darkens corners and contacts,
and a lamp counts where shadow rays reach it.

Every other pixel traces one ray per effect. Neighbouring pixels aim at different places
of a lamp and in different directions of the half space; averages over 4 x 4 pixels turn
the pattern into soft shadows (`Patch.smooth`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from sas_jax.rooms.geometry.cast import Caster
from sas_jax.rooms.layout import Light
from sas_jax.rooms.render.paintings import GAMMA

# Shadow and openness rays start this far off their surface.
_LIFT_M = np.float32(2e-3)
_LAMP_RADIUS_M = np.float32(0.10)
_REACH_M = 0.5
_WINDOW = 4
_TINY = np.float32(1e-3)
# Sixteen well spread points of [-1, 1]^3, in the order of a dither matrix.
_ORDER = np.array([0, 8, 2, 10, 12, 4, 14, 6, 3, 11, 1, 9, 15, 7, 13, 5])
SPREAD = ((_ORDER[:, None] * np.array([1, 7, 11]) % 16 + 0.5) / 8.0 - 1.0).astype(
    np.float32
)


def dot(
    a: Float[np.ndarray, "N 3"], b: Float[np.ndarray, "N 3"]
) -> Float[np.ndarray, " N"]:
    """Return row-wise dot products in a fixed order of operations."""
    return a[:, 0] * b[:, 0] + a[:, 1] * b[:, 1] + a[:, 2] * b[:, 2]


@dataclass(frozen=True)
class Patch:
    """Points to light; mostly the pixels of one image.

    Attributes:
      pixel: i32 [N], row * width + column; None for points that form no image, whose
        light is then not averaged over neighbours.
      size_wh: width and height of the image.
      position: f32 [N, 3], metres.
      normal: f32 [N, 3], unit, towards the viewer.
      toward_eye: f32 [N, 3], unit.
    """

    pixel: Int[np.ndarray, " N"] | None
    size_wh: tuple[int, int]
    position: Float[np.ndarray, "N 3"]
    normal: Float[np.ndarray, "N 3"]
    toward_eye: Float[np.ndarray, "N 3"]

    def spread(self) -> Float[np.ndarray, "N 3"]:
        """Return a point of [-1, 1]^3 for each pixel; 4 x 4 pixels have all 16."""
        width, height = self.size_wh
        cell = (np.arange(height)[:, None] % 4) * 4 + np.arange(width) % 4
        return SPREAD[cell.ravel()[self.pixel]]

    @cached_property
    def traced(self) -> Bool[np.ndarray, " N"]:
        """Tell which points trace rays: in an image every other one, as in chess."""
        if self.pixel is None:
            return np.ones(len(self.position), bool)
        row, column = np.divmod(self.pixel, self.size_wh[0])
        return (row + column) % 2 == 0

    def smooth(
        self, value: Float[np.ndarray, " M"], at: Int[np.ndarray, " M"]
    ) -> Float[np.ndarray, " N"]:
        """Spread values of some points over all: averages over 4 x 4 pixels.

        Args:
          value: f32, in [0, 1].
          at: i32, which points have them.

        Returns:
          f32, an average for every point; 1 where no point near has a value.
        """
        if self.pixel is None:
            full = np.ones(len(self.position), np.float32)
            full[at] = value
            return full
        total = self._window(self._place[at], value)
        count = self._window(self._place[at], np.ones_like(value))
        return (total + _TINY) / (count + _TINY)

    @cached_property
    def _place(self) -> Int[np.ndarray, " N"]:
        """Index of each pixel in an image with a margin of half a window."""
        assert self.pixel is not None  # `smooth` asks for no others
        row, column = np.divmod(self.pixel, self.size_wh[0])
        return (row + 2) * (self.size_wh[0] + _WINDOW) + column + 2

    def _window(
        self, place: Int[np.ndarray, " M"], value: Float[np.ndarray, " M"]
    ) -> Float[np.ndarray, " N"]:
        """Add up the values placed in the 4 x 4 pixels around each point."""
        width = self.size_wh[0] + _WINDOW
        image = np.zeros(width * (self.size_wh[1] + _WINDOW), np.float32)
        image[place] = value
        across = image[:-3] + image[1:-2]
        across += image[2:-1]
        across += image[3:]
        down = across[: -3 * width] + across[width : -2 * width]
        down += across[2 * width : -width]
        down += across[3 * width :]
        return down[self._place - (2 * width + 2)]


def openness(
    caster: Caster, patch: Patch, spread: Float[np.ndarray, "N 3"]
) -> Float[np.ndarray, " N"]:
    """Return the share of the near surroundings that is free, f32 in [0, 1].

    Args:
      caster: of the room.
      patch: points to light.
      spread: f32 in [-1, 1], picks a direction of the half space for each point.
    """
    traced = np.flatnonzero(patch.traced)
    normal, spread = patch.normal[traced], spread[traced]
    start = patch.position[traced] + _LIFT_M * normal
    inverse = np.float32(0.95) / np.sqrt(dot(spread, spread))
    direction = normal + spread * inverse[:, None]
    free = ~caster.blocked(start, direction, _REACH_M)
    return patch.smooth(free.astype(np.float32), traced)


def sky(
    normal: Float[np.ndarray, "N 3"], free: Float[np.ndarray, " N"], ambient: float
) -> Float[np.ndarray, " N"]:
    """Return ambient light: strongest where a face looks up into free space."""
    return np.float32(ambient) * (0.3 + 0.7 * free) * (0.7 + 0.3 * normal[:, 2])


def lamp(
    caster: Caster, source: Light, patch: Patch, spread: Float[np.ndarray, "N 3"]
) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, " N"]]:
    """Return strength of diffuse light and of the highlight from one lamp.

    Args:
      caster: of the room, for shadows.
      source: the lamp.
      patch: points to light.
      spread: f32 in [-1, 1], place on the lamp that a shadow ray aims at.

    Returns:
      f32 [N] each, to be multiplied with the lamp's colour.
    """
    to_lamp = np.asarray(source.position_m, np.float32) - patch.position
    distance2 = dot(to_lamp, to_lamp)
    inverse = 1.0 / np.sqrt(distance2 + np.float32(1e-6))
    cosine = np.maximum(dot(patch.normal, to_lamp) * inverse, np.float32(0.0))
    traced = np.flatnonzero(patch.traced & (cosine > 0.0))
    start = patch.position[traced] + _LIFT_M * patch.normal[traced]
    aim = to_lamp[traced] + _LAMP_RADIUS_M * spread[traced]
    free = ~caster.blocked(start, aim, 0.95)
    # The offset keeps a wall close to a lamp from burning out.
    strength = patch.smooth(free.astype(np.float32), traced)
    strength *= np.float32(source.intensity) / (distance2 + np.float32(0.4))
    half = to_lamp * inverse[:, None] + patch.toward_eye
    sharp = np.maximum(dot(half, patch.normal), np.float32(0.0))
    sharp /= np.sqrt(dot(half, half) + np.float32(1e-9))
    for _ in range(5):
        sharp *= sharp
    return cosine * strength, np.where(cosine > 0.0, sharp * strength, np.float32(0.0))


def illuminate(
    caster: Caster,
    sources: Sequence[Light],
    ambient: float,
    patch: Patch,
    spread: Float[np.ndarray, "N 3"],
) -> tuple[Float[np.ndarray, "N 3"], Float[np.ndarray, "N 3"]]:
    """Return light on each point and its highlights, linear RGB.

    Args:
      caster: of the room.
      sources: the lamps.
      ambient: strength of the light from the sky.
      patch: points to light.
      spread: f32 in [-1, 1], where the rays of each point aim at (`Patch.spread`).

    Returns:
      light: f32 [N, 3], to be multiplied with the albedo.
      shine: f32 [N, 3], to be multiplied with the gloss.
    """
    glow = sky(patch.normal, openness(caster, patch, spread), ambient)
    light = np.repeat(glow[:, None], 3, axis=1)
    shine = np.zeros_like(light)
    for source in sources:
        tint = np.asarray(source.color, np.float32)
        diffuse, highlight = lamp(caster, source, patch, spread)
        light += diffuse[:, None] * tint
        shine += highlight[:, None] * tint
    return light, shine


def exposure(radiance: Float[np.ndarray, "N 3"]) -> np.float32:
    """Return the gain of a camera that adapts, but not fully, to the view."""
    if not len(radiance):
        return np.float32(1.0)
    mean = float(np.mean(np.minimum(radiance, np.float32(1.5))))
    return np.float32(np.clip((0.32 / max(mean, 1e-3)) ** 0.7, 0.5, 4.0))


def _tone_table() -> UInt8[np.ndarray, " L"]:
    """Tabulate the display curve: a soft shoulder, then gamma."""
    linear = np.arange(4096) / 1024.0
    soft = linear * (1.0 + linear / 5.0) / (1.0 + 0.7 * linear)
    return np.round(255.0 * np.clip(soft, 0.0, 1.0) ** (1.0 / GAMMA)).astype(np.uint8)


_TONE = _tone_table()


def develop(radiance: Float[np.ndarray, "N 3"]) -> UInt8[np.ndarray, "N 3"]:
    """Turn linear RGB into 8-bit display values."""
    return _TONE[np.minimum(radiance * np.float32(1024.0), 4095.0).astype(np.int32)]
