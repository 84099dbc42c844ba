"""Matterport3D: regions of houses, each a scan.

    <root>/<house>/region_segmentations/region<K>.ply       mesh; categories on faces
                   undistorted_camera_parameters/<house>.conf
                   undistorted_color_images/<uuid>_i<camera>_<yaw>.jpg
                   undistorted_depth_images/<uuid>_d<camera>_<yaw>.png  0.25 mm
    <root>/splits/{train,val,test}.txt                      houses; optional

`<root>` may also be what the download makes: `v1/scans/` in it, and the folder of the
house once more in `<house>`. Without lists the splits are the official ones. A region
is seen by the cameras that stand in its bounding box; without any, by the 100 nearest.
A vertex is of the category that most corners of faces at it have; unlabelled ones vote
too, and win a draw, as then do the first classes (OpenScene).

The data set says that its images have their origin at the bottom left. As OpenScene and
SAS do, the centre cy is taken from the top: it lies within some ten pixels of the
middle.
"""

import dataclasses
import pathlib
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Float32, Int, Int32

from sas_jax.artefacts.stamps import Memo
from sas_jax.datasets.contracts import Dataset, Part
from sas_jax.datasets.face_votes import most_at_vertex
from sas_jax.datasets.scan_files import names_of_split
from sas_jax.errors import InputError
from sas_jax.scenes.image_files import depth_file
from sas_jax.scenes.labels import IGNORE, LabelSet, label_set
from sas_jax.scenes.mesh import Mesh, scene_of_mesh
from sas_jax.scenes.ply import read_ply
from sas_jax.scenes.scene import Scene
from sas_jax.scenes.views import Camera, View, ViewFrames

_UNITS_PER_M = 4000.0
_SIZE_WH = (1280, 1024)
_NEAREST = 100
_CATEGORY = ("category_id", "face_category")


@dataclasses.dataclass(frozen=True)
class Matterport(Dataset):
    """Regions of Matterport3D; see the module."""

    name: ClassVar = "matterport"
    layout: ClassVar = (
        "<house>/ with region_segmentations/, undistorted_camera_parameters/, "
        "undistorted_color_images/, undistorted_depth_images/; splits/<split>.txt"
    )
    needs: ClassVar = (
        *("region_segmentations/*.ply", "undistorted_camera_parameters/*.conf"),
        *("undistorted_color_images/*", "undistorted_depth_images/*"),
    )
    label_sets: ClassVar = tuple(
        label_set(f"matterport{count}") for count in (21, 40, 80, 160)
    )

    def is_root(self, root: pathlib.Path) -> bool:
        """Tell whether a folder inside is a house."""
        return bool(_houses(root))

    def is_scan(self, path: pathlib.Path) -> bool:
        """Tell whether a file is the mesh of a region."""
        return (
            path.suffix == ".ply"
            and path.parent.name == "region_segmentations"
            and path.is_file()
        )

    def scan_name(self, path: pathlib.Path) -> str:
        """Return `<house>_region<K>`."""
        return f"{path.parent.parent.name}_{path.stem}"

    def scan_names(self, root: pathlib.Path, split: str) -> list[str]:
        """Return the regions of a split's houses; see `scan_files.names_of_split`."""
        houses = _houses(root)
        names = names_of_split(root, split, houses, self.name)
        return [
            self.scan_name(path)
            for name in names
            for path in sorted(
                houses[name].glob("region_segmentations/region*.ply"),
                key=lambda path: (len(path.stem), path.stem),
            )
        ]

    def scan_path(self, root: pathlib.Path, name: str) -> pathlib.Path:
        """Return the mesh of a region."""
        house, _, region = name.rpartition("_")
        folder = _houses(root).get(house, root / house)
        return folder / "region_segmentations" / f"{region}.ply"

    def files(
        self, path: pathlib.Path, part: Part, frame_stride: int, memo: Memo
    ) -> list[pathlib.Path]:
        """Return the mesh and, of views, the cameras and the images that see it."""
        files = [path]
        if part == "views":
            files.append(_conf_path(path))
            files += self._frames(path, read_ply(path)).every(frame_stride).all_files
        return files

    def open(
        self,
        path: pathlib.Path,
        *,
        image_size_wh: tuple[int, int] | None = None,
        label_set: LabelSet | None = None,
        annotations: bool = True,
    ) -> Scene:
        """Open a region; see `Dataset.open`."""
        mesh = read_ply(path, face_label=_CATEGORY if annotations else ())
        chosen = label_set or self.label_sets[0]
        frames = self._frames(path, mesh).relative_to(mesh.origin)
        return scene_of_mesh(
            mesh,
            self.scan_name(path),
            labels=_voted(mesh, chosen, path) if annotations else None,
            frame_source=dataclasses.replace(frames, image_size_wh=image_size_wh),
            label_set=chosen,
        )

    def points(self, path: pathlib.Path) -> Float32[np.ndarray, "P 3"]:
        """Return the vertices of the mesh."""
        return read_ply(path).points

    def has_labels(self, path: pathlib.Path) -> bool:
        """Tell that every region has them."""
        return True

    def _frames(self, path: pathlib.Path, mesh: Mesh) -> ViewFrames:
        """Return the views that belong to a region, in the order of the file."""
        folder, conf = path.parent.parent, _conf_path(path)
        views, centres = _views(folder, conf)
        inside = cameras_of_region(mesh.points, centres - mesh.origin)
        return ViewFrames(
            folder,
            tuple(views[i] for i in inside),
            convention="opengl",
            depth_scale=_UNITS_PER_M,
        )


def cameras_of_region(
    points: Float[np.ndarray, "P 3"], centres: Float[np.ndarray, "V 3"]
) -> Int[np.ndarray, " v"]:
    """Return which cameras see a region: those in its box, or the nearest; ascending.

    Args:
      points: of the region, P >= 1.
      centres: where the cameras of the house stand.

    Source: OpenScene, get_matterport_camera_data, which takes the nearest ones in the
    test split only.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    inside = np.flatnonzero(((centres >= low) & (centres <= high)).all(axis=1))
    if len(inside):
        return inside
    away = np.linalg.norm(centres - (low + high) / 2, axis=1)
    return np.sort(np.argsort(away, kind="stable")[:_NEAREST])


def _houses(root: pathlib.Path) -> dict[str, pathlib.Path]:
    """Return house -> the folder that has its parts."""
    for place in (root, root / "scans", root / "v1" / "scans"):
        folders = sorted(place.iterdir()) if place.is_dir() else []
        found = {
            folder.name: part
            for folder in folders
            for part in (folder, folder / folder.name)
            if (part / "region_segmentations").is_dir()
        }
        if found:
            return found
    return {}


def _conf_path(path: pathlib.Path) -> pathlib.Path:
    folder = path.parent.parent
    return folder / "undistorted_camera_parameters" / f"{folder.name}.conf"


def _views(
    folder: pathlib.Path, conf: pathlib.Path
) -> tuple[list[View], Float[np.ndarray, "V 3"]]:
    """Read the cameras of a house, and where they stand.

    A line `intrinsics_matrix` with nine numbers is for the `scan` lines below it: depth
    image, colour image, and 16 numbers, world_from_camera with OpenGL's axes.
    """
    try:
        lines = conf.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"matterport: the cameras of the house are required, got {error} ({conf}). "
            "Download undistorted_camera_parameters."
        ) from error
    views: list[View] = []
    centres = []
    camera = None
    for number, line in enumerate(lines, 1):
        words = line.split()
        if words[:1] == ["intrinsics_matrix"]:
            matrix = _numbers(words[1:], 9, conf, number).reshape(3, 3)
            camera = Camera(matrix, _SIZE_WH)
        elif words[:1] == ["scan"]:
            pose = _numbers(words[3:], 16, conf, number).reshape(4, 4)
            if camera is None:
                raise InputError(
                    "matterport: intrinsics_matrix before the first scan is required, "
                    f"got none ({conf}, line {number}). Download the file again."
                )
            views.append(_view(folder, words[1], words[2], pose, camera))
            centres.append(pose[:3, 3])
    if not views:
        raise InputError(
            f"matterport: lines of scans are required, got none ({conf}). Download the "
            "file again."
        )
    return views, np.array(centres)


def _view(
    folder: pathlib.Path,
    depth_name: str,
    color_name: str,
    pose: Float[np.ndarray, "4 4"],
    camera: Camera,
) -> View:
    # Names stand for files of these folders, wherever they claim to lie.
    color = folder / "undistorted_color_images" / pathlib.PurePath(color_name).name
    depth = folder / "undistorted_depth_images" / pathlib.PurePath(depth_name).name
    return View(
        name=color.stem,
        pose=pose,
        camera=camera,
        color=color,
        depth=depth_file(depth, _UNITS_PER_M),
        files=(color, depth),
    )


def _numbers(
    words: list[str], count: int, conf: pathlib.Path, line: int
) -> Float[np.ndarray, " N"]:
    try:
        values = np.array([float(word) for word in words])
    except ValueError:
        values = np.zeros(0)
    if len(values) != count:
        raise InputError(
            f"matterport: {count} numbers are required, got {' '.join(words)[:60]} "
            f"({conf}, line {line}). Download the file again."
        )
    return values


def _voted(mesh: Mesh, chosen: LabelSet, path: pathlib.Path) -> Int32[np.ndarray, " P"]:
    """Return the class of each vertex by the votes of the faces at it."""
    labels = np.full(len(mesh.points), IGNORE, np.int32)
    if mesh.faces is None or mesh.face_label is None:
        return labels
    category = np.where(mesh.face_label == -1, 0, mesh.face_label)
    classes = chosen.from_raw("matterport", category, path)
    # Bin 0 is unlabelled.
    bins = np.where(classes == IGNORE, 0, classes + 1)
    winner = most_at_vertex(mesh.faces, bins, len(mesh.points))
    return np.where(winner == 0, IGNORE, winner - 1).astype(np.int32)
