"""ScanNet++: laser-scanned meshes with an iPhone's and a camera's images.

    <root>/data/<scene>/scans/mesh_aligned_0.05.ply          mesh: the points
                        scans/segments.json segments_anno.json    objects of vertices
                        iphone/rgb/frame_*.jpg depth/frame_*.png (mm) colmap/
                        dslr/resized_images/ colmap/
    <root>/metadata/semantic_benchmark/map_benchmark.csv     optional: names to classes
    <root>/splits/nvs_sem_{train,val}.txt                    or {train,val}.txt

Images are those that the toolkit extracts from the recordings. The fisheye images of
the camera have no depth: it is rendered from the mesh. Where objects lie in each other,
a vertex is of the smaller one, as in the toolkit; the benchmark scores every label that
a vertex has, which is not done here.
"""

import csv
import dataclasses
import functools
import json
import pathlib
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from jaxtyping import Float32, Int32

from sas_jax.artefacts.stamps import Memo
from sas_jax.checks import one_of
from sas_jax.datasets.colmap_model import model_file, read_images
from sas_jax.datasets.contracts import Dataset, Part
from sas_jax.datasets.scan_files import names_of_split
from sas_jax.errors import InputError
from sas_jax.scenes.frames import natural_key
from sas_jax.scenes.image_files import depth_file
from sas_jax.scenes.labels import IGNORE, LabelSet, label_set
from sas_jax.scenes.mesh import scene_of_mesh
from sas_jax.scenes.ply import read_ply
from sas_jax.scenes.rendered_depth import WithRenderedDepth, surface_of_mesh
from sas_jax.scenes.scene import FrameSource, Scene
from sas_jax.scenes.views import View, ViewFrames

Sensor = Literal["iphone", "dslr"]
_IMAGES = {"iphone": "rgb", "dslr": "resized_images"}
_MAP = pathlib.PurePath("metadata", "semantic_benchmark", "map_benchmark.csv")
_UNITS_PER_M = 1000.0


@dataclasses.dataclass(frozen=True)
class ScanNetPP(Dataset):
    """Scenes of ScanNet++; see the module.

    Attributes:
      sensor: whose images are the frames: "iphone", with depth, or "dslr".
    """

    sensor: Sensor = "iphone"

    name: ClassVar = "scannetpp"
    layout: ClassVar = (
        "data/<scene>/ with scans/mesh_aligned_0.05.ply, iphone/ or dslr/ and colmap/ "
        "in it; splits/nvs_sem_<split>.txt"
    )
    needs: ClassVar = ("scans/mesh_aligned_0.05.ply",)
    label_sets: ClassVar = (label_set("scannetpp100"),)

    def __post_init__(self) -> None:
        one_of("scannetpp", "sensor", self.sensor, get_args(Sensor))

    def is_root(self, root: pathlib.Path) -> bool:
        """Tell whether one of the folders in `data` is a scan."""
        data = root / "data"
        return data.is_dir() and any(self.is_scan(path) for path in data.iterdir())

    def is_scan(self, path: pathlib.Path) -> bool:
        """Tell whether there is a mesh."""
        return _mesh_path(path).is_file()

    def scan_names(self, root: pathlib.Path, split: str) -> list[str]:
        """Return the names of a split; see `scan_files.names_of_split`."""
        data = root / "data"
        present = [path.name for path in data.iterdir() if self.is_scan(path)]
        published = f"nvs_sem_{split}"
        if (root / "splits" / f"{published}.txt").is_file():
            split = published
        return names_of_split(root, split, present, self.name)

    def scan_path(self, root: pathlib.Path, name: str) -> pathlib.Path:
        """Return the folder of a scan."""
        return root / "data" / name

    def files(
        self, path: pathlib.Path, part: Part, frame_stride: int, memo: Memo
    ) -> list[pathlib.Path]:
        """Return what a part is read from; see `Dataset.files`."""
        files = [_mesh_path(path)]
        if part == "labels":
            files += [*_object_paths(path), path.parent.parent / _MAP]
        if part == "views":
            model = path / self.sensor / "colmap"
            parts = (model_file(model, p) for p in ("cameras", "images"))
            files += [file for file in parts if file is not None]
            files += self._frames(path).every(frame_stride).all_files
        return files

    def open(
        self,
        path: pathlib.Path,
        *,
        image_size_wh: tuple[int, int] | None = None,
        label_set: LabelSet | None = None,
        annotations: bool = True,
    ) -> Scene:
        """Open a scene; see `Dataset.open`."""
        mesh = read_ply(_mesh_path(path))
        chosen = label_set or self.label_sets[0]
        labels = instances = None
        if annotations and self.has_labels(path):
            labels, instances = _labels(path, len(mesh.points), chosen)
        frames = self._frames(path).relative_to(mesh.origin)
        source: FrameSource = dataclasses.replace(
            frames, image_size_wh=image_size_wh, upright=True
        )
        if not frames.has_depth and mesh.faces is not None:
            surface = functools.partial(surface_of_mesh, mesh.points, mesh.faces)
            source = WithRenderedDepth(source, mesh.points, surface)
        return scene_of_mesh(
            mesh,
            path.name,
            labels=labels,
            instances=instances,
            frame_source=source,
            label_set=chosen,
        )

    def points(self, path: pathlib.Path) -> Float32[np.ndarray, "P 3"]:
        """Return the vertices of the mesh."""
        return read_ply(_mesh_path(path)).points

    def has_labels(self, path: pathlib.Path) -> bool:
        """Tell whether both files of the objects are there."""
        return all(file.is_file() for file in _object_paths(path))

    def _frames(self, path: pathlib.Path) -> ViewFrames:
        """Return the registered images of the sensor; none without its model."""
        folder = path / self.sensor
        if model_file(folder / "colmap", "images") is None:
            return ViewFrames(folder, ())
        images = sorted(
            read_images(folder / "colmap").values(), key=lambda i: natural_key(i.name)
        )
        views = []
        for image in images:
            color = folder / _IMAGES[self.sensor] / pathlib.PurePath(image.name).name
            view = View(color.stem, image.pose, image.camera, color, files=(color,))
            if self.sensor == "iphone":
                depth = folder / "depth" / f"{color.stem}.png"
                view = dataclasses.replace(
                    view, depth=depth_file(depth, _UNITS_PER_M), files=(color, depth)
                )
            views.append(view)
        return ViewFrames(
            folder, tuple(views), convention="inverse", depth_scale=_UNITS_PER_M
        )


def _mesh_path(path: pathlib.Path) -> pathlib.Path:
    return path / "scans" / "mesh_aligned_0.05.ply"


def _object_paths(path: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    return path / "scans" / "segments.json", path / "scans" / "segments_anno.json"


def _labels(
    path: pathlib.Path, num_points: int, chosen: LabelSet
) -> tuple[Int32[np.ndarray, " P"], Int32[np.ndarray, " P"]]:
    """Return class and object of each vertex."""
    segments_path, objects_path = _object_paths(path)
    segments = np.asarray(_json(segments_path, "segIndices"))
    if segments.shape != (num_points,) or segments.dtype.kind not in "iu":
        raise InputError(
            f"scannetpp: one integer segment per mesh vertex ({num_points}) is "
            f"required, got {list(segments.shape)} of {segments.dtype} "
            f"({segments_path}). Download the scene's files again."
        )
    renamed = _class_names(path.parent.parent / _MAP)
    index = {name: i for i, name in enumerate(chosen.classes.names)}
    labels = np.full(num_points, IGNORE, np.int32)
    instances = np.full(num_points, -1, np.int32)
    try:
        found = [
            (np.isin(segments, o["segments"]), str(o["label"]), int(o["objectId"]))
            for o in _json(objects_path, "segGroups")
        ]
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"scannetpp: objects with segments, label and objectId are required, got "
            f"{error!r} ({objects_path}). Download the scene's files again."
        ) from error
    # Smaller objects are written last.
    for at, name, number in sorted(found, key=lambda each: -int(each[0].sum())):
        labels[at] = index.get(renamed.get(name, name) or "", IGNORE)
        instances[at] = number
    return labels, instances


def _class_names(path: pathlib.Path) -> dict[str, str | None]:
    """Return the class of names that annotators wrote, None for names of no class."""
    if not path.is_file():
        return {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        to = {row["class"]: row["semantic_map_to"] for row in rows}
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise InputError(
            "scannetpp: columns class and semantic_map_to are required, got "
            f"{error!r} ({path}). Download the file again."
        ) from error
    return {
        name: None if target == "None" else target or name
        for name, target in to.items()
    }


def _json(path: pathlib.Path, field: str) -> Any:
    try:
        return json.loads(path.read_bytes())[field]
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise InputError(
            f"scannetpp: a JSON object with {field} is required, got {error!r} "
            f"({path}). Download the scene's files again."
        ) from error
