"""Frames of a folder: `color/`, `depth/`, `pose/`, one file per frame in each.

ScanNet's export and any posed RGB-D capture share this layout. Colour and depth are
taken as seen by one camera (ScanNet's two differ by less than half a percent in
focal length), so both are resized to one size and share one pinhole matrix.
"""

import collections
import contextlib
import dataclasses
import functools
import pathlib
import re
from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Float32, UInt8

from sas_jax.errors import InputError
from sas_jax.scenes import color_views
from sas_jax.scenes.camera_files import is_central, off_centre, read_pose
from sas_jax.scenes.depth_files import DEPTH_SUFFIXES, depth_size_wh, read_depth
from sas_jax.scenes.images import (
    ColorInterpolation,
    exif_orientation,
    image_size_wh,
    read_color,
    resize_color,
    resize_nearest,
    scale_intrinsics,
)
from sas_jax.scenes.posed import PosedFrames
from sas_jax.scenes.poses import PoseConvention
from sas_jax.scenes.scene import BadFrame, Frame

COLOR_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
# Images whose headers tell the size of a capture.
_SIZES_READ = 15


def natural_key(name: str) -> tuple:
    """Sort key that orders digits by value: frame 9 before frame 10."""
    parts = re.split(r"(\d+)", name)
    return tuple(
        (len(p.lstrip("0")), p.lstrip("0"), p) if p.isdecimal() else (-1, p, p)
        for p in parts
    )


def list_frames(color_folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """Return frame name -> colour file in numerical order; empty without a folder."""
    if not color_folder.is_dir():
        return {}
    files = [f for f in color_folder.iterdir() if f.suffix.lower() in COLOR_SUFFIXES]
    return {f.stem: f for f in sorted(files, key=lambda f: natural_key(f.stem))}


def list_depth(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """Return frame name -> depth file; empty without a folder."""
    if not folder.is_dir():
        return {}
    files = [f for f in folder.iterdir() if f.suffix.lower() in DEPTH_SUFFIXES]
    order = sorted(files, key=lambda f: (DEPTH_SUFFIXES.index(f.suffix.lower()), f))
    return {f.stem: f for f in order}


@dataclasses.dataclass(frozen=True)
class FolderFrames(PosedFrames):
    """Read frames of one folder lazily.

    A frame of another size than most is a `BadFrame`; intrinsics that do not fit most
    frames are an `InputError`, as is colour of another shape than depth without a
    camera of its own. Frames are upright where their files say how to turn them.

    Attributes:
      folder: holds `color/`, `pose/` and, unless the capture has none, `depth/`.
      files: frame name -> colour file (see `list_frames`).
      intrinsics: [3, 3] f64 for the stored depth (without depth: colour) images.
      calibrated_wh: size that `intrinsics` are for where a file states it, or None.
      image_size_wh: see `color_views.fitted`; None = the size of the depth images.
      depth_scale: stored depth units per metre.
      interpolation: how colour is resized.
      turn: [4, 4] f64 applied to every pose from the left.
      color_camera: file of the colour camera's intrinsics, beside which
        `color_from_depth.txt` may tell its place; read where colour has another shape.
      convention: how the poses are stored.
      upright: see `PosedFrames`.
      scale: what positions of poses are multiplied by to be metres.
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
    color_camera: pathlib.Path | None = None
    convention: PoseConvention = "opencv"
    scale: float = 1.0
    upright: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Frame names in numerical order."""
        return tuple(self.files)

    @property
    def has_depth(self) -> bool:
        """Whether the capture has depth images at all."""
        return (self.folder / "depth").is_dir()

    def every(self, stride: int) -> "FolderFrames":
        """Return every stride-th frame."""
        files = dict(list(self.files.items())[::stride])
        return dataclasses.replace(self, files=files)

    @property
    def all_files(self) -> tuple[pathlib.Path, ...]:
        """Files that the frames are read from, depth as it is named by default."""
        folders = ("depth", ".png"), ("pose", ".txt")
        return tuple(
            path
            for name, color in self.files.items()
            for path in (
                color,
                *(self.folder / of / f"{name}{end}" for of, end in folders),
            )
        )

    def stored_pose(self, name: str) -> Float[np.ndarray, "4 4"]:
        """Read the pose of one frame; see `PosedFrames`."""
        return read_pose(self.folder / "pose" / f"{name}.txt")

    def read_pose(self, name: str) -> Float[np.ndarray, "4 4"]:
        """Return the pose of one frame, turned as EXIF says; raises `BadFrame`."""
        pose = self.pose_of_pixels(name)
        return color_views.turned_pose(pose, self._turn_of_stored(name) or 0)

    def read(self, name: str) -> Frame:
        """Read one frame; see `FrameSource.read`."""
        pose = self.pose_of_pixels(name)
        clockwise = self._turn_of_stored(name)
        try:
            rgb = read_color(self.files[name], upright=clockwise is None)
        except InputError as error:
            raise BadFrame("unreadable colour", str(error)) from error
        depth_m = self._read_depth(name)
        stored = rgb if depth_m is None else depth_m
        stored_wh = (stored.shape[1], stored.shape[0])
        self._check_size(name, stored_wh)
        frame = self._resized(name, rgb, depth_m, stored_wh, pose)
        if self.upright:
            clockwise = color_views.quarters_to_z(pose)
        return color_views.turned_frame(frame, clockwise) if clockwise else frame

    def _resized(
        self,
        name: str,
        rgb: UInt8[np.ndarray, "H W 3"],
        depth_m: Float32[np.ndarray, "h w"] | None,
        stored_wh: tuple[int, int],
        pose: Float[np.ndarray, "4 4"],
    ) -> Frame:
        size_wh = color_views.fitted(self.image_size_wh, stored_wh)
        intrinsics = scale_intrinsics(self.intrinsics, stored_wh, size_wh)
        color_wh = (rgb.shape[1], rgb.shape[0])
        if depth_m is not None:
            depth_m = resize_nearest(depth_m, size_wh)
        if depth_m is None or color_views.same_shape(color_wh, stored_wh):
            rgb = resize_color(rgb, size_wh, self.interpolation)
        else:
            camera = self._color_camera_for(name, color_wh, stored_wh)
            rgb, depth_m = color_views.color_of_depth(
                rgb, camera, depth_m, intrinsics, self.interpolation
            )
        return Frame(name, rgb, depth_m, intrinsics, pose)

    def _turn_of_stored(self, name: str) -> int | None:
        """Return the quarter turns, clockwise, that make camera and image upright.

        None, unless a colour image that EXIF turns fits its camera before that only.
        """
        orientation = exif_orientation(self.files[name])
        if not color_views.is_sideways(orientation):
            return None
        try:
            stored = image_size_wh(self.files[name])
            shown_misfit = self._color_misfit(name, stored[::-1])
            if shown_misfit <= self._color_misfit(name, stored):
                return None
        except InputError:
            return None  # reading the frame will tell
        return color_views.CLOCKWISE.get(orientation, 0)

    def _color_misfit(self, name: str, color_wh: tuple[int, int]) -> float:
        """Return how far colour of a size is from what its camera sees."""
        if self.has_depth:
            depth_wh = depth_size_wh(self._stored_path(name))
            return color_views.shape_difference(color_wh, depth_wh)
        if self.calibrated_wh is not None:
            return float(color_wh != self.calibrated_wh)
        return off_centre(self.intrinsics, color_wh)

    @functools.cached_property
    def _color_camera(self) -> color_views.ColorCamera | None:
        return color_views.read_color_camera(self.color_camera)

    def _color_camera_for(
        self, name: str, color_wh: tuple[int, int], depth_wh: tuple[int, int]
    ) -> color_views.ColorCamera:
        """Return the colour camera; raise where there is none for the image."""
        camera = self._color_camera
        need = color_views.missing_for(camera, color_wh, depth_wh)
        if camera is not None and need is None:
            return camera
        message = (
            f"frame {name}: colour must have {need}; got {color_wh[0]} x {color_wh[1]} "
            f"({self.files[name]}). Crop it to what depth shows, or put the intrinsics "
            f"of the colour images into {self.color_camera}."
        )
        sizes = self._spread(lambda other: image_size_wh(self.files[other]))
        common = max(sizes, key=lambda wh: sizes[wh], default=color_wh)
        as_most = color_views.same_shape(common, color_views.lying_as(color_wh, common))
        most_fit = color_views.same_shape(common, depth_wh)
        most_fit |= color_views.missing_for(camera, common, depth_wh) is None
        if as_most and not most_fit:
            raise InputError(message)
        raise BadFrame("colour of another shape", message)

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
        if not self.has_depth:
            return self.files[name]
        return self._depth_files.get(name, self.folder / "depth" / f"{name}.png")

    @functools.cached_property
    def _depth_files(self) -> dict[str, pathlib.Path]:
        return list_depth(self.folder / "depth")

    def _check_size(self, name: str, stored_wh: tuple[int, int]) -> None:
        """Raise InputError where the whole capture has not the size of the intrinsics.

        Raises:
          BadFrame: where this image alone differs from the others.
        """
        capture_wh = self.capture_wh or stored_wh
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
        if self.calibrated_wh is not None and self.calibrated_wh != size_wh:
            return "{} x {}".format(*self.calibrated_wh)
        if not is_central(self.intrinsics, size_wh):
            return "about {:.0f} x {:.0f}".format(*(2 * self.intrinsics[:2, 2] + 1))
        return None

    @functools.cached_property
    def capture_wh(self) -> tuple[int, int] | None:
        """Size of most images; of sizes as common, one that fits. None without any."""
        sizes = self._spread(self._used_size)
        return max(
            sizes, key=lambda wh: (sizes[wh], self._misfit(wh) is None), default=None
        )

    def _used_size(self, name: str) -> tuple[int, int]:
        """Return the size of the image that the intrinsics are for, as it is used."""
        if self.has_depth:
            return depth_size_wh(self._stored_path(name))
        width, height = image_size_wh(self.files[name])
        if self._turn_of_stored(name) is not None:
            return width, height
        sideways = color_views.is_sideways(exif_orientation(self.files[name]))
        return (height, width) if sideways else (width, height)

    def _spread(
        self, size_of: Callable[[str], tuple[int, int]]
    ) -> collections.Counter[tuple[int, int]]:
        """Count the sizes of readable images, first those spread over the capture."""
        spread = self.names[:: max(1, -(-len(self.names) // _SIZES_READ))]
        sizes = []
        for name in dict.fromkeys([*spread, *self.names]):
            with contextlib.suppress(InputError):
                sizes.append(size_of(name))
            if len(sizes) == _SIZES_READ:
                break
        return collections.Counter(sizes)
