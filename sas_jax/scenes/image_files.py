"""What reads one image of a capture when it is needed, and pickles."""

import functools
import pathlib
from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Float32

from sas_jax.scenes.depth_files import read_depth


def depth_file(
    path: pathlib.Path, depth_scale: float
) -> Callable[[], Float32[np.ndarray, "H W"]]:
    """Return what reads a depth image in metres; see `depth_files.read_depth`."""
    return functools.partial(read_depth, path, depth_scale)


def pose_of_quaternion(
    position: Float[np.ndarray, " 3"], xyzw: Float[np.ndarray, " 4"]
) -> Float[np.ndarray, "4 4"]:
    """Return the rigid motion of a position and a quaternion x y z w of any length.

    A quaternion of length zero gives NaN, which is no pose.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        x, y, z, w = np.asarray(xyzw, np.float64) / np.linalg.norm(xyzw)
    pose = np.eye(4)
    pose[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    pose[:3, 3] = position
    return pose
