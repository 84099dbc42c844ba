"""Images as networks of photographs take them: resized, scaled and normalised.

The libraries' own processors of images ask for torchvision, whose wheels must fit
PyTorch's release, or choose between two backends by what is installed; this is always
the same.
"""

import numpy as np
import PIL.Image
import torch
from jaxtyping import Float
from torch.nn import functional

from sas_jax.teachers.contracts import Image

Normal = tuple[tuple[float, float, float], tuple[float, float, float]]
"""Mean and standard deviation of red, green and blue in 0..1."""

IMAGENET: Normal = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLIP: Normal = (
    (0.48145466, 0.4578275, 0.40821073),
    (0.26862954, 0.26130258, 0.27577711),
)
HALF: Normal = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)

BILINEAR, BICUBIC = PIL.Image.Resampling.BILINEAR, PIL.Image.Resampling.BICUBIC


def fitted(size_hw: tuple[int, int], short: int, long: int) -> tuple[int, int]:
    """Return the size of an image whose shorter side becomes `short`, if that fits.

    Args:
      size_hw: of the image.
      short: pixels of the shorter side.
      long: most pixels of the longer side; of images that are longer for their width
        both sides shrink further.

    Returns:
      (rows, columns), at least 1 each; parts of pixels of the longer side are cut.
    """
    shorter, longer = min(size_hw), max(size_hw)
    side = min(short, long * shorter / longer)
    sides = max(1, round(side)), max(1, min(long, int(side * longer / shorter)))
    return sides if size_hw[0] <= size_hw[1] else sides[::-1]


def pixels_of(
    image: Image,
    size_hw: tuple[int, int],
    normal: Normal,
    how: PIL.Image.Resampling = BILINEAR,
    pad_hw: tuple[int, int] | None = None,
) -> Float[torch.Tensor, "1 3 h w"]:
    """Return what a network sees of an image.

    Args:
      image: uint8 RGB.
      size_hw: that it is resized to, by Pillow, in steps of 1/255.
      normal: mean and standard deviation.
      how: it is resized.
      pad_hw: size that is filled up with black, right and below.
    """
    small = PIL.Image.fromarray(image).resize(size_hw[::-1], how)
    canvas = np.zeros((*(pad_hw or size_hw), 3), np.float32)
    canvas[: size_hw[0], : size_hw[1]] = np.asarray(small)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in normal)
    return ((torch.from_numpy(canvas).permute(2, 0, 1) / 255 - mean) / std)[None]


def squeezed(image: Image, edge: int, normal: Normal) -> Float[torch.Tensor, "1 3 S S"]:
    """Return an image as a square, whatever its sides were.

    Resized bilinearly and without aliases, in steps of 1/255, as torchvision does.
    """
    flat = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float()
    small = functional.interpolate(flat, (edge, edge), mode="bilinear", antialias=True)
    mean, std = (255 * torch.tensor(values).view(3, 1, 1) for values in normal)
    return (small.round().clamp(0, 255) - mean) / std
