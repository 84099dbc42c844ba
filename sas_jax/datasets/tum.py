"""TUM RGB-D and Bonn sequences: lists of times, files and poses.

    <scan>/rgb.txt depth.txt            time file, `#` begins a comment
           groundtruth.txt              time tx ty tz qx qy qz qw, world_from_camera
           rgb/*.png depth/*.png        16 bit, 5000 units a metre
           intrinsic.txt                optional, in place of the sequence's own

An image belongs to the depth image and the pose that are nearest in time, within 20
and 30 ms. Which Kinect took a sequence stands in its name (freiburg1, 2, 3); others and
Bonn's have cameras of their own. Depth is registered to colour, whose lens is left as
it is, as in the benchmark's own tools.
"""

import dataclasses
import pathlib
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from sas_jax.datasets.capture import Capture, CaptureDataset
from sas_jax.errors import InputError
from sas_jax.scenes.camera_files import read_pinhole
from sas_jax.scenes.image_files import (
    depth_file,
    nearest_in_time,
    pose_of_quaternion,
)
from sas_jax.scenes.views import Camera, View, ViewFrames

_UNITS_PER_M = 5000.0
_WH = (640, 480)
_DEPTH_WITHIN_S, _POSE_WITHIN_S = 0.02, 0.03
# fx, fy, cx, cy at 640 x 480, by what the name of the sequence holds.
_KNOWN = {
    "freiburg1": (517.3, 516.5, 318.6, 255.3),
    "freiburg2": (520.9, 521.0, 325.1, 249.7),
    "freiburg3": (535.4, 539.2, 320.1, 247.6),
    "bonn": (542.822841, 542.576870, 315.593520, 237.756098),
}
_DEFAULT = (525.0, 525.0, 319.5, 239.5)
_ASSUMED = (
    "no camera is known of a sequence of this name, so a Kinect's nominal one is taken "
    "(fx fy 525, cx 319.5, cy 239.5). Put intrinsic.txt there if it is another one."
)


@dataclasses.dataclass(frozen=True)
class Tum(CaptureDataset):
    """TUM RGB-D and Bonn sequences; see the module and `CaptureDataset`."""

    name: ClassVar = "tum"
    layout: ClassVar = "<scan>/ with rgb.txt, depth.txt and groundtruth.txt"
    needs: ClassVar = ("rgb.txt", "depth.txt", "groundtruth.txt")

    def is_scan(self, path: pathlib.Path) -> bool:
        """Tell whether the three lists are there."""
        return all(
            (path / f"{n}.txt").is_file() for n in ("rgb", "depth", "groundtruth")
        )

    def capture(self, path: pathlib.Path) -> Capture:
        """Return the images that have depth and a pose near in time."""
        index = tuple(path / f"{n}.txt" for n in ("rgb", "depth", "groundtruth"))
        (rgb_at, rgb), (depth_at, depth) = map(_listed, index[:2])
        pose_at, rows = _listed(index[2])
        poses = [_pose(row, index[2]) for row in rows]
        camera, assumed = _camera(path)
        views = []
        for time, color in zip(rgb_at, rgb, strict=True):
            d = nearest_in_time(depth_at, time, _DEPTH_WITHIN_S)
            p = nearest_in_time(pose_at, time, _POSE_WITHIN_S)
            if d is None or p is None:
                continue
            files = (path / color[0], path / depth[d][0])
            views.append(
                View(
                    name=files[0].stem,
                    pose=poses[p],
                    camera=camera,
                    color=files[0],
                    depth=depth_file(files[1], self.depth_scale or _UNITS_PER_M),
                    files=files,
                )
            )
        if not views:
            raise InputError(
                f"tum: an image with depth within {_DEPTH_WITHIN_S:g} s and a pose "
                f"within {_POSE_WITHIN_S:g} s is required, got none of {len(rgb)} "
                f"({path}). Do the three lists share one clock?"
            )
        scale = self.depth_scale or _UNITS_PER_M
        return Capture(
            ViewFrames(path, tuple(views), depth_scale=scale),
            index=(*index, path / "intrinsic.txt"),
            assumed=assumed,
        )


def _camera(path: pathlib.Path) -> tuple[Camera, str | None]:
    """Return the camera, and what is to be said where it is assumed."""
    assumed = None
    if (path / "intrinsic.txt").is_file():
        return Camera(*read_pinhole(path / "intrinsic.txt")), None
    name = path.name.lower().replace("fr1", "freiburg1")
    name = name.replace("fr2", "freiburg2").replace("fr3", "freiburg3")
    numbers = next((v for k, v in _KNOWN.items() if k in name), None)
    if numbers is None:
        numbers = _DEFAULT
        assumed = _ASSUMED
    fx, fy, cx, cy = numbers
    return Camera(np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]), _WH), assumed


def _listed(path: pathlib.Path) -> tuple[Float[np.ndarray, " N"], list[list[str]]]:
    """Return times, ascending, and the other words of their lines."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        rows = [line.replace(",", " ").split() for line in lines]
        rows = [row for row in rows if row and not row[0].startswith("#")]
        times = np.array([float(row[0]) for row in rows])
        if any(len(row) < 2 for row in rows) or not np.isfinite(times).all():
            raise ValueError("a line without a time or a file")
    except (OSError, ValueError) as error:
        raise InputError(
            f"tum: lines of a time and what was there are required, got {error} "
            f"({path}). Copy the file again."
        ) from error
    order = np.argsort(times, kind="stable")
    return times[order], [rows[i][1:] for i in order]


def _pose(row: list[str], path: pathlib.Path) -> Float[np.ndarray, "4 4"]:
    try:
        values = np.array([float(v) for v in row])
    except ValueError:
        values = np.zeros(0)
    if len(values) != 7:
        raise InputError(
            f"tum: poses tx ty tz qx qy qz qw are required, got {' '.join(row)[:80]} "
            f"({path}). Copy the file again."
        )
    return pose_of_quaternion(values[:3], values[3:])
