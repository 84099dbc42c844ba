"""A folder of posed RGB-D frames, and nothing else.

    <root>/<scan>/color/N.jpg|png    depth/N.png (16 bit)    pose/N.txt
                  intrinsic.txt
    <root>/splits/<split>.txt        optional; without, every split is all scans

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
from typing import ClassVar, Literal, get_args

import numpy as np
from jaxtyping import Float, Float32

from sas_jax.artefacts.stamps import NO_MEMO, Memo
from sas_jax.checks import one_of
from sas_jax.datasets.contracts import Dataset, Part, Scan
from sas_jax.datasets.scan_files import frame_files, listed
from sas_jax.errors import InputError
from sas_jax.scenes.camera_files import read_intrinsics
from sas_jax.scenes.capture_checks import check_depth, check_poses
from sas_jax.scenes.cloud import Cloud, VoxelCloud, back_project, estimate_normals
from sas_jax.scenes.frames import FolderFrames, list_frames
from sas_jax.scenes.kept_cloud import CaptureCloud, kept
from sas_jax.scenes.labels import MATTERPORT21, SCANNET20, LabelSet
from sas_jax.scenes.poses import PoseConvention
from sas_jax.scenes.scene import BadFrame, Scene, usable_frames
from sas_jax.scenes.upright import Z, mean_camera_up, surface_up, turn_up

Up = Literal["z", "camera", "surfaces"]
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


@dataclasses.dataclass(frozen=True)
class PosedRgbd(Dataset):
    """Captures of posed RGB-D frames; the points are made of them.

    All stages see the same points: they come from all pixels of the depth images,
    whatever size the frames are asked for in.

    Attributes:
      depth_scale: stored units per metre: 1000 for millimetres, 5000 for TUM RGB-D.
      up: "z" when the poses' world already has z up, as the student expects. For a
        world of unknown axes, "camera" turns it so that the mean up direction of the
        cameras is +z, right within their mean tilt; "surfaces" then turns it further,
        so that floors and tables face +z (cameras tilted by less than 40 degrees).
      pose_convention: how poses are stored, see `poses`; None takes "opencv" and
        refuses poses that the frames contradict and another convention explains.
      frame_stride: points come from every how many-th frame.
      check_depth: refuse a median depth that no room has.
      cloud: thinning, range and normals.
      keep: folder where clouds are kept, so that frames are read for them once; None
        keeps nothing.
      memo: where checksums of the files of kept clouds are remembered.
      progress: wraps the names of the frames while a cloud is made.
    """

    depth_scale: float = 1000.0
    up: Up = "z"
    pose_convention: PoseConvention | None = None
    frame_stride: int = 1
    check_depth: bool = True
    cloud: CloudConfig = CloudConfig()
    keep: pathlib.Path | None = dataclasses.field(default=None, compare=False)
    memo: Memo = dataclasses.field(default=NO_MEMO, compare=False)
    progress: Progress = dataclasses.field(default=iter, compare=False)

    name: ClassVar = "posed_rgbd"
    layout: ClassVar = "<scan>/ with intrinsic.txt, color/, depth/ and pose/"
    # They have no labels; these name the classes of rooms.
    label_sets: ClassVar = (SCANNET20, MATTERPORT21)

    def __post_init__(self) -> None:
        one_of("posed_rgbd", "up", self.up, get_args(Up))
        conventions = (None, *get_args(PoseConvention))
        one_of("posed_rgbd", "pose_convention", self.pose_convention, conventions)
        if not self.depth_scale > 0 or self.frame_stride < 1:
            raise InputError(
                "posed_rgbd: depth_scale must be > 0 and frame_stride >= 1, got "
                f"{self.depth_scale} and {self.frame_stride}. Use 1000 for "
                "millimetres, 1 for all."
            )

    def is_root(self, root: pathlib.Path) -> bool:
        """Tell whether one of the folders inside is a scan."""
        return root.is_dir() and any(self.is_scan(path) for path in root.iterdir())

    def is_scan(self, path: pathlib.Path) -> bool:
        """Tell whether there is a camera."""
        return (path / "intrinsic.txt").exists()

    def scan_names(self, root: pathlib.Path, split: str) -> list[str]:
        """Return the names of a split, of all scans where there are no splits."""
        if (root / "splits").is_dir():
            return listed(root, split, root, "posed_rgbd")
        if not root.is_dir():
            raise InputError(
                f"posed_rgbd: a folder of scans is required, got none ({root}). Check "
                "the path."
            )
        return sorted(path.name for path in root.iterdir() if self.is_scan(path))

    def scan_path(self, root: pathlib.Path, name: str) -> pathlib.Path:
        """Return the folder of a scan."""
        return root / name

    def files(
        self, path: pathlib.Path, part: Part, frame_stride: int, memo: Memo
    ) -> list[pathlib.Path]:
        """Return text files and frames: the points are made of them."""
        files = [*sorted(path.glob("*.txt"))]
        files += frame_files(path, self.frame_stride, memo)
        if part == "views" and frame_stride != self.frame_stride:
            files += frame_files(path, frame_stride, memo)
        return files

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
          path: see the module; its name is the scene's.
          image_size_wh: size of the frames, None for that of the depth images.
          label_set: of no use, there are no labels.
          annotations: of no use.

        Returns:
          A scene with points, colours and normals; neither faces nor labels. Its
          frames are all that the capture has.

        Raises:
          InputError: without a usable frame, for an implausible depth scale, and for
            poses of another convention.

        Deterministic: yes.
        """
        source = _source(path, self)
        files = dict(list(source.files.items())[:: self.frame_stride])
        used = dataclasses.replace(source, files=files)
        if self.keep is None:
            cloud = _make(used, self)
        else:
            key = Scan(self, path.name, path).key("geometry", memo=self.memo)
            file = self.keep / f"{path.name}.safetensors"
            cloud = kept(file, key, lambda: _make(used, self))
        for note in cloud.notes:
            logging.warning("%s", note)
        return Scene(
            name=path.name,
            points=cloud.points,
            normals=cloud.normals,
            colors=cloud.colors,
            frame_source=dataclasses.replace(
                source, turn=cloud.turn, image_size_wh=image_size_wh
            ),
            skipped_frames=dict(cloud.skipped),
            origin=cloud.origin,
        )

    def has_labels(self, path: pathlib.Path) -> bool:
        """Tell that there are none."""
        return False


def _make(source: FolderFrames, settings: PosedRgbd) -> CaptureCloud:
    """Read the frames and make the cloud, in the world that `up` asks for."""
    skipped: dict[str, str] = {}
    config = settings.cloud
    if settings.check_depth:
        check_depth(source, config.plausible_depth_m, skipped)
    notes = [check_poses(source, settings.pose_convention, skipped)]
    source, camera_up, lying = _turned_by_cameras(source, settings.up)
    origin = source.far_origin()
    source = source.relative_to(origin)
    cloud = _cloud(source, config, skipped, settings.progress)
    points, toward = cloud.points, cloud.toward_camera
    normals = estimate_normals(points, toward, config.neighbors)
    if settings.up == "surfaces":
        turn = turn_up(surface_up(normals, camera_up))
        points, normals = (_rotated(a, turn) for a in (points, normals))
        source = dataclasses.replace(source, turn=turn @ source.turn)
        origin = turn[:3, :3] @ origin
    said = tuple(note for note in (*notes, lying) if note)
    return CaptureCloud(
        points, normals, cloud.colors, source.turn, origin, skipped, said
    )


def _source(folder: pathlib.Path, settings: PosedRgbd) -> FolderFrames:
    """Return all frames at the size of the depth images, in the poses' own world."""
    for part in ("color", "depth", "pose"):
        if not (folder / part).is_dir():
            raise InputError(
                "posed_rgbd: folders color, depth and pose are required, got no "
                f"{part} ({folder}). Name one file per frame equally in each."
            )
    return FolderFrames(
        folder=folder,
        files=list_frames(folder / "color"),
        intrinsics=read_intrinsics(folder / "intrinsic.txt"),
        depth_scale=settings.depth_scale,
        interpolation="area",
        color_camera=folder / "intrinsic_color.txt",
        convention=settings.pose_convention or "opencv",
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
        readings = readings or bool((frame.known_depth_m > 0).any())
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
