"""What reads one image of a capture when it is needed, and pickles."""

import functools
import json
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, UInt8

from sas_jax.errors import InputError
from sas_jax.scenes.depth_files import read_depth
from sas_jax.scenes.images import open_image, resize_nearest


def depth_file(
    path: pathlib.Path, depth_scale: float
) -> Callable[[], Float32[np.ndarray, "H W"]]:
    """Return what reads a depth image in metres; see `depth_files.read_depth`."""
    return functools.partial(read_depth, path, depth_scale)


def confident_depth(
    depth: Callable[[], Float32[np.ndarray, "H W"]],
    confidence: Callable[[], UInt8[np.ndarray, "h w"]],
) -> Callable[[], Float32[np.ndarray, "H W"]]:
    """Return what reads depth without the readings of no confidence.

    ARKit knows three levels, of which the lowest one, 0, is not to be relied on.
    """
    return functools.partial(_confident, depth, confidence)


def _confident(depth, confidence):
    depth_m, level = depth(), confidence()
    sure = resize_nearest(level, (depth_m.shape[1], depth_m.shape[0])) > 0
    return np.where(sure, depth_m, np.float32(0))


def grey_file(path: pathlib.Path) -> Callable[[], UInt8[np.ndarray, "H W"]]:
    """Return what reads a grey image of bytes."""
    return functools.partial(_grey, path)


def _grey(path: pathlib.Path) -> UInt8[np.ndarray, "H W"]:
    return np.array(open_image(path, "confidence").convert("L"))


def read_json(path: pathlib.Path, where: str) -> dict[str, Any]:
    """Return the object of a JSON file.

    Args:
      path: of the file.
      where: begins the message.

    Raises:
      InputError: for a missing or damaged file, and for anything but an object.
    """
    try:
        return json_object(path.read_bytes(), path, where)
    except OSError as error:
        raise InputError(
            f"{where}: {path.name} is required, got {error} ({path}). Export the "
            "capture again."
        ) from error


def json_object(data: bytes, path: pathlib.Path, where: str) -> dict[str, Any]:
    """Return the object that bytes of JSON hold; raises like `read_json`."""
    try:
        found = json.loads(data)
        if isinstance(found, dict):
            return found
        got = f"a {type(found).__name__}"
    except (ValueError, RecursionError) as error:
        got = str(error)
    raise InputError(
        f"{where}: a JSON object is required, got {got} ({path}). Export the capture "
        "again."
    )


def pose_of_quaternion(
    position: Float[np.ndarray, " 3"], xyzw: Float[np.ndarray, " 4"]
) -> Float[np.ndarray, "4 4"]:
    """Return the rigid motion of a position and a quaternion x y z w of any length.

    A quaternion of length zero gives NaN, which is no pose.
    """
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        x, y, z, w = np.asarray(xyzw, np.float64) / np.linalg.norm(xyzw)
    pose = np.eye(4)
    pose[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    pose[:3, 3] = position
    return pose
