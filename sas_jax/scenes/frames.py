"""Frames of a folder: `color/`, `depth/`, `pose/`, one file per frame in each.

ScanNet's export and any posed RGB-D capture share this layout. Colour and depth are
taken as seen by one camera (ScanNet's two differ by less than half a percent in
focal length), so both are resized to one size and share one pinhole matrix.
"""

import collections
import contextlib
import dataclasses
import functools
import itertools
import pathlib
import re
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Float32, UInt8

from sas_jax.errors import InputError
from sas_jax.scenes.images import (
    ColorInterpolation,
    image_size_wh,
    read_color,
    read_depth,
    resize_color,
    resize_nearest,
    scale_intrinsics,
)
from sas_jax.scenes.poses import (
    RIGID_TOLERANCE,
    PoseConvention,
    rotation_error,
    to_opencv,
    without_rounding,
)
from sas_jax.scenes.scene import BadFrame, Frame

COLOR_SUFFIXES = (".jpg", ".jpeg", ".png")
# A principal point further than this share of the image from its centre belongs to
# another resolution (half or twice the size moves it by at least a quarter).
_CENTRE_TOLERANCE = 0.2
# Images whose headers tell the size of a capture.
_SIZES_READ = 15


def natural_key(name: str) -> tuple:
    """Sort key that orders digits by value: frame 9 before frame 10."""
    parts = re.split(r"(\d+)", name)
    return tuple((int(p), p) if p.isdecimal() else (-1, p) for p in parts)


def read_matrix(path: pathlib.Path, what: str) -> Float[np.ndarray, "R C"]:
    """Read a text matrix (white space or commas between numbers), f64.

    Raises:
      InputError: for a missing or unreadable file.
    """
    try:
        rows = path.read_text(encoding="utf-8").replace(",", " ").split("\n")
        return np.array(
            [[float(v) for v in row.split()] for row in rows if row.strip()]
        )
    except (OSError, ValueError) as error:
        raise InputError(
            f"{what}: a matrix of numbers is required, got {error} ({path}). "
            "Write one matrix row per line."
        ) from error


def read_intrinsics(path: pathlib.Path) -> Float[np.ndarray, "3 3"]:
    """Read a 3x3 pinhole matrix (or the 3x3 corner of a 4x4 one), f64.

    Raises:
      InputError: unless focal lengths are positive and the last row is 0 0 1.
    """
    matrix = read_matrix(path, "intrinsics")
    if matrix.ndim != 2 or matrix.shape not in ((3, 3), (4, 4)):
        raise InputError(
            f"intrinsics: a 3x3 or 4x4 matrix is required, got {list(matrix.shape)} "
            f"({path}). Write fx 0 cx / 0 fy cy / 0 0 1."
        )
    intrinsics = matrix[:3, :3]
    focal = np.diag(intrinsics)[:2]
    sound = np.isfinite(intrinsics).all() and (focal > 0).all()
    if not sound or not np.allclose(intrinsics[2], (0, 0, 1)):
        raise InputError(
            "intrinsics: finite values, positive focal lengths and a last row 0 0 1 "
            f"are required, got {intrinsics.tolist()} ({path}). Check the calibration."
        )
    return intrinsics


def rigid_fault(pose: Float[np.ndarray, "4 4"]) -> str | None:
    """Say why a matrix is no rigid pose, or None when it is one."""
    if pose.shape != (4, 4):
        return f"shape {list(pose.shape)}"
    if not np.isfinite(pose).all():
        return "values that are not finite"
    rotation = pose[:3, :3]
    # Checked first, so that the product cannot overflow.
    within = np.abs(rotation).max() <= 1 + RIGID_TOLERANCE
    if not within or rotation_error(rotation) > RIGID_TOLERANCE:
        return "a 3x3 part that is no rotation"
    if np.linalg.det(rotation) < 0:
        return "a mirrored rotation"
    if not np.allclose(pose[3], (0, 0, 0, 1)):
        return f"last row {pose[3].tolist()}"
    return None


def read_pose(path: pathlib.Path) -> Float[np.ndarray, "4 4"]:
    """Read a pose as it is stored; one of three decimals is made rigid again.

    Raises:
      BadFrame: for a missing file and for anything but a rigid motion. ScanNet marks
        frames that lost tracking with -inf.
    """
    if not path.exists():
        raise BadFrame("missing pose", f"pose: a file is required, got none ({path}).")
    try:
        pose = without_rounding(read_matrix(path, "pose"))
    except InputError as error:
        raise BadFrame("invalid pose", str(error)) from error
    fault = rigid_fault(pose)
    if fault is not None:
        raise BadFrame(
            "invalid pose",
            f"pose: a rigid 4x4 matrix is required, got {fault} ({path}).",
        )
    return pose


def list_frames(color_folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """Return frame name -> colour file in numerical order; empty without a folder."""
    if not color_folder.is_dir():
        return {}
    files = [f for f in color_folder.iterdir() if f.suffix.lower() in COLOR_SUFFIXES]
    return {f.stem: f for f in sorted(files, key=lambda f: natural_key(f.stem))}


@dataclasses.dataclass(frozen=True)
class FolderFrames:
    """Read frames of one folder lazily.

    A frame of another size than most is a `BadFrame`; intrinsics that do not fit most
    frames are an `InputError`.

    Attributes:
      folder: holds `color/`, `pose/` and, unless the capture has none, `depth/`.
      files: frame name -> colour file (see `list_frames`).
      intrinsics: [3, 3] f64 for the stored depth (without depth: colour) images.
      calibrated_wh: size that `intrinsics` are for where a file states it, or None.
      image_size_wh: size of the frames handed out; None = that of the depth images.
      depth_scale: stored depth units per metre.
      interpolation: how colour is resized.
      turn: [4, 4] f64 applied to every pose from the left.
      convention: how the poses are stored.
    """

    folder: pathlib.Path
    files: dict[str, pathlib.Path]
    intrinsics: Float[np.ndarray, "3 3"]
    calibrated_wh: tuple[int, int] | None = None
    image_size_wh: tuple[int, int] | None = None
    depth_scale: float = 1000.0
    interpolation: ColorInterpolation = "nearest"
    turn: Float[np.ndarray, "4 4"] = dataclasses.field(
        default_factory=lambda: np.eye(4)
    )
    convention: PoseConvention = "opencv"

    @property
    def names(self) -> tuple[str, ...]:
        """Frame names in numerical order."""
        return tuple(self.files)

    @property
    def has_depth(self) -> bool:
        """Whether the capture has depth images at all."""
        return (self.folder / "depth").is_dir()

    def read_pose(self, name: str) -> Float[np.ndarray, "4 4"]:
        """Read and turn the pose of one frame; raises like `read_pose`."""
        stored = read_pose(self.folder / "pose" / f"{name}.txt")
        return self.turn @ to_opencv(stored, self.convention)

    def read(self, name: str) -> Frame:
        """Read one frame; see `FrameSource.read`."""
        pose = self.read_pose(name)
        try:
            rgb = read_color(self.files[name])
        except InputError as error:
            raise BadFrame("unreadable colour", str(error)) from error
        depth_m = self._read_depth(name)
        stored = rgb if depth_m is None else depth_m
        stored_wh = (stored.shape[1], stored.shape[0])
        self._check_size(name, stored_wh)
        return self._resized(name, rgb, depth_m, stored_wh, pose)

    def _resized(
        self,
        name: str,
        rgb: UInt8[np.ndarray, "H W 3"],
        depth_m: Float32[np.ndarray, "h w"] | None,
        stored_wh: tuple[int, int],
        pose: Float[np.ndarray, "4 4"],
    ) -> Frame:
        size_wh = self.image_size_wh or stored_wh
        return Frame(
            name=name,
            rgb=resize_color(rgb, size_wh, self.interpolation),
            depth_m=None if depth_m is None else resize_nearest(depth_m, size_wh),
            intrinsics=scale_intrinsics(self.intrinsics, stored_wh, size_wh),
            world_from_camera=pose,
        )

    def _read_depth(self, name: str) -> Float32[np.ndarray, "H W"] | None:
        if not self.has_depth:
            return None
        path = self._stored_path(name)
        if not path.exists():
            raise BadFrame(
                "missing depth", f"depth: a file is required, got none ({path})."
            )
        try:
            return read_depth(path, self.depth_scale)
        except InputError as error:
            raise BadFrame("unreadable depth", str(error)) from error

    def _stored_path(self, name: str) -> pathlib.Path:
        """Return the image whose size the intrinsics are for."""
        if self.has_depth:
            return self.folder / "depth" / f"{name}.png"
        return self.files[name]

    def _check_size(self, name: str, stored_wh: tuple[int, int]) -> None:
        """Raise InputError where the whole capture has not the size of the intrinsics.

        Raises:
          BadFrame: where this image alone differs from the others.
        """
        capture_wh = self._capture_wh or stored_wh
        expected = self._misfit(capture_wh)
        if expected is not None:
            raise InputError(
                f"frame {name}: images must have the size that the intrinsics are for, "
                f"{expected}; got {capture_wh[0]} x {capture_wh[1]} ({self.folder}). "
                "Scale the intrinsics or export the images at their size."
            )
        if stored_wh != capture_wh:
            raise BadFrame(
                "image of another size",
                f"frame: the capture's size {capture_wh[0]} x {capture_wh[1]} is "
                f"required, got {stored_wh[0]} x {stored_wh[1]} "
                f"({self._stored_path(name)}). Export this frame again or delete it.",
            )

    def _misfit(self, size_wh: tuple[int, int]) -> str | None:
        """Return the size that the intrinsics are for, None where it is this one."""
        centre = self.intrinsics[:2, 2]
        middle = (np.array(size_wh) - 1) / 2
        off_centre = np.abs(centre - middle) > _CENTRE_TOLERANCE * np.array(size_wh)
        if self.calibrated_wh is not None and self.calibrated_wh != size_wh:
            return "{} x {}".format(*self.calibrated_wh)
        if off_centre.any():
            return "about {:.0f} x {:.0f}".format(*(2 * centre + 1))
        return None

    @functools.cached_property
    def _capture_wh(self) -> tuple[int, int] | None:
        """Size of most images, by the headers of some; None when none is readable.

        Of sizes that are as common, one that fits the intrinsics.
        """
        sizes = collections.Counter(itertools.islice(self._header_sizes(), _SIZES_READ))
        return max(
            sizes, key=lambda wh: (sizes[wh], self._misfit(wh) is None), default=None
        )

    def _header_sizes(self) -> Iterator[tuple[int, int]]:
        """Yield the sizes of readable images, first those spread over the capture."""
        spread = self.names[:: max(1, -(-len(self.names) // _SIZES_READ))]
        for name in dict.fromkeys([*spread, *self.names]):
            with contextlib.suppress(InputError):
                yield image_size_wh(self._stored_path(name))
