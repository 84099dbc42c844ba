"""The true classes of pixels: those of the labelled points that their depth meets."""

import numpy as np
from jaxtyping import Int32
from scipy.spatial import cKDTree

from sas_jax.checks import in_range
from sas_jax.errors import ContractError
from sas_jax.evaluation.confusion import IGNORE
from sas_jax.scenes.cloud import back_project
from sas_jax.scenes.scene import Frame, Scene


class ImageTruth:
    """Labels frames of one scene."""

    def __init__(self, scene: Scene, reach_m: float = 0.1, max_depth_m: float = 10.0):
        """Take the labelled points.

        Args:
          scene: with labels.
          reach_m: a pixel whose depth meets no point within is not labelled: the
            spacing of the points, and noise of the depth.
          max_depth_m: nor is a pixel that lies farther.

        Raises:
          ContractError: for a scene without labels.
        """
        if scene.labels is None:
            raise ContractError(
                f"image truth: labels are required, got none (scene {scene.name}). "
                "Open a scan that has some, with annotations."
            )
        in_range("image truth", "reach_m", reach_m, 0, above=True)
        self._tree, self._labels = cKDTree(scene.points), scene.labels
        self._reach_m, self._max_depth_m = reach_m, max_depth_m

    def of(self, frame: Frame) -> Int32[np.ndarray, "H W"]:
        """Return the class of each pixel, 255 where it is not known.

        Raises:
          ContractError: for a frame without depth.
        """
        depth = frame.known_depth_m
        found = np.full(depth.shape, IGNORE, np.int32)
        world, _ = back_project(frame, self._max_depth_m)
        _, nearest = self._tree.query(world, distance_upper_bound=self._reach_m)
        labels = np.append(self._labels, np.int32(IGNORE))  # the last: none is near
        found[(depth > 0) & (depth <= self._max_depth_m)] = labels[nearest]
        return found
