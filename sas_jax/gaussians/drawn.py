"""Gaussians as a viewer draws them: their covariances in the axes of a scene."""

import numpy as np
from jaxtyping import Float32

from sas_jax.gaussians.splats import Splats


def covariances_at(
    splats: Splats, points: Float32[np.ndarray, "G 3"]
) -> Float32[np.ndarray, "G 3 3"]:
    """Return the covariances of Gaussians whose scene was turned, moved and scaled.

    Args:
      splats: in the axes and the unit of their file.
      points: their centres in the scene, metres, in their order.
    """
    w, x, y, z = splats.rotations.T
    axes = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    # points = means @ turned + moved: what turned the centres turns their axes.
    means = np.pad(splats.means, ((0, 0), (0, 1)), constant_values=1)
    turned = np.linalg.lstsq(means.astype(np.float64), points, rcond=None)[0][:3]
    roots = np.einsum("ba,bcg->gac", turned, axes) * splats.scales[:, None, :]
    return np.einsum("gac,gbc->gab", roots, roots).astype(np.float32)
