"""ScanNet v2 as its exporter writes it; procedural rooms use the same layout.

    <root>/splits/{train,val,test}.txt
    <root>/scans/<id>/<id>_vh_clean_2.ply                      mesh: the points
                      <id>_vh_clean_2.labels.ply               NYU40 id per vertex
                      <id>_vh_clean_2.0.010000.segs.json       segment per vertex
                      <id>.aggregation.json                    segments of each instance
                      <id>.txt                                 sizes of the images
                      color/N.jpg depth/N.png (mm) pose/N.txt intrinsic/*.txt
                      <id>.sens                                in place of these four

Labels and instances are absent in the test split. Mesh and poses share one world; the
`axisAlignment` of `<id>.txt` is applied to neither unless it is asked for, as in
OpenScene and SAS. Without lists the splits are the official ones.
"""

import dataclasses
import pathlib
from typing import ClassVar, Literal, get_args

import numpy as np
from jaxtyping import Float, Float32

from sas_jax.artefacts.stamps import Memo
from sas_jax.checks import one_of
from sas_jax.datasets.contracts import Dataset, Part
from sas_jax.datasets.scan_files import folders, frame_files, names_of_split
from sas_jax.datasets.scannet_labels import (
    label_files,
    labels_path,
    read_instances,
    read_labels,
)
from sas_jax.datasets.sens import sens_frames
from sas_jax.errors import InputError
from sas_jax.scenes.camera_files import read_intrinsics, rigid_fault
from sas_jax.scenes.frames import FolderFrames, list_frames
from sas_jax.scenes.images import scale_intrinsics
from sas_jax.scenes.labels import MATTERPORT21, SCANNET20, LabelSet, label_set
from sas_jax.scenes.mesh import moved_mesh, scene_of_mesh
from sas_jax.scenes.ply import read_ply
from sas_jax.scenes.scene import Scene
from sas_jax.scenes.views import ViewFrames

Compat = Literal["paper", "official"]
# OpenScene and SAS use this matrix for every scene, at 640 x 480.
OFFICIAL_INTRINSICS = np.array(
    [[577.870605, 0, 319.5], [0, 577.870605, 239.5], [0, 0, 1]], np.float64
)
_OFFICIAL_WH = (640, 480)


@dataclasses.dataclass(frozen=True)
class ScanNet(Dataset):
    """ScanNet v2 and what is written like it; see the module.

    Attributes:
      compat: "paper" takes each scene's own depth intrinsics; "official" takes one
        matrix for all scenes, as the authors' code does.
      axis_aligned: turn scans so that walls stand along x and y, by the
        `axisAlignment` of `<id>.txt`.
    """

    compat: Compat = "paper"
    axis_aligned: bool = False

    name: ClassVar = "scannet"
    layout: ClassVar = (
        "scans/<id>/ with <id>_vh_clean_2.ply, color/, depth/, pose/ and intrinsic/, "
        "splits/<split>.txt"
    )
    needs: ClassVar = (
        "*_vh_clean_2.ply",
        *("color/*", "depth/*", "pose/*", "intrinsic/*"),
    )
    # Labels are stored as NYU40 ids, of which sets choose; those of scannet200 are raw
    # ids, which the names that annotators wrote lead to. The three last are what splats
    # are scored by.
    label_sets: ClassVar = (
        SCANNET20,
        MATTERPORT21,
        *map(label_set, ("scannet200", "scannet19", "scannet15", "scannet10")),
    )

    def __post_init__(self) -> None:
        one_of("scannet", "compat", self.compat, get_args(Compat))

    def is_root(self, root: pathlib.Path) -> bool:
        """Tell whether there is a folder of scans."""
        return (root / "scans").is_dir()

    def is_scan(self, path: pathlib.Path) -> bool:
        """Tell whether there is a mesh."""
        return mesh_path(path).exists()

    def scan_names(self, root: pathlib.Path, split: str) -> list[str]:
        """Return the names of a split; see `Dataset.names`."""
        return names_of_split(root, split, folders(root / "scans"), self.name)

    def scan_path(self, root: pathlib.Path, name: str) -> pathlib.Path:
        """Return the folder of a scan."""
        return root / "scans" / name

    def files(
        self, path: pathlib.Path, part: Part, frame_stride: int, memo: Memo
    ) -> list[pathlib.Path]:
        """Return what a part is read from; see `Dataset.files`."""
        files = [mesh_path(path)]
        if self.axis_aligned:
            files.append(path / f"{path.name}.txt")
        if part == "labels":
            files += label_files(path)
        if part == "views":
            files.append(path / f"{path.name}.txt")
            if _reads_sens(path):
                return [*files, _sens_path(path)]
            files += sorted((path / "intrinsic").glob("*.txt"))
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
        """Open a scan; see `Dataset.open`.

        Labels and instances are None where their files are missing. Colour and depth
        are resized by nearest.
        """
        mesh = read_ply(mesh_path(path))
        label_set = label_set or self.label_sets[0]
        labels = instances = None
        if annotations:
            labels = read_labels(path, len(mesh.points), label_set)
            instances = read_instances(path, len(mesh.points))
        source = _frame_source(path, image_size_wh, self.compat)
        turn = _axis_alignment(path) if self.axis_aligned else np.eye(4)
        mesh = moved_mesh(mesh, turn)
        source = dataclasses.replace(source, turn=turn)
        return scene_of_mesh(
            mesh,
            path.name,
            labels=labels,
            instances=instances,
            frame_source=source.relative_to(mesh.origin),
            label_set=label_set,
            input_from_world=np.linalg.inv(turn),
        )

    def points(self, path: pathlib.Path) -> Float32[np.ndarray, "P 3"]:
        """Return the vertices of the mesh; nothing else is read."""
        mesh = read_ply(mesh_path(path))
        turn = _axis_alignment(path) if self.axis_aligned else np.eye(4)
        return moved_mesh(mesh, turn).points

    def has_labels(self, path: pathlib.Path) -> bool:
        """Tell whether there is a file of labels."""
        return labels_path(path).exists()


def mesh_path(folder: pathlib.Path) -> pathlib.Path:
    """Return the file of a scan's mesh, whose vertices are the scene's points."""
    return folder / f"{folder.name}_vh_clean_2.ply"


def _sens_path(folder: pathlib.Path) -> pathlib.Path:
    return folder / f"{folder.name}.sens"


def _reads_sens(folder: pathlib.Path) -> bool:
    """Tell whether images are in the file of the sensor, and not exported."""
    return not (folder / "color").is_dir() and _sens_path(folder).is_file()


def _sens_source(
    folder: pathlib.Path, image_size_wh: tuple[int, int] | None, compat: Compat
) -> ViewFrames:
    """Return frames that are those of the export: one camera for colour and depth."""
    frames = sens_frames(_sens_path(folder))
    views = []
    for view in frames.views:
        camera = view.depth_camera or view.read_camera()
        if compat == "official":
            wh = camera.size_wh or _OFFICIAL_WH
            matrix = scale_intrinsics(OFFICIAL_INTRINSICS, _OFFICIAL_WH, wh)
            camera = dataclasses.replace(camera, intrinsics=matrix)
        views.append(
            dataclasses.replace(
                view, camera=camera, depth_camera=None, color_from_depth=None
            )
        )
    return dataclasses.replace(
        frames,
        views=tuple(views),
        image_size_wh=image_size_wh,
        interpolation="nearest",
    )


def _frame_source(
    folder: pathlib.Path, image_size_wh: tuple[int, int] | None, compat: Compat
) -> FolderFrames | ViewFrames:
    if _reads_sens(folder):
        return _sens_source(folder, image_size_wh, compat)
    files = list_frames(folder / "color")
    camera = "depth" if (folder / "depth").is_dir() else "color"
    calibrated_wh = _stated_size(folder, camera)
    intrinsics = np.eye(3)
    if compat == "official":
        wh = calibrated_wh or _OFFICIAL_WH
        intrinsics = scale_intrinsics(OFFICIAL_INTRINSICS, _OFFICIAL_WH, wh)
    elif files:
        intrinsics = read_intrinsics(folder / "intrinsic" / f"intrinsic_{camera}.txt")
    return FolderFrames(
        folder=folder,
        files=files,
        intrinsics=intrinsics,
        calibrated_wh=calibrated_wh,
        image_size_wh=image_size_wh,
        interpolation="nearest",
        color_camera=folder / "intrinsic" / "intrinsic_color.txt",
    )


def _stated_size(folder: pathlib.Path, camera: str) -> tuple[int, int] | None:
    """Return the image size that `<id>.txt` states for a camera, or None."""
    entries = _entries(folder)
    try:
        return int(entries[f"{camera}Width"]), int(entries[f"{camera}Height"])
    except (KeyError, ValueError):
        return None


def _axis_alignment(folder: pathlib.Path) -> Float[np.ndarray, "4 4"]:
    """Return the motion of `<id>.txt` that takes a scan to its axes."""
    stated = _entries(folder).get("axisAlignment")
    try:
        turn = np.reshape([float(v) for v in (stated or "").split()], (4, 4))
        fault = rigid_fault(turn)
    except ValueError:
        fault = f"{stated!r}"
    if fault is not None:
        raise InputError(
            f"scannet: axisAlignment with a rigid 4x4 matrix is required, got {fault} "
            f"({folder / folder.name}.txt). Take the file of the data set, or leave "
            "--axis_aligned out."
        )
    return turn


def _entries(folder: pathlib.Path) -> dict[str, str]:
    """Return what `<id>.txt` states; empty without it."""
    path = folder / f"{folder.name}.txt"
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    parts = [line.partition("=") for line in lines]
    return {key.strip(): value.strip() for key, _, value in parts}
