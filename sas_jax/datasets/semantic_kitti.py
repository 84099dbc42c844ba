"""SemanticKITTI: the odometry benchmark of KITTI with a label for each point.

    <root>/sequences/08/velodyne/000000.bin    f32 x, y, z, remission
                        labels/000000.label    u32: class below, object above 16 bits
                        image_2/000000.png     left colour camera, where downloaded
                        calib.txt  poses.txt

A scan is a sweep, `08_000000`, in the frame of the LiDAR (z up, metres). Its one frame
is the image of that moment, without depth: a point in front of the camera and inside
the image is seen. Earlier sweeps are taken only if asked for; their points, moved by
`poses.txt`, have no labels.
"""

import dataclasses
import pathlib
from typing import ClassVar

import numpy as np
from jaxtyping import Float64, Int32

from sas_jax.artefacts.stamps import Memo
from sas_jax.checks import in_range
from sas_jax.classes import per_class
from sas_jax.datasets.contracts import Dataset, Part
from sas_jax.datasets.lidar import (
    Sweep,
    merged,
    of_first,
    read_ids,
    read_sweep,
    view,
)
from sas_jax.errors import InputError
from sas_jax.scenes.camera_files import read_matrix, rigid_fault
from sas_jax.scenes.labels import LabelSet, label_set
from sas_jax.scenes.origin import moved_by
from sas_jax.scenes.poses import inverse
from sas_jax.scenes.scene import Scene
from sas_jax.scenes.views import View, ViewFrames

_FIELDS = 4  # x, y, z, remission
_SWEEPS_PER_S = 10
_SPLITS = {
    "train": (*range(8), 9, 10),
    "val": (8,),
    "test": tuple(range(11, 22)),
}
_UNLABELLED = (0, 1, 52, 99)  # nothing, outlier, other structure, other object


@dataclasses.dataclass(frozen=True)
class SemanticKitti(Dataset):
    """SemanticKITTI; see the module.

    Attributes:
      sweep_window_s: sweeps at most so much older than a scan's own are part of it,
        seconds; 0 takes none.
    """

    sweep_window_s: float = 0.0

    name: ClassVar = "semantic_kitti"
    layout: ClassVar = (
        "sequences/NN/ with velodyne/*.bin, labels/*.label, image_2/, calib.txt and "
        "poses.txt"
    )
    needs: ClassVar = ("velodyne/*.bin", "labels/*.label", "calib.txt", "poses.txt")
    label_sets: ClassVar = (label_set("semantickitti19"),)

    def __post_init__(self) -> None:
        in_range("semantic_kitti", "sweep_window_s", self.sweep_window_s, 0, 10)

    def is_root(self, root: pathlib.Path) -> bool:
        """Tell whether a sequence has sweeps."""
        return any((root / "sequences").glob("*/velodyne"))

    def is_scan(self, path: pathlib.Path) -> bool:
        """Tell whether a file is a sweep."""
        return path.suffix == ".bin" and path.parent.name == "velodyne"

    def scan_name(self, path: pathlib.Path) -> str:
        """Return sequence and number."""
        return f"{_sequence(path).name}_{path.stem}"

    def scan_names(self, root: pathlib.Path, split: str) -> list[str]:
        """Return the sweeps of a split's sequences, in order; see `Dataset`."""
        if split not in _SPLITS:
            raise InputError(
                f"semantic_kitti: a split must be one of {', '.join(_SPLITS)}, got "
                f"{split}. Correct the name."
            )
        names = []
        for number in _SPLITS[split]:
            folder = root / "sequences" / f"{number:02d}" / "velodyne"
            found = sorted(path.stem for path in folder.glob("*.bin"))
            if not found:
                raise InputError(
                    f"semantic_kitti: sweeps of every sequence of split {split} are "
                    f"required, got none ({folder}). Extract it, or name scans: "
                    "--scenes=08_000000,..."
                )
            names += [f"{number:02d}_{stem}" for stem in found]
        return names

    def scan_path(self, root: pathlib.Path, name: str) -> pathlib.Path:
        """Return the file of a sweep."""
        sequence, _, stem = name.partition("_")
        return root / "sequences" / sequence / "velodyne" / f"{stem}.bin"

    def files(
        self, path: pathlib.Path, part: Part, frame_stride: int, memo: Memo
    ) -> list[pathlib.Path]:
        """Return sweeps, and labels or the image; see `Dataset.files`."""
        files = self._sweep_files(path)
        if part == "labels":
            files.append(_labels(path))
        if part == "views":
            files.append(_image(path))
        if part == "views" or self.sweep_window_s:
            files += [_sequence(path) / name for name in ("calib.txt", "poses.txt")]
        return files

    def open(
        self,
        path: pathlib.Path,
        *,
        image_size_wh: tuple[int, int] | None = None,
        label_set: LabelSet | None = None,
        annotations: bool = True,
    ) -> Scene:
        """Open a sweep; see `Dataset.open`.

        Args:
          path: of the sweep.
          image_size_wh: size of the frame; the image is resized by the mean of pixels.
          label_set: for `semantickitti19` alone.
          annotations: read the labels.

        Raises:
          InputError: for missing or damaged files, labels of no known id, and poses
            that are no rigid motions.
        """
        points = merged(self._sweeps(path), _FIELDS)
        known = label_set or self.label_sets[0]
        labels = None
        if annotations and self.has_labels(path):
            count = len(read_sweep(path, _FIELDS))
            labels = of_first(_read_labels(_labels(path), count, known), len(points))
        views = (_view(path),) if _image(path).exists() else ()
        return Scene(
            name=self.scan_name(path),
            points=points,
            labels=labels,
            frame_source=ViewFrames(
                _sequence(path), views, image_size_wh=image_size_wh
            ),
            label_set=known,
        )

    def has_labels(self, path: pathlib.Path) -> bool:
        """Tell whether there is a file of labels; sequences 11 to 21 have none."""
        return _labels(path).is_file()

    def _sweep_files(self, path: pathlib.Path) -> list[pathlib.Path]:
        """Return the files of a scan's sweeps, its own first, then back in time."""
        if not self.sweep_window_s:
            return [path]
        last = _number(path)
        count = int(self.sweep_window_s * _SWEEPS_PER_S + 1e-9)
        numbers = range(last, max(last - count, 0) - 1, -1)
        return [path.with_name(f"{number:06d}.bin") for number in numbers]

    def _sweeps(self, path: pathlib.Path) -> list[Sweep]:
        files = self._sweep_files(path)
        if len(files) == 1:
            return [Sweep(path, np.eye(4))]
        camera_from_sensor = _calibration(path)["Tr"]
        poses = _poses(_sequence(path) / "poses.txt", list(map(_number, files)))
        sensor_from_world = inverse(poses[_number(path)] @ camera_from_sensor)
        return [
            Sweep(file, sensor_from_world @ poses[_number(file)] @ camera_from_sensor)
            for file in files
        ]


def _sequence(path: pathlib.Path) -> pathlib.Path:
    return path.parent.parent


def _labels(path: pathlib.Path) -> pathlib.Path:
    return _sequence(path) / "labels" / f"{path.stem}.label"


def _image(path: pathlib.Path) -> pathlib.Path:
    return _sequence(path) / "image_2" / f"{path.stem}.png"


def _number(path: pathlib.Path) -> int:
    if not path.stem.isdecimal():
        raise InputError(
            "semantic_kitti: sweeps are called by their numbers, got another name "
            f"({path}). Name them as KITTI does, 000000.bin."
        )
    return int(path.stem)


def _read_labels(
    path: pathlib.Path, num_points: int, known: LabelSet
) -> Int32[np.ndarray, " P"]:
    ids = (read_ids(path, "<u4", num_points) & 0xFFFF).astype(np.int64)
    of_classes = SemanticKitti.label_sets[0].classes.name
    listed = [i for ids in per_class(of_classes, "semantickitti_ids") for i in ids]
    strange = np.setdiff1d(ids, [*listed, *_UNLABELLED])
    if len(strange):
        raise InputError(
            "semantic_kitti: labels of SemanticKITTI's list are required, got id "
            f"{strange[0]} ({path}). Take labels and sweeps of the same release."
        )
    return known.from_raw("semantickitti", ids, path)


def _view(path: pathlib.Path) -> View:
    """Return the image of the left colour camera, in the frame of the LiDAR."""
    calibration = _calibration(path)
    intrinsics = calibration["P2"][:3, :3]
    found = view("image_2", _image(path), intrinsics, np.eye(4))
    # P2 = K [I | t]: the camera stands at -t beside camera 0.
    offset = np.linalg.solve(intrinsics, calibration["P2"][:3, 3])
    pose = inverse(moved_by(offset) @ calibration["Tr"])
    return dataclasses.replace(found, pose=pose)


def _calibration(path: pathlib.Path) -> dict[str, Float64[np.ndarray, "4 4"]]:
    """Return P2 and Tr, with a last row 0 0 0 1."""
    file = _sequence(path) / "calib.txt"
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
        entries = dict(line.split(":", 1) for line in lines if ":" in line)
        numbers = {name: entries[name].split() for name in ("P2", "Tr")}
        found = {
            name: np.vstack([np.array(row, np.float64).reshape(3, 4), np.eye(4)[3]])
            for name, row in numbers.items()
        }
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            "semantic_kitti: lines `P2:` and `Tr:` of twelve numbers are required, got "
            f"{error!r} ({file}). Extract the calibration of the odometry benchmark."
        ) from error
    if fault := rigid_fault(found["Tr"]):
        raise InputError(
            f"semantic_kitti: Tr must be a rigid motion, got {fault} ({file}). Extract "
            "the calibration of the odometry benchmark."
        )
    return found


def _poses(
    path: pathlib.Path, numbers: list[int]
) -> dict[int, Float64[np.ndarray, "4 4"]]:
    """Return the poses of camera 0 at some sweeps, by their numbers."""
    rows = read_matrix(path, "poses")
    if rows.ndim != 2 or rows.shape[1] != 12 or len(rows) <= max(numbers):
        raise InputError(
            f"semantic_kitti: a line of twelve numbers for each of {max(numbers) + 1} "
            f"sweeps is required, got {list(rows.shape)} ({path}). Take the poses of "
            "this sequence, or --sweep_window_s=0."
        )
    poses = {n: np.vstack([rows[n].reshape(3, 4), np.eye(4)[3]]) for n in numbers}
    for number, pose in poses.items():
        if fault := rigid_fault(pose):
            raise InputError(
                f"semantic_kitti: poses must be rigid motions, got {fault} in line "
                f"{number + 1} ({path}). Take the poses of SemanticKITTI."
            )
    return poses
