"""The Gaussians that training begins with: round ones at the points of a scan."""

import logging

import numpy as np
from jaxtyping import Float, Float32, Float64, Int64, UInt8
from scipy.spatial import cKDTree

from sas_jax.errors import InputError
from sas_jax.gaussians.splats import C0, COEFFICIENTS, Splats
from sas_jax.gaussians.training_config import SeedConfig

_NEIGHBORS = 3
_SMALLEST_M = 1e-4
_HALVINGS = 20


def seed_splats(
    points: Float[np.ndarray, "P 3"],
    colors: UInt8[np.ndarray, "P 3"] | None,
    config: SeedConfig | None = None,
) -> Splats:
    """Return round Gaussians of a scan's colours.

    A scale is the mean distance of the three nearest others, as in Kerbl et al. 2023,
    section 5.1.

    Args:
      points: metres, finite.
      colors: sRGB; None gives grey, with a warning.
      config: how many.

    Raises:
      InputError: for less than two points.
    """
    config = config or SeedConfig()
    if len(points) < 2:
        raise InputError(
            f"splats: a scan of 2 points or more is required, got {len(points)}. Take "
            "the whole scan."
        )
    if colors is None:
        logging.warning("splats: the scan has no colours; Gaussians begin as grey")
        colors = np.full(points.shape, 128, np.uint8)
    means, shares = thinned(points, colors.astype(np.float64) / 255, config.seeds)
    near = min(_NEIGHBORS, len(means) - 1)
    distances = cKDTree(means).query(means, k=near + 1)[0][:, 1:].mean(axis=1)
    scales = np.maximum(distances, _SMALLEST_M).astype(np.float32)
    sh = np.zeros((len(means), COEFFICIENTS[config.sh_degree], 3), np.float32)
    sh[:, 0] = (shares - 0.5) / C0
    return Splats(
        means=means,
        scales=np.repeat(scales[:, None], 3, axis=1),
        rotations=np.tile(np.array([1, 0, 0, 0], np.float32), (len(means), 1)),
        opacities=np.full(len(means), config.seed_opacity, np.float32),
        sh=sh,
    )


def thinned(
    points: Float[np.ndarray, "P 3"], values: Float[np.ndarray, "P C"], most: int
) -> tuple[Float32[np.ndarray, "M 3"], Float32[np.ndarray, "M C"]]:
    """Return means over voxels, of the smallest size that leaves at most `most`.

    Args:
      points: metres.
      values: of the points.
      most: M, at least 1; all points come back, in order, where they are as few.
    """
    if len(points) <= most:
        return points.astype(np.float32), values.astype(np.float32)
    low = points.min(axis=0).astype(np.float64)
    moved = points.astype(np.float64) - low
    # Between a voxel that holds everything and one that is too small.
    large, small = 2 * float(moved.max()) + _SMALLEST_M, 0.0
    for _ in range(_HALVINGS):
        middle = (large + small) / 2
        count = len(np.unique(_voxels(moved, middle)))
        large, small = (middle, small) if count <= most else (large, middle)
        if count <= most and count >= 0.995 * most:
            break
    _, voxel, counts = np.unique(
        _voxels(moved, large), return_inverse=True, return_counts=True
    )
    sums = [
        np.bincount(voxel, column, len(counts))
        for column in (*moved.T, *values.T.astype(np.float64))
    ]
    means = np.stack(sums, axis=1) / counts[:, None]
    return (means[:, :3] + low).astype(np.float32), means[:, 3:].astype(np.float32)


def _voxels(moved: Float64[np.ndarray, "P 3"], size: float) -> Int64[np.ndarray, " P"]:
    """Return a number of each point's voxel; halvings keep places below 2^21."""
    x, y, z = np.floor(moved / size).astype(np.int64).T
    return (x << 42) | (y << 21) | z
