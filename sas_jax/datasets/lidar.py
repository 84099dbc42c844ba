"""What LiDAR data sets share: sweeps in one frame, cameras without depth, raw ids.

A scan is one annotated sweep, in the frame of the vehicle or sensor at its moment (z
up, metres), and the sweeps shortly before it, moved there. Only points of the annotated
sweep, which come first, have labels.
"""

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Float64, Int32, Integer

from sas_jax.errors import InputError
from sas_jax.scenes.labels import IGNORE
from sas_jax.scenes.views import Camera, View

# Beyond any sensor; f32 still tells millimetres apart.
_FARTHEST_M = 1e4


@dataclasses.dataclass(frozen=True)
class Sweep:
    """One turn of a LiDAR.

    Attributes:
      path: file of f32 records that begin with x, y, z.
      scene_from_sensor: [4, 4] f64 rigid.
    """

    path: pathlib.Path
    scene_from_sensor: Float64[np.ndarray, "4 4"]


def view(
    name: str,
    path: pathlib.Path,
    intrinsics: Float64[np.ndarray, "3 3"],
    scene_from_camera: Float64[np.ndarray, "4 4"],
    size_wh: tuple[int, int] | None = None,
) -> View:
    """Return an image without depth: what is in front of it and inside is seen.

    Args:
      name: unique in its scan.
      path: of the image.
      intrinsics: [3, 3] f64.
      scene_from_camera: [4, 4] f64 rigid.
      size_wh: that the intrinsics are for; None for the size of the stored image.

    Raises:
      InputError: for intrinsics of no pinhole.
    """
    sound = np.isfinite(intrinsics).all() and (np.diag(intrinsics)[:2] > 0).all()
    if not sound or not np.allclose(intrinsics[2], (0, 0, 1)):
        raise InputError(
            "camera: positive focal lengths and a last row 0 0 1 are required, got "
            f"{intrinsics.tolist()} (of {path}). Download the calibration again."
        )
    return View(name, scene_from_camera, Camera(intrinsics, size_wh), path)


def merged(sweeps: Sequence[Sweep], fields: int) -> Float32[np.ndarray, "P 3"]:
    """Return the points of all sweeps in the scan's frame, metres, in their order.

    Args:
      sweeps: at least one; the annotated one first.
      fields: f32 numbers of a record: 5 in nuScenes, 4 in KITTI.

    Raises:
      InputError: for a missing or damaged file, which it names.
    """
    return np.concatenate([_moved(sweep, fields) for sweep in sweeps])


def _moved(sweep: Sweep, fields: int) -> Float32[np.ndarray, "P 3"]:
    points = read_sweep(sweep.path, fields).astype(np.float64)
    motion = sweep.scene_from_sensor
    # Written out: a matrix product may sum in another order with more threads.
    x, y, z = points.T
    moved = [
        motion[i, 0] * x + motion[i, 1] * y + motion[i, 2] * z + motion[i, 3]
        for i in range(3)
    ]
    return np.stack(moved, axis=1).astype(np.float32)


def read_sweep(path: pathlib.Path, fields: int) -> Float32[np.ndarray, "P 3"]:
    """Return x, y, z of a file of f32 records, as the sensor gave them, metres.

    Raises:
      InputError: for a missing or empty file, one that ends within a record, and
        coordinates that no sensor gives.
    """
    size = 4 * fields
    data = _bytes(path, "sweep", f"records of {fields} f32 numbers")
    if not data or len(data) % size:
        raise InputError(
            f"sweep: records of {fields} f32 numbers ({size} bytes) are required, got "
            f"{len(data)} bytes ({path}). Extract or download the file again."
        )
    points = np.frombuffer(data, "<f4").reshape(-1, fields)[:, :3]
    wrong = np.flatnonzero(~(np.abs(points) <= _FARTHEST_M).all(axis=1))
    if len(wrong):
        raise InputError(
            f"sweep: coordinates within {_FARTHEST_M:g} m are required, got "
            f"{points[wrong[0]].tolist()} at point {wrong[0]} ({path}). Extract or "
            "download the file again."
        )
    return points


def read_ids(
    path: pathlib.Path, dtype: str, num_points: int
) -> Integer[np.ndarray, " P"]:
    """Return a file of one integer per point.

    Args:
      path: of the labels.
      dtype: of the integers, `u1` or `<u4`.
      num_points: of the sweep that they are for, P.

    Raises:
      InputError: for a missing file, and for one of another length.
    """
    data = _bytes(path, "labels", "one integer per point")
    size = np.dtype(dtype).itemsize
    if len(data) != size * num_points:
        raise InputError(
            f"labels: {num_points} integers of {size} byte{'s' * (size > 1)} are "
            f"required, one per point of the sweep; got {len(data)} bytes ({path}). "
            "Take sweeps and labels of the same release."
        )
    return np.frombuffer(data, dtype)


def of_first(
    labels: Int32[np.ndarray, " A"], num_points: int
) -> Int32[np.ndarray, " P"]:
    """Return labels of all points: those of the first sweep, `IGNORE` for the rest."""
    every = np.full(num_points, IGNORE, np.int32)
    every[: len(labels)] = labels
    return every


def _bytes(path: pathlib.Path, what: str, content: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{what}: a file of {content} is required, got "
            f"{error.strerror or error} ({path}). Extract or download it."
        ) from error
