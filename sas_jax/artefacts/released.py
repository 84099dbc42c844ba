"""Features and superpoints as OpenScene and SAS publish them, and ours in their form.

    <scene>_<k>.pt   {"feat": f16 [n, C], "mask_full": bool [P]}: the n points of part k
                     that cameras saw, of 20,000 drawn at random (OpenScene, training)
                     or of all (k = 0); <scene>.pt on nuScenes
    <scene>_vh_clean_2.pth, <scene>.pth        int64 [P], the superpoint of each point

The first release has a third key: rows of `feat` are then all points of the part, and
`mask`, indices or bools among these, says which of them were seen. The number of keys
decides, as in OpenScene. P points of a scene, C channels.
"""

import os
import pathlib
import re
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Float, Float32, Int32, Shaped

from sas_jax.artefacts.array_files import DamagedArrays, read_npy
from sas_jax.artefacts.features import Features, rows_of_points
from sas_jax.artefacts.space import TextFeatures, TextSpace
from sas_jax.artefacts.torch_files import read_torch
from sas_jax.artefacts.torch_write import write_torch
from sas_jax.errors import InputError

VERSION = 1
"""Raised when its numbers change; see `artefacts.versions`."""

_MESH = "_vh_clean_2"  # of ScanNet's files, whose scene is named without
_UNIT_TOLERANCE = 0.01


def feature_files(folder: pathlib.Path, scene: str) -> list[pathlib.Path]:
    """Return the parts of a scene's features in their order; none where there are none.

    Args:
      folder: of all scenes' files.
      scene: its name.
    """
    whole = folder / f"{scene}.pt"
    parts = {}
    for path in folder.glob(f"{_glob_escaped(scene)}_*.pt"):
        if number := re.fullmatch(r"_(\d+)", path.stem.removeprefix(scene)):
            parts[int(number[1])] = path
    return [parts[k] for k in sorted(parts)] or [whole] * whole.exists()


def _glob_escaped(name: str) -> str:
    """Return a name for a pattern of `glob`, standing for itself."""
    return re.sub(r"([*?[])", r"[\1]", name)


def superpoint_file(folder: pathlib.Path, scene: str) -> pathlib.Path | None:
    """Return the file of a scene's superpoints, None where there is none."""
    paths = (folder / f"{scene}{end}.pth" for end in (_MESH, ""))
    return next((path for path in paths if path.exists()), None)


def read_features(
    paths: Sequence[pathlib.Path],
    num_points: int,
    space_of: Callable[[int], TextSpace],
    geometry: str | None = None,
) -> Features:
    """Return the features of a scene, merged from all of its parts.

    Of a point that several parts hold, the first one counts: they are drawn from the
    same features. How many views a row is the mean of is not published; `counts` is 1.

    Args:
      paths: parts of the scene, at least one.
      num_points: P.
      space_of: returns the space that features of so many channels live in.
      geometry: of the points; see `artefacts.features.geometry_of`.

    Raises:
      InputError: for a damaged file, one of another scene or of other channels, and
        for features that are not finite, naming the file.
    """
    first = np.full(num_points, -1, np.int32)  # which part holds a point
    parts = []
    for index, path in enumerate(paths):
        feat, seen = _part(path, num_points)
        parts.append((feat, seen))
        if feat.shape[1] != parts[0][0].shape[1]:
            raise _wrong(f"{parts[0][0].shape[1]} channels", f"{feat.shape[1]}", path)
        first[(first < 0) & seen] = index
    point_index = np.flatnonzero(first >= 0).astype(np.int32)
    channels = parts[0][0].shape[1]
    merged = np.empty((len(point_index), channels), np.float16)
    for index, (feat, seen) in enumerate(parts):
        merged[first[point_index] == index] = feat[first[seen] == index]
    row = rows_of_points(point_index, num_points)
    counts = np.ones(len(point_index), np.int32)
    return Features(merged, row, counts, space_of(channels), geometry=geometry)


def _part(
    path: pathlib.Path, num_points: int
) -> tuple[Shaped[np.ndarray, "n C"], Bool[np.ndarray, " P"]]:
    """Return a row for each point that a part has seen, and which points these are."""
    feat, seen, *within = _arrays(path)
    if feat.ndim == 3 and feat.shape[2]:  # in the first release
        feat = feat[..., 0]
    if seen.shape != (num_points,) or seen.dtype.kind not in "biu":
        got = f"{list(seen.shape)} of {seen.dtype}"
        raise _wrong(f"one bool for each of {num_points} points", got, path)
    seen = seen != 0
    if feat.ndim != 2 or len(feat) != seen.sum() or feat.dtype.kind != "f":
        got = f"{list(feat.shape)} of {feat.dtype}"
        raise _wrong(f"{seen.sum()} rows of features", got, path)
    if within:
        chosen = _within(within[0], len(feat), path)
        feat, seen = feat[chosen], seen.copy()
        seen[seen] = chosen
    bad = int((~np.isfinite(feat).all(axis=1)).sum())
    if bad:
        raise _wrong("finite features", f"{bad} of {len(feat)} that are not", path)
    return feat, seen


def _arrays(path: pathlib.Path) -> list[np.ndarray]:
    """Return feat and mask_full, and in the older form mask."""
    content = read_torch(path)
    found = content if isinstance(content, dict) else {}
    names = ("feat", "mask_full", "mask")[: 2 if len(found) == 2 else 3]
    arrays = [found[name] for name in names if isinstance(found.get(name), np.ndarray)]
    if len(arrays) < len(names):
        got = ", ".join(map(str, found)) or type(content).__name__
        raise _wrong("arrays feat and mask_full, or with mask", got, path)
    return arrays


def _within(
    mask: Shaped[np.ndarray, "..."], count: int, path: pathlib.Path
) -> Bool[np.ndarray, " n"]:
    """Return which of a part's points were seen, by bools or by indices."""
    sound = mask.ndim == 1 and mask.dtype.kind in "biu"
    if sound and mask.dtype.kind == "b":
        sound = len(mask) == count
    elif sound and mask.size:
        sound = mask.min() >= 0 and mask.max() < count
    if not sound:
        got = f"{list(mask.shape)} of {mask.dtype}"
        raise _wrong(f"a mask of {count} points, or indices below", got, path)
    chosen = np.zeros(count, bool)
    chosen[mask] = True
    return chosen


def write_features(path: str | os.PathLike, features: Features) -> None:
    """Write features as OpenScene does: a row for each point that has one.

    Args:
      path: `<scene>_0.pt`, on nuScenes `<scene>.pt`.
      features: of any level.

    Raises:
      InputError: when the disk is full or not writable, naming the file.
    """
    feat = features.feat[features.row[features.seen]].astype(np.float16)
    write_torch(path, {"feat": feat, "mask_full": features.seen})


def read_superpoints(path: pathlib.Path, num_points: int) -> Int32[np.ndarray, " P"]:
    """Return the superpoint id of each point; ids with gaps are counted through.

    Raises:
      InputError: unless it holds one id >= 0 for each of the points.
    """
    ids = read_torch(path)
    sound = isinstance(ids, np.ndarray) and ids.dtype.kind in "iu"
    if not sound or ids.shape != (num_points,) or ids.min(initial=0) < 0:
        got = f"{list(ids.shape)} of {ids.dtype}" if hasattr(ids, "dtype") else "none"
        raise _wrong(
            f"one superpoint id >= 0 for each of {num_points} points", got, path
        )
    _, contiguous = np.unique(ids, return_inverse=True)
    return contiguous.astype(np.int32)


def read_texts(path: pathlib.Path, count: int, space: TextSpace) -> TextFeatures:
    """Return the unit vectors of a list of classes, such as `vocabulary_embedding.pth`.

    Args:
      path: a tensor [count, C], unit rows of any precision.
      count: of the classes.
      space: that they live in.

    Raises:
      InputError: for another shape, or rows that are no unit vectors.
    """
    rows = read_torch(path)
    shape = (count, space.dim)
    if (
        not isinstance(rows, np.ndarray)
        or rows.dtype.kind != "f"
        or rows.shape != shape
    ):
        got = (
            f"{list(rows.shape)} of {rows.dtype}" if hasattr(rows, "dtype") else "none"
        )
        raise _wrong(f"vectors {list(shape)} of {space}", got, path)
    norms = np.linalg.norm(rows.astype(np.float64), axis=1)
    if not (np.abs(norms - 1) <= _UNIT_TOLERANCE).all():
        got = f"lengths of {norms.min():.3g} to {norms.max():.3g}"
        raise _wrong("unit vectors", got, path)
    unit: Float32[np.ndarray, "n C"] = (rows / norms[:, None]).astype(np.float32)
    return TextFeatures(unit, space)


def read_capability(path: pathlib.Path, count: int) -> Float[np.ndarray, " K"]:
    """Return the mIoU of each class from SAS's `<teacher>_miou.npy`, f64.

    Raises:
      InputError: unless it holds one number in 0..1 for each of the classes.
    """
    try:
        miou = read_npy(path)
    except DamagedArrays as error:
        raise _wrong("a whole .npy file of numbers", str(error), path) from error
    if (
        miou.shape != (count,)
        or miou.dtype.kind != "f"
        or not ((miou >= 0) & (miou <= 1)).all()
    ):
        got = f"{list(miou.shape)} of {miou.dtype}"
        raise _wrong(f"a mIoU in 0..1 of each of {count} classes", got, path)
    return miou.astype(np.float64)


def _wrong(wanted: str, got: str, path: pathlib.Path) -> InputError:
    return InputError(
        f"import: {wanted} is required, got {got} ({path}). Give the file that belongs "
        "to this scene, text space or class list."
    )
