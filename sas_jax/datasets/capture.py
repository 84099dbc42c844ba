"""Captures: posed images whose depth, mesh or points make the scene.

What all formats of captures share. A format is a module with a subclass: how its
folders are recognised, and what it stores, as a `Capture`. Points are those of a mesh
or cloud that comes with the images; without, back-projected depth, thinned to one per
voxel, with normals from nearest neighbours that face the cameras. Where images have no
depth, it is rendered from the mesh or cloud.
"""

import abc
import contextlib
import dataclasses
import logging
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar, get_args

import numpy as np
from jaxtyping import Float, Float32

from sas_jax.artefacts.stamps import NO_MEMO, Memo
from sas_jax.checks import one_of
from sas_jax.datasets.contracts import Dataset, Part, Scan
from sas_jax.datasets.scan_files import names_of_split
from sas_jax.errors import InputError
from sas_jax.scenes.capture_checks import Frames, check_depth, check_poses
from sas_jax.scenes.cloud import Cloud, VoxelCloud, back_project, estimate_normals
from sas_jax.scenes.kept_cloud import CaptureCloud, kept
from sas_jax.scenes.labels import MATTERPORT21, SCANNET20, LabelSet
from sas_jax.scenes.mesh import Mesh, moved_mesh
from sas_jax.scenes.origin import moved_by
from sas_jax.scenes.poses import PoseConvention
from sas_jax.scenes.rendered_depth import (
    Surface,
    WithRenderedDepth,
    surface_of_cloud,
    surface_of_mesh,
)
from sas_jax.scenes.scene import BadFrame, FrameSource, Scene, usable_frames
from sas_jax.scenes.upright import (
    AXES,
    Up,
    Z,
    mean_camera_up,
    surface_up,
    turn_up,
)

Progress = Callable[[Sequence[str]], Iterable[str]]
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


@dataclasses.dataclass(frozen=True, eq=False)
class Capture:
    """What a folder of one format holds.

    Attributes:
      frames: its images, in the world of its poses.
      up: which way is up there, as the format states it: an axis; "surfaces" where the
        world is turned at random; "auto" where z should be up and cameras tell.
      index: files that the list of frames follows from.
      geometry: reads the mesh or cloud that comes with the images, in the same world;
        None where depth makes the points.
    """

    frames: Frames
    up: Up = "auto"
    index: tuple[pathlib.Path, ...] = ()
    geometry: Callable[[], Mesh] | None = None


@dataclasses.dataclass(frozen=True)
class CaptureDataset(Dataset, abc.ABC):
    """Captures of one format; see the module.

    All stages see the same points: those of depth come from all pixels, whatever size
    the frames are asked for in.

    Attributes:
      depth_scale: stored depth units per metre (1000 for millimetres); None takes the
        format's.
      up: which way is up in the capture's world. "auto" takes what the format states;
        where it states nothing, z if the cameras agree, else "surfaces". "camera" turns
        the world so that the mean up direction of the cameras is +z, right within their
        mean tilt; "surfaces" then turns it further, so that floors and tables face +z
        (cameras tilted by less than 40 degrees).
      pose_convention: how poses are stored, see `poses`; None takes the format's and
        refuses poses that the frames contradict and another convention explains.
      frame_stride: points come from every how many-th frame.
      check_depth: refuse a median depth that no room has.
      cloud: thinning, range and normals.
      keep: folder where clouds are kept, so that frames are read for them once; None
        keeps nothing.
      memo: where checksums of the files of kept clouds are remembered.
      progress: wraps the names of the frames while a cloud is made.
    """

    depth_scale: float | None = None
    up: Up = "auto"
    pose_convention: PoseConvention | None = None
    frame_stride: int = 1
    check_depth: bool = True
    cloud: CloudConfig = CloudConfig()
    keep: pathlib.Path | None = dataclasses.field(default=None, compare=False)
    memo: Memo = dataclasses.field(default=NO_MEMO, compare=False)
    progress: Progress = dataclasses.field(default=iter, compare=False)

    # They have no labels; these name the classes of rooms.
    label_sets: ClassVar = (SCANNET20, MATTERPORT21)

    def __post_init__(self) -> None:
        one_of(self.name, "up", self.up, get_args(Up))
        conventions = (None, *get_args(PoseConvention))
        one_of(self.name, "pose_convention", self.pose_convention, conventions)
        scale = 1.0 if self.depth_scale is None else self.depth_scale
        if not 0 < scale < float("inf") or self.frame_stride < 1:
            raise InputError(
                f"{self.name}: depth_scale must be > 0 and frame_stride >= 1, got "
                f"{self.depth_scale} and {self.frame_stride}. Use 1000 for "
                "millimetres, 1 for all."
            )

    @abc.abstractmethod
    def capture(self, path: pathlib.Path) -> Capture:
        """Return what a folder or file of the format holds; images are not read.

        Raises:
          InputError: for missing or damaged files that all frames need.
        """

    def is_root(self, root: pathlib.Path) -> bool:
        """Tell whether one of the things inside is a scan."""
        return root.is_dir() and any(self.is_scan(path) for path in root.iterdir())

    def scan_names(self, root: pathlib.Path, split: str) -> list[str]:
        """Return the names of a split, of all scans where there are no splits."""
        if (root / "splits").is_dir():
            present = [p.name for p in root.iterdir() if self.is_scan(p)]
            return names_of_split(root, split, present, self.name)
        if not root.is_dir():
            raise InputError(
                f"{self.name}: a folder of scans is required, got none ({root}). Check "
                "the path."
            )
        return sorted(self.scan_name(p) for p in root.iterdir() if self.is_scan(p))

    def scan_path(self, root: pathlib.Path, name: str) -> pathlib.Path:
        """Return where a scan lies: a folder, or a file whose suffix is left out."""
        if (root / name).exists() or not root.is_dir():
            return root / name
        files = [p for p in root.iterdir() if p.stem == name and self.is_scan(p)]
        return min(files, default=root / name)

    def files(
        self, path: pathlib.Path, part: Part, frame_stride: int, memo: Memo
    ) -> list[pathlib.Path]:
        """Return what the list of frames and the frames are read from."""
        capture = self.capture(path)
        strides = {self.frame_stride} if capture.geometry is None else set()
        if part == "views":
            strides.add(frame_stride)
        used = [capture.frames.every(s) for s in sorted(strides)]
        files = [
            *capture.index,
            *(file for frames in used for file in frames.all_files),
        ]
        return list(dict.fromkeys(files))

    def open(
        self,
        path: pathlib.Path,
        *,
        image_size_wh: tuple[int, int] | None = None,
        label_set: LabelSet | None = None,
        annotations: bool = True,
    ) -> Scene:
        """Open a capture and make its points, or read them where they are kept.

        Args:
          path: of the capture; its name is the scene's.
          image_size_wh: size of the frames, None for that of the depth images.
          label_set: of no use, there are no labels.
          annotations: of no use.

        Returns:
          A scene without labels. Its frames are all that the capture has.

        Raises:
          InputError: without a usable frame, for an implausible depth scale, and for
            poses of another convention.

        Deterministic: yes.
        """
        capture = self.capture(path)
        frames = capture.frames
        if self.pose_convention is not None:
            frames = dataclasses.replace(frames, convention=self.pose_convention)
        up = capture.up if self.up == "auto" else self.up
        name = self.scan_name(path)
        if capture.geometry is not None:
            return _of_geometry(name, capture.geometry(), frames, up, image_size_wh)
        cloud = self._cloud(path, frames, up)
        for note in cloud.notes:
            logging.warning("%s", note)
        return Scene(
            name=name,
            points=cloud.points,
            normals=cloud.normals,
            colors=cloud.colors,
            frame_source=frames.handed_out(cloud.turn, image_size_wh),
            skipped_frames=dict(cloud.skipped),
            origin=cloud.origin,
        )

    def has_labels(self, path: pathlib.Path) -> bool:
        """Tell that there are none."""
        return False

    def _cloud(self, path: pathlib.Path, frames: Frames, up: Up) -> CaptureCloud:
        used = frames.every(self.frame_stride)

        def make() -> CaptureCloud:
            return _of_depth(used, up, self)

        if self.keep is None:
            return make()
        name = self.scan_name(path)
        key = Scan(self, name, path).key("geometry", memo=self.memo)
        return kept(self.keep / f"{name}.safetensors", key, make)


def _of_depth(source: Frames, up: Up, settings: CaptureDataset) -> CaptureCloud:
    """Read the frames and make the cloud, in the world that `up` asks for."""
    skipped: dict[str, str] = {}
    config = settings.cloud
    if not source.has_depth:
        raise InputError(
            f"{settings.name}: depth images, or a mesh or cloud beside the images, are "
            f"required, got neither ({source.folder}). Export the capture with depth "
            "or with its mesh; COLMAP models bring points."
        )
    if settings.check_depth:
        check_depth(source, config.plausible_depth_m, skipped)
    notes = [check_poses(source, settings.pose_convention, skipped)]
    source, camera_up, up, said = _turned_by_cameras(source, up)
    origin = source.far_origin()
    source = source.relative_to(origin)
    cloud = _thinned(source, config, skipped, settings)
    points, toward = cloud.points, cloud.toward_camera
    normals = estimate_normals(points, toward, config.neighbors)
    if up == "surfaces":
        turn = turn_up(surface_up(normals, camera_up))
        points, normals = (_rotated(a, turn) for a in (points, normals))
        source = dataclasses.replace(source, turn=turn @ source.turn)
        origin = turn[:3, :3] @ origin
    return CaptureCloud(
        points,
        normals,
        cloud.colors,
        source.turn,
        origin,
        skipped,
        tuple(note for note in (*notes, said) if note),
    )


def _of_geometry(
    name: str,
    mesh: Mesh,
    frames: Frames,
    up: Up,
    image_size_wh: tuple[int, int] | None,
) -> Scene:
    """Return the scene of a mesh or cloud with images; depth is rendered from it."""
    frames, camera_up, up, said = _turned_by_cameras(frames, up)
    turn = frames.turn
    if up == "surfaces":
        turn = turn_up(surface_up(_rotated(_facing(mesh), turn), camera_up)) @ turn
    mesh = moved_mesh(mesh, turn)
    if said:
        logging.warning("%s", said)
    turn = moved_by(-mesh.origin) @ turn
    source: FrameSource = frames.handed_out(turn, image_size_wh)
    if not frames.has_depth:
        source = WithRenderedDepth(source, _surface(mesh))
    return Scene(
        name=name,
        points=mesh.points,
        normals=mesh.normals,
        colors=mesh.colors,
        faces=mesh.faces,
        frame_source=source,
        origin=mesh.origin,
    )


def _facing(mesh: Mesh) -> Float32[np.ndarray, "N 3"]:
    """Return directions that the surface faces: of its normals, faces or neighbours."""
    if mesh.normals is not None:
        return mesh.normals
    if mesh.faces is None:
        return estimate_normals(mesh.points, None, CloudConfig().neighbors)
    a, b, c = (mesh.points[mesh.faces[:, i]] for i in range(3))
    across = np.cross(b - a, c - a)
    length = np.linalg.norm(across, axis=1, keepdims=True)
    return across / np.maximum(length, np.float32(1e-20))


def _surface(mesh: Mesh) -> Surface:
    if mesh.faces is None:
        return surface_of_cloud(mesh.points)
    return surface_of_mesh(mesh.points, mesh.faces)


def _turned_by_cameras(
    source: Frames, up: Up
) -> tuple[Frames, Float[np.ndarray, " 3"], Up, str | None]:
    """Turn a source as far as cameras tell.

    Returns:
      The source in the world of `up`; the cameras' up in it; `up` with "auto" decided;
      and what is to be said.
    """
    if up in AXES:
        return dataclasses.replace(source, turn=turn_up(AXES[up])), Z, up, None
    poses = []
    for name in source.names:
        with contextlib.suppress(BadFrame):
            poses.append(source.read_pose(name))
    mean_up = mean_camera_up(poses)
    said = None
    if up == "auto":
        if mean_up[2] >= _UPRIGHT_COSINE:
            return source, mean_up, "z", None
        x, y, z = mean_up
        up = "surfaces"
        said = (
            f"{source.folder.name}: cameras point their upper edge along ({x:.2f}, "
            f"{y:.2f}, {z:.2f}), so z is not up there: the world is turned by cameras "
            "and floors. If z is up all the same, give --up=z."
        )
    return dataclasses.replace(source, turn=turn_up(mean_up)), Z, up, said


def _thinned(
    source: Frames,
    config: CloudConfig,
    skipped: dict[str, str],
    settings: CaptureDataset,
) -> Cloud:
    """Stream all usable frames into one thinned cloud."""
    cloud, readings = VoxelCloud(config.voxel_size_m), False
    for frame in usable_frames(source, settings.progress(source.names), skipped):
        if frame.depth_m is None:
            continue
        readings = readings or bool((frame.depth_m > 0).any())
        points, colors = back_project(frame, config.max_depth_m)
        cloud.add(points, colors, frame.world_from_camera[:3, 3])
    if not readings:
        raise InputError(
            f"{settings.name}: at least one frame with colour, depth and pose is "
            f"required, got none of {len(source.names)}, skipped for "
            f"{', '.join(sorted(set(skipped.values()))) or 'nothing'} "
            f"({source.folder}). See the warnings above for each file."
        )
    result = cloud.result()
    if not len(result.points):
        raise InputError(
            f"{settings.name}: depth of at most {config.max_depth_m:g} m is required, "
            f"got larger readings only ({source.folder}). Check --depth_scale."
        )
    return result


def _rotated(
    rows: Float32[np.ndarray, "P 3"], turn: Float[np.ndarray, "4 4"]
) -> Float32[np.ndarray, "P 3"]:
    x, y, z = rows.astype(np.float64).T
    turned = [turn[i, 0] * x + turn[i, 1] * y + turn[i, 2] * z for i in range(3)]
    return np.stack(turned, axis=1).astype(np.float32)
