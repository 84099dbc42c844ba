"""From an attention map to a pseudo mask: threshold, point prompts, refinement.

The map of a class is cut at a threshold (coarse mask); points deep inside its largest
parts prompt a model that outlines the thing they lie on (pseudo mask).
H, W image size; points are (row, column) pixels; the rules' lengths are those of the
authors' 512-pixel images and scale with the image.
"""

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from scipy import ndimage

from sas_jax.capability.contracts import MaskConfig, PointPrompter
from sas_jax.errors import ContractError

_RULE_SIZE = 512
_CENTRE_SEEDS = ((240, 240), (240, 270), (270, 240), (270, 270))


def coarse_mask(
    heat: Float[np.ndarray, "H W"], config: MaskConfig | None = None
) -> Bool[np.ndarray, "H W"]:
    """Return where a stretched attention map is above the threshold."""
    return heat > (config or MaskConfig()).threshold


def sample_points(
    coarse: Bool[np.ndarray, "H W"], config: MaskConfig | None = None
) -> Int[np.ndarray, "n 2"]:
    """Choose points deep inside the largest connected parts of a coarse mask.

    One part takes all points, of two parts the larger takes all but one, of more the
    largest take one each. A point is a maximum of the distance to the outside; it is
    then counted as outside, so that the next one lies elsewhere.

    Args:
      coarse: mask of one image.
      config: how; None means the defaults.

    Returns:
      int32 [num_points, 2] (row, column). Deterministic.

    Raises:
      ContractError: for an empty image.

    Source: SAS section 3.2 ("sample points inside"); rules of the authors' sam_util.
    """
    config = config or MaskConfig()
    if coarse.ndim != 2 or coarse.size == 0:
        raise ContractError(
            f"sample_points: a mask must be [H, W] with pixels, got {coarse.shape}. "
            "Pass the coarse mask of one image."
        )
    inner = _inside_border(coarse, config)
    count, parts, stats, _ = cv2.connectedComponentsWithStats(inner, connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    largest = 1 + np.argsort(-areas, kind="stable")[: config.num_points]
    shares = _shares(count - 1, config.num_points)
    points = [
        point
        for part, share in zip(largest, shares, strict=False)
        for point in _deepest(parts == part, share)
    ]
    return np.array(points, np.int32).reshape(-1, 2)


def _shares(parts: int, num_points: int) -> list[int]:
    if parts >= num_points:
        return [1] * num_points
    return [num_points - parts + 1] + [1] * (parts - 1)


def _inside_border(coarse: np.ndarray, config: MaskConfig) -> np.ndarray:
    scale = min(coarse.shape) / _RULE_SIZE
    rim = round(config.border_px * scale)
    inner = np.zeros(coarse.shape, np.uint8)
    keep = slice(rim, coarse.shape[0] - rim), slice(rim, coarse.shape[1] - rim)
    inner[keep] = coarse[keep]
    if inner.sum() >= max(1, config.min_pixels * scale**2):
        return inner
    inner[:] = 0
    height, width = coarse.shape
    edge = max(1, round(2 * scale))
    for y, x in _CENTRE_SEEDS:
        row, column = int(y / _RULE_SIZE * height), int(x / _RULE_SIZE * width)
        inner[row : row + edge, column : column + edge] = 1
    return inner


def _deepest(part: np.ndarray, count: int) -> list[tuple[int, int]]:
    # The frame of zeros makes the image's rim count as outside.
    left = np.pad(part.astype(np.uint8), 1)
    points = []
    for _ in range(min(count, int(part.sum()))):
        # OpenCV's rounds by where the array lies in memory: equal depths then differ,
        # and another pixel is the deepest.
        depth = ndimage.distance_transform_edt(left)
        row, column = np.unravel_index(int(np.argmax(depth)), depth.shape)
        left[row, column] = 0
        points.append((int(row) - 1, int(column) - 1))
    return points


def pseudo_masks(
    images: UInt8[np.ndarray, "m H W 3"],
    heat: Float[np.ndarray, "m H W"],
    prompter: PointPrompter,
    config: MaskConfig | None = None,
) -> tuple[Bool[np.ndarray, "m H W"], Bool[np.ndarray, "m H W"]]:
    """Return coarse and refined masks of one class's images.

    Args:
      images: RGB.
      heat: stretched attention maps.
      prompter: refines by points.
      config: how; None means the defaults.
    """
    coarse = coarse_mask(heat, config)
    refined = [
        prompter.mask(image, sample_points(mask, config), hint)
        for image, mask, hint in zip(images, coarse, heat, strict=True)
    ]
    return coarse, np.stack(refined)
