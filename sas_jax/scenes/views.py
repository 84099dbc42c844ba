"""Posed images of any capture: each with its own camera, read when it is asked for.

What a format stores about its images becomes a list of `View`s; this module turns one
into a `Frame`. Sizes, lenses, turned pixels and separate depth cameras are dealt with
here, once for all formats. Colour is taken through the depth camera's eyes where the
two differ.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Float32, UInt8

from sas_jax.errors import InputError
from sas_jax.scenes import color_views
from sas_jax.scenes.camera_files import is_central, rigid_fault
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
from sas_jax.scenes.poses import PoseConvention, without_rounding
from sas_jax.scenes.scene import BadFrame, Frame
from sas_jax.scenes.undistort import Distortion, undistorter

Rgb = UInt8[np.ndarray, "H W 3"]
Depth = Float32[np.ndarray, "H W"]


@dataclasses.dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera, with a lens before it.

    Attributes:
      intrinsics: [3, 3] f64.
      size_wh: of the images that these are for; None where only the image tells.
      distortion: of the lens, None for none.
    """

    intrinsics: Float[np.ndarray, "3 3"]
    size_wh: tuple[int, int] | None = None
    distortion: Distortion | None = None

    def at(self, size_wh: tuple[int, int]) -> Float[np.ndarray, "3 3"]:
        """Return the matrix for images of a size.

        Raises:
          BadFrame: where it cannot be for them: another aspect, or another centre.
        """
        stated = self.size_wh or size_wh
        matrix = scale_intrinsics(self.intrinsics, stated, size_wh)
        fits = color_views.same_shape(stated, size_wh) and is_central(matrix, size_wh)
        if not fits:
            said = "{} x {}".format(*stated) if self.size_wh else "another size"
            raise BadFrame(
                "image of another size",
                f"intrinsics: images of their size are required, they are for {said} "
                f"with centre {self.intrinsics[0, 2]:.0f}, "
                f"{self.intrinsics[1, 2]:.0f}; got {size_wh[0]} x {size_wh[1]}. Scale "
                "the intrinsics or export the images at their size.",
            )
        return matrix


@dataclasses.dataclass(frozen=True, eq=False)
class View:
    """One posed image of a capture, not read yet.

    Attributes:
      name: unique in the capture.
      pose: [4, 4] f64 as stored (see `ViewFrames.convention`); or what reads it, which
        may raise `BadFrame`.
      camera: of the colour image; or what reads it.
      color: its file, or what returns its pixels (stored orientation).
      depth: what returns metres, 0 = no reading; None without depth.
      depth_camera: None where depth shows what colour shows.
      color_from_depth: [4, 4] f64 rigid, where the depth camera stands elsewhere.
      files: that the view is read from, for keys.
    """

    name: str
    pose: Float[np.ndarray, "4 4"] | Callable[[], Float[np.ndarray, "4 4"]]
    camera: Camera | Callable[[], Camera]
    color: pathlib.Path | Callable[[], Rgb]
    depth: Callable[[], Depth] | None = None
    depth_camera: Camera | None = None
    color_from_depth: Float[np.ndarray, "4 4"] | None = None
    files: tuple[pathlib.Path, ...] = ()

    def read_camera(self) -> Camera:
        """Return the camera of colour; raises InputError where it cannot be read."""
        return self.camera() if callable(self.camera) else self.camera


@dataclasses.dataclass(frozen=True, eq=False)
class ViewFrames(PosedFrames):
    """Read the views of a capture; one that cannot be used is a `BadFrame`.

    Attributes:
      folder: of the capture, for messages.
      views: in recording order.
      convention: how their poses are stored.
      image_size_wh: box that frames are resized to fill, keeping their aspect where
        that differs by more than 2 %; width and height change places for frames of the
        other orientation. None: the depth images' size, colour's without depth.
      turn: [4, 4] f64 applied to every pose from the left.
      scale: what positions of poses are multiplied by to be metres.
      upright: turn frames by quarters so that the world's z is nearest to their upper
        edge; for teachers that know things standing.
      depth_scale: units per metre that depth was read with, for messages.
      interpolation: how colour is resized.
    """

    folder: pathlib.Path
    views: tuple[View, ...]
    convention: PoseConvention = "opencv"
    image_size_wh: tuple[int, int] | None = None
    turn: Float[np.ndarray, "4 4"] = dataclasses.field(
        default_factory=lambda: np.eye(4)
    )
    scale: float = 1.0
    upright: bool = False
    depth_scale: float = 1.0
    interpolation: ColorInterpolation = "area"

    @functools.cached_property
    def _by_name(self) -> dict[str, View]:
        return {view.name: view for view in self.views}

    @property
    def names(self) -> tuple[str, ...]:
        """Names in recording order."""
        return tuple(self._by_name)

    @property
    def has_depth(self) -> bool:
        """Whether any view has a depth image."""
        return any(view.depth is not None for view in self.views)

    def every(self, stride: int) -> "ViewFrames":
        """Return every stride-th view."""
        return dataclasses.replace(self, views=self.views[::stride])

    @property
    def all_files(self) -> tuple[pathlib.Path, ...]:
        """Files that the frames are read from."""
        return tuple(file for view in self.views for file in view.files)

    def stored_pose(self, name: str) -> Float[np.ndarray, "4 4"]:
        """Return the pose of a view; see `PosedFrames`."""
        view = self._by_name[name]
        stored = view.pose() if callable(view.pose) else view.pose
        stored = without_rounding(np.asarray(stored, np.float64))
        fault = rigid_fault(stored)
        if fault is not None:
            raise BadFrame(
                "invalid pose",
                f"frame {name}: a rigid 4x4 pose is required, got {fault} "
                f"({self.folder}).",
            )
        return stored

    def read_pose(self, name: str) -> Float[np.ndarray, "4 4"]:
        """Return `world_from_camera` of the stored pixels; raises `BadFrame`."""
        return self.pose_of_pixels(name)

    def read(self, name: str) -> Frame:
        """Read one frame; see `FrameSource.read`."""
        view = self._by_name[name]
        pose = self.read_pose(name)
        try:
            camera = view.read_camera()
            rgb, clockwise = _color(view, camera)
            depth_m = None if view.depth is None else view.depth()
        except BadFrame:
            raise
        except (InputError, OSError) as error:
            raise BadFrame("unreadable image", str(error)) from error
        frame = self._frame(view, camera, rgb, depth_m, pose)
        if self.upright:
            clockwise = color_views.quarters_to_z(pose)
        return color_views.turned_frame(frame, clockwise) if clockwise else frame

    def _frame(
        self,
        view: View,
        camera: Camera,
        rgb: Rgb,
        depth_m: Depth | None,
        pose: Float[np.ndarray, "4 4"],
    ) -> Frame:
        color_wh = (rgb.shape[1], rgb.shape[0])
        color_matrix = camera.at(color_wh)
        rgb = _without_lens(rgb, camera, color_matrix)
        if depth_m is None:
            size_wh = color_views.fitted(self.image_size_wh, color_wh)
            matrix = scale_intrinsics(color_matrix, color_wh, size_wh)
            return Frame(
                view.name,
                resize_color(rgb, size_wh, self.interpolation),
                None,
                matrix,
                pose,
            )
        depth_wh = (depth_m.shape[1], depth_m.shape[0])
        seen_by = view.depth_camera or dataclasses.replace(
            camera, size_wh=camera.size_wh or color_wh
        )
        depth_matrix = seen_by.at(depth_wh)
        depth_m = _without_lens(depth_m, seen_by, depth_matrix)
        size_wh = color_views.fitted(self.image_size_wh, depth_wh)
        matrix = scale_intrinsics(depth_matrix, depth_wh, size_wh)
        depth_m = resize_nearest(depth_m, size_wh)
        if view.depth_camera is None:
            rgb = resize_color(rgb, size_wh, self.interpolation)
        else:
            moved = view.color_from_depth
            seen_from = color_views.ColorCamera(
                color_matrix, np.eye(4) if moved is None else moved
            )
            rgb, depth_m = color_views.color_of_depth(
                rgb, seen_from, depth_m, matrix, self.interpolation
            )
            if moved is not None:
                pose = pose @ moved
        return Frame(view.name, rgb, depth_m, matrix, pose)


def _color(view: View, camera: Camera) -> tuple[Rgb, int]:
    """Return pixels that the camera's matrix is for, and quarters to show them upright.

    Phones note in EXIF how to turn the pixels; the camera may be for either.
    """
    if not isinstance(view.color, pathlib.Path):
        return view.color(), 0
    orientation = exif_orientation(view.color)
    if not color_views.is_sideways(orientation):
        return read_color(view.color), 0
    stored_wh, stated_wh = image_size_wh(view.color), camera.size_wh
    for_shown = stated_wh is None or not color_views.same_shape(stated_wh, stored_wh)
    clockwise = 0 if for_shown else color_views.CLOCKWISE.get(orientation, 0)
    return read_color(view.color, upright=for_shown), clockwise


def _without_lens(image: np.ndarray, camera: Camera, matrix: np.ndarray) -> np.ndarray:
    if camera.distortion is None or camera.distortion.is_none:
        return image
    size_wh = (image.shape[1], image.shape[0])
    return undistorter(camera.distortion, matrix, size_wh)(image)
