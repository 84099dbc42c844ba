"""Point and superpoint features: what they are, means over superpoints, files.

P points of a scene, M of them seen by at least one frame, L superpoints, C channels.
Only seen points have a row; `point_index` says which point each row is. Superpoint
distillation needs nothing but superpoint means of the fused features, so [L, C] is
stored for training instead of [M, C]: a fiftieth of the size, the same loss.

Rows belong to points by their order alone. So every file names its *geometry*, a key of
the points in their order, and readers compare it with the points at hand: a mesh that
an editor has saved again has as many, in another order.
"""

import dataclasses
import os
from collections.abc import Mapping

import numpy as np
import safetensors
from jaxtyping import Bool, Float, Float16, Float32, Int, Int32

from sas_jax.artefacts.files import (
    content_key,
    read_manifest,
    read_tensors,
    write_tensors,
)
from sas_jax.errors import DamagedFile, InputError

POINT_FEATURES = "sas_jax.point_features/1"
SUPERPOINT_FEATURES = "sas_jax.superpoint_features/1"
SUPERPOINTS = "sas_jax.superpoints/1"
_CHANNELS_AT_ONCE = 64
_LIFT = "extract_features.py, then experiments/fuse_features.py"
_FUSE = "fuse_features.py"
_SEGMENT = "make_superpoints.py"


def geometry_of(points: Float[np.ndarray, "P 3"]) -> str:
    """Return the key of points in their order."""
    return content_key(points)


@dataclasses.dataclass(frozen=True)
class PointFeatures:
    """Features of the seen points of one scene.

    Attributes:
      feat: [M, C] f16, finite.
      point_index: [M] i32, ascending, in 0..num_points-1.
      counts: [M] i32, number of views that contributed, >= 1.
      num_points: P, all points of the scene.
      geometry: of which points (see `geometry_of`), where that is known.
    """

    feat: Float16[np.ndarray, "M C"]
    point_index: Int32[np.ndarray, " M"]
    counts: Int32[np.ndarray, " M"]
    num_points: int
    geometry: str | None = None

    def __post_init__(self) -> None:
        rows = {len(self.feat), len(self.point_index), len(self.counts)}
        index = self.point_index
        ordered = (np.diff(index) > 0).all() if len(index) > 1 else True
        inside = len(index) == 0 or (index[0] >= 0 and index[-1] < self.num_points)
        if self.feat.ndim != 2 or len(rows) != 1 or not ordered or not inside:
            raise InputError(
                "point features: feat [M, C], counts [M] and an ascending point_index "
                f"[M] below {self.num_points} are required, got {self.feat.shape}, "
                f"{self.counts.shape}, {index.shape}. Lift the scene again."
            )

    @property
    def seen(self) -> Bool[np.ndarray, " P"]:
        """Which points have a feature."""
        seen = np.zeros(self.num_points, bool)
        seen[self.point_index] = True
        return seen

    def dense(self) -> Float32[np.ndarray, "P C"]:
        """Return one f32 row per point, zeros for points that nobody saw."""
        rows = np.zeros((self.num_points, self.feat.shape[1]), np.float32)
        rows[self.point_index] = self.feat
        return rows


@dataclasses.dataclass(frozen=True)
class SuperpointFeatures:
    """Mean features of the superpoints of one scene.

    Attributes:
      feat: [L, C] f16; zeros where no point of the superpoint was seen.
      counts: [L] i32, number of seen points; 0 marks a superpoint without a feature.
      geometry: of which points (see `geometry_of`), where that is known.
    """

    feat: Float16[np.ndarray, "L C"]
    counts: Int32[np.ndarray, " L"]
    geometry: str | None = None


def superpoint_means(
    features: PointFeatures, superpoints: Int[np.ndarray, " P"]
) -> SuperpointFeatures:
    """Average point features over the seen points of each superpoint.

    Args:
      features: of all P points' scene.
      superpoints: superpoint id of each point, contiguous from 0.

    Returns:
      Means in f16, accumulated in f64. For every loss that sees F_SP only, using row
      `superpoints[p]` equals averaging F_fusion literally and mapping it back.

    Raises:
      InputError: when there is not one id >= 0 per point.

    Source: SAS section 3.4, f_SP^2D.
    """
    if superpoints.shape != (features.num_points,) or superpoints.min(initial=0) < 0:
        raise InputError(
            f"superpoint means: one id >= 0 per point ({features.num_points}) is "
            f"required, got {list(superpoints.shape)} ids from "
            f"{superpoints.min(initial=0)}. "
            "Make superpoints and features from the same scene."
        )
    num_superpoints = int(superpoints.max(initial=-1)) + 1
    owner = superpoints[features.point_index]
    counts = np.bincount(owner, minlength=num_superpoints).astype(np.int32)
    feat = np.zeros((num_superpoints, features.feat.shape[1]), np.float16)
    order = np.argsort(owner, kind="stable")
    present = np.flatnonzero(counts)
    starts = np.concatenate([[0], np.cumsum(counts[present])[:-1]]).astype(np.intp)
    for first in range(0, feat.shape[1] if len(order) else 0, _CHANNELS_AT_ONCE):
        block = slice(first, first + _CHANNELS_AT_ONCE)
        rows = features.feat[:, block].astype(np.float64)[order]
        sums = np.add.reduceat(rows, starts, axis=0)
        feat[present, block] = sums / counts[present, None]
    return SuperpointFeatures(feat, counts, features.geometry)


def save_point_features(
    path: str | os.PathLike,
    features: PointFeatures,
    *,
    key: str,
    meta: Mapping[str, str] | None = None,
) -> None:
    """Write point features atomically (see `files.write_tensors`)."""
    tensors = {
        "feat": features.feat,
        "point_index": features.point_index,
        "counts": features.counts,
        "num_points": np.array([features.num_points], np.int64),
    }
    meta = _with_geometry(meta, features.geometry)
    write_tensors(path, tensors, key=key, schema=POINT_FEATURES, meta=meta)


def load_point_features(
    path: str | os.PathLike, points: Float[np.ndarray, "P 3"] | None = None
) -> PointFeatures:
    """Read point features.

    Args:
      path: as `save_point_features` wrote it.
      points: the scene that the features are for, to be compared; None compares
        nothing.

    Raises:
      InputError: for features of other points; and like `files.read_tensors`.
    """
    tensors, meta = read_tensors(path, schema=POINT_FEATURES)
    num_points = int(tensors["num_points"][0])
    _check_points(points, num_points, meta, path, _LIFT)
    return PointFeatures(
        feat=tensors["feat"],
        point_index=tensors["point_index"],
        counts=tensors["counts"],
        num_points=num_points,
        geometry=meta.get("geometry"),
    )


def has_features(path: str | os.PathLike) -> bool:
    """Tell whether any frame saw the scene of a file; the checksum is not verified.

    Args:
      path: point or superpoint features.

    Raises:
      InputError: for a file that is no safetensors.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            return bool(file.get_tensor("counts").any())
    except (OSError, safetensors.SafetensorError) as error:
        raise InputError(
            f"features: a complete safetensors file is required, got {error} ({path}). "
            "Run the stage that makes it again."
        ) from error


def save_superpoint_features(
    path: str | os.PathLike,
    features: SuperpointFeatures,
    *,
    key: str,
    meta: Mapping[str, str] | None = None,
) -> None:
    """Write superpoint features atomically (see `files.write_tensors`)."""
    tensors = {"feat": features.feat, "counts": features.counts}
    meta = _with_geometry(meta, features.geometry)
    write_tensors(path, tensors, key=key, schema=SUPERPOINT_FEATURES, meta=meta)


def load_superpoint_features(
    path: str | os.PathLike, points: Float[np.ndarray, "P 3"] | None = None
) -> SuperpointFeatures:
    """Read superpoint features; arguments and errors as `load_point_features`."""
    tensors, meta = read_tensors(path, schema=SUPERPOINT_FEATURES)
    _check_points(points, None, meta, path, _FUSE)
    return SuperpointFeatures(tensors["feat"], tensors["counts"], meta.get("geometry"))


def save_superpoints(
    path: str | os.PathLike,
    superpoints: Int32[np.ndarray, " P"],
    *,
    key: str,
    points: Float[np.ndarray, "P 3"] | None = None,
    meta: Mapping[str, str] | None = None,
) -> None:
    """Write the superpoint id of each point atomically; the manifest has the counts.

    Args:
      path: ends in `.safetensors`.
      superpoints: ids, contiguous from 0.
      key: content key of what they were made from.
      points: the scene's, to be compared by readers.
      meta: further strings of the manifest.
    """
    tensors = {"superpoints": superpoints.astype(np.int32)}
    meta = _with_geometry(meta, None if points is None else geometry_of(points))
    meta["points"] = str(len(superpoints))
    meta["superpoints"] = str(int(superpoints.max(initial=-1)) + 1)
    write_tensors(path, tensors, key=key, schema=SUPERPOINTS, meta=meta)


def load_superpoints(
    path: str | os.PathLike,
    points: Float[np.ndarray, "P 3"] | None = None,
    geometry: str | None = None,
) -> Int32[np.ndarray, " P"]:
    """Read the superpoint id of each point.

    Args:
      path: as `save_superpoints` wrote it.
      points: as for `load_point_features`.
      geometry: the same where only the key of the points is at hand.

    Raises:
      InputError: for superpoints of other points; and like `files.read_tensors`.
    """
    tensors, meta = read_tensors(path, schema=SUPERPOINTS)
    ids = tensors["superpoints"]
    _check_points(points, len(ids), meta, path, _SEGMENT)
    if None not in (geometry, stated := meta.get("geometry")) and geometry != stated:
        raise _other_points(len(ids), "others", path, _SEGMENT)
    return ids


def superpoint_counts(path: str | os.PathLike) -> tuple[int, int]:
    """Return the numbers of points and of superpoints, by the manifest alone.

    Raises:
      DamagedFile: for a missing manifest, or one without counts.
    """
    meta = read_manifest(path)["meta"]
    try:
        return int(meta["points"]), int(meta["superpoints"])
    except (KeyError, ValueError) as error:
        raise DamagedFile(
            f"superpoints: a manifest with counts is required, got none ({path}). "
            "Delete the file and run make_superpoints.py again."
        ) from error


def _with_geometry(
    meta: Mapping[str, str] | None, geometry: str | None
) -> dict[str, str]:
    return {**(meta or {}), **({} if geometry is None else {"geometry": geometry})}


def _check_points(
    points: Float[np.ndarray, "P 3"] | None,
    num_points: int | None,
    meta: Mapping[str, str],
    path: str | os.PathLike,
    stage: str,
) -> None:
    """Raise InputError where a file is not of these points, as far as it says."""
    if points is None:
        return
    if num_points not in (None, len(points)):
        raise _other_points(len(points), f"those of {num_points}", path, stage)
    if meta.get("geometry", geometry := geometry_of(points)) != geometry:
        raise _other_points(len(points), "those of another geometry", path, stage)


def _other_points(
    num_points: int, got: str, path: str | os.PathLike, stage: str
) -> InputError:
    return InputError(
        f"features: those of the scene's {num_points} points in their order are "
        f"required, got {got} ({path}). The scene has changed since they were made: "
        f"run experiments/{stage} for it."
    )
