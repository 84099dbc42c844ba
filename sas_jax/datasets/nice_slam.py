"""Replica as NICE-SLAM renders it: images, depth and one list of poses.

    <scene>/results/frame000000.jpg     1200 x 680
                    depth000000.png     16 bit, 6553.5 units a metre
            traj.txt                    a line a frame: world_from_camera, 16 numbers
    <scene>_mesh.ply                    optional: its vertices are the points
    cam_params.json                     optional, here or in <scene>/

The world is Replica's, z up.
"""

import dataclasses
import functools
import json
import pathlib
import re
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from sas_jax.datasets.capture import Capture, CaptureDataset
from sas_jax.errors import InputError
from sas_jax.scenes.camera_files import pinhole_of
from sas_jax.scenes.image_files import depth_file
from sas_jax.scenes.mesh_files import read_mesh
from sas_jax.scenes.views import Camera, View, ViewFrames

_CAMERA = Camera(
    np.array([[600.0, 0, 599.5], [0, 600.0, 339.5], [0, 0, 1]]), (1200, 680)
)
_UNITS_PER_M = 6553.5
_ASSUMED = (
    "no camera is stated, so that of the Replica renderings is taken (600 pixels at "
    "1200 x 680). Put cam_params.json there if it is another one."
)
_FRAME = re.compile(r"frame(\d+)\.(?:jpg|png)", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class NiceSlam(CaptureDataset):
    """Rendered Replica scenes; see the module and `CaptureDataset`."""

    name: ClassVar = "nice_slam"
    layout: ClassVar = "<scene>/ with results/frame000000.jpg and traj.txt"
    needs: ClassVar = ("results/*", "traj.txt")

    def is_scan(self, path: pathlib.Path) -> bool:
        """Tell whether there are images and their poses, and no labelled mesh."""
        there = (path / "results").is_dir() and (path / "traj.txt").is_file()
        return there and not (path / "habitat").is_dir()

    def capture(self, path: pathlib.Path) -> Capture:
        """Return the frames that have a line of the trajectory."""
        camera, scale, index = _camera(path)
        scale = self.depth_scale or scale
        poses = _poses(path / "traj.txt")
        views = []
        for color in sorted((path / "results").iterdir()):
            match = _FRAME.fullmatch(color.name)
            if match is None or int(match[1]) >= len(poses):
                continue
            depth = color.with_name(f"depth{match[1]}.png")
            views.append(
                View(
                    name=color.stem,
                    pose=poses[int(match[1])],
                    camera=camera,
                    color=color,
                    depth=depth_file(depth, scale),
                    files=(color, depth),
                )
            )
        if not views:
            raise InputError(
                "nice_slam: an image with a line of the trajectory is required, got "
                f"none for {len(poses)} lines ({path}). Copy results/ again."
            )
        mesh = path.parent / f"{path.name}_mesh.ply"
        return Capture(
            ViewFrames(path, tuple(views), depth_scale=scale),
            up="z",
            index=(path / "traj.txt", *index, mesh),
            geometry=functools.partial(read_mesh, mesh) if mesh.exists() else None,
            assumed=_ASSUMED if camera is _CAMERA else None,
        )


def _camera(path: pathlib.Path) -> tuple[Camera, float, tuple[pathlib.Path, ...]]:
    """Return the camera, depth units per metre, and where they may be stated."""
    places = (path / "cam_params.json", path.parent / "cam_params.json")
    stated = next((place for place in places if place.is_file()), None)
    if stated is None:
        return _CAMERA, _UNITS_PER_M, places
    try:
        values: Any = json.loads(stated.read_text(encoding="utf-8"))
        values = values.get("camera", values)
        scale = float(values.get("scale", _UNITS_PER_M))
        if not 0 < scale < float("inf"):
            raise ValueError(f"scale {scale}")
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            "nice_slam: a camera with fx, fy, cx, cy, w, h and a positive scale is "
            f"required, got {error} ({stated}). Copy the file again or delete it."
        ) from error
    return Camera(*pinhole_of(values, stated)), scale, places


def _poses(path: pathlib.Path) -> Float[np.ndarray, "N 4 4"]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        rows = [[float(v) for v in line.split()] for line in lines if line.strip()]
        return np.array(rows, np.float64).reshape(-1, 4, 4)
    except (OSError, ValueError) as error:
        raise InputError(
            f"nice_slam: 16 numbers a line are required, got {error} ({path}). Copy "
            "the file again."
        ) from error
