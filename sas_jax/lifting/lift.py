"""From pixels to points: the mean of a point's features over all frames that see it.

Frames are added one by one; memory is the running sum [P, C] f32 and the view count
[P], whatever the number of frames. A teacher's feature image may have a coarser grid
than the frame; a pixel then takes the cell that its centre lies in.
"""

import dataclasses
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int, Int32

from sas_jax.artefacts.features import Features, rows_of_points
from sas_jax.artefacts.space import TextSpace
from sas_jax.errors import ContractError, InputError

VOID = -1
_ROWS_AT_ONCE = 256  # copies of some hundred channels stay in the cache


@dataclasses.dataclass(frozen=True)
class MaskFeatures:
    """A feature image with few distinct vectors, as a mask teacher makes.

    Attributes:
      codebook: [M, C] f16 or f32, one vector per mask.
      index: [h, w] row of the codebook, `VOID` (-1) where no mask is.
    """

    codebook: Float[np.ndarray, "M C"]
    index: Int[np.ndarray, "h w"]

    def __post_init__(self) -> None:
        low, high = self.index.min(initial=VOID), self.index.max(initial=VOID)
        if self.codebook.ndim != 2 or low < VOID or high >= len(self.codebook):
            raise ContractError(
                f"mask features: index must be in -1..{len(self.codebook) - 1}, got "
                f"{low}..{high} for a codebook {list(self.codebook.shape)}. "
                "Void is -1, the first mask is 0."
            )


FeatureImage = Float[np.ndarray, "h w C"] | MaskFeatures


def grid_cells(
    pixel: Int[np.ndarray, "N 2"],
    image_hw: tuple[int, int],
    grid_hw: tuple[int, int],
) -> Int[np.ndarray, "N 2"]:
    """Return the grid cell that each pixel's centre lies in.

    The grid covers the image: cell = floor((pixel + 1/2) * grid / image).
    """
    # Integer arithmetic: floor of (2p + 1) g / (2 n) is exact.
    scale, size = np.array(grid_hw, np.int64), np.array(image_hw, np.int64)
    return (2 * pixel.astype(np.int64) + 1) * scale // (2 * size)


class Lifter:
    """Accumulate feature images into mean features per point."""

    def __init__(
        self,
        num_points: int,
        space: TextSpace,
        compat: Literal["paper", "official"] = "paper",
    ):
        """Start with no views.

        Args:
          num_points: P, points of the scene.
          space: that every feature image to come lives in, of C dimensions.
          compat: "paper" leaves void pixels out; "official" counts them as views with
            a zero feature, as the authors' code does.
        """
        self._sum = np.zeros((num_points, space.dim), np.float32)
        self._space = space
        self._count = np.zeros(num_points, np.int32)
        self._compat = compat

    def add(
        self,
        pixel: Int32[np.ndarray, "P 2"],
        visible: Bool[np.ndarray, " P"],
        features: FeatureImage,
        *,
        image_hw: tuple[int, int],
    ) -> None:
        """Add one frame.

        Args:
          pixel: (row, column) per point in the frame, from `project`.
          visible: which points the frame sees.
          features: dense [h, w, C] or of masks, on the teacher's own grid.
          image_hw: height and width of the frame that `pixel` refers to.

        Raises:
          ContractError: when shapes do not fit.
        """
        mask_of = None  # row of the codebook in each cell
        if isinstance(features, MaskFeatures):
            table, grid_hw = features.codebook, features.index.shape
            mask_of = features.index.reshape(-1)
        else:
            table, grid_hw = features, features.shape[:2]
            table = table.reshape(-1, table.shape[-1])
        self._check(pixel, visible, table.shape[1])
        index = np.flatnonzero(visible)
        cell = grid_cells(pixel[index], image_hw, grid_hw)
        if len(cell) and not (cell < grid_hw).all():
            raise ContractError(
                f"lift: pixels must lie in the image {image_hw}, got up to "
                f"{pixel[index].max(axis=0).tolist()}. Pass the frame's size_hw."
            )
        row = cell[:, 0] * grid_hw[1] + cell[:, 1]
        if mask_of is not None:
            row = mask_of[row]
            if self._compat == "official":
                self._count[index[row == VOID]] += 1
            index, row = index[row != VOID], row[row != VOID]
        if len(table) < len(index):
            table = table.astype(np.float32)  # each row once, not once a point
        # Blocks bound the gathered copy; a point occurs once, so += is exact.
        for first in range(0, len(index), _ROWS_AT_ONCE):
            block = slice(first, first + _ROWS_AT_ONCE)
            self._sum[index[block]] += table[row[block]]
        self._count[index] += 1

    def _check(self, pixel: np.ndarray, visible: np.ndarray, channels: int) -> None:
        num_points, dim = self._sum.shape
        if pixel.shape != (num_points, 2) or visible.shape != (num_points,):
            raise ContractError(
                f"lift: pixel [{num_points}, 2] and visible [{num_points}] are "
                f"required, got {list(pixel.shape)} and {list(visible.shape)}. "
                "Project the points of the same scene."
            )
        if channels != dim:
            raise ContractError(
                f"lift: features must have {dim} channels, got {channels}. "
                "One lifter takes the features of one teacher."
            )

    def result(self) -> Features:
        """Return the means of all points seen so far.

        Raises:
          InputError: when a mean is not finite in f16: the teacher gave NaN, infinity
            or values above 65504.

        Source: SAS section 3.1; no normalisation after averaging, as in the authors'
          code.
        """
        seen = np.flatnonzero(self._count)
        feat = np.empty((len(seen), self._sum.shape[1]), np.float16)
        for first in range(0, len(seen), _ROWS_AT_ONCE):
            block = slice(first, first + _ROWS_AT_ONCE)
            counts = self._count[seen[block], None].astype(np.float32)
            with np.errstate(over="ignore", invalid="ignore"):
                feat[block] = self._sum[seen[block]] / counts
        bad = np.flatnonzero(~np.isfinite(feat).all(axis=1))
        if len(bad):
            raise InputError(
                f"lift: features must be finite in float16, got {len(bad)} points that "
                f"are not, the first {seen[bad[0]]}. Check the teacher's output."
            )
        row = rows_of_points(seen, len(self._count))
        return Features(feat, row, self._count[seen], self._space)
