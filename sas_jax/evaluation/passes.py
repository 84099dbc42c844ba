"""Repeated evaluation, as the authors do it: a scene turned and scaled several times.

Their loaders scale and rotate every split, the test split too, and move each batch by
whole voxels; so they evaluate five times and add up. Here a pass follows from its
number and the scene's name.
"""

import dataclasses
import zlib
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int

from sas_jax.artefacts.features import Features
from sas_jax.distill.augment import augment_points, random_shift
from sas_jax.distill.config import named_augmentation
from sas_jax.sparse.voxelize import voxelize

_MANY_CLASSES = 160


def official_passes(num_classes: int) -> int:
    """Return how often the authors' evaluation repeats: 5 times, once for 160."""
    return 1 if num_classes >= _MANY_CLASSES else 5


def moved(
    points: Float[np.ndarray, "P 3"], name: str, passes: int
) -> Iterator[tuple[Float[np.ndarray, "P 3"], Int[np.ndarray, " 3"]]]:
    """Yield the points of every pass, and the shift in voxels that goes with them.

    Args:
      points: metres.
      name: of the scene.
      passes: how many.
    """
    config = named_augmentation("rigid")
    for number in range(passes):
        rng = np.random.default_rng([number, zlib.crc32(name.encode())])
        yield augment_points(points, config, rng), random_shift(config, rng)


def of_voxels(
    features: Features, points: Float[np.ndarray, "P 3"], voxel_size_m: float
) -> Features:
    """Return features where every point has that of the first point in its voxel.

    Args:
      features: of the points, of any level.
      points: of a pass, metres.
      voxel_size_m: edge of a voxel.
    """
    voxels = voxelize(points, voxel_size_m)
    row = features.row[voxels.first_point[voxels.inverse]]
    return dataclasses.replace(features, row=row, level="voxel")
