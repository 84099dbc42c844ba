"""A folder of posed RGB-D frames, and nothing else.

    color/N.jpg|png    depth/N.png (16 bit)    pose/N.txt    intrinsic.txt

`pose` is world_from_camera (4x4, OpenCV axes), `intrinsic.txt` the 3x3 matrix of the
depth images. The points are the back-projected depth, thinned to one per voxel, with
normals from nearest neighbours that face the cameras.
"""

import contextlib
import dataclasses
import logging
import pathlib
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32

from sas_jax.errors import InputError
from sas_jax.scenes.cloud import Cloud, VoxelCloud, back_project, estimate_normals
from sas_jax.scenes.frames import FolderFrames, list_frames, read_intrinsics
from sas_jax.scenes.images import ColorInterpolation
from sas_jax.scenes.scene import BadFrame, Frame, Scene, usable_frames
from sas_jax.scenes.upright import Z, mean_camera_up, surface_up, turn_up

Up = Literal["z", "camera", "surfaces"]
_COMMON_SCALES = (1000.0, 4000.0, 5000.0, 6553.5)
_UPRIGHT_COSINE = 0.5  # mean camera up within 60 degrees of z


@dataclasses.dataclass(frozen=True)
class CloudConfig:
    """Choose how depth becomes points.

    Attributes:
      voxel_size_m: edge of the thinning grid, metres; the student's voxel is 0.02.
      max_depth_m: readings beyond are not made into points, metres.
      neighbors: points per normal.
      plausible_depth_m: a median depth outside of this range, metres, is taken for a
        wrong depth scale.
    """

    voxel_size_m: float = 0.02
    max_depth_m: float = 8.0
    neighbors: int = 16
    plausible_depth_m: tuple[float, float] = (0.2, 8.0)


def open_scene(
    folder: str | pathlib.Path,
    depth_scale: float = 1000.0,
    *,
    up: Up = "z",
    image_size_wh: tuple[int, int] | None = None,
    frame_stride: int = 1,
    interpolation: ColorInterpolation = "area",
    config: CloudConfig = CloudConfig(),
) -> Scene:
    """Open a capture and make its points.

    Args:
      folder: see the module; its name is the scene's.
      depth_scale: stored units per metre: 1000 for millimetres, 5000 for TUM RGB-D.
      up: "z" when the poses' world already has z up, as the student expects. For a
        world of unknown axes, "camera" turns it so that the mean up direction of the
        cameras is +z, right within their mean tilt; "surfaces" then turns it further,
        so that floors and tables face +z (cameras tilted by less than 40 degrees).
      image_size_wh: size of the frames, or None for that of the depth images. The
        points always come from all depth pixels of that size.
      frame_stride: keep every n-th frame.
      interpolation: how colour is resized where its size differs from depth.
      config: thinning, range and normals.

    Returns:
      A scene with points, colours and normals; neither faces nor labels.

    Raises:
      InputError: without a usable frame, and for an implausible depth scale.

    Deterministic: yes.
    """
    folder = pathlib.Path(folder)
    source = _source(folder, depth_scale, image_size_wh, frame_stride, interpolation)
    source, camera_up = _turned_by_cameras(source, up)
    skipped: dict[str, str] = {}
    cloud = _cloud(source, depth_scale, config, skipped)
    points, toward = cloud.points, cloud.toward_camera
    normals = estimate_normals(points, toward, config.neighbors)
    if up == "surfaces":
        turn = turn_up(surface_up(normals, camera_up))
        points, normals = (_rotated(a, turn) for a in (points, normals))
        source = dataclasses.replace(source, turn=turn @ source.turn)
    return Scene(
        name=folder.name,
        points=points,
        normals=normals,
        colors=cloud.colors,
        frame_source=source,
        skipped_frames=skipped,
    )


def _source(
    folder: pathlib.Path,
    depth_scale: float,
    image_size_wh: tuple[int, int] | None,
    frame_stride: int,
    interpolation: ColorInterpolation,
) -> FolderFrames:
    if not depth_scale > 0 or frame_stride < 1:
        raise InputError(
            "posed_rgbd: depth_scale must be > 0 and frame_stride >= 1, got "
            f"{depth_scale} and {frame_stride}. Use 1000 for millimetres, 1 for all."
        )
    for part in ("color", "depth", "pose"):
        if not (folder / part).is_dir():
            raise InputError(
                "posed_rgbd: folders color, depth and pose are required, got no "
                f"{part} ({folder}). Name one file per frame equally in each."
            )
    files = dict(list(list_frames(folder / "color").items())[::frame_stride])
    return FolderFrames(
        folder=folder,
        files=files,
        intrinsics=read_intrinsics(folder / "intrinsic.txt"),
        image_size_wh=image_size_wh,
        depth_scale=depth_scale,
        interpolation=interpolation,
    )


def _turned_by_cameras(
    source: FolderFrames, up: Up
) -> tuple[FolderFrames, Float[np.ndarray, " 3"]]:
    """Return the source in the world that `up` asks for, and the cameras' up in it."""
    poses = []
    for name in source.names:
        with contextlib.suppress(BadFrame):
            poses.append(source.read_pose(name))
    mean_up = mean_camera_up(poses)
    if up != "z":
        return dataclasses.replace(source, turn=turn_up(mean_up)), Z
    if mean_up[2] < _UPRIGHT_COSINE:
        logging.warning(
            "%s: cameras point their upper edge along (%.2f, %.2f, %.2f), but z should "
            'be up. If the world is not upright, open it with up="surfaces".',
            source.folder.name,
            *mean_up,
        )
    return source, mean_up


def _cloud(
    source: FolderFrames,
    depth_scale: float,
    config: CloudConfig,
    skipped: dict[str, str],
) -> Cloud:
    """Stream all usable frames into one thinned cloud."""
    cloud = VoxelCloud(config.voxel_size_m)
    checked = False
    for frame in usable_frames(source, source.names, skipped):
        checked = checked or _check_scale(frame, depth_scale, config, source.folder)
        points, colors = back_project(frame, config.max_depth_m)
        cloud.add(points, colors, frame.world_from_camera[:3, 3])
    if not checked:
        raise InputError(
            "posed_rgbd: at least one frame with colour, depth and pose is required, "
            f"got none of {len(source.names)}, skipped for "
            f"{', '.join(sorted(set(skipped.values()))) or 'nothing'} "
            f"({source.folder}). See the warnings above for each file."
        )
    return cloud.result()


def _rotated(
    rows: Float32[np.ndarray, "P 3"], turn: Float[np.ndarray, "4 4"]
) -> Float32[np.ndarray, "P 3"]:
    x, y, z = rows.astype(np.float64).T
    turned = [turn[i, 0] * x + turn[i, 1] * y + turn[i, 2] * z for i in range(3)]
    return np.stack(turned, axis=1).astype(np.float32)


def _check_scale(
    frame: Frame, depth_scale: float, config: CloudConfig, folder: pathlib.Path
) -> bool:
    """Raise InputError for an implausible median depth; False without any depth."""
    valid = frame.depth_m[frame.depth_m > 0]
    if len(valid) == 0:
        return False
    median = float(np.median(valid))
    low, high = config.plausible_depth_m
    if low <= median <= high:
        return True
    raw = median * depth_scale
    fitting = [s for s in _COMMON_SCALES if low <= raw / s <= high]
    guesses = ", ".join(f"{s:g} ({raw / s:.2f} m)" for s in fitting) or "another one"
    raise InputError(
        f"posed_rgbd: the median depth must be within {low:g}..{high:g} m, got "
        f"{median:.2f} m in frame {frame.name} with depth_scale={depth_scale:g} "
        f"({folder}). Give the units per metre: {guesses}."
    )
