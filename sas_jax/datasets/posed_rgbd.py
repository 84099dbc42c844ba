"""A folder of posed RGB-D frames, and nothing else.

    <root>/<scan>/color/N.jpg|png    depth/N.png (16 bit)    pose/N.txt
                  intrinsic.txt
    <root>/splits/<split>.txt        optional; without, every split is all scans

`pose` is world_from_camera (4x4, OpenCV axes; others with `pose_convention`),
`intrinsic.txt` the 3x3 matrix of the depth images. Colour that does not show what depth
shows needs a camera of its own: `intrinsic_color.txt` and, unless both are in one
place, `color_from_depth.txt` (4x4).
"""

import dataclasses
import pathlib
from typing import ClassVar

from sas_jax.artefacts.stamps import Memo
from sas_jax.datasets.capture import Capture, CaptureDataset
from sas_jax.datasets.contracts import Part
from sas_jax.datasets.scan_files import frame_files
from sas_jax.errors import InputError
from sas_jax.scenes.camera_files import read_intrinsics
from sas_jax.scenes.frames import FolderFrames, list_frames

_MILLIMETRES = 1000.0


@dataclasses.dataclass(frozen=True)
class PosedRgbd(CaptureDataset):
    """Captures of posed RGB-D frames in millimetres; see `CaptureDataset`."""

    name: ClassVar = "posed_rgbd"
    layout: ClassVar = "<scan>/ with intrinsic.txt, color/, depth/ and pose/"

    def is_scan(self, path: pathlib.Path) -> bool:
        """Tell whether there is a camera."""
        return (path / "intrinsic.txt").exists()

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
        frames = FolderFrames(
            folder=path,
            files=list_frames(path / "color"),
            intrinsics=read_intrinsics(path / "intrinsic.txt"),
            depth_scale=self.depth_scale or _MILLIMETRES,
            interpolation="area",
            color_camera=path / "intrinsic_color.txt",
        )
        return Capture(frames)
