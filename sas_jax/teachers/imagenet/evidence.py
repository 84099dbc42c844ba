"""How much speaks for each class at each place of an image.

A classifier that is run over a whole image at once is unsure everywhere: it was trained
on views that one thing fills, with nothing beyond their borders. So views are cut out
at several sizes, overlapping, and each is classified as in training, p; the classifier
asked at one cell of the view's last map alone says q, where in the view. The evidence
of a view is p^s q^(1 - s), so that both must agree; that of a place is the mean over
the views of a scale that contain it, and of the scales, E_i, the geometric mean
(prod_i (E_i + e))^(1/n) - e, so that these must agree as well: at most 1 in sum over
the classes. Of a desk and the chair before it, the coarse views name the desk at both,
the fine ones at the desk alone.

B views; K classes; c x c cells of a view's last map; h, w the grid of the result.
"""

import dataclasses
from typing import NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch.nn import functional

from sas_jax.errors import InputError
from sas_jax.teachers.contracts import Image
from sas_jax.teachers.imagenet.network import STRIDE, EfficientNetLite


@dataclasses.dataclass(frozen=True)
class ViewConfig:
    """Set what is cut out of an image.

    Attributes:
      sides_px: the shorter side of the image, for each scale.
      step_px: views are at most this far apart, for each scale.
      crop_px: edge of a view, 32 n + 1; Lite2 was trained on 260.
      view_share: s above, of 0..1.
      grid: cells of the result along the shorter side.
      max_aspect: longer images are squeezed to this ratio of their sides.
      batch: views that the network sees at once.
    """

    sides_px: tuple[int, ...] = (257, 770)
    step_px: tuple[int, ...] = (171, 192)
    crop_px: int = 257
    view_share: float = 0.3
    grid: int = 48
    max_aspect: float = 2.5
    batch: int = 6

    def __post_init__(self) -> None:
        if (
            (self.crop_px - 1) % STRIDE
            or not self.sides_px
            or len(self.sides_px) != len(self.step_px)
            or min(self.crop_px, self.grid, self.batch, *self.step_px) < 1
            or min(self.sides_px) < self.crop_px
            or not 0 <= self.view_share <= 1
        ):
            raise InputError(
                "imagenet: views of 32 n + 1 pixels, no larger than the smallest "
                "scale, a step for each scale and a share of 0..1 are required, got "
                f"{self}. Correct the settings."
            )


class Evidence(NamedTuple):
    """What speaks for the classes that anything speaks for.

    Attributes:
      classes: int64 [n], ascending.
      values: f32 [n, h, w], at most 1 in sum over the classes.
    """

    classes: torch.Tensor
    values: Float[torch.Tensor, "n h w"]


@torch.no_grad()
def evidence_of(
    network: EfficientNetLite, image: Image, config: ViewConfig, least: float
) -> Evidence:
    """Return the evidence at every place of an image.

    Args:
      network: in evaluation mode.
      image: uint8 RGB.
      config: views.
      least: what a view must say somewhere of a class, for that class to count; less
        is 0 in every view. It is e above, too.

    Returns:
      On the network's device, on the grid that `grid_hw` tells; cell (i, j) is the
      evidence at the centre of the image's share [i/h, (i+1)/h] x [j/w, (j+1)/w].
    """
    found = [
        _at_scale(network, image, side, step, config, least)
        for side, step in zip(config.sides_px, config.step_px, strict=True)
    ]
    classes = torch.unique(torch.cat([each.classes for each in found]))
    shape = (len(found), len(classes), *grid_hw(image, config))
    scales = found[0].values.new_zeros(shape)
    for scale, each in zip(scales, found, strict=True):
        scale[torch.searchsorted(classes, each.classes)] = each.values
    mean = (torch.log(scales + least).mean(0).exp() - least).clamp(min=0)
    return Evidence(classes, mean)


def grid_hw(image: Image, config: ViewConfig) -> tuple[int, int]:
    """Return the size of the result for an image."""
    height, width = _sides(image, config.grid, config)
    return height, width


def _sides(image: Image, shorter: int, config: ViewConfig) -> tuple[int, int]:
    """Return height and width after scaling to a shorter side."""
    height, width = image.shape[:2]
    scale = shorter / min(height, width)
    longest = round(shorter * config.max_aspect)
    return tuple(max(1, min(round(side * scale), longest)) for side in (height, width))


def _at_scale(
    network: EfficientNetLite,
    image: Image,
    side: int,
    step: int,
    config: ViewConfig,
    least: float,
) -> Evidence:
    height, width = _sides(image, side, config)
    smaller = height * width < image.shape[0] * image.shape[1]
    how = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    scaled = cv2.resize(np.ascontiguousarray(image), (width, height), interpolation=how)
    rows, columns = (_starts(n, config.crop_px, step) for n in (height, width))
    corners = [(row, column) for row in rows for column in columns]
    views = np.stack(
        [scaled[r : r + config.crop_px, c : c + config.crop_px] for r, c in corners]
    )
    device = network.classifier.weight.device
    said = torch.cat(
        [
            _said(network, torch.from_numpy(part).to(device), config.view_share)
            for part in np.split(views, range(config.batch, len(views), config.batch))
        ]
    )
    classes = torch.nonzero(said.amax((0, 2, 3)) >= least)[:, 0]
    said = said[:, classes]
    said = torch.where(said >= least, said, 0)
    grid = grid_hw(image, config)
    return Evidence(classes, _placed(said, corners, (height, width), grid, config))


def _starts(size: int, crop: int, step: int) -> list[int]:
    """Return where views begin along a side: evenly, the last one at its end."""
    count = -(-(size - crop) // step) + 1
    return np.linspace(0, size - crop, count).round().astype(int).tolist()


def _said(
    network: EfficientNetLite, views: torch.Tensor, share: float
) -> Float[torch.Tensor, "B K c c"]:
    """Return p^share q^(1 - share) of views [B, H, W, 3] of bytes."""
    maps = network((views.permute(0, 3, 1, 2).float() - 127) / 128)
    weight, bias = network.classifier.weight, network.classifier.bias
    place = functional.conv2d(maps, weight[:, :, None, None], bias).float()
    # The classifier is linear: of the mean features it says the mean.
    view = place.mean((2, 3), keepdim=True)
    return torch.exp(share * view.log_softmax(1) + (1 - share) * place.log_softmax(1))


def _placed(
    said: Float[torch.Tensor, "B n c c"],
    corners: list[tuple[int, int]],
    scaled_hw: tuple[int, int],
    grid: tuple[int, int],
    config: ViewConfig,
) -> Float[torch.Tensor, "n h w"]:
    """Return the mean over the views that contain the centre of each cell."""
    total = said.new_zeros((said.shape[1], *grid))
    count = said.new_zeros(grid)
    # Pixels of the scaled image in which the centres of the result's cells lie.
    centres = [
        (torch.arange(cells) + 0.5) / cells * size - 0.5
        for cells, size in zip(grid, scaled_hw, strict=True)
    ]
    last = config.crop_px - 1
    for view, corner in zip(said, corners, strict=True):
        inside, where = [], []
        for centre, start in zip(centres, corner, strict=True):
            contained = (centre >= start - 0.5) & (centre < start + last + 0.5)
            index = torch.nonzero(contained)[:, 0]
            inside.append(slice(int(index[0]), int(index[-1]) + 1))
            # Cell 0 lies in the view's first pixel, the last cell in its last one.
            where.append(2 * (centre[index] - start) / last - 1)
        y, x = torch.meshgrid(*where, indexing="ij")
        places = torch.stack([x, y], -1)[None].to(said.device)
        total[:, *inside] += functional.grid_sample(
            view[None], places, padding_mode="border", align_corners=True
        )[0]
        count[*inside] += 1
    return total / count
