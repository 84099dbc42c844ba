"""Labels and instances of a scan in ScanNet's layout, from ids to class indices."""

import csv
import json
import logging
import pathlib
from typing import Any

import numpy as np
from jaxtyping import Bool, Int32, Shaped

from sas_jax.errors import InputError
from sas_jax.scenes.labels import NYU40_IDS, LabelSet
from sas_jax.scenes.ply import read_ply
from sas_jax.scenes.scannet_ids import are_raw, without_strays

LABEL_MAP = "scannetv2-labels.combined.tsv"


def labels_path(folder: pathlib.Path) -> pathlib.Path:
    """Return the file of a scan's labels; ScanNet's test split has none."""
    return folder / f"{folder.name}_vh_clean_2.labels.ply"


def label_files(folder: pathlib.Path) -> list[pathlib.Path]:
    """Return all that labels are read from; most of it is absent from most scans."""
    return [
        labels_path(folder),
        *_segment_files(folder),
        folder / f"{folder.name}.aggregation.json",
        *_label_map_places(folder),
    ]


def _segment_files(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(folder.glob(f"{folder.name}_vh_clean_2.*.segs.json"))


def _label_map_places(folder: pathlib.Path) -> list[pathlib.Path]:
    return [parent / LABEL_MAP for parent in (folder, *folder.parents[:2])]


def read_labels(
    folder: pathlib.Path, num_points: int, label_set: LabelSet
) -> Int32[np.ndarray, " P"] | None:
    """Return the class index of each vertex, None without a file of labels.

    Args:
      folder: of the scan.
      num_points: vertices of its mesh, P.
      label_set: classes with NYU40 ids, which the file of labels holds, or with the
        raw ids of the label map; these follow from how annotators named objects.

    Raises:
      InputError: for labels of another mesh or of unknown ids.
    """
    path = labels_path(folder)
    if not path.exists():
        return None
    if "nyu40" not in label_set.raw_ids:
        return _labels_of_names(folder, num_points, label_set)
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
    return label_set.from_raw("nyu40", ids, path)


def _named_points(
    folder: pathlib.Path, num_points: int
) -> dict[str, Bool[np.ndarray, " P"]]:
    """Return which points belong to objects of each name that annotators wrote."""
    owner = read_instances(folder, num_points)
    if owner is None:
        return {}
    objects: dict[str, list[int]] = {}
    for group in _read_json(folder / f"{folder.name}.aggregation.json", "segGroups"):
        objects.setdefault(str(group.get("label")), []).append(int(group["objectId"]))
    return {name: np.isin(owner, numbers) for name, numbers in objects.items()}


def _labels_of_names(
    folder: pathlib.Path, num_points: int, label_set: LabelSet
) -> Int32[np.ndarray, " P"]:
    """Return labels by raw id: that of the name of the object of each vertex."""
    path = folder / f"{folder.name}.aggregation.json"
    named = _named_points(folder, num_points)
    table = _found_label_map(folder, f"{label_set.classes.name} needs it")
    id_of = {row.get("raw_category"): int(row["id"]) for row in _rows(table)}
    if None in id_of or not named:
        got, where = ("no objects", path) if not named else ("no names", table)
        raise InputError(
            f"scannet: labels of {label_set.classes.name} come from segments, "
            f"aggregation and the names in {LABEL_MAP}; got {got} ({where}). Take the "
            "files of ScanNet v2."
        )
    ids = np.zeros(num_points, np.int64)  # 0 is of no class
    if unknown := sorted(named.keys() - id_of):
        logging.warning("scannet: %s are not in %s.", ", ".join(unknown[:9]), table)
    for name in named.keys() & id_of.keys():
        ids[named[name]] = id_of[name]
    return label_set.from_raw("scannet", ids, table)


def _nyu40_from_raw(
    ids: Shaped[np.ndarray, " P"], path: pathlib.Path
) -> Shaped[np.ndarray, " P"]:
    """Map raw ids (ScanNet's first release) to NYU40 by the label map."""
    found = _found_label_map(
        path.parent, f"got raw ids up to {ids.max()} of {path.name}"
    )
    nyu40_of = _label_map(found)
    unique, of_vertex = np.unique(ids, return_inverse=True)
    nyu40 = np.array([nyu40_of.get(int(raw_id), 0) for raw_id in unique], np.int64)
    return nyu40[of_vertex]


def _found_label_map(folder: pathlib.Path, why: str) -> pathlib.Path:
    places = _label_map_places(folder)
    found = next((place for place in places if place.exists()), None)
    if found is None:
        raise InputError(
            f"scannet: the label map is required, {why} ({folder}). Put {LABEL_MAP} "
            f"into {places[-1].parent}, or take the labels of ScanNet v2."
        )
    return found


def _label_map(path: pathlib.Path) -> dict[int, int]:
    """Return raw id -> NYU40 id."""
    nyu40_of = {int(row["id"]): int(row["nyu40id"] or 0) for row in _rows(path)}
    if not set(nyu40_of.values()) <= set(range(NYU40_IDS)):
        raise InputError(
            f"scannet: nyu40id in 0..{NYU40_IDS - 1} is required, got others ({path}). "
            "Take the file that comes with ScanNet v2."
        )
    return nyu40_of


def _rows(path: pathlib.Path) -> list[dict[str, str]]:
    """Return the lines of the label map, with ids that are integers."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        for row in rows:
            int(row["id"]), int(row["nyu40id"] or 0)
        if not rows:
            raise ValueError("no rows")
        return rows
    except (KeyError, ValueError, TypeError, OSError, csv.Error) as error:
        raise InputError(
            f"scannet: columns id and nyu40id of integers are required, got {error!r} "
            f"({path}). Take the file that comes with ScanNet v2."
        ) from error


def read_instances(
    folder: pathlib.Path, num_points: int
) -> Int32[np.ndarray, " P"] | None:
    """Return the object id of each vertex, from segments and their aggregation.

    Args:
      folder: of the scan.
      num_points: vertices of its mesh, P.

    Returns:
      -1 where there is no object; None where one of the files is missing.

    Raises:
      InputError: for files of another mesh.
    """
    segment_files = _segment_files(folder)
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
