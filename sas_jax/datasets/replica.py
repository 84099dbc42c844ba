"""Replica: reconstructed rooms with semantic meshes.

    <root>/<scene>/habitat/mesh_semantic.ply      mesh: the points; object_id of faces
                   habitat/info_semantic.json     class of each object
    <root>/<scene>/{results/,traj.txt}, or those of <root>/<scene without _>/
                                                  optional: NICE-SLAM's renderings
    <root>/splits/<split>.txt                     optional; without, every split is all

A vertex is of the object that most corners of faces at it have. Both worlds have z up.
"""

import dataclasses
import json
import pathlib
from typing import ClassVar

import numpy as np
from jaxtyping import Float32, Int32

from sas_jax.artefacts.stamps import Memo
from sas_jax.datasets.contracts import Dataset, Part
from sas_jax.datasets.face_votes import most_at_vertex
from sas_jax.datasets.nice_slam import NiceSlam
from sas_jax.datasets.scan_files import names_of_split
from sas_jax.errors import InputError
from sas_jax.scenes.labels import IGNORE, LabelSet, label_set
from sas_jax.scenes.mesh import scene_of_mesh
from sas_jax.scenes.ply import read_ply
from sas_jax.scenes.scene import FrameSource, NoFrames, Scene

_OBJECT = ("object_id",)
_MOST_OBJECTS = 1 << 20


@dataclasses.dataclass(frozen=True)
class Replica(Dataset):
    """Scenes of Replica; see the module."""

    name: ClassVar = "replica"
    layout: ClassVar = (
        "<scene>/ with habitat/mesh_semantic.ply and habitat/info_semantic.json"
    )
    needs: ClassVar = ("habitat/mesh_semantic.ply", "habitat/info_semantic.json")
    label_sets: ClassVar = (label_set("replica51"),)

    def is_root(self, root: pathlib.Path) -> bool:
        """Tell whether a folder inside is a scan."""
        return root.is_dir() and any(self.is_scan(path) for path in root.iterdir())

    def is_scan(self, path: pathlib.Path) -> bool:
        """Tell whether there is a semantic mesh."""
        return _mesh_path(path).is_file()

    def scan_names(self, root: pathlib.Path, split: str) -> list[str]:
        """Return the names of a split, of all scans where there are no splits."""
        present = sorted(path.name for path in root.iterdir() if self.is_scan(path))
        if (root / "splits").is_dir():
            return names_of_split(root, split, present, self.name)
        return present

    def scan_path(self, root: pathlib.Path, name: str) -> pathlib.Path:
        """Return the folder of a scan."""
        return root / name

    def files(
        self, path: pathlib.Path, part: Part, frame_stride: int, memo: Memo
    ) -> list[pathlib.Path]:
        """Return what a part is read from; see `Dataset.files`."""
        files = [_mesh_path(path)]
        if part == "labels":
            files.append(_info_path(path))
        if part == "views" and (rendered := _rendered(path)) is not None:
            capture = NiceSlam().capture(rendered)
            files += [*capture.index, *capture.frames.every(frame_stride).all_files]
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
        mesh = read_ply(_mesh_path(path), face_label=_OBJECT)
        chosen = label_set or self.label_sets[0]
        labels = instances = None
        if annotations and mesh.faces is not None and mesh.face_label is not None:
            # 0 stands for no face; objects are counted from 1.
            of_face = np.clip(mesh.face_label, -1, _MOST_OBJECTS) + 1
            instances = most_at_vertex(mesh.faces, of_face, len(mesh.points)) - 1
            labels = _classes(_info_path(path), instances, chosen)
        source: FrameSource = NoFrames()
        if (rendered := _rendered(path)) is not None:
            frames = NiceSlam().capture(rendered).frames.relative_to(mesh.origin)
            source = dataclasses.replace(frames, image_size_wh=image_size_wh)
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
        return read_ply(_mesh_path(path), face_label=_OBJECT).points

    def has_labels(self, path: pathlib.Path) -> bool:
        """Tell whether the classes of the objects are there."""
        return _info_path(path).is_file()


def _mesh_path(path: pathlib.Path) -> pathlib.Path:
    return path / "habitat" / "mesh_semantic.ply"


def _rendered(path: pathlib.Path) -> pathlib.Path | None:
    """Return the folder of NICE-SLAM's renderings of a scene, None without."""
    places = (path, path.with_name(path.name.replace("_", "")))
    return next((p for p in places if (p / "traj.txt").is_file()), None)


def _info_path(path: pathlib.Path) -> pathlib.Path:
    return path / "habitat" / "info_semantic.json"


def _classes(
    path: pathlib.Path, instances: Int32[np.ndarray, " P"], chosen: LabelSet
) -> Int32[np.ndarray, " P"]:
    """Return the class of each vertex's object; `IGNORE` for objects without one."""
    try:
        objects = json.loads(path.read_bytes())["objects"]
        class_of = {int(o["id"]): int(o["class_id"]) for o in objects}
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise InputError(
            f"replica: objects with id and class_id are required, got {error!r} "
            f"({path}). Download the file again."
        ) from error
    labels = np.full(len(instances), IGNORE, np.int32)
    unique, of_vertex = np.unique(instances, return_inverse=True)
    raw = np.array([class_of.get(int(i), -1) for i in unique], np.int64)
    known = raw >= 0
    found = np.full(len(unique), IGNORE, np.int32)
    found[known] = chosen.from_raw("replica", raw[known], path)
    labels[:] = found[of_vertex]
    return labels
