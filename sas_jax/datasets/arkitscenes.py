"""ARKitScenes as it is released, for detection and raw: frames of an iPad.

    <id>/<id>_frames/ or <id>/  lowres_wide/<id>_<time>.png      256 x 192
                                lowres_depth/<id>_<time>.png     16 bit, mm
                                confidence/<id>_<time>.png       optional: 0, 1, 2
                                lowres_wide_intrinsics/<id>_<time>.pincam
                                lowres_wide.traj
         <id>_3dod_mesh.ply                 optional: its vertices are the points

A `.pincam` holds width, height, fx, fy, cx and cy. A line of the trajectory is a time,
a rotation (axis times angle) and a translation, which map world to camera (OpenCV
axes). Poses come 10 times a second: between two, cameras are interpolated. The world is
z up. Readings of confidence 0 are left out.
"""

import dataclasses
import functools
import pathlib
from typing import ClassVar

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation, Slerp

from sas_jax.datasets.capture import Capture, CaptureDataset
from sas_jax.errors import InputError
from sas_jax.scenes.camera_files import checked_intrinsics, read_matrix
from sas_jax.scenes.image_files import depth_file, nearest_in_time
from sas_jax.scenes.mesh_files import read_mesh
from sas_jax.scenes.views import Camera, View, ViewFrames

_UNITS_PER_M = 1000.0
# What belongs to one frame has one time, rounded; poses are as far apart as 0.1 s.
_SAME_S, _POSE_S, _GAP_S = 0.02, 0.05, 0.3

_Times = Float[np.ndarray, " N"]


@dataclasses.dataclass(frozen=True)
class ArkitScenes(CaptureDataset):
    """Scans of ARKitScenes; see the module and `CaptureDataset`."""

    name: ClassVar = "arkitscenes"
    layout: ClassVar = "<id>/ with lowres_wide/, lowres_depth/ and lowres_wide.traj"
    needs: ClassVar = ("lowres_wide/*", "lowres_depth/*", "lowres_wide.traj")

    def is_scan(self, path: pathlib.Path) -> bool:
        """Tell whether there are images and their trajectory."""
        folder = _frames_folder(path)
        there = folder / "lowres_wide", folder / "lowres_wide_intrinsics"
        return all(p.is_dir() for p in there) and _trajectory(folder).is_file()

    def capture(self, path: pathlib.Path) -> Capture:
        """Return the images that have depth, intrinsics and a pose near in time."""
        folder, scale = _frames_folder(path), self.depth_scale or _UNITS_PER_M
        at, poses = _poses(_trajectory(folder))
        depth_at, depths = _timed(folder / "lowres_depth")
        pincam_at, pincams = _timed(folder / "lowres_wide_intrinsics")
        sure_at, sure = _timed(folder / "confidence")
        views = []
        for time, color in zip(*_timed(folder / "lowres_wide"), strict=True):
            pose = _pose_at(time, at, poses)
            depth = nearest_in_time(depth_at, time, _SAME_S)
            pincam = nearest_in_time(pincam_at, time, _SAME_S)
            if pose is None or depth is None or pincam is None:
                continue
            same = nearest_in_time(sure_at, depth_at[depth], _SAME_S)
            confidence = None if same is None else sure[same]
            files = [color, depths[depth], pincams[pincam], confidence]
            views.append(
                View(
                    name=color.stem,
                    pose=pose,
                    camera=functools.partial(_camera, pincams[pincam]),
                    color=color,
                    depth=depth_file(depths[depth], scale, confidence),
                    files=tuple(file for file in files if file is not None),
                )
            )
        if not views:
            raise InputError(
                "arkitscenes: an image with depth, intrinsics and a pose near in time "
                f"is required, got none ({folder}). Download lowres_wide, "
                "lowres_depth, lowres_wide_intrinsics and lowres_wide.traj of one scan."
            )
        mesh = path / f"{path.name}_3dod_mesh.ply"
        return Capture(
            ViewFrames(path, tuple(views), depth_scale=scale),
            up="z",
            index=(_trajectory(folder), mesh),
            geometry=functools.partial(read_mesh, mesh) if mesh.exists() else None,
        )


def _frames_folder(path: pathlib.Path) -> pathlib.Path:
    frames = path / f"{path.name}_frames"
    return frames if frames.is_dir() else path


def _trajectory(folder: pathlib.Path) -> pathlib.Path:
    return folder / "lowres_wide.traj"


def _timed(folder: pathlib.Path) -> tuple[_Times, list[pathlib.Path]]:
    """Return the times in the names of a folder's files, ascending, and the files."""
    timed = []
    for file in folder.iterdir() if folder.is_dir() else ():
        try:
            time = float(file.stem.rpartition("_")[2])
        except ValueError:
            continue
        if np.isfinite(time):
            timed.append((time, file))
    timed.sort()
    return np.array([time for time, _ in timed]), [file for _, file in timed]


def _camera(path: pathlib.Path) -> Camera:
    numbers = read_matrix(path, "intrinsics").ravel()
    if len(numbers) != 6 or not (numbers[:2] >= 1).all() or (numbers > 1e6).any():
        raise InputError(
            "intrinsics: width, height, fx, fy, cx and cy are required, got "
            f"{numbers.tolist()[:6]} ({path}). Download the file again."
        )
    width, height, fx, fy, cx, cy = numbers
    matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    return Camera(checked_intrinsics(matrix, path), (int(width), int(height)))


def _poses(path: pathlib.Path) -> tuple[_Times, Float[np.ndarray, "N 4 4"]]:
    """Return times, ascending, and world_from_camera."""
    rows = read_matrix(path, "trajectory")
    if rows.ndim != 2 or rows.shape[1] != 7 or not np.isfinite(rows).all():
        raise InputError(
            "trajectory: lines of a time, a rotation and a translation are required, "
            f"got {list(rows.shape)} numbers, or some that are not finite ({path}). "
            "Download the file again."
        )
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    camera_from_world = Rotation.from_rotvec(rows[:, 1:4])
    poses = np.tile(np.eye(4), (len(rows), 1, 1))
    poses[:, :3, :3] = camera_from_world.inv().as_matrix()
    poses[:, :3, 3] = -camera_from_world.inv().apply(rows[:, 4:])
    return rows[:, 0], poses


def _pose_at(
    time: float, at: _Times, poses: Float[np.ndarray, "N 4 4"]
) -> Float[np.ndarray, "4 4"] | None:
    """Return the pose at a time, None where none is near or two are too far apart."""
    nearest = nearest_in_time(at, time, _POSE_S)
    right = int(np.searchsorted(at, time))
    if not 0 < right < len(at) or at[right] == time:
        return None if nearest is None else poses[nearest]
    gap = at[right] - at[right - 1]
    if gap > _GAP_S:
        return None if nearest is None else poses[nearest]
    share = (time - at[right - 1]) / gap
    pair = Rotation.from_matrix(poses[right - 1 : right + 1, :3, :3])
    pose = np.eye(4)
    pose[:3, :3] = Slerp([0, 1], pair)(share).as_matrix()
    pose[:3, 3] = (1 - share) * poses[right - 1, :3, 3] + share * poses[right, :3, 3]
    return pose
