"""Stray Scanner: video, LiDAR depth and odometry of a phone.

    <scan>/odometry.csv          timestamp, frame, x, y, z, qx, qy, qz, qw
           camera_matrix.csv     3 x 3, of the colour images
           rgb.mp4 or rgb/N.jpg  a frame for every row
           depth/N.png|npy       millimetres    confidence/N.png  0 low, 1, 2 high

Poses are world_from_camera. The app turns ARKit's cameras to look along +z with y down
before it writes them; the world is ARKit's, y up. The first version wrote neither times
nor numbers of frames. Pixels lie as the sensor does.
"""

import dataclasses
import functools
import pathlib
from typing import ClassVar

import numpy as np

from sas_jax.datasets.capture import Capture, CaptureDataset
from sas_jax.errors import InputError
from sas_jax.scenes.camera_files import read_intrinsics
from sas_jax.scenes.frames import list_depth, list_frames
from sas_jax.scenes.image_files import depth_file, pose_of_quaternion
from sas_jax.scenes.video import read_video_frame
from sas_jax.scenes.views import Camera, View, ViewFrames

_MILLIMETRES = 1000.0


@dataclasses.dataclass(frozen=True)
class Stray(CaptureDataset):
    """Recordings of Stray Scanner; see the module and `CaptureDataset`."""

    name: ClassVar = "stray"
    layout: ClassVar = "<scan>/ with odometry.csv and camera_matrix.csv"
    needs: ClassVar = ("odometry.csv", "camera_matrix.csv", "rgb*", "depth/*")

    def is_scan(self, path: pathlib.Path) -> bool:
        """Tell whether odometry and camera are there."""
        return all((path / f"{n}.csv").is_file() for n in ("odometry", "camera_matrix"))

    def capture(self, path: pathlib.Path) -> Capture:
        """Return the frames that have depth."""
        index = (path / "odometry.csv", path / "camera_matrix.csv")
        camera = Camera(read_intrinsics(index[1]))
        scale = self.depth_scale or _MILLIMETRES
        depth, images = (
            _by_number(list_depth(path / "depth")),
            list_frames(path / "rgb"),
        )
        colors, video = _by_number(images), path / "rgb.mp4"
        if not colors and not video.is_file():
            raise InputError(
                f"stray: rgb.mp4 or images in rgb are required, got neither ({path}). "
                "Copy the recording again."
            )
        confidence = _by_number(list_frames(path / "confidence"))
        views = []
        for number, pose in _poses(index[0]):
            if number not in depth or (colors and number not in colors):
                continue
            color, sure = colors.get(number), confidence.get(number)
            decode = functools.partial(read_video_frame, video, number)
            view = View(
                name=f"{number:06}",
                pose=pose,
                camera=camera,
                color=color or decode,
                depth=depth_file(depth[number], scale, sure),
                files=(color or video, depth[number], *([sure] if sure else [])),
            )
            views.append(view)
        if not views:
            raise InputError(
                "stray: a row of odometry with a depth image of its number is "
                f"required, got none for {len(depth)} images ({path}). Copy the "
                "recording again."
            )
        return Capture(ViewFrames(path, tuple(views), depth_scale=scale), "y", index)


def _by_number(files: dict[str, pathlib.Path]) -> dict[int, pathlib.Path]:
    return {int(name): file for name, file in files.items() if name.isdecimal()}


def _poses(path: pathlib.Path):
    """Return the number and the pose of every row."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        rows = [[word.strip() for word in line.split(",")] for line in lines]
        rows = [row for row in rows if any(row)]
        header = rows.pop(0) if rows and "x" in rows[0] else None
        if header is None:  # the first version: x y z qx qy qz qw
            header = ["x", "y", "z", "qx", "qy", "qz", "qw"]
        at = [header.index(name) for name in ("x", "y", "z", "qx", "qy", "qz", "qw")]
        frame = header.index("frame") if "frame" in header else None
        poses = []
        for i, row in enumerate(rows):
            x = np.array([float(row[k]) for k in at])
            number = i if frame is None else int(row[frame])
            poses.append((number, pose_of_quaternion(x[:3], x[3:])))
    except (OSError, ValueError, IndexError) as error:
        raise InputError(
            "stray: rows of frame, x, y, z, qx, qy, qz, qw are required, got "
            f"{error} ({path}). Copy the recording again."
        ) from error
    return list(dict(poses).items())
