"""A folder of posed RGB-D frames, and nothing else.

    <root>/<scan>/color/N.jpg|png    depth/N.png (16 bit)    pose/N.txt
                  intrinsic.txt
    <root>/splits/<split>.txt        optional; without, every split is all scans

`pose` is world_from_camera (4x4, OpenCV axes; others with `pose_convention`),
`intrinsic.txt` the matrix of the depth images, in any form of `read_pinhole`. Colour
that does not show what depth shows needs a camera of its own: `intrinsic_color.txt`
and, unless both are in one place, `color_from_depth.txt` (4x4).
"""

import dataclasses
import pathlib
from typing import ClassVar

from sas_jax.artefacts.stamps import Memo
from sas_jax.datasets.capture import Capture, CaptureDataset
from sas_jax.datasets.contracts import Part
from sas_jax.datasets.scan_files import frame_files
from sas_jax.errors import InputError
from sas_jax.scenes.camera_files import read_pinhole
from sas_jax.scenes.color_views import same_shape
from sas_jax.scenes.frames import FolderFrames, list_frames
from sas_jax.scenes.images import scale_intrinsics

_MILLIMETRES = 1000.0


@dataclasses.dataclass(frozen=True)
class PosedRgbd(CaptureDataset):
    """Captures of posed RGB-D frames in millimetres; see `CaptureDataset`."""

    name: ClassVar = "posed_rgbd"
    layout: ClassVar = "<scan>/ with intrinsic.txt, color/, depth/ and pose/"
    needs: ClassVar = ("color/*", "depth/*", "pose/*", "intrinsic.txt")

    def is_scan(self, path: pathlib.Path) -> bool:
        """Tell whether there is a camera, and two of the three folders or more."""
        there = [(path / part).is_dir() for part in ("color", "depth", "pose")]
        return (path / "intrinsic.txt").exists() and sum(there) >= 2

    def files(
        self, path: pathlib.Path, part: Part, frame_stride: int, memo: Memo
    ) -> list[pathlib.Path]:
        """Return text files and frames: the points are made of them."""
        files = [*sorted(path.glob("*.txt"))]
        files += frame_files(path, self.frame_stride, memo)
        if part == "views" and frame_stride != self.frame_stride:
            files += frame_files(path, frame_stride, memo)
        return files

    def capture(self, path: pathlib.Path) -> Capture:
        """Return all frames at the size of the depth images."""
        for part in ("color", "depth", "pose"):
            if not (path / part).is_dir():
                raise InputError(
                    "posed_rgbd: folders color, depth and pose are required, got no "
                    f"{part} ({path}). Name one file per frame equally in each."
                )
        intrinsics, size_wh = read_pinhole(path / "intrinsic.txt")
        frames = FolderFrames(
            folder=path,
            files=list_frames(path / "color"),
            intrinsics=intrinsics,
            depth_scale=self.depth_scale or _MILLIMETRES,
            interpolation="area",
            color_camera=path / "intrinsic_color.txt",
        )
        stored_wh = frames.capture_wh
        if size_wh is None or stored_wh is None or not same_shape(size_wh, stored_wh):
            return Capture(dataclasses.replace(frames, calibrated_wh=size_wh))
        intrinsics = scale_intrinsics(intrinsics, size_wh, stored_wh)
        return Capture(dataclasses.replace(frames, intrinsics=intrinsics))
