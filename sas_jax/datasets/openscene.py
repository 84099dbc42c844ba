"""The points that OpenScene prepares and publishes, with their images where these are.

    <set>_3d/{train,val,test}/<scene>_vh_clean_2.pth         ScanNet
                              <house>_region<K>.pth          Matterport3D
                              <sample>.pth                   nuScenes
    <set>_2d/<scene>/{color/<f>.jpg,depth/<f>.png,pose/<f>.txt}, intrinsics.txt
             <house>/{color,depth,pose,intrinsic}/           Matterport3D, 640 x 512
             <split>/<sample>/{color/<cam>.jpg,pose/<cam>.npy,K/<cam>.npy}

A file holds a tuple: coordinates in metres, colours in -1..1 (nuScenes: the number 0),
class indices, 255 or -100 unlabelled. Poses are camera to world with OpenCV's axes.
There are no faces: superpoints are those that SAS publishes, or are made of the points.
"""

import abc
import dataclasses
import functools
import pathlib
import re
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Float32, Int32, UInt8

from sas_jax.artefacts.stamps import Memo
from sas_jax.artefacts.torch_files import read_torch
from sas_jax.datasets.contracts import Dataset, Part
from sas_jax.datasets.matterport import cameras_of_region
from sas_jax.datasets.scannet import OFFICIAL_INTRINSICS
from sas_jax.errors import InputError
from sas_jax.scenes.camera_files import read_intrinsics, read_npy, read_pose
from sas_jax.scenes.frames import list_frames
from sas_jax.scenes.image_files import depth_file
from sas_jax.scenes.labels import IGNORE, SCANNET20, LabelSet, label_set
from sas_jax.scenes.origin import choose_origin
from sas_jax.scenes.scene import BadFrame, Scene
from sas_jax.scenes.views import Camera, View, ViewFrames

_SPLITS = ("train", "val", "test")
_UNLABELLED = -100


@dataclasses.dataclass(frozen=True)
class _OpenScene(Dataset, abc.ABC):
    """What the three have in common.

    Attributes:
      pattern: of the file of a scan; its first group is the scan's name.
    """

    pattern: ClassVar[re.Pattern[str]]

    @abc.abstractmethod
    def _views(self, path: pathlib.Path, views: pathlib.Path) -> list[View]:
        """Return the images of a scan, which lie somewhere in the folder `views`."""

    def is_root(self, root: pathlib.Path) -> bool:
        """Tell whether a split holds the file of a scan."""
        folders = [root / split for split in _SPLITS if (root / split).is_dir()]
        return any(self.is_scan(path) for f in folders for path in f.iterdir())

    def is_scan(self, path: pathlib.Path) -> bool:
        """Tell a scan by the name of its file."""
        return bool(self.pattern.fullmatch(path.name)) and path.is_file()

    def scan_name(self, path: pathlib.Path) -> str:
        """Return the name as that of features has it."""
        match = self.pattern.fullmatch(path.name)
        return match[1] if match else path.stem

    def scan_names(self, root: pathlib.Path, split: str) -> list[str]:
        """Return the names of a split's files."""
        folder = root / split
        if not folder.is_dir():
            raise InputError(
                f"{self.name}: a folder of split {split} is required, got none "
                f"({folder}). Unpack it there, or give others: --splits."
            )
        return sorted(self.scan_name(p) for p in folder.iterdir() if self.is_scan(p))

    def scan_path(self, root: pathlib.Path, name: str) -> pathlib.Path:
        """Return the file of a scan, in whichever split it lies."""
        file = self._file(name)
        places = (root / split / file for split in _SPLITS)
        return next((p for p in places if p.exists()), root / _SPLITS[0] / file)

    def _file(self, name: str) -> str:
        return f"{name}.pth"

    def files(
        self, path: pathlib.Path, part: Part, frame_stride: int, memo: Memo
    ) -> list[pathlib.Path]:
        """Return the file and, of views, what every so many-th one is read from."""
        views = self._views(path, _beside(path)) if part == "views" else []
        used = views[::frame_stride]
        return [path, *dict.fromkeys(file for view in used for file in view.files)]

    def open(
        self,
        path: pathlib.Path,
        *,
        image_size_wh: tuple[int, int] | None = None,
        label_set: LabelSet | None = None,
        annotations: bool = True,
    ) -> Scene:
        """Open a scan; see `Dataset.open`. Without images it has no frames."""
        coords, colors, labels = _content(path)
        chosen = label_set or self.label_sets[0]
        points = _points(coords, path)
        origin = choose_origin(points)
        found = _labels(labels, len(points), chosen, path) if annotations else None
        if found is not None and (found == IGNORE).all():
            found = None  # of the test split
        views = tuple(self._views(path, _beside(path)))
        frames = ViewFrames(path, views, image_size_wh=image_size_wh)
        return Scene(
            name=self.scan_name(path),
            points=(points - origin).astype(np.float32),
            colors=_colors(colors, len(points), path),
            labels=found,
            frame_source=frames.relative_to(origin),
            label_set=chosen,
            origin=origin,
        )

    def points(self, path: pathlib.Path) -> Float32[np.ndarray, "P 3"]:
        """Return the coordinates; images are not looked for."""
        points = _points(_content(path)[0], path)
        return (points - choose_origin(points)).astype(np.float32)

    def has_labels(self, path: pathlib.Path) -> bool:
        """Tell whether a point is labelled."""
        labels = np.asarray(_content(path)[2])
        return bool(((labels != IGNORE) & (labels != _UNLABELLED)).any())


@dataclasses.dataclass(frozen=True)
class OpenSceneScanNet(_OpenScene):
    """ScanNet as OpenScene prepares it; see the module."""

    name: ClassVar = "openscene_scannet"
    layout: ClassVar = "<split>/<scene>_vh_clean_2.pth"
    label_sets: ClassVar = (SCANNET20,)
    pattern: ClassVar = re.compile(r"(.+)_vh_clean_2\.pth")

    def _file(self, name: str) -> str:
        return f"{name}_vh_clean_2.pth"

    def _views(self, path: pathlib.Path, views: pathlib.Path) -> list[View]:
        known = Camera(OFFICIAL_INTRINSICS, (640, 480))
        matrix = views / "intrinsics.txt"
        scene = views / self.scan_name(path)
        if matrix.exists() and scene.is_dir():
            known = Camera(read_intrinsics(matrix))
        return [
            _depth_view(
                color, scene / "depth" / f"{name}.png", 1000.0, known, (matrix,)
            )
            for name, color in list_frames(scene / "color").items()
        ]


@dataclasses.dataclass(frozen=True)
class OpenSceneMatterport(_OpenScene):
    """Matterport3D as OpenScene prepares it; see the module.

    A region is seen by the cameras in its box, as in `datasets.matterport`.
    """

    name: ClassVar = "openscene_matterport"
    layout: ClassVar = "<split>/<house>_region<K>.pth"
    label_sets: ClassVar = tuple(
        label_set(f"matterport{count}") for count in (21, 40, 80, 160)
    )
    pattern: ClassVar = re.compile(r"(.+_region\d+)\.pth")

    def _views(self, path: pathlib.Path, views: pathlib.Path) -> list[View]:
        house = views / self.scan_name(path).rpartition("_region")[0]
        centres, names = [], []
        for name, color in list_frames(house / "color").items():
            try:
                centres.append(read_pose(house / "pose" / f"{name}.txt")[:3, 3])
            except BadFrame:
                continue  # nothing tells which region it sees
            names.append((name, color))
        if not names:
            return []
        points = _points(_content(path)[0], path)
        return [
            self._view(house, *names[i])
            for i in cameras_of_region(points, np.array(centres))
        ]

    def _view(self, house: pathlib.Path, name: str, color: pathlib.Path) -> View:
        matrix = house / "intrinsic" / f"{name}.txt"
        camera = Camera(read_intrinsics(matrix), (640, 512))
        # Of <uuid>_i<camera>_<yaw> the depth image is <uuid>_d<camera>_<yaw>.
        depth = house / "depth" / f"{re.sub(r'_i(?=[^_]*_[^_]*$)', '_d', name)}.png"
        return _depth_view(color, depth, 4000.0, camera, (matrix,))


@dataclasses.dataclass(frozen=True)
class OpenSceneNuScenes(_OpenScene):
    """nuScenes as OpenScene prepares it: 800 x 450, no depth; see the module."""

    name: ClassVar = "openscene_nuscenes"
    layout: ClassVar = "<split>/<sample>.pth"
    label_sets: ClassVar = (label_set("nuscenes16"),)
    # A scan of neither of the other two.
    pattern: ClassVar = re.compile(r"((?!.*(?:_vh_clean_2|_region\d+)\.pth).+)\.pth")

    def _views(self, path: pathlib.Path, views: pathlib.Path) -> list[View]:
        sample = views / path.parent.name / path.stem
        found = []
        for name, color in list_frames(sample / "color").items():
            pose, matrix = (sample / part / f"{name}.npy" for part in ("pose", "K"))
            intrinsics = read_npy(matrix, "intrinsics")
            if intrinsics.shape not in ((3, 3), (4, 4)):
                raise InputError(
                    "intrinsics: a 3x3 or 4x4 matrix is required, got "
                    f"{list(intrinsics.shape)} ({matrix}). Export it again."
                )
            found.append(
                View(
                    name=name,
                    pose=functools.partial(_read_pose_npy, pose),
                    camera=Camera(intrinsics[:3, :3], (800, 450)),
                    color=color,
                    files=(color, pose, matrix),
                )
            )
        return found


def _depth_view(
    color: pathlib.Path,
    depth: pathlib.Path,
    units_per_m: float,
    camera: Camera,
    more: tuple[pathlib.Path, ...],
) -> View:
    pose = color.parent.parent / "pose" / f"{color.stem}.txt"
    return View(
        name=color.stem,
        pose=functools.partial(read_pose, pose),
        camera=camera,
        color=color,
        depth=depth_file(depth, units_per_m),
        files=(color, depth, pose, *more),
    )


def _read_pose_npy(path: pathlib.Path) -> Float[np.ndarray, "..."]:
    try:
        return read_npy(path, "pose")
    except InputError as error:
        raise BadFrame("invalid pose", str(error)) from error


def _beside(path: pathlib.Path) -> pathlib.Path:
    """Return the folder of the images: `matterport_2d` of `matterport_3d_160`."""
    root = path.parent.parent
    return root.with_name(re.sub(r"_3d.*", "", root.name) + "_2d")


def _content(path: pathlib.Path) -> tuple[Any, Any, Any]:
    content = read_torch(path)
    if not isinstance(content, (tuple, list)) or len(content) != 3:
        raise _wrong("coordinates, colours and labels", content, path)
    return content[0], content[1], content[2]


def _points(coords: Any, path: pathlib.Path) -> Float[np.ndarray, "P 3"]:
    sound = isinstance(coords, np.ndarray) and coords.dtype.kind == "f"
    if not sound or coords.ndim != 2 or coords.shape[1] != 3 or not len(coords):
        raise _wrong("coordinates [P, 3] in metres", coords, path)
    if not np.isfinite(coords).all():
        raise _wrong("finite coordinates", "some that are not", path)
    return coords


def _colors(
    colors: Any, count: int, path: pathlib.Path
) -> UInt8[np.ndarray, "P 3"] | None:
    if np.isscalar(colors) and colors == 0:
        return None
    sound = isinstance(colors, np.ndarray) and colors.dtype.kind == "f"
    if not sound or colors.shape != (count, 3) or not (np.abs(colors) <= 1.001).all():
        raise _wrong(f"colours [{count}, 3] in -1..1, or 0", colors, path)
    return np.clip(np.rint((colors + 1) * 127.5), 0, 255).astype(np.uint8)


def _labels(
    labels: Any, count: int, chosen: LabelSet, path: pathlib.Path
) -> Int32[np.ndarray, " P"]:
    sound = isinstance(labels, np.ndarray) and labels.dtype.kind in "iuf"
    if not sound or labels.shape != (count,):
        raise _wrong(f"a label for each of {count} points", labels, path)
    labels = np.where(labels == _UNLABELLED, IGNORE, labels)
    last = len(chosen.classes.names) - 1
    known = (labels == IGNORE) | ((labels >= 0) & (labels <= last))
    known &= labels == np.rint(labels)
    if not known.all():
        wanted = f"class indices 0..{last} of {chosen.classes.name}, or {IGNORE}"
        raise _wrong(wanted, f"{labels[~known][0]}", path)
    return labels.astype(np.int32)


def _wrong(wanted: str, got: Any, path: pathlib.Path) -> InputError:
    if isinstance(got, np.ndarray):
        got = f"{list(got.shape)} of {got.dtype}"
    elif not isinstance(got, str):
        got = type(got).__name__
    return InputError(
        f"openscene: {wanted} are required, got {got} ({path}). Is it a file of "
        "points, and of this label set (--label_set)?"
    )
