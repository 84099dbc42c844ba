"""Marks in pictures that are read at arm's length: letters, numbers, lines, bars."""

import functools
import itertools
import math
import pathlib
from collections.abc import Sequence

import matplotlib
import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

DPI = 144
"""Of sheets: 24 pixels are letters of 12 points."""
TEXT_PX = 26
_RAMP = ((0, 214), (0.25, (255, 226, 120)), (0.6, (245, 110, 30)), (1, (150, 0, 10)))
INK, PAPER, MARK = (20, 20, 20), (255, 255, 255), (255, 0, 170)
"""Letters, ground, and what stands out from photographs and from heat."""


def on_paper(shares: Float[np.ndarray, " N"]) -> UInt8[np.ndarray, "N 3"]:
    """Return the colours of heat for 0..1: from light grey, for shapes, to red."""
    stops = [at for at, _ in _RAMP]
    levels = np.array([np.broadcast_to(color, 3) for _, color in _RAMP])
    channels = [np.interp(shares, stops, level) for level in levels.T]
    return np.round(np.stack(channels, axis=1)).astype(np.uint8)


@functools.cache
def font(size_px: int = TEXT_PX, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return a font with Latin, Greek and Cyrillic letters."""
    folder = pathlib.Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(folder / name), size_px)


def wrapped(text: str, width_px: int, letters: ImageFont.FreeTypeFont) -> list[str]:
    """Return the lines of a text that are no wider; long words are cut."""
    lines = [""]
    for word in " ".join(text.split()).split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if letters.getlength(longer) <= width_px:
            lines[-1] = longer
            continue
        lines += [""] * bool(lines[-1])
        for letter in word:
            if letters.getlength(lines[-1] + letter) > width_px:
                lines.append("")
            lines[-1] += letter
    return lines


def number(draw: ImageDraw.ImageDraw, at: Sequence[float], value: int) -> None:
    """Write a number in a disc around a pixel (x, y)."""
    (x, y), radius = at, 21
    box = (x - radius, y - radius, x + radius, y + radius)
    draw.ellipse(box, fill=PAPER, outline=MARK, width=4)
    draw.text((x, y), str(value), INK, font(24, bold=True), anchor="mm")


def apart(
    places: Sequence[tuple[float, float]], size_wh: tuple[int, int]
) -> list[tuple[float, float]]:
    """Return places of numbers inside a picture, later ones moved off earlier ones."""
    found: list[tuple[float, float]] = []
    for x, y in places:
        steps = itertools.product(range(-132, 133, 44), repeat=2)
        tried = [_inside((x + dx, y + dy), size_wh) for dy, dx in steps]
        free = [t for t in tried if all(math.dist(t, f) > 42 for f in found)]
        found.append(min(free or tried, key=lambda t: math.dist(t, (x, y))))
    return found


def _inside(at: Sequence[float], size_wh: tuple[int, int]) -> tuple[float, float]:
    x, y = (min(max(v, 26.0), n - 26.0) for v, n in zip(at, size_wh, strict=True))
    return x, y


def line(draw: ImageDraw.ImageDraw, ends: Sequence[tuple[float, float]]) -> None:
    """Draw a line that is seen on light and on dark ground."""
    draw.line(ends, fill=PAPER, width=7)
    draw.line(ends, fill=MARK, width=4)


def outlined(
    image: UInt8[np.ndarray, "H W 3"], mask: Bool[np.ndarray, "H W"]
) -> UInt8[np.ndarray, "H W 3"]:
    """Return a picture with the outline of a mask, seen on any ground."""
    inner = ndimage.binary_dilation(mask, iterations=2)
    middle = ndimage.binary_dilation(inner, iterations=4)
    outer = ndimage.binary_dilation(middle, iterations=2)
    image = image.copy()
    image[outer & ~inner] = PAPER
    image[middle & ~inner] = MARK
    return image


def scale_bar(picture: Image.Image, px_per_m: float) -> UInt8[np.ndarray, "H W 3"]:
    """Return a picture with a bar of a round length below, and the length in metres."""
    image = Image.new("RGB", (picture.width, picture.height + 66), PAPER)
    image.paste(picture)
    draw = ImageDraw.Draw(image)
    longest = 0.3 * image.width / px_per_m
    power = 10.0 ** math.floor(math.log10(longest))
    length = max(n * power for n in (1, 2, 5) if n * power <= longest)
    x, y, width = 24, image.height - 14, length * px_per_m
    draw.line(((x, y), (x + width, y)), fill=INK, width=5)
    for end in (x, x + width):
        draw.line(((end, y - 10), (end, y + 10)), fill=INK, width=5)
    draw.text((x + width / 2, y - 12), f"{length:g} m", INK, font(), anchor="mb")
    return np.asarray(image)


def color_bar(
    width_px: int, low: float, high: float, label: str
) -> UInt8[np.ndarray, "H W 3"]:
    """Return a bar of the colours of heat with numbers, and what they mean."""
    image = Image.new("RGB", (width_px, 112), PAPER)
    draw, edge = ImageDraw.Draw(image), 40
    colors = on_paper(np.linspace(0, 1, width_px - 2 * edge))
    image.paste(Image.fromarray(np.tile(colors, (28, 1, 1))), (edge, 38))
    draw.text((edge, 0), label, INK, font(), anchor="la")
    for share in np.linspace(0, 1, 5):
        x = edge + share * (width_px - 2 * edge - 1)
        draw.line(((x, 66), (x, 76)), fill=INK, width=3)
        value = low + share * (high - low)
        draw.text((x, 80), f"{value:.2f}", INK, font(), anchor="ma")
    return np.asarray(image)


def pixels_of(
    points: Float[np.ndarray, "N 3"],
    world_from_camera: Float[np.ndarray, "4 4"],
    intrinsics: Float[np.ndarray, "3 3"],
) -> Float[np.ndarray, "N 2"]:
    """Return (x, y) of points before a camera."""
    local = (points - world_from_camera[:3, 3]) @ world_from_camera[:3, :3]
    pixel = local @ intrinsics.T
    return pixel[:, :2] / pixel[:, 2:]
