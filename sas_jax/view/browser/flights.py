"""Cameras of browsers: how they move, and how rotations are told to viser."""

import time
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

_STEPS, _STEP_S = 14, 0.03


def fly(client: Any, position: np.ndarray, look_at: np.ndarray) -> None:
    """Move a browser's camera, metres, in less than half a second."""
    camera = client.camera
    begin, aim = np.array(camera.position), np.array(camera.look_at)
    for step in range(1, _STEPS + 1):
        share = step / _STEPS
        share = share * share * (3 - 2 * share)
        with client.atomic():
            camera.position = begin + share * (position - begin)
            camera.look_at = aim + share * (look_at - aim)
        client.flush()
        time.sleep(_STEP_S)


def fly_to_pose(client: Any, pose: Float[np.ndarray, "4 4"]) -> None:
    """Look at what a photograph shows, from where it was taken."""
    fly(client, pose[:3, 3], pose[:3, 3] + pose[:3, 2])


def quaternion(rotation: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, " 4"]:
    """Return a rotation as (w, x, y, z)."""
    x, y, z, w = Rotation.from_matrix(rotation).as_quat()
    return np.array([w, x, y, z])
