"""7-Scenes: images, depth and poses of a Kinect in one folder.

    <scene>/<seq-01>/frame-000000.color.png
                     frame-000000.depth.png     mm, 65535 = no reading
                     frame-000000.pose.txt      world_from_camera, 4x4
            intrinsic.txt                       optional, here or beside the frames

Depth was not registered to colour and no camera was calibrated. Poses are the depth
camera's, which was taken to have a focal length of 585 pixels and its centre at (320,
240); for colour, a Kinect's nominal camera is taken: 525 pixels, 2.5 cm beside. With an
`intrinsic.txt`, colour shows what depth shows, and both have that camera.
"""

import dataclasses
import functools
import pathlib
import re
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from sas_jax.datasets.capture import Capture, CaptureDataset
from sas_jax.scenes.camera_files import read_pinhole, read_pose
from sas_jax.scenes.frames import natural_key
from sas_jax.scenes.image_files import depth_file
from sas_jax.scenes.poses import inverse
from sas_jax.scenes.views import Camera, View, ViewFrames

_WH = (640, 480)
_DEPTH = Camera(np.array([[585.0, 0, 320], [0, 585, 240], [0, 0, 1]]), _WH)
_COLOR = Camera(np.array([[525.0, 0, 320], [0, 525, 240], [0, 0, 1]]), _WH)
_COLOR_FROM_DEPTH = np.eye(4)
_COLOR_FROM_DEPTH[0, 3] = -0.025
_UNITS_PER_M = 1000.0
_ASSUMED = (
    "depth and colour are taken for those of 7-Scenes' Kinect, with focal lengths of "
    "585 and 525 pixels. Put intrinsic.txt there if depth is registered to colour."
)
_FRAME = re.compile(r"(frame-\d+)\.color\.(?:png|jpg)", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class SevenScenes(CaptureDataset):
    """Sequences of 7-Scenes; see the module and `CaptureDataset`."""

    name: ClassVar = "seven_scenes"
    layout: ClassVar = "<seq>/ with frame-000000.color.png, .depth.png and .pose.txt"
    needs: ClassVar = ("*.color.png", "*.depth.png", "*.pose.txt")

    def is_scan(self, path: pathlib.Path) -> bool:
        """Tell whether there is the image of a frame."""
        return next(path.glob("frame-*.color.*"), None) is not None

    def capture(self, path: pathlib.Path) -> Capture:
        """Return all frames that have a colour image."""
        intrinsic = path / "intrinsic.txt"
        if not intrinsic.exists():
            intrinsic = path.parent / "intrinsic.txt"
        registered = intrinsic.exists()
        camera = Camera(*read_pinhole(intrinsic)) if registered else _COLOR
        scale = self.depth_scale or _UNITS_PER_M
        views = []
        for color in sorted(path.iterdir(), key=lambda file: natural_key(file.name)):
            match = _FRAME.fullmatch(color.name)
            if match is None:
                continue
            depth, pose = path / f"{match[1]}.depth.png", path / f"{match[1]}.pose.txt"
            views.append(
                View(
                    name=match[1],
                    pose=functools.partial(_pose, pose, registered),
                    camera=camera,
                    color=color,
                    depth=depth_file(depth, scale),
                    depth_camera=None if registered else _DEPTH,
                    color_from_depth=None if registered else _COLOR_FROM_DEPTH,
                    files=(color, depth, pose),
                )
            )
        frames = ViewFrames(path, tuple(views), depth_scale=scale)
        return Capture(
            frames,
            index=(path / "intrinsic.txt", path.parent / "intrinsic.txt"),
            assumed=None if registered else _ASSUMED,
        )


def _pose(path: pathlib.Path, registered: bool) -> Float[np.ndarray, "4 4"]:
    """Return the pose of the colour camera."""
    pose = read_pose(path)
    return pose if registered else pose @ inverse(_COLOR_FROM_DEPTH)
