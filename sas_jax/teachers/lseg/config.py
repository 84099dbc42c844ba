"""How LSeg looks at a picture. Imported without torch: flags are made of it."""

import dataclasses
import math
from typing import get_args

from sas_jax.checks import in_range, one_of
from sas_jax.errors import InputError
from sas_jax.registry import Compat

SIDE_MULTIPLE = 32
"""Sides of what the network takes: cells of the coarsest map are 32 pixels."""

_LARGEST = 4096


@dataclasses.dataclass(frozen=True)
class LSegConfig:
    """Set scales, windows and what is done with the vectors.

    Attributes:
      compat: "paper", or "official" where the first rows and columns of the output,
        as many as the image has, are taken for the image, as the authors' code does:
        the same for 320 x 240, misplaced for other sizes.
      base_size: longer side that an image is resized to, in pixels. The output has
        half of it. The authors take twice the longer side of the frames: 640 for
        ScanNet, 1280 for Matterport3D, 1600 for nuScenes.
      crop_size: side of the square that the network sees, a multiple of 32; smaller
        images are padded, larger ones seen in overlapping windows.
      scales: of `base_size`; vectors of several scales are added.
      flip: look at the mirrored image too, and add.
      normalise: give unit vectors. The authors keep sums: with `flip`, up to 2 long,
        so that a point of LSeg weighs twice in an average with another teacher's.
    """

    compat: Compat = "paper"
    base_size: int = 640
    crop_size: int = 640
    scales: tuple[float, ...] = (1.0,)
    flip: bool = True
    normalise: bool = False

    def __post_init__(self) -> None:
        one_of("lseg", "compat", self.compat, get_args(Compat))
        in_range("lseg", "lseg_base_size", self.base_size, 2, _LARGEST)
        in_range("lseg", "lseg_crop_size", self.crop_size, SIDE_MULTIPLE, _LARGEST)
        if self.crop_size % SIDE_MULTIPLE:
            raise InputError(
                f"lseg: crop_size must be a multiple of {SIDE_MULTIPLE}, got "
                f"{self.crop_size}. Take the next one."
            )
        if not self.scales:
            raise InputError("lseg: scales must be given, got none. Give 1.")
        for scale in self.scales:
            in_range("lseg", "lseg_scales", scale, 0.1, 10)
        whole = self.scales == (1.0,) and self.base_size <= self.crop_size
        if self.compat == "official" and not whole:
            raise InputError(
                "lseg: compat=official gives features of one scale that fits the crop, "
                f"got scales {self.scales} of {self.base_size} in {self.crop_size}. "
                "Take compat=paper for more."
            )

    def long_side(self, scale: float) -> int:
        """Return the longer side of the image at a scale, in pixels."""
        return math.ceil(self.base_size * scale)
