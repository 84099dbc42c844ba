"""nuScenes as it is downloaded, with the points labelled by nuScenes-lidarseg.

    <root>/v1.0-trainval/*.json        tables; also v1.0-mini, v1.0-test
    <root>/samples/LIDAR_TOP/*.pcd.bin, CAM_*/*.jpg      keyframes, two a second
    <root>/sweeps/LIDAR_TOP/*.pcd.bin                    what lies between them
    <root>/lidarseg/<version>/*.bin    a label for each point of a keyframe
    <root>/splits/<split>.txt          scenes of a split; default: the official ones

A scan is a keyframe, `scene-0103_05` the sixth of a scene. Its points are those of its
own sweep, then of the sweeps up to half a second before it, in the vehicle's frame at
the keyframe; only the first ones are labelled. Its frames are the images of the six
cameras, without depth: a point in front of a camera and inside its image is seen.
"""

import dataclasses
import functools
import importlib.resources
import json
import pathlib
from typing import ClassVar

import numpy as np
from jaxtyping import Float64

from sas_jax.artefacts.stamps import NO_MEMO, Memo
from sas_jax.checks import in_range
from sas_jax.datasets.contracts import Dataset, Part
from sas_jax.datasets.lidar import (
    Sweep,
    merged,
    of_first,
    read_ids,
    read_sweep,
    view,
)
from sas_jax.datasets.nuscenes_index import Index, index_of
from sas_jax.datasets.nuscenes_tables import LIDAR, Drive, Keyframe, Shot
from sas_jax.datasets.scan_files import names_in
from sas_jax.errors import InputError
from sas_jax.scenes.image_files import pose_of_quaternion
from sas_jax.scenes.labels import LabelSet, label_set
from sas_jax.scenes.poses import inverse
from sas_jax.scenes.scene import Scene
from sas_jax.scenes.views import View, ViewFrames

_FIELDS = 5  # x, y, z, intensity, ring
_SUFFIX = ".pcd.bin"
_WHOLE = ("v1.0-trainval", "v1.0-test")
_UNIT_TOLERANCE = 1e-3


@dataclasses.dataclass(frozen=True)
class NuScenes(Dataset):
    """nuScenes; see the module.

    Attributes:
      sweep_window_s: LiDAR sweeps at most so much older than a scan's own are part of
        it, seconds; 0 takes none, as SemanticKITTI does unless told otherwise.
      keep: folder where joined tables are kept; None joins them in every process.
      memo: where checksums of the tables are remembered.
    """

    sweep_window_s: float = 0.5
    keep: pathlib.Path | None = dataclasses.field(default=None, compare=False)
    memo: Memo = dataclasses.field(default=NO_MEMO, compare=False)

    name: ClassVar = "nuscenes"
    layout: ClassVar = (
        "samples/LIDAR_TOP/*.pcd.bin, samples/CAM_*/, sweeps/LIDAR_TOP/ and tables in "
        "v1.0-<version>/"
    )
    needs: ClassVar = ("v1.0-*/scene.json", "samples/LIDAR_TOP/*", "samples/CAM_*/*")
    label_sets: ClassVar = (label_set("nuscenes16"),)

    def __post_init__(self) -> None:
        in_range("nuscenes", "sweep_window_s", self.sweep_window_s, 0, 10)

    def is_root(self, root: pathlib.Path) -> bool:
        """Tell whether there are keyframes of the LiDAR, or tables."""
        return (root / "samples" / LIDAR).is_dir() or bool(self._tables(root))

    def is_scan(self, path: pathlib.Path) -> bool:
        """Tell whether a file is a sweep of the LiDAR."""
        return path.name.endswith(_SUFFIX) and path.parent.name == LIDAR

    def scan_name(self, path: pathlib.Path) -> str:
        """Return the name of a keyframe by the file of its sweep."""
        _, scene, number = self._place(path)
        return f"{scene}_{number:02d}"

    def scan_names(self, root: pathlib.Path, split: str) -> list[str]:
        """Return the keyframes of a split's scenes, by time; see `Dataset`.

        `train` and `val` are those of v1.0-mini where that is all there is.
        """
        indices = self._indices(root)
        scans = {k: v for index in indices[::-1] for k, v in index.scans.items()}
        scenes = _scenes_of(root, split)
        if absent := [name for name in scenes if name not in scans]:
            raise InputError(
                f"nuscenes: every scene of split {split} must be in the tables, "
                f"{len(absent)} of {len(scenes)} are not, e.g. {absent[0]} ({root}). "
                f"Extract the metadata, or list scenes in {_list(root, split)}."
            )
        files = {
            f"{name}_{number:02d}": root / file
            for name in scenes
            for number, file in enumerate(scans[name])
        }
        if missing := [path for path in files.values() if not path.is_file()]:
            raise InputError(
                f"nuscenes: every keyframe of split {split} must have its sweep, "
                f"{len(missing)} of {len(files)} have none, e.g. ({missing[0]}). "
                f"Extract all files, or list the scenes that you have in "
                f"{_list(root, split)}."
            )
        return list(files)

    def scan_path(self, root: pathlib.Path, name: str) -> pathlib.Path:
        """Return the file of a keyframe's sweep."""
        scene, _, number = name.rpartition("_")
        for index in self._indices(root) if number.isdecimal() else ():
            files = index.scans.get(scene, ())
            if int(number) < len(files):
                return root / files[int(number)]
        return root / "samples" / LIDAR / name

    def files(
        self, path: pathlib.Path, part: Part, frame_stride: int, memo: Memo
    ) -> list[pathlib.Path]:
        """Return sweeps, and labels or images; see `Dataset.files`."""
        drive, keyframe = self._keyframe(path)
        shots = _sweeps(drive, keyframe, self.sweep_window_s)
        files = [shot.file for shot in shots]
        if part == "labels":
            files += [keyframe.labels] if keyframe.labels else []
        if part == "views":
            files += [shot.file for shot in keyframe.images[::frame_stride]]
        return [_root(path) / file for file in files]

    def facts(self, path: pathlib.Path, part: Part) -> object:
        """Return the rows of the tables that a part follows from."""
        drive, keyframe = self._keyframe(path)
        shots = _sweeps(drive, keyframe, self.sweep_window_s)
        ids = self._place(path)[0].lidarseg_ids if part == "labels" else ()
        return [*shots, *(keyframe.images if part == "views" else ()), ids]

    def open(
        self,
        path: pathlib.Path,
        *,
        image_size_wh: tuple[int, int] | None = None,
        label_set: LabelSet | None = None,
        annotations: bool = True,
    ) -> Scene:
        """Open a keyframe; see `Dataset.open`.

        Args:
          path: file of its sweep, below `samples/`.
          image_size_wh: size of the frames; images are resized by the mean of pixels.
          label_set: for `nuscenes16` alone.
          annotations: read the labels.

        Raises:
          InputError: for missing or damaged files and tables, and poses that are no
            rigid motions.
        """
        drive, keyframe = self._keyframe(path)
        shots = _sweeps(drive, keyframe, self.sweep_window_s)
        root, own = _root(path), shots[0]
        scene_from_world = inverse(_pose(own.ego, own))
        sweeps = [
            Sweep(root / shot.file, scene_from_world @ _world_from(shot))
            for shot in shots
        ]
        points = merged(sweeps, _FIELDS)
        known = label_set or self.label_sets[0]
        labels = None
        if annotations and keyframe.labels is not None:
            count = len(read_sweep(path, _FIELDS))
            ids = self._lidarseg(path, root / keyframe.labels, count)
            labels = of_first(
                known.from_raw("lidarseg", ids, keyframe.labels), len(points)
            )
        views = [_view(shot, root, scene_from_world) for shot in keyframe.images]
        return Scene(
            name=self.scan_name(path),
            points=points,
            labels=labels,
            frame_source=ViewFrames(root, tuple(views), image_size_wh=image_size_wh),
            label_set=known,
        )

    def has_labels(self, path: pathlib.Path) -> bool:
        """Tell whether there is a file of labels."""
        file = self._keyframe(path)[1].labels
        return file is not None and (_root(path) / file).is_file()

    def _lidarseg(
        self, path: pathlib.Path, file: pathlib.Path, count: int
    ) -> np.ndarray:
        """Return the lidarseg id of each point."""
        stored = read_ids(file, "u1", count)
        known = np.array(self._place(path)[0].lidarseg_ids, np.int64)
        if stored.max() >= len(known):
            raise InputError(
                f"nuscenes: labels 0..{len(known) - 1} are required, got "
                f"{stored.max()} ({file}). Take the labels of nuScenes-lidarseg."
            )
        return known[stored]

    def _tables(self, root: pathlib.Path) -> list[pathlib.Path]:
        """Return the folders of tables, those of the whole data set first."""
        found = [path for path in sorted(root.glob("v1.0-*")) if path.is_dir()]
        return sorted(found, key=lambda path: path.name not in _WHOLE)

    def _indices(self, root: pathlib.Path) -> list[Index]:
        tables = self._tables(root)
        if not tables:
            raise InputError(
                "nuscenes: tables are required, got no folder v1.0-mini, v1.0-trainval "
                f"or v1.0-test ({root}). Extract the metadata there."
            )
        return [index_of(folder, self.keep, self.memo) for folder in tables]

    def _place(self, path: pathlib.Path) -> tuple[Index, str, int]:
        """Return the index, scene and number of the keyframe of a sweep's file."""
        root = _root(path)
        file = path.relative_to(root).as_posix()
        for index in self._indices(root):
            if file in index.place_of:
                return index, *index.place_of[file]
        raise InputError(
            "nuscenes: a sweep of a keyframe, which the tables name, is required, got "
            f"another file ({path}). Take one of samples/{LIDAR}/."
        )

    def _keyframe(self, path: pathlib.Path) -> tuple[Drive, Keyframe]:
        index, scene, number = self._place(path)
        drive = index.drive(scene)
        return drive, drive.keyframes[number]


def _root(path: pathlib.Path) -> pathlib.Path:
    """Return the root of `<root>/samples/LIDAR_TOP/<file>`."""
    return path.parent.parent.parent


def _list(root: pathlib.Path, split: str) -> pathlib.Path:
    return root / "splits" / f"{split}.txt"


def _scenes_of(root: pathlib.Path, split: str) -> list[str]:
    """Return the names of a split's scenes: the user's list, or the official one."""
    if (own := _list(root, split)).exists():
        return names_in(own, "nuscenes", split)
    official = _official()
    whole = any((root / version).is_dir() for version in _WHOLE)
    name = split if whole or f"mini_{split}" not in official else f"mini_{split}"
    if name not in official:
        raise InputError(
            f"nuscenes: a split must be one of {', '.join(official)}, got {split}. "
            f"Correct the name, or list its scenes in {own}."
        )
    return [f"scene-{number:04d}" for number in official[name]]


@functools.cache
def _official() -> dict[str, list[int]]:
    file = importlib.resources.files("sas_jax") / "datasets" / "nuscenes_splits.json"
    stored = json.loads(file.read_text(encoding="utf-8"))
    return {name: numbers for name, numbers in stored.items() if name != "source"}


def _sweeps(drive: Drive, keyframe: Keyframe, window_s: float) -> list[Shot]:
    """Return the sweeps of a scan, its own first, then backwards in time."""
    own = drive.sweeps[keyframe.sweep]
    before = drive.sweeps[: keyframe.sweep][::-1]
    oldest = own.timestamp_us - 1e6 * window_s
    return [own, *(s for s in before if oldest <= s.timestamp_us < own.timestamp_us)]


def _view(
    shot: Shot, root: pathlib.Path, scene_from_world: Float64[np.ndarray, "4 4"]
) -> View:
    """Return an image, by the vehicle's pose when it was taken."""
    intrinsics = np.array(shot.intrinsics, np.float64).reshape(3, 3)
    pose = scene_from_world @ _world_from(shot)
    size_wh = shot.size_wh if min(shot.size_wh) > 0 else None
    return view(shot.channel, root / shot.file, intrinsics, pose, size_wh)


def _world_from(shot: Shot) -> Float64[np.ndarray, "4 4"]:
    """Return world_from_sensor at the moment of a shot."""
    return _pose(shot.ego, shot) @ _pose(shot.mount, shot)


def _pose(numbers: tuple[float, ...], shot: Shot) -> Float64[np.ndarray, "4 4"]:
    """Return the motion of a translation and a quaternion (w, x, y, z)."""
    values = np.array(numbers, np.float64)
    length = np.linalg.norm(values[3:])
    if not np.isfinite(values).all() or abs(length - 1) > _UNIT_TOLERANCE:
        raise InputError(
            "nuscenes: finite translations and unit quaternions are required, got "
            f"{list(numbers)} (of {shot.file}). Extract the metadata again."
        )
    return pose_of_quaternion(values[:3], values[[4, 5, 6, 3]])
