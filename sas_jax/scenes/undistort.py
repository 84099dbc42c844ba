"""Lens distortion, taken out by looking every pixel of a pinhole image up.

The models of OpenCV, whose names COLMAP and nerfstudio use too: radial and tangential
coefficients k1 k2 p1 p2 k3 k4 k5 k6, and the equidistant fisheye k1 k2 k3 k4.
"""

import dataclasses
import functools
from typing import Literal

import numpy as np
from jaxtyping import Float, Shaped

from sas_jax.errors import InputError

Model = Literal["opencv", "fisheye"]
_MOST = {"opencv": 8, "fisheye": 4}


@dataclasses.dataclass(frozen=True)
class Distortion:
    """A lens.

    Attributes:
      model: "opencv" or "fisheye".
      coefficients: as OpenCV orders them: k1 k2 p1 p2 k3 k4 k5 k6, or k1 k2 k3 k4 of
        the fisheye; trailing ones may be left out.
    """

    model: Model
    coefficients: tuple[float, ...]

    def __post_init__(self) -> None:
        most = _MOST.get(self.model, 0)
        finite = np.isfinite(self.coefficients).all()
        if len(self.coefficients) > most or not finite:
            raise InputError(
                f"distortion: at most 8 finite numbers of model opencv or 4 of fisheye "
                f"are required, got {self.model} {list(self.coefficients)}. Check the "
                "calibration."
            )

    @property
    def is_none(self) -> bool:
        """Whether the lens does not distort; a fisheye always does."""
        return self.model == "opencv" and not any(self.coefficients)

    def distorted(
        self, x: Float[np.ndarray, "..."], y: Float[np.ndarray, "..."]
    ) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
        """Return where rays (x, y, 1) meet the plane at depth 1 through the lens."""
        if self.model == "fisheye":
            return self._fisheye(x, y)
        k1, k2, p1, p2, k3, k4, k5, k6 = (*self.coefficients, *(0.0,) * 8)[:8]
        r2 = x * x + y * y
        above = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
        radial = above / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
        return (
            x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
            y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
        )

    def _fisheye(self, x, y):
        k1, k2, k3, k4 = (*self.coefficients, *(0.0,) * 4)[:4]
        r = np.hypot(x, y)
        theta = np.arctan(r)
        t2 = theta * theta
        bent = theta * (1 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4))))
        scale = np.divide(bent, r, out=np.ones_like(r), where=r > 1e-9)
        return x * scale, y * scale


class Undistorter:
    """Turn images of one distorted camera into those of the pinhole with its matrix."""

    def __init__(
        self,
        distortion: Distortion,
        intrinsics: Float[np.ndarray, "3 3"],
        size_wh: tuple[int, int],
    ) -> None:
        """Find, for every pixel of the pinhole image, the one that the lens gives it.

        Args:
          distortion: the lens.
          intrinsics: of the images, which the pinhole keeps.
          size_wh: of the images.
        """
        width, height = size_wh
        fx, fy = intrinsics[0, 0], intrinsics[1, 1]
        cx, cy = intrinsics[0, 2], intrinsics[1, 2]
        v, u = np.indices((height, width), np.float64)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            x, y = distortion.distorted((u - cx) / fx, (v - cy) / fy)
            column, row = np.rint(x * fx + cx), np.rint(y * fy + cy)
            self._inside = (column >= 0) & (column < width) & (row >= 0)
            self._inside &= row < height
        self._column = np.where(self._inside, column, 0).astype(np.int32)
        self._row = np.where(self._inside, row, 0).astype(np.int32)

    def __call__(self, image: Shaped[np.ndarray, "H W *C"]) -> np.ndarray:
        """Return the pinhole image by nearest pixels; 0 where the lens saw nothing."""
        seen = image[self._row, self._column]
        seen[~self._inside] = 0
        return seen


def undistorter(
    distortion: Distortion,
    intrinsics: Float[np.ndarray, "3 3"],
    size_wh: tuple[int, int],
) -> Undistorter:
    """Return the undistorter of a camera; frames of one camera share it."""
    return _undistorter(distortion, tuple(map(float, intrinsics.ravel())), size_wh)


@functools.lru_cache(maxsize=4)
def _undistorter(
    distortion: Distortion, intrinsics: tuple[float, ...], size_wh: tuple[int, int]
) -> Undistorter:
    return Undistorter(distortion, np.reshape(intrinsics, (3, 3)), size_wh)
