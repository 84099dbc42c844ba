"""How frames become features of points."""

import dataclasses
from typing import Literal

from sas_jax.checks import in_range
from sas_jax.errors import InputError

_MOST_PIXELS = 1 << 26


@dataclasses.dataclass(frozen=True)
class LiftConfig:
    """Choose how pixels meet points.

    Attributes:
      occlusion_threshold: allowed |depth - z| as a share of depth; None takes the
        value of `compat`: 0.2 in the paper (ScanNet), 0.25 in the authors' code.
      border_px: pixels ignored at each image edge.
      compat: "paper", or "official" where a void pixel counts as a view of zeros.
    """

    occlusion_threshold: float | None = None
    border_px: int = 10
    compat: Literal["paper", "official"] = "paper"

    def __post_init__(self) -> None:
        in_range("lift", "occlusion_threshold", self.occlusion_threshold, 0)
        in_range("lift", "border_px", self.border_px, 0)

    @property
    def threshold(self) -> float:
        """The occlusion threshold in force."""
        if self.occlusion_threshold is not None:
            return self.occlusion_threshold
        return 0.25 if self.compat == "official" else 0.2


@dataclasses.dataclass(frozen=True)
class ExtractConfig:
    """Choose which frames are used and how they are lifted.

    Attributes:
      lift: projection, averaging and `compat`, which alignment follows too.
      frame_stride: every how many-th frame is used (20 for real ScanNet).
      image_size_wh: size at which the scene hands out its frames; None = as stored.
      batch: frames that a teacher gets at once; read-ahead is as many again.
    """

    lift: LiftConfig = dataclasses.field(default_factory=LiftConfig)
    frame_stride: int = 1
    image_size_wh: tuple[int, int] | None = (320, 240)
    batch: int = 4

    def __post_init__(self) -> None:
        in_range("extract", "frame_stride", self.frame_stride, 1)
        in_range("extract", "batch", self.batch, 1)
        size = self.image_size_wh
        sound = size is None or (len(size) == 2 and min(size) >= 1)
        if size is not None and not (sound and size[0] * size[1] <= _MOST_PIXELS):
            raise InputError(
                "extract: image_size_wh must be a width and a height >= 1, of at most "
                f"{_MOST_PIXELS} pixels, got "
                f"{size}. Give both, e.g. --image_size=320,240."
            )
