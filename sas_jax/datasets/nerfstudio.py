"""nerfstudio's and instant-ngp's `transforms.json`, with depth, a cloud, or COLMAP's.

    <scan>/transforms.json     images at the places that it names
           frames: file_path, transform_matrix, maybe depth_file_path and cameras' own
           fl_x fl_y cx cy w h k1 k2 k3 k4 p1 p2 camera_model; or camera_angle_x
           ply_file_path; else colmap/sparse/0 with applied_transform

A matrix is world_from_camera, OpenGL axes. Depth is in thousandths of the unit of the
poses. A cloud stands in their world, but for COLMAP's own: `applied_transform` led from
there. Centres of first pixels are at (0.5, 0.5). Without a cloud or depth (instant-ngp,
Blender) there is nothing that could be asked of.
"""

import dataclasses
import functools
import math
import pathlib
from typing import Any, ClassVar

import numpy as np

from sas_jax.datasets.capture import Capture, CaptureDataset
from sas_jax.datasets.colmap import model_folder
from sas_jax.datasets.colmap_model import model_file, read_points
from sas_jax.datasets.transforms import TRANSFORMS, names_geometry
from sas_jax.errors import InputError
from sas_jax.scenes.image_files import depth_file, read_json
from sas_jax.scenes.images import image_size_wh
from sas_jax.scenes.mesh import Mesh, checked_mesh
from sas_jax.scenes.mesh_files import read_mesh
from sas_jax.scenes.undistort import Distortion
from sas_jax.scenes.views import Camera, View, ViewFrames

_THOUSANDTHS = 1000.0
_COLMAP = ("colmap/sparse/0", "colmap/sparse")
_FISHEYE, _STRAIGHT = (
    ("OPENCV_FISHEYE",),
    (
        *("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "PERSPECTIVE"),
        *("SIMPLE_RADIAL", "RADIAL"),
    ),
)
_SUFFIXES = ("", ".png", ".jpg", ".jpeg")


@dataclasses.dataclass(frozen=True)
class Nerfstudio(CaptureDataset):
    """Captures with a `transforms.json`; see the module and `CaptureDataset`."""

    name: ClassVar = "nerfstudio"
    layout: ClassVar = "<scan>/ with transforms.json"
    needs: ClassVar = ("transforms.json", "images/*")

    def is_scan(self, path: pathlib.Path) -> bool:
        """Tell whether there are transforms.

        A model of COLMAP beside them counts instead where they name neither depth nor
        a cloud.
        """
        return (path / TRANSFORMS).is_file() and (
            model_folder(path) is None or names_geometry(path)
        )

    def capture(self, path: pathlib.Path) -> Capture:
        """Return the frames, and the cloud where there is no depth."""
        file = path / TRANSFORMS
        stated = read_json(file, "nerfstudio")
        frames = stated.get("frames")
        if not isinstance(frames, list) or not frames:
            raise InputError(
                f"nerfstudio: a list frames is required, got none ({file}). Export the "
                "capture again."
            )
        depth_scale = self.depth_scale or _THOUSANDTHS / (self.scale or 1.0)
        views: dict[str, View] = {}
        try:
            for frame in frames:
                view = _view({**stated, **frame}, path, depth_scale)
                views.setdefault(view.name, view)
        except (KeyError, TypeError, ValueError, ArithmeticError, OSError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                "nerfstudio: frames with a file_path, a transform_matrix of numbers "
                f"and fl_x or camera_angle_x are required, got {error!r} ({file}). "
                "Export the capture again."
            ) from error
        _check_images(tuple(views.values()), file)
        source = ViewFrames(
            path, tuple(views.values()), convention="opengl", depth_scale=depth_scale
        )
        if source.has_depth:
            return Capture(source, index=(file,))
        read, used = _cloud(path, stated)
        return Capture(source, index=(file, *used), geometry=read, scale=None)


def _view(stated: dict[str, Any], path: pathlib.Path, depth_scale: float) -> View:
    color = path / stated["file_path"]
    # Blender leaves the suffix out.
    tries = [color.with_name(color.name + suffix) for suffix in _SUFFIXES]
    color = next((file for file in tries if file.is_file()), color)
    pose = np.eye(4)
    rows = np.array(stated["transform_matrix"], np.float64)
    if rows.shape not in ((3, 4), (4, 4)):
        raise ValueError(f"transform_matrix of shape {list(rows.shape)}")
    pose[: len(rows)] = rows
    depth, files = None, [color]
    if stated.get("depth_file_path"):
        files.append(path / stated["depth_file_path"])
        files[1].is_file()  # OSError for what can be no name
        depth = depth_file(files[1], depth_scale)
    name = pathlib.PurePosixPath(stated["file_path"])
    return View(
        str(name), pose, _camera(stated, color), color, depth, files=tuple(files)
    )


def _camera(stated: dict[str, Any], color: pathlib.Path) -> Camera:
    size: list[Any] = [stated.get(key) for key in ("w", "h")]
    if None in size:
        # Blender's: the angle is for any size.
        size = list(image_size_wh(color)) if color.is_file() else [1, 1]
    width, height = (float(v) for v in size)
    fx = stated.get("fl_x")
    fx = width / (2 * math.tan(stated["camera_angle_x"] / 2)) if fx is None else fx
    fy = stated.get("fl_y", fx)
    cx, cy = stated.get("cx", width / 2), stated.get("cy", height / 2)
    matrix = np.array([[fx, 0, cx - 0.5], [0, fy, cy - 0.5], [0, 0, 1]], np.float64)
    sizes = width == width // 1 > 0 and height == height // 1 > 0
    if not sizes or not np.isfinite(matrix).all() or not min(fx, fy) > 0:
        raise ValueError(f"fl_x {fx}, fl_y {fy}, cx {cx}, cy {cy} for {size}")
    return Camera(matrix, (int(width), int(height)), _lens(stated))


def _lens(stated: dict[str, Any]) -> Distortion:
    model = stated.get("camera_model", "OPENCV")
    k1, k2, k3, k4, p1, p2 = (
        float(stated.get(key, 0.0)) for key in ("k1", "k2", "k3", "k4", "p1", "p2")
    )
    if model in _FISHEYE or stated.get("is_fisheye"):
        return Distortion("fisheye", (k1, k2, k3, k4))
    if model not in _STRAIGHT or k4:
        raise InputError(
            f"nerfstudio: a camera_model of {', '.join((*_STRAIGHT, *_FISHEYE))}, "
            f"without k4 but for the fisheye, is required, got {model} with k4={k4:g}. "
            "Take the lens out of the images first."
        )
    return Distortion("opencv", (k1, k2, p1, p2, k3))


def _check_images(views: tuple[View, ...], file: pathlib.Path) -> None:
    if not any(view.files[0].is_file() for view in views):
        raise InputError(
            f"nerfstudio: the images that the file names are required, got none of "
            f"{len(views)}, the first one {views[0].files[0]} ({file}). Put them there."
        )


def _cloud(path: pathlib.Path, stated: dict[str, Any]):
    """Return what reads the cloud of a capture, and its files; None without one."""
    if isinstance(stated.get("ply_file_path"), str):
        ply = path / stated["ply_file_path"]
        return functools.partial(read_mesh, ply), [ply]
    for model in (path / place for place in _COLMAP):
        points = model_file(model, "points3D")
        if points is not None:
            moved = stated.get("applied_transform", np.eye(4)[:3])
            return functools.partial(_applied, model, moved), [points]
    return None, []


def _applied(model: pathlib.Path, moved: Any) -> Mesh:
    """Return COLMAP's points in the world of the transforms."""
    try:
        rows = np.array(moved, np.float64)[:3].reshape(3, 4)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"nerfstudio: applied_transform must be 3 x 4 numbers, got {error} "
            f"({model}). Export the capture again."
        ) from error
    points = read_points(model)
    where = f"nerfstudio ({model})"
    return checked_mesh(
        points.xyz @ rows[:, :3].T + rows[:, 3], where, colors=points.rgb
    )
