"""Augmentation of a training scene: elastic distortion, scale, rotation, flip, shift.

Only geometry changes, and what turns with it where the student takes Gaussians.
Evaluation uses none of this
(default, and the paper's plain forward pass); the authors' code also scales and
rotates at test time, which is why it evaluates five times and adds the results.
"""

import math

import numpy as np
from jaxtyping import Float, Int
from scipy import ndimage

from sas_jax.distill.config import AugmentConfig


def noise_nodes(extent_m: Float[np.ndarray, " 3"], config: AugmentConfig) -> float:
    """Return the most nodes that a noise grid of elastic distortion takes.

    Args:
      extent_m: edges of the cloud's bounding box, metres, finite.
      config: ranges of the transforms.

    Returns:
      0 without distortion; a node takes 12 bytes, twice while it is smoothed.
    """
    grids = [_noise_size(extent_m, granularity) for granularity, _ in config.elastic]
    return float(max((np.prod(size) for size in grids), default=0.0))


def augment_points(
    points: Float[np.ndarray, "P 3"], config: AugmentConfig, rng: np.random.Generator
) -> Float[np.ndarray, "P 3"]:
    """Return the points after elastic distortion, scaling and rotation.

    Args:
      points: positions in metres.
      config: ranges of the transforms.
      rng: the source of all randomness; the same state gives the same bits.

    Returns:
      f64 positions in metres, in the same order.

    Source: authors' code (dataset/feature_loader, voxelizer). OpenScene's distillation
    loader computes the distortion but trains on the undistorted cloud; SAS mends that.
    """
    return placed(points, config, rng)[0]


def placed(
    points: Float[np.ndarray, "P 3"], config: AugmentConfig, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "P 3"], Float[np.ndarray, "3 3"]]:
    """Return what `augment_points` does, and its scale times rotation."""
    moved = points.astype(np.float64)
    if config.elastic and rng.random() < config.elastic_probability:
        for granularity_m, magnitude_m in config.elastic:
            moved = elastic_distortion(moved, granularity_m, magnitude_m, rng)
    similarity = _similarity(config, rng)
    return moved @ similarity.T, similarity


def random_flips(
    config: AugmentConfig, rng: np.random.Generator
) -> Int[np.ndarray, " 3"]:
    """Return -1 for each axis that is mirrored, x and y with their probability."""
    signs = np.ones(3, np.int32)
    if rng.random() < config.flip_probability:
        for axis in (0, 1):
            if rng.random() < config.flip_axis_probability:
                signs[axis] = -1
    return signs


def flip_cells(
    cells: Int[np.ndarray, "P 3"], signs: Int[np.ndarray, " 3"]
) -> Int[np.ndarray, "P 3"]:
    """Return grid cells mirrored along the axes whose sign is -1.

    Mirroring cells instead of points keeps the occupied set a mirror image, as in the
    authors' code. The least coordinate stays 0.
    """
    if len(cells) == 0 or (signs > 0).all():
        return cells
    flipped = cells.copy()
    for axis in np.flatnonzero(signs < 0):
        flipped[:, axis] = cells[:, axis].max() - cells[:, axis]
    return flipped


def random_shift(
    config: AugmentConfig, rng: np.random.Generator
) -> Int[np.ndarray, " 3"]:
    """Return the integer shift, in voxels, that a whole batch shares.

    It decides which voxels share a coarse cell, so a scene is not always pooled the
    same way.
    """
    return rng.integers(0, config.max_shift_voxels, size=3, dtype=np.int32)


def elastic_distortion(
    points: Float[np.ndarray, "P 3"],
    granularity_m: float,
    magnitude_m: float,
    rng: np.random.Generator,
) -> Float[np.ndarray, "P 3"]:
    """Move every point by a smooth random field.

    The field is white noise on a grid of `granularity_m`, smoothed twice along every
    axis by a 3-tap mean with zeros outside, interpolated linearly.

    Args:
      points: positions in metres.
      granularity_m: spacing of the noise grid.
      magnitude_m: factor of the smoothed noise, metres.
      rng: source of the noise.
    """
    if len(points) == 0:
        return points
    low = points.min(axis=0)
    size = _noise_size((points - low).max(axis=0), granularity_m).astype(int)
    noise = rng.standard_normal((3, *size), dtype=np.float32)
    for axis in (1, 2, 3, 1, 2, 3):
        noise = ndimage.uniform_filter1d(noise, 3, axis=axis, mode="constant")
    # Grid node 1 lies on the least corner of the cloud: one node of margin each side.
    nodes = ((points - low) / granularity_m + 1.0).T
    moves = [
        ndimage.map_coordinates(component, nodes, order=1, mode="nearest")
        for component in noise
    ]
    return points + magnitude_m * np.stack(moves, axis=1)


def _noise_size(
    extent_m: Float[np.ndarray, " 3"], granularity_m: float
) -> Float[np.ndarray, " 3"]:
    """Return the nodes of the noise grid along each axis."""
    return extent_m // granularity_m + 3


def _similarity(
    config: AugmentConfig, rng: np.random.Generator
) -> Float[np.ndarray, "3 3"]:
    """Return scale times rotations about the three axes in random order."""
    matrix = np.eye(3) * rng.uniform(*config.scale)
    angles = [rng.uniform(-limit, limit) for limit in config.rotation_rad]
    for axis in rng.permutation(3):
        matrix = _rotation(int(axis), angles[axis]) @ matrix
    if config.quarter_turns:
        # Rounded: a wall at 0 must stay on one side of the grid's line.
        matrix = np.round(_rotation(2, rng.integers(4) * math.pi / 2)) @ matrix
    return matrix


def _rotation(axis: int, angle: float) -> Float[np.ndarray, "3 3"]:
    i, j = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.eye(3)
    matrix[i, i] = matrix[j, j] = math.cos(angle)
    matrix[j, i] = math.sin(angle)
    matrix[i, j] = -matrix[j, i]
    return matrix
