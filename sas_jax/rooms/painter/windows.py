"""Random windows of training images: the network sees a part, and is told of that part.

A window is a square of a larger render, resized to the network's size. Things stand
anywhere in it, so that where a thing is has to be found out. What the caption may
name is counted anew inside the window.
"""

import dataclasses

import cv2
import numpy as np
from jaxtyping import UInt8

from sas_jax.rooms.catalogue import CLASS_NAMES
from sas_jax.rooms.painter.captions import Seen
from sas_jax.rooms.painter.crops import Crops

MIN_SHARE = 0.65
"""Smallest window, as a share of the render's edge."""

_MIN_FOCUS = 0.08


def draw_window(
    crops: Crops, row: int, size: int, rng: np.random.Generator
) -> tuple[UInt8[np.ndarray, "size size 3"], list[Seen]]:
    """Cut a random window out of a training image, mirrored half of the time.

    Args:
      crops: training images.
      row: which one.
      size: edge of the result, pixels.
      rng: source of place, scale and mirroring.

    Returns:
      The image, and the things visible in it: the focus first where it covers enough,
      then by size.
    """
    image, label = crops.images[row], crops.labels[row]
    full = image.shape[0]
    edge = int(rng.integers(round(MIN_SHARE * full), full + 1))
    top, left = (int(n) for n in rng.integers(0, full - edge + 1, 2))
    window = slice(top, top + edge), slice(left, left + edge)
    image, label = image[window], label[window]
    if rng.random() < 0.5:
        image = image[:, ::-1]
    smaller = edge > size
    way = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    resized = cv2.resize(np.ascontiguousarray(image), (size, size), interpolation=way)
    return resized, _seen(crops.seen[row], label, int(crops.focus[row]))


def _seen(things: list[Seen], label: np.ndarray, focus: int) -> list[Seen]:
    share = np.bincount(label.ravel(), minlength=256) / label.size
    inside = []
    for thing in things:
        fraction = float(share[CLASS_NAMES.index(thing.class_name)])
        if fraction > 0:
            inside.append(dataclasses.replace(thing, fraction=fraction))
    name = CLASS_NAMES[focus] if focus < len(CLASS_NAMES) else None

    def rank(thing: Seen) -> tuple[bool, float]:
        is_focus = thing.class_name == name and thing.fraction >= _MIN_FOCUS
        return not is_focus, -thing.fraction

    return sorted(inside, key=rank)
