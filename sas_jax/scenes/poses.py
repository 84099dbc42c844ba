"""Conventions in which captures give their poses, and the pose that we mean by them.

opencv          world_from_camera; x right, y down, z forward
opengl          world_from_camera; x right, y up, z backward
                (ARKit, Record3D, Polycam, nerfstudio, Blender)
inverse         camera_from_world of an OpenCV camera (COLMAP, extrinsic matrices)
inverse-opengl  camera_from_world of an OpenGL camera (view matrices)
"""

from typing import Literal, get_args

import numpy as np
from jaxtyping import Float

PoseConvention = Literal["opencv", "opengl", "inverse", "inverse-opengl"]
CONVENTIONS: tuple[PoseConvention, ...] = get_args(PoseConvention)
# Farther than this from a rotation it is none; nearer than that it stays as it is.
RIGID_TOLERANCE = 1e-3
_ROUNDED_TOLERANCE = 5e-3  # three decimals are off by up to 1.7e-3


def to_opencv(
    pose: Float[np.ndarray, "4 4"], convention: PoseConvention
) -> Float[np.ndarray, "4 4"]:
    """Return `world_from_camera` of an OpenCV camera.

    Args:
      pose: rigid, as the capture gives it.
      convention: how that is meant; see the module.
    """
    if convention.startswith("inverse"):
        pose = inverse(pose)
    if convention.endswith("opengl"):
        pose = pose.copy()
        pose[:3, 1:3] *= -1
    return pose


def inverse(pose: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "4 4"]:
    """Return the inverse of a rigid motion."""
    result = np.eye(4)
    result[:3, :3] = pose[:3, :3].T
    result[:3, 3] = -(pose[:3, :3].T @ pose[:3, 3])
    return result


def without_rounding(pose: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "4 4"]:
    """Return the rigid motion next to a pose that was written with few decimals.

    Args:
      pose: any matrix; returned as it is when it is rigid to `RIGID_TOLERANCE`, or
        farther from it than three decimals explain.
    """
    if pose.shape != (4, 4) or not (np.abs(pose[:3, :3]) <= 2).all():
        return pose
    off = rotation_error(pose[:3, :3])
    if not RIGID_TOLERANCE < off <= _ROUNDED_TOLERANCE:
        return pose
    left, _, right = np.linalg.svd(pose[:3, :3])
    result = pose.copy()
    result[:3, :3] = left @ right
    return result


def rotation_error(matrix: Float[np.ndarray, "3 3"]) -> float:
    """Return how far the rows are from unit length and right angles, at most."""
    return float(np.abs(matrix @ matrix.T - np.eye(3)).max())
