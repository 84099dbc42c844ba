"""Measure a small teacher on rendered rooms: confusion of pixels, IoU per class."""

import numpy as np
from jaxtyping import Int64, UInt8

from sas_jax.rooms.teachers.data import RoomFrames
from sas_jax.rooms.teachers.dense import RoomsDense
from sas_jax.rooms.teachers.mask import CLASS_NAMES, RoomsMask
from sas_jax.text.prompts import prompts


def confusion(
    teacher: RoomsDense | RoomsMask, frames: RoomFrames
) -> Int64[np.ndarray, "K K"]:
    """Count pixels of frames by (truth, prediction); void predictions fall out.

    A dense teacher's pixel is the nearest class prompt; a mask teacher's pixel is its
    mask's label.
    """
    num = len(CLASS_NAMES)
    total = np.zeros((num, num), np.int64)
    for start in range(0, len(frames.rgb), 8):
        images = list(frames.rgb[start : start + 8])
        for guess, truth in zip(
            class_maps(teacher, images), frames.label[start : start + 8], strict=True
        ):
            sound = (truth < num) & (guess < num)
            pairs = truth[sound].astype(np.int64) * num + guess[sound]
            total += np.bincount(pairs, minlength=num * num).reshape(num, num)
    return total


def class_maps(
    teacher: RoomsDense | RoomsMask, images: list[UInt8[np.ndarray, "H W 3"]]
) -> list[UInt8[np.ndarray, "H W"]]:
    """Return the class index of every pixel at the image's size; 255 for void."""
    if isinstance(teacher, RoomsMask):
        tables = (
            (s.ids, np.array([255, *map(CLASS_NAMES.index, s.labels)], np.uint8))
            for s in teacher.segment(images)
        )
        return [table[ids] for ids, table in tables]
    text = teacher.encode_text(prompts(CLASS_NAMES)).T
    maps = []
    for image, feature in zip(images, teacher.features(images), strict=True):
        best = (feature.astype(np.float32) @ text).argmax(-1).astype(np.uint8)
        rows, columns = (
            (2 * np.arange(n) + 1) * g // (2 * n)
            for n, g in zip(image.shape[:2], best.shape, strict=True)
        )
        maps.append(best[rows[:, None], columns])
    return maps


def iou_per_class(counts: Int64[np.ndarray, "K K"]) -> dict[str, float]:
    """Return intersection over union of every class that occurs in the truth."""
    both = np.diag(counts)
    union = counts.sum(0) + counts.sum(1) - both
    present = counts.sum(1) > 0
    return {
        name: float(both[k] / union[k])
        for k, name in enumerate(CLASS_NAMES)
        if present[k]
    }
