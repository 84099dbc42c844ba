"""ScanNet v2 as its exporter writes it; procedural rooms use the same layout.

    <root>/splits/{train,val,test}.txt
    <root>/scans/<id>/<id>_vh_clean_2.ply                      mesh: the points
                      <id>_vh_clean_2.labels.ply               NYU40 id per vertex
                      <id>_vh_clean_2.0.010000.segs.json       segment per vertex
                      <id>.aggregation.json                    segments of each instance
                      <id>.txt                                 sizes of the images
                      color/N.jpg depth/N.png (mm) pose/N.txt intrinsic/*.txt

Labels and instances are absent in the test split. Mesh and poses share one world; the
`axisAlignment` of `<id>.txt` is not applied to either, as in OpenScene and SAS.
"""

import csv
import json
import pathlib
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Int32, Shaped

from sas_jax.errors import InputError
from sas_jax.scenes.camera_files import read_intrinsics
from sas_jax.scenes.frames import FolderFrames, list_frames
from sas_jax.scenes.images import ColorInterpolation, scale_intrinsics
from sas_jax.scenes.labels import NYU40_IDS, SCANNET20, LabelSet, nyu40_lookup
from sas_jax.scenes.ply import read_ply
from sas_jax.scenes.scannet_ids import are_raw, without_strays
from sas_jax.scenes.scene import Scene

Compat = Literal["paper", "official"]
LABEL_MAP = "scannetv2-labels.combined.tsv"
# OpenScene and SAS use this matrix for every scene, at 640 x 480.
OFFICIAL_INTRINSICS = np.array(
    [[577.870605, 0, 319.5], [0, 577.870605, 239.5], [0, 0, 1]], np.float64
)
_OFFICIAL_WH = (640, 480)


def list_scenes(root: str | pathlib.Path, split: str) -> list[str]:
    """Return the scene names of a split, in the order of `splits/<split>.txt`.

    Raises:
      InputError: where the list or the folder of a listed scene is missing.
    """
    root = pathlib.Path(root)
    path = root / "splits" / f"{split}.txt"
    try:
        names = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"scannet: a list of the scenes of split {split} is required, got none "
            f"({path}). Write one scene name per line."
        ) from error
    missing = [name for name in names if not (root / "scans" / name).is_dir()]
    if missing:
        raise InputError(
            f"scannet: every listed scene must have a folder, {len(missing)} of "
            f"{len(names)} have none, e.g. {missing[0]} ({root / 'scans'}). "
            "Export these scenes or take them off the list."
        )
    return names


def mesh_path(folder: pathlib.Path) -> pathlib.Path:
    """Return the file of a scan's mesh, whose vertices are the scene's points."""
    return folder / f"{folder.name}_vh_clean_2.ply"


def labels_path(folder: pathlib.Path) -> pathlib.Path:
    """Return the file of a scan's labels; ScanNet's test split has none."""
    return folder / f"{folder.name}_vh_clean_2.labels.ply"


def open_scene(
    folder: str | pathlib.Path,
    *,
    image_size_wh: tuple[int, int] | None = (320, 240),
    label_set: LabelSet = SCANNET20,
    frame_stride: int = 1,
    interpolation: ColorInterpolation = "nearest",
    compat: Compat = "paper",
    annotations: bool = True,
) -> Scene:
    """Open one scan: points, labels and instances now, frames when asked for.

    Args:
      folder: `<root>/scans/<id>`; its name is the scene's.
      image_size_wh: size of the frames, or None for that of the depth images.
      label_set: class indices to map NYU40 ids to.
      frame_stride: keep every n-th frame (the paper takes every 20th).
      interpolation: how colour is resized; depth always by nearest.
      compat: "paper" takes each scene's own depth intrinsics; "official" takes one
        matrix for all scenes, as the authors' code does.
      annotations: read labels and instances; their files are left alone otherwise.

    Returns:
      The scene; `labels` and `instances` are None without `annotations` and where
      their files are missing.

    Raises:
      InputError: for a missing, damaged or inconsistent file, which it names.
    """
    folder = pathlib.Path(folder)
    if frame_stride < 1:
        raise InputError(
            f"scannet: frame_stride must be >= 1, got {frame_stride}. Use 1 for all."
        )
    mesh = read_ply(mesh_path(folder))
    labels = instances = None
    if annotations:
        labels = _read_labels(folder, len(mesh.points), label_set)
        instances = _read_instances(folder, len(mesh.points))
    files = dict(list(list_frames(folder / "color").items())[::frame_stride])
    source = _frame_source(folder, files, image_size_wh, interpolation, compat)
    return Scene(
        name=folder.name,
        points=mesh.points,
        normals=mesh.normals,
        colors=mesh.colors,
        faces=mesh.faces,
        labels=labels,
        instances=instances,
        frame_source=source.relative_to(mesh.origin),
        label_set=label_set,
        origin=mesh.origin,
    )


def _frame_source(
    folder: pathlib.Path,
    files: dict[str, pathlib.Path],
    image_size_wh: tuple[int, int] | None,
    interpolation: ColorInterpolation,
    compat: Compat,
) -> FolderFrames:
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
        interpolation=interpolation,
        color_camera=folder / "intrinsic" / "intrinsic_color.txt",
    )


def _stated_size(folder: pathlib.Path, camera: str) -> tuple[int, int] | None:
    """Return the image size that `<id>.txt` states for a camera, or None."""
    path = folder / f"{folder.name}.txt"
    if not path.is_file():
        return None
    entries = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        key, _, value = line.partition("=")
        entries[key.strip()] = value.strip()
    try:
        return int(entries[f"{camera}Width"]), int(entries[f"{camera}Height"])
    except (KeyError, ValueError):
        return None


def _read_labels(
    folder: pathlib.Path, num_points: int, label_set: LabelSet
) -> Int32[np.ndarray, " P"] | None:
    path = labels_path(folder)
    if not path.exists():
        return None
    stored = read_ply(path).label
    if stored is None or len(stored) != num_points:
        got = "no label property" if stored is None else f"{len(stored)} labels"
        raise InputError(
            f"scannet: one label per mesh vertex ({num_points}) is required, got {got} "
            f"({path}). Take mesh and labels of the same release."
        )
    with np.errstate(invalid="ignore"):  # NaN becomes negative
        ids = stored.astype(np.int64)
    if ids.min() < 0:
        raise InputError(
            f"scannet: labels must be >= 0, got {ids.min()} ({path}). "
            "Take the labels of ScanNet v2."
        )
    if ids.max() >= NYU40_IDS:
        raw = are_raw(ids, _named_points(folder, num_points))
        ids = _nyu40_from_raw(ids, path) if raw else without_strays(ids, path)
    return nyu40_lookup(label_set)[ids]


def _named_points(
    folder: pathlib.Path, num_points: int
) -> dict[str, Bool[np.ndarray, " P"]]:
    """Return which points belong to objects of each name that annotators wrote."""
    owner = _read_instances(folder, num_points)
    if owner is None:
        return {}
    objects: dict[str, list[int]] = {}
    for group in _read_json(folder / f"{folder.name}.aggregation.json", "segGroups"):
        objects.setdefault(str(group.get("label")), []).append(int(group["objectId"]))
    return {name: np.isin(owner, numbers) for name, numbers in objects.items()}


def _nyu40_from_raw(
    ids: Shaped[np.ndarray, " P"], path: pathlib.Path
) -> Shaped[np.ndarray, " P"]:
    """Map raw ids (ScanNet's first release) to NYU40 by the label map."""
    folder = path.parent
    candidates = [parent / LABEL_MAP for parent in (folder, *folder.parents[:2])]
    found = next((c for c in candidates if c.exists()), None)
    if found is None:
        raise InputError(
            f"scannet: labels must be NYU40 ids, 0..40; got raw ids up to {ids.max()} "
            f"({path}). Put {LABEL_MAP} into {candidates[-1].parent} or take the "
            "labels of ScanNet v2."
        )
    nyu40_of = _label_map(found)
    unique, of_vertex = np.unique(ids, return_inverse=True)
    nyu40 = np.array([nyu40_of.get(int(raw_id), 0) for raw_id in unique], np.int64)
    return nyu40[of_vertex]


def _label_map(path: pathlib.Path) -> dict[int, int]:
    """Return raw id -> NYU40 id."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        nyu40_of = {int(row["id"]): int(row["nyu40id"] or 0) for row in rows}
        if not nyu40_of:
            raise ValueError("no rows")
        if not set(nyu40_of.values()) <= set(range(NYU40_IDS)):
            raise ValueError("nyu40id outside of 0..40")
        return nyu40_of
    except (KeyError, ValueError, TypeError, OSError, csv.Error) as error:
        raise InputError(
            f"scannet: columns id and nyu40id of integers are required, got {error!r} "
            f"({path}). Take the file that comes with ScanNet v2."
        ) from error


def _read_instances(
    folder: pathlib.Path, num_points: int
) -> Int32[np.ndarray, " P"] | None:
    """Return the object id per vertex from segments and their aggregation."""
    segment_files = sorted(folder.glob(f"{folder.name}_vh_clean_2.*.segs.json"))
    aggregation_path = folder / f"{folder.name}.aggregation.json"
    if not segment_files or not aggregation_path.exists():
        return None
    segments = _read_segments(segment_files[0], num_points)
    return _instances(segments, aggregation_path)


def _read_segments(path: pathlib.Path, num_points: int) -> Shaped[np.ndarray, " P"]:
    stored = _read_json(path, "segIndices")
    try:
        segments = np.asarray(stored)
        got = f"{list(segments.shape)} of {segments.dtype}"
    except ValueError:
        segments, got = np.zeros(0), "lists of several lengths"
    if segments.shape != (num_points,) or segments.dtype.kind not in "iu":
        raise InputError(
            f"scannet: one integer segment per mesh vertex ({num_points}) is required, "
            f"got {got} ({path}). Take files of the same release."
        )
    return segments


def _instances(
    segments: Shaped[np.ndarray, " P"], path: pathlib.Path
) -> Int32[np.ndarray, " P"]:
    unique, of_vertex = np.unique(segments, return_inverse=True)
    owner = np.full(len(unique), -1, np.int32)
    groups = _read_json(path, "segGroups")
    try:
        for group in groups:
            owner[np.isin(unique, group["segments"])] = int(group["objectId"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(
            "scannet: groups with objectId (below 2^31) and segments are required, got "
            f"{error!r} ({path}). Take the file of ScanNet v2."
        ) from error
    return owner[of_vertex]


def _read_json(path: pathlib.Path, field: str) -> Any:
    try:
        return json.loads(path.read_bytes())[field]
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise InputError(
            f"scannet: a JSON object with {field} is required, got {error!r} ({path}). "
            "Download or export the file again."
        ) from error
