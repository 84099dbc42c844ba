"""Redwood and Open3D: folders of images and of depth, and a trajectory.

    <scan>/color|colors|image|rgb/*.jpg|png
           depth/*.png                           16 bit, mm
           trajectory.log, *-traj.txt            here or in scene/
           camera_primesense.json, intrinsic.json, camera_intrinsic.json, intrinsic.txt

A trajectory has blocks of five lines: three numbers, the first of which is the frame's,
and world_from_camera, 4x4. Without intrinsics the camera is a PrimeSense: 525 pixels at
640 x 480.
"""

import dataclasses
import pathlib
import re
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from sas_jax.datasets.capture import Capture, CaptureDataset
from sas_jax.errors import InputError
from sas_jax.scenes.camera_files import read_pinhole
from sas_jax.scenes.frames import list_depth, list_frames, natural_key
from sas_jax.scenes.image_files import depth_file
from sas_jax.scenes.views import Camera, View, ViewFrames

_PRIMESENSE = Camera(
    np.array([[525.0, 0, 319.5], [0, 525.0, 239.5], [0, 0, 1]]), (640, 480)
)
_UNITS_PER_M = 1000.0
_COLOR = ("color", "colors", "image", "rgb")
_ASSUMED = (
    "no camera is stated, so a PrimeSense is taken (525 pixels at 640 x 480). Put "
    "intrinsic.txt there if it is another one."
)
_CAMERAS = (
    "camera_primesense.json",
    "intrinsic.json",
    "camera_intrinsic.json",
    "intrinsic.txt",
)


@dataclasses.dataclass(frozen=True)
class Open3D(CaptureDataset):
    """Captures of Redwood and Open3D; see the module and `CaptureDataset`."""

    name: ClassVar = "open3d"
    layout: ClassVar = "<scan>/ with color/ or image/, depth/ and trajectory.log"
    needs: ClassVar = ("depth/*", "trajectory.log")

    def is_scan(self, path: pathlib.Path) -> bool:
        """Tell whether there are depth images and a trajectory."""
        return (path / "depth").is_dir() and _trajectory(path) is not None

    def capture(self, path: pathlib.Path) -> Capture:
        """Return the images that have depth and a pose."""
        color_folder = next((path / n for n in _COLOR if (path / n).is_dir()), None)
        log = _trajectory(path)
        if color_folder is None or log is None:
            raise InputError(
                f"open3d: a folder {', '.join(_COLOR[:-1])} or {_COLOR[-1]} and a "
                f"trajectory are required, got none ({path}). Copy them again."
            )
        colors, depths = list_frames(color_folder), list_depth(path / "depth")
        pairs = _paired(colors, depths, path)
        poses = _posed(list(pairs), _read_log(log), log)
        places = [path / name for name in _CAMERAS]
        stated = next((place for place in places if place.is_file()), None)
        camera = _PRIMESENSE if stated is None else Camera(*read_pinhole(stated))
        scale = self.depth_scale or _UNITS_PER_M
        views = [
            View(
                name=name,
                pose=pose,
                camera=camera,
                color=colors[name],
                depth=depth_file(pairs[name], scale),
                files=(colors[name], pairs[name]),
            )
            for name, pose in poses.items()
        ]
        frames = ViewFrames(path, tuple(views), depth_scale=scale)
        assumed = _ASSUMED if stated is None else None
        return Capture(frames, index=(log, *places), assumed=assumed)


def _trajectory(path: pathlib.Path) -> pathlib.Path | None:
    places = [path / "trajectory.log", path / "scene" / "trajectory.log"]
    places += sorted(path.glob("*-traj.txt"))
    return next((place for place in places if place.is_file()), None)


def _paired(
    colors: dict[str, pathlib.Path], depths: dict[str, pathlib.Path], path: pathlib.Path
) -> dict[str, pathlib.Path]:
    """Return the depth image of each colour image: of its name, number or rank."""
    if set(colors) & set(depths):
        return {name: depths[name] for name in colors if name in depths}
    by_number = {_number(name): file for name, file in depths.items()}
    numbers = {name: _number(name) for name in colors}
    if len(by_number) == len(depths) and by_number.keys() & set(numbers.values()):
        return {name: by_number[n] for name, n in numbers.items() if n in by_number}
    if colors and len(colors) == len(depths):
        ranked = sorted(depths, key=natural_key)
        return {c: depths[d] for c, d in zip(colors, ranked, strict=True)}
    raise InputError(
        "open3d: depth images named as the colour images are required, got none of "
        f"{len(depths)} for {len(colors)} ({path}). Name both by their frame."
    )


def _number(name: str) -> int:
    """Return the first number in a name, -1 without."""
    match = re.search(r"\d+", name)
    return int(match[0]) if match else -1


def _read_log(path: pathlib.Path) -> dict[int, Float[np.ndarray, "4 4"]]:
    """Return frame -> pose of a trajectory."""
    try:
        numbers = [float(v) for v in path.read_text(encoding="utf-8").split()]
        blocks = np.reshape(numbers, (-1, 19))
        frames = [int(block[0]) for block in blocks]
        if len(set(frames)) != len(frames):
            raise ValueError("a frame that stands there twice")
    except (OSError, ValueError, OverflowError) as error:
        raise InputError(
            "open3d: blocks of three numbers and a 4x4 matrix, each frame once, are "
            f"required, got {error} ({path}). Copy the file again."
        ) from error
    poses = blocks[:, 3:].reshape(-1, 4, 4)
    return dict(zip(frames, poses, strict=True))


def _posed(
    names: list[str], poses: dict[int, Float[np.ndarray, "4 4"]], path: pathlib.Path
) -> dict[str, Float[np.ndarray, "4 4"]]:
    """Return the pose of each image that has one.

    As many poses as images are theirs, in order. Of others, the number in an image's
    name is the frame's; names may count from 1 where frames count from 0.
    """
    if len(poses) == len(names):
        return dict(zip(names, (poses[frame] for frame in sorted(poses)), strict=True))
    numbers = [_number(name) for name in names]
    first = int(min(numbers, default=0) == 1 and min(poses, default=0) == 0)
    found = {
        name: poses[number - first]
        for name, number in zip(names, numbers, strict=True)
        if number - first in poses
    }
    if not found:
        raise InputError(
            "open3d: images whose number is a frame of the trajectory are required, "
            f"got none of {len(names)} for {len(poses)} poses ({path}). Name images "
            "by their frame."
        )
    return found
