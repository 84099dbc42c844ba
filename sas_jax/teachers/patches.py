"""Dense teachers made of a vision transformer: a vector in its text space per patch.

An image is seen whole, at any size: its sides are brought to whole patches, and the
positions that the network learnt on a square are resampled to its grid. Windows of the
square that it was trained at would keep its positions, but each of them is another
picture to it: what a patch is taken for changes at their seams, and a frame costs as
many passes. H, W image; h, w patches along them; C length of a text feature.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import PIL.Image
import torch
from jaxtyping import Float, Float16
from torch import nn
from torch.nn import functional

from sas_jax.errors import InputError
from sas_jax.teachers.adapter import Adapter
from sas_jax.teachers.contracts import Image, TeacherSpec, check_image
from sas_jax.teachers.patch_config import PatchConfig
from sas_jax.teachers.towers import TorchTower
from sas_jax.teachers.weights_id import settings_of

Triple = tuple[float, float, float]

HALF: Triple = (0.5, 0.5, 0.5)
CLIP_MEAN: Triple = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD: Triple = (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)
"""Of red, green and blue in 0..1."""

_LONGEST = 8


class PatchTeacher(Adapter):
    """A `DenseTeacher` (see contracts.py); a subclass says what a patch's vector is.

    Attributes:
      name: in the registry.
      mean, std: of the pixels that the network takes.
    """

    name: str
    mean: Triple = HALF
    std: Triple = HALF

    def __init__(
        self,
        network: nn.Module,
        text: TorchTower,
        identity: str,
        settings: Mapping[str, Any],
        config: PatchConfig | None = None,
    ):
        """Take a network in evaluation mode and the tower of its text space.

        Args:
          network: what `vectors` uses.
          text: that the network was trained with.
          identity: of the network's weights, see `TeacherSpec.weights_id`.
          settings: of the network, as its configuration's `to_dict` gives them.
          config: how large images are seen.
        """
        self.config = config or PatchConfig()
        super().__init__(network, text)
        self._patch = int(settings["patch_size"])
        self.spec = TeacherSpec(
            name=self.name,
            contract="dense",
            text_space=text.space,
            feat_dim=text.space.dim,
            weights_id=identity,
            preprocess={
                "short_side": self.config.short_side,
                "resize": "PIL bicubic to whole patches, halves to even",
                "mean": self.mean,
                "std": self.std,
                "network": settings_of(settings),
            },
        )

    def vectors(
        self, pixels: Float[torch.Tensor, "1 3 H W"]
    ) -> Float[torch.Tensor, "N C"]:
        """Return the vector of each patch, row by row, of any length."""
        raise NotImplementedError

    @torch.no_grad()
    def features(self, images: Sequence[Image]) -> list[Float16[np.ndarray, "h w C"]]:
        """Return unit vectors on the grid of patches.

        Args:
          images: uint8 RGB of any sizes, none more than eight times as long as wide.

        Returns:
          Per image float16 [h, w, C]; row i, column j covers the image's share
          [i/h, (i+1)/h] x [j/w, (j+1)/w].

        Raises:
          ContractError: when an image breaks the contract.
          InputError: for a strip.

        Deterministic: on one device with one number of threads, and whatever the
          company that an image is in.
        """
        for image in images:
            check_image(image, self.name)
        grids = [self._grid(image.shape[:2]) for image in images]
        return [self._features(*each) for each in zip(images, grids, strict=True)]

    def _features(
        self, image: Image, grid: tuple[int, int]
    ) -> Float16[np.ndarray, "h w C"]:
        # Alone: in a batch last bits would follow from the company.
        size = grid[0] * self._patch, grid[1] * self._patch
        device = next(self._network.parameters()).device
        pixels = normalised(image, size, self.mean, self.std).to(device)
        unit = functional.normalize(self.vectors(pixels), dim=1)
        return unit.view(*grid, -1).half().cpu().numpy()

    def _grid(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return h and w."""
        if max(size) > _LONGEST * min(size):
            raise InputError(
                f"{self.name}: images at most {_LONGEST} times as long as wide are "
                f"required, got {size[1]} x {size[0]} pixels. Cut the image."
            )
        scale = self.config.short_side / min(size) / self._patch
        rows, columns = (max(1, round(edge * scale)) for edge in size)
        return rows, columns


def normalised(
    image: Image,
    size: tuple[int, int],
    mean: Triple,
    std: Triple,
    resample: PIL.Image.Resampling = PIL.Image.Resampling.BICUBIC,
) -> Float[torch.Tensor, "1 3 H W"]:
    """Return an image at a size (H, W), as a network takes it.

    Args:
      image: uint8 RGB.
      size: to be; smoothed where it shrinks.
      mean: of the values in 0..1.
      std: likewise.
      resample: how PIL finds values between pixels.
    """
    resized = PIL.Image.fromarray(image).resize(size[::-1], resample)
    pixels = torch.from_numpy(np.array(resized, np.float32)).permute(2, 0, 1)[None]
    middle, spread = (torch.tensor(each).view(1, 3, 1, 1) for each in (mean, std))
    return (pixels / 255 - middle) / spread
