"""What reads one image of a capture when it is needed, and pickles."""

import functools
import json
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from sas_jax.artefacts.plain_files import plain
from sas_jax.errors import InputError
from sas_jax.scenes.depth_files import read_depth
from sas_jax.scenes.images import open_image


def depth_file(
    path: pathlib.Path,
    depth_scale: float,
    confidence: pathlib.Path | None = None,
    least: int = 1,
) -> Callable[[], Float32[np.ndarray, "H W"]]:
    """Return what reads a depth image in metres; see `depth_files.read_depth`.

    Args:
      path: of the depth image.
      depth_scale: stored units per metre.
      confidence: image of how sure each reading is, of the same size; None for none.
      least: readings that are less sure are left out; ARKit has 0, 1 and 2.
    """
    return functools.partial(_depth, path, depth_scale, confidence, least)


def _depth(
    path: pathlib.Path, depth_scale: float, confidence: pathlib.Path | None, least: int
) -> Float32[np.ndarray, "H W"]:
    depth = read_depth(path, depth_scale)
    if confidence is None:
        return depth
    sure = np.array(open_image(confidence, "confidence"))
    if sure.shape != depth.shape:
        raise InputError(
            f"confidence: an image of the depth's shape {list(depth.shape)} is required"
            f", got {list(sure.shape)} ({confidence}). Export this frame again."
        )
    return np.where(sure >= least, depth, np.float32(0))


def nearest_in_time(
    times: Float[np.ndarray, " N"], time: float, within: float
) -> int | None:
    """Return the row of ascending times that is nearest, None where it is too far."""
    if not len(times):
        return None
    right = int(np.searchsorted(times, time))
    best = min(
        (i for i in (right - 1, right) if 0 <= i < len(times)),
        key=lambda i: abs(times[i] - time),
    )
    return best if abs(times[best] - time) <= within else None


def read_json(path: pathlib.Path, where: str) -> dict[str, Any]:
    """Return the object of a JSON file.

    Args:
      path: of the file.
      where: begins the message.

    Raises:
      InputError: for a missing or damaged file, and for anything but an object.
    """
    try:
        return json_object(plain(path).read_bytes(), path, where)
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
