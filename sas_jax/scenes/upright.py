"""Which way is up in a capture of unknown axes: by its cameras, then by its surfaces.

People hold cameras upright on average, which finds up within the mean tilt; floors and
tables then settle it, since their normals agree with each other to a few degrees.
"""

from typing import Literal

import numpy as np
from jaxtyping import Float

Up = Literal["auto", "x", "y", "z", "-x", "-y", "-z", "camera", "surfaces"]
"""Which way is up: an axis, or what tells."""
AXES = {
    f"{sign}{name}": np.eye(3)[i] * (-1.0 if sign else 1.0)
    for i, name in enumerate("xyz")
    for sign in ("", "-")
}
Z = np.array([0.0, 0.0, 1.0])
# Cones around the guess, degrees: the first must hold the floor of a camera that looks
# down by 40 degrees, and no wall of one that does not.
_CONES_DEG = (40.0, 25.0, 15.0, 10.0, 7.0, 5.0)
_LEAST_SHARE = 0.03


def mean_camera_up(poses: list[Float[np.ndarray, "4 4"]]) -> Float[np.ndarray, " 3"]:
    """Return the unit mean of the cameras' up directions (-y) in the world.

    Args:
      poses: world_from_camera.

    Returns:
      +z without poses and for cameras that cancel out.
    """
    total = -np.sum([pose[:3, 1] for pose in poses], axis=0) if poses else np.zeros(3)
    norm = np.linalg.norm(total)
    return total / norm if norm > 1e-6 else Z


def surface_up(
    normals: Float[np.ndarray, "P 3"], guess: Float[np.ndarray, " 3"]
) -> Float[np.ndarray, " 3"]:
    """Return the direction that most surfaces near a guess face, unit.

    The mean of the normals within a cone about the guess is the next guess, in cones
    that shrink from 40 to 5 degrees.

    Args:
      normals: unit, f32; with their sign. Zero or NaN faces nowhere.
      guess: unit, up within about 40 degrees.

    Returns:
      The guess itself where fewer than 3 % of the normals are near it.
    """
    up = guess
    x, y, z = normals.astype(np.float64).T
    for cone in _CONES_DEG:
        # Per coordinate: a matrix product may round by the number of threads.
        cosine = x * up[0] + y * up[1] + z * up[2]
        near = normals[cosine > np.cos(np.radians(cone))].astype(np.float64)
        if len(near) < _LEAST_SHARE * len(normals) or len(near) == 0:
            return guess
        up = near.mean(axis=0)
        up /= np.linalg.norm(up)
    return up


def rotation_between(
    start: Float[np.ndarray, " 3"], end: Float[np.ndarray, " 3"]
) -> Float[np.ndarray, "3 3"]:
    """Return the rotation of least angle that takes one unit vector to another."""
    axis, cosine = np.cross(start, end), float(start @ end)
    if cosine < -1 + 1e-9:
        # Opposite vectors: half a turn about any axis across them.
        across = np.eye(3)[np.argmin(np.abs(start))]
        across = across - (across @ start) * start
        across /= np.linalg.norm(across)
        return 2 * np.outer(across, across) - np.eye(3)
    skew = np.array(
        [[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]]
    )
    return np.eye(3) + skew + skew @ skew / (1 + cosine)


def turn_up(up: Float[np.ndarray, " 3"]) -> Float[np.ndarray, "4 4"]:
    """Return the rigid motion that turns the unit vector `up` to +z."""
    turn = np.eye(4)
    turn[:3, :3] = rotation_between(up, Z)
    return turn
