"""Captures: posed images whose depth, mesh or points make the scene.

What all formats of captures share. A format is a module with a subclass: how its
folders are recognised, and what it stores, as a `Capture`. Points are those of a mesh
or cloud that comes with the images; without, back-projected depth, thinned to one per
voxel, with normals from nearest neighbours that face the cameras. Where images have no
depth, it is rendered from the mesh or cloud.
"""

import abc
import dataclasses
import logging
import math
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar, get_args

from sas_jax.artefacts.stamps import NO_MEMO, Memo
from sas_jax.checks import one_of
from sas_jax.datasets.captured import Capture, scene_of_geometry
from sas_jax.datasets.contracts import Dataset, Part, Scan
from sas_jax.datasets.scan_files import names_of_split
from sas_jax.errors import InputError
from sas_jax.scenes.capture_checks import Frames, check_depth, check_poses
from sas_jax.scenes.capture_world import (
    input_from_world,
    rotated,
    turned_by_cameras,
)
from sas_jax.scenes.cloud import Cloud, VoxelCloud, back_project, estimate_normals
from sas_jax.scenes.kept_cloud import CaptureCloud, kept
from sas_jax.scenes.labels import MATTERPORT21, SCANNET20, LabelSet
from sas_jax.scenes.poses import PoseConvention
from sas_jax.scenes.scene import Scene, usable_frames
from sas_jax.scenes.upright import Up, surface_up, turn_up

Progress = Callable[[Sequence[str]], Iterable[str]]


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
      scale: metres per unit of poses, meshes and clouds; None takes the format's. Where
        it has none, a camera is taken to be held at 1.4 m above the floor, unless its
        height is already that of somebody's hand. Depth has its own, `depth_scale`.
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
    scale: float | None = None
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
        scales = [1.0 if s is None else s for s in (self.depth_scale, self.scale)]
        if not all(0 < s < math.inf for s in scales) or self.frame_stride < 1:
            raise InputError(
                f"{self.name}: depth_scale must be > 0, scale > 0 and frame_stride >= "
                f"1, got {self.depth_scale}, {self.scale} and {self.frame_stride}. Use "
                "1000 for millimetres, 1 for metres, 1 for all."
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
        if capture.assumed is not None:
            logging.warning("%s: %s", path.name, capture.assumed)
        if self.pose_convention is not None:
            frames = dataclasses.replace(frames, convention=self.pose_convention)
        scale = capture.scale if self.scale is None else self.scale
        up = capture.up if self.up == "auto" else self.up
        name = self.scan_name(path)
        if capture.geometry is not None:
            capture = dataclasses.replace(capture, frames=frames, up=up, scale=scale)
            return scene_of_geometry(name, capture, image_size_wh)
        if scale is not None:
            frames = dataclasses.replace(frames, scale=scale)
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
            input_from_world=input_from_world(cloud.turn, scale),
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
    source, camera_up, up, said = turned_by_cameras(source, up)
    origin = source.far_origin()
    source = source.relative_to(origin)
    cloud = _thinned(source, config, skipped, settings)
    points, toward = cloud.points, cloud.toward_camera
    normals = estimate_normals(points, toward, config.neighbors)
    if up == "surfaces":
        turn = turn_up(surface_up(normals, camera_up))
        points, normals = (rotated(a, turn) for a in (points, normals))
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
            f"{', '.join(sorted(set(skipped.values()))) or 'no reading of depth'} "
            f"({source.folder}). See the warnings above for each file."
        )
    result = cloud.result()
    if not len(result.points):
        raise InputError(
            f"{settings.name}: depth of at most {config.max_depth_m:g} m is required, "
            f"got larger readings only ({source.folder}). Check --depth_scale."
        )
    return result
