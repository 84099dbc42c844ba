"""A folder of posed RGB-D frames, and nothing else.

    color/N.jpg|png    depth/N.png (16 bit)    pose/N.txt    intrinsic.txt

`pose` is world_from_camera (4x4, OpenCV axes; others with `pose_convention`),
`intrinsic.txt` the 3x3 matrix of the depth images. Colour that does not show what depth
shows needs a camera of its own: `intrinsic_color.txt` and, unless both are in one
place, `color_from_depth.txt` (4x4). The points are the back-projected depth, thinned to
one per voxel, with normals from nearest neighbours that face the cameras.
"""

import contextlib
import dataclasses
import logging
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32

from sas_jax.artefacts.files import content_key
from sas_jax.datasets.scan_keys import capture_key
from sas_jax.errors import InputError
from sas_jax.scenes.camera_files import read_intrinsics
from sas_jax.scenes.capture_checks import check_depth, check_poses
from sas_jax.scenes.cloud import Cloud, VoxelCloud, back_project, estimate_normals
from sas_jax.scenes.frames import FolderFrames, list_frames
from sas_jax.scenes.images import ColorInterpolation
from sas_jax.scenes.kept_cloud import CaptureCloud, kept
from sas_jax.scenes.poses import PoseConvention
from sas_jax.scenes.scene import BadFrame, Scene, usable_frames
from sas_jax.scenes.upright import Z, mean_camera_up, surface_up, turn_up

Up = Literal["z", "camera", "surfaces"]
Progress = Callable[[Sequence[str]], Iterable[str]]
_UPRIGHT_COSINE = 0.5  # mean camera up within 60 degrees of z
# Raised when the same capture gives another cloud than before.
_VERSION = 1


@dataclasses.dataclass(frozen=True)
class CloudConfig:
    """Choose how depth becomes points.

    Attributes:
      voxel_size_m: edge of the thinning grid, metres; the student's voxel is 0.02.
      max_depth_m: readings beyond are not made into points, metres.
      neighbors: points per normal.
      plausible_depth_m: a median depth outside of this range, metres, is taken for a
        wrong depth scale; None lets any pass.
    """

    voxel_size_m: float = 0.02
    max_depth_m: float = 8.0
    neighbors: int = 16
    plausible_depth_m: tuple[float, float] | None = (0.2, 8.0)


def open_scene(
    folder: str | pathlib.Path,
    depth_scale: float = 1000.0,
    *,
    up: Up = "z",
    image_size_wh: tuple[int, int] | None = None,
    frame_stride: int = 1,
    interpolation: ColorInterpolation = "area",
    pose_convention: PoseConvention | None = None,
    config: CloudConfig = CloudConfig(),
    keep: pathlib.Path | None = None,
    progress: Progress = iter,
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
      pose_convention: how poses are stored, see `poses`; None takes "opencv" and
        refuses poses that the frames contradict and another convention explains.
      config: thinning, range and normals.
      keep: folder where the cloud is kept, so that frames are read for it once; None
        keeps nothing.
      progress: wraps the names of the frames while the cloud is made.

    Returns:
      A scene with points, colours and normals; neither faces nor labels.

    Raises:
      InputError: without a usable frame, for an implausible depth scale, and for poses
        of another convention.

    Deterministic: yes.
    """
    folder = pathlib.Path(folder)
    source = _source(folder, depth_scale, image_size_wh, frame_stride, interpolation)
    source = dataclasses.replace(source, convention=pose_convention or "opencv")

    def make() -> CaptureCloud:
        return _make(source, up, pose_convention, config, progress)

    if keep is None:
        cloud = make()
    else:
        settings = (depth_scale, up, image_size_wh, interpolation, pose_convention)
        frames = capture_key(folder, frame_stride)
        key = content_key([_VERSION, frames, settings, config])
        cloud = kept(keep / f"{folder.name}.safetensors", key, make)
    for note in cloud.notes:
        logging.warning("%s", note)
    return Scene(
        name=folder.name,
        points=cloud.points,
        normals=cloud.normals,
        colors=cloud.colors,
        frame_source=dataclasses.replace(source, turn=cloud.turn),
        skipped_frames=dict(cloud.skipped),
        origin=cloud.origin,
    )


def _make(
    source: FolderFrames,
    up: Up,
    pose_convention: PoseConvention | None,
    config: CloudConfig,
    progress: Progress,
) -> CaptureCloud:
    """Read the frames and make the cloud, in the world that `up` asks for."""
    skipped: dict[str, str] = {}
    if config.plausible_depth_m is not None:
        check_depth(source, config.plausible_depth_m, skipped)
    notes = [check_poses(source, pose_convention, skipped)]
    source, camera_up, lying = _turned_by_cameras(source, up)
    origin = source.far_origin()
    source = source.relative_to(origin)
    cloud = _cloud(source, config, skipped, progress)
    points, toward = cloud.points, cloud.toward_camera
    normals = estimate_normals(points, toward, config.neighbors)
    if up == "surfaces":
        turn = turn_up(surface_up(normals, camera_up))
        points, normals = (_rotated(a, turn) for a in (points, normals))
        source = dataclasses.replace(source, turn=turn @ source.turn)
        origin = turn[:3, :3] @ origin
    said = tuple(note for note in (*notes, lying) if note)
    return CaptureCloud(
        points, normals, cloud.colors, source.turn, origin, skipped, said
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
        color_camera=folder / "intrinsic_color.txt",
    )


def _turned_by_cameras(
    source: FolderFrames, up: Up
) -> tuple[FolderFrames, Float[np.ndarray, " 3"], str | None]:
    """Return the source in the world of `up`, the cameras' up in it, and a warning."""
    poses = []
    for name in source.names:
        with contextlib.suppress(BadFrame):
            poses.append(source.read_pose(name))
    mean_up = mean_camera_up(poses)
    if up != "z":
        return dataclasses.replace(source, turn=turn_up(mean_up)), Z, None
    lying = None
    if mean_up[2] < _UPRIGHT_COSINE:
        x, y, z = mean_up
        lying = (
            f"{source.folder.name}: cameras point their upper edge along ({x:.2f}, "
            f"{y:.2f}, {z:.2f}), but z should be up. If the world is not upright, open "
            'it with up="surfaces".'
        )
    return source, mean_up, lying


def _cloud(
    source: FolderFrames,
    config: CloudConfig,
    skipped: dict[str, str],
    progress: Progress,
) -> Cloud:
    """Stream all usable frames into one thinned cloud."""
    cloud, readings = VoxelCloud(config.voxel_size_m), False
    for frame in usable_frames(source, progress(source.names), skipped):
        readings = readings or bool((frame.depth_m > 0).any())
        points, colors = back_project(frame, config.max_depth_m)
        cloud.add(points, colors, frame.world_from_camera[:3, 3])
    if not readings:
        raise InputError(
            "posed_rgbd: at least one frame with colour, depth and pose is required, "
            f"got none of {len(source.names)}, skipped for "
            f"{', '.join(sorted(set(skipped.values()))) or 'nothing'} "
            f"({source.folder}). See the warnings above for each file."
        )
    result = cloud.result()
    if not len(result.points):
        raise InputError(
            f"posed_rgbd: depth of at most {config.max_depth_m:g} m is required, got "
            f"larger readings only ({source.folder}). Check --depth_scale."
        )
    return result


def _rotated(
    rows: Float32[np.ndarray, "P 3"], turn: Float[np.ndarray, "4 4"]
) -> Float32[np.ndarray, "P 3"]:
    x, y, z = rows.astype(np.float64).T
    turned = [turn[i, 0] * x + turn[i, 1] * y + turn[i, 2] * z for i in range(3)]
    return np.stack(turned, axis=1).astype(np.float32)
