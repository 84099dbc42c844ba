"""Multi-scale evaluation: an image of any size through a network that sees squares.

An image is resized to each scale, looked at in square windows, as it is and mirrored;
the vectors of all scales are added on one grid: half of the first size's pixels.
B images of one size, H x W; C channels; positions on a grid of half the pixels are in
its cells.

Source: LSeg's evaluator (Li et al., ICLR 2022), as SAS and OpenScene use it on
  features.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch.nn import functional

from sas_jax.teachers.lseg.config import LSegConfig

BLACK = -1.0
"""What is padded with: a black pixel after (value - 0.5) / 0.5."""

Network = Callable[[torch.Tensor], torch.Tensor]


def evaluate(
    network: Network, image: Float[torch.Tensor, "B 3 H W"], config: LSegConfig
) -> Float[torch.Tensor, "B C h w"]:
    """Return the vectors of images.

    Args:
      network: [B, 3, crop, crop] -> unit vectors [B, C, crop/2, crop/2].
      image: values in [-1, 1].
      config: scales and windows.

    Returns:
      Sums over scales and mirror images, of unit length where `normalise` says so. Row
      i of h covers the image's share [i/h, (i+1)/h], columns alike; `official` takes
      the first H rows and W columns of the output instead.
    """
    size = (image.shape[2], image.shape[3])
    if config.compat == "official":
        resized = _resized(image, _fitted(size, config.long_side(1.0)))
        total = _look(network, _padded(resized, config.crop_size), config.flip)
        total = total[..., : size[0], : size[1]]
    else:
        grid = _cells(_fitted(size, config.long_side(1.0)))
        total = torch.zeros(())
        for scale in config.scales:
            resized = _resized(image, _fitted(size, config.long_side(scale)))
            found = _resampled(_windows(network, resized, config), resized, grid)
            total = found if total.ndim == 0 else total.add_(found)
    return functional.normalize(total, dim=1) if config.normalise else total


def _fitted(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """Return a size of the same proportions and the longer side given, halves up."""
    height, width = size
    if height > width:
        return long_side, max(1, int(width * long_side / height + 0.5))
    return max(1, int(height * long_side / width + 0.5)), long_side


def _cells(size: tuple[int, int]) -> tuple[int, int]:
    """Return the grid of half the pixels."""
    return math.ceil(size[0] / 2), math.ceil(size[1] / 2)


def _resized(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return functional.interpolate(image, size, mode="bilinear", align_corners=True)


def _padded(image: torch.Tensor, side: int) -> torch.Tensor:
    """Pad to a square at the right and at the bottom, or to more in what is longer."""
    bottom, right = (max(0, side - edge) for edge in image.shape[2:])
    return functional.pad(image, (0, right, 0, bottom), value=BLACK)


def _look(
    network: Network, window: Float[torch.Tensor, "B 3 c c"], flip: bool
) -> Float[torch.Tensor, "B C d d"]:
    """Return the vectors of squares, plus those of their mirror images."""
    found = network(window)
    if flip:
        found += network(window.flip(3)).flip(3)
    return found


def _windows(
    network: Network, image: Float[torch.Tensor, "B 3 a b"], config: LSegConfig
) -> Float[torch.Tensor, "B C m n"]:
    """Return the mean over windows of images and their padding."""
    crop = config.crop_size
    image = _padded(image, crop)
    if image.shape[2:] == (crop, crop):
        return _look(network, image, config.flip)
    grid = _cells((image.shape[2], image.shape[3]))
    total, count = torch.zeros(()), image.new_zeros(grid)
    for top in _starts(image.shape[2], crop):
        for left in _starts(image.shape[3], crop):
            part = image[:, :, top : top + crop, left : left + crop]
            rows, columns = _cells((part.shape[2], part.shape[3]))
            found = _look(network, _padded(part, crop), config.flip)
            if total.ndim == 0:
                total = found.new_zeros((*found.shape[:2], *grid))
            where = (
                slice(top // 2, top // 2 + rows),
                slice(left // 2, left // 2 + columns),
            )
            total[:, :, *where] += found[..., :rows, :columns]
            count[where] += 1
    return total.div_(count)


def _starts(length: int, crop: int) -> range:
    """Return where windows begin, two thirds of a window apart, on even pixels."""
    stride = crop // 3 * 2
    return range(0, math.ceil((length - crop) / stride) * stride + 1, stride)


def _resampled(
    found: Float[torch.Tensor, "B C m n"], image: torch.Tensor, grid: tuple[int, int]
) -> Float[torch.Tensor, "B C h w"]:
    """Return the vectors of images without their padding, on another grid."""
    for axis, length, cells in zip((2, 3), image.shape[2:], grid, strict=True):
        last = max(0, length // 2 - 1)  # that no padding lies in, if there is one
        middle = torch.arange(cells, dtype=torch.float64) + 0.5
        where = (middle * length / (2 * cells) - 0.5).clamp(0, last)
        low = where.floor().long()
        if torch.equal(where, torch.arange(cells).double()):
            found = found.narrow(axis, 0, cells)
            continue
        share = (where - low).to(found).unflatten(0, (-1, *[1] * (3 - axis)))
        low, high = (i.to(found.device) for i in (low, (low + 1).clamp(max=last)))
        near, far = found.index_select(axis, low), found.index_select(axis, high)
        found = near.lerp_(far, share)
    return found
