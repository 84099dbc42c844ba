"""Features of a scene: rows, the row of each point, and the text space they live in.

P points of a scene, N rows, C channels. One row may stand for a point that cameras saw,
for a superpoint or for a voxel: *level* says for which; points without a feature have
row -1. Superpoint distillation needs nothing but superpoint means of the fused
features, so [L, C] is stored for training instead of [M, C]: a fiftieth of the size,
the same loss.

Rows belong to points by their order alone. So every file names its *geometry*, a key of
the points in their order, and readers compare it with the points at hand: a mesh that
an editor has saved again has as many, in another order.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Literal, cast

import numpy as np
import safetensors
from jaxtyping import Bool, Float, Float16, Float32, Int, Int32

from sas_jax.artefacts.files import (
    content_key,
    read_manifest,
    read_tensors,
    write_tensors,
)
from sas_jax.artefacts.space import TextSpace
from sas_jax.errors import InputError
from sas_jax.stages import command

VERSION = 1
"""Raised when its numbers change; see `artefacts.versions`."""

Level = Literal["point", "superpoint", "voxel"]
SCHEMA = "sas_jax.features/1"
_ROWS_AT_ONCE = 8192
_STAGES = {
    "point": ("extract_features", "fuse_features"),
    "superpoint": ("fuse_features",),
    "voxel": ("query",),
}


def geometry_of(points: Float[np.ndarray, "P 3"]) -> str:
    """Return the key of points in their order."""
    return content_key(points)


@dataclasses.dataclass(frozen=True)
class Features:
    """Features of one scene.

    Attributes:
      feat: [N, C] f16 or f32, finite, not normalised.
      row: [P] i32, row of each point, -1 for a point without a feature.
      counts: [N] i32, what a row is the mean of: views of a point, seen points of a
        superpoint, points of a voxel. A superpoint that nobody saw has 0.
      space: text space, of C dimensions.
      level: what a row stands for. Points have one each, in their order.
      geometry: of which points (see `geometry_of`), where that is known.
      confidence: [N] f32 in 0..1, how far the teachers agree that a row was fused from
        (see `fusion.confidence`); the mean over a superpoint's points, 0 where nobody
        saw one. None where it was not measured.
    """

    feat: Float[np.ndarray, "N C"]
    row: Int32[np.ndarray, " P"]
    counts: Int32[np.ndarray, " N"]
    space: TextSpace
    level: Level = "point"
    geometry: str | None = None
    confidence: Float32[np.ndarray, " N"] | None = None

    def __post_init__(self) -> None:
        rows, dim = len(self.feat), self.space.dim
        low, high = self.row.min(initial=-1), self.row.max(initial=-1)
        fits = self.feat.shape == (rows, dim) and len(self.counts) == rows
        fits = fits and low >= -1 and high < rows
        fits = fits and (self.confidence is None or len(self.confidence) == rows)
        if fits and self.level == "point":
            fits = np.array_equal(self.row[self.row >= 0], np.arange(rows))
        if not fits:
            raise InputError(
                f"features: [N, {dim}] in {self.space}, N counts and rows of points "
                f"in -1..N-1 (level {self.level}: each once, in order) are required, "
                f"got {list(self.feat.shape)}, {len(self.counts)} and {low}..{high}. "
                "Make them again from one scene."
            )

    @property
    def num_points(self) -> int:
        """P, all points of the scene."""
        return len(self.row)

    @property
    def seen(self) -> Bool[np.ndarray, " P"]:
        """Which points have a feature."""
        return self.row >= 0

    @property
    def point_index(self) -> Int32[np.ndarray, " M"]:
        """Which points have a feature, ascending; at level "point", those of rows."""
        return np.flatnonzero(self.row >= 0).astype(np.int32)

    def dense(self) -> Float32[np.ndarray, "P C"]:
        """Return one f32 row per point, zeros for points without a feature."""
        rows = np.zeros((self.num_points, self.feat.shape[1]), np.float32)
        rows[self.seen] = self.feat[self.row[self.seen]]
        return rows


def rows_of_points(
    point_index: Int[np.ndarray, " M"], num_points: int
) -> Int32[np.ndarray, " P"]:
    """Return `Features.row` of points that have a row each.

    Args:
      point_index: which points, ascending.
      num_points: P.

    Raises:
      InputError: for points out of order or range.
    """
    ordered = (np.diff(point_index) > 0).all() if len(point_index) > 1 else True
    inside = not len(point_index) or (
        point_index[0] >= 0 and point_index[-1] < num_points
    )
    if not ordered or not inside:
        raise InputError(
            f"features: ascending points below {num_points} are required, got "
            f"{point_index[:3].tolist()}... Lift the scene again."
        )
    row = np.full(num_points, -1, np.int32)
    row[point_index] = np.arange(len(point_index), dtype=np.int32)
    return row


def superpoint_means(
    features: Features, superpoints: Int[np.ndarray, " P"]
) -> Features:
    """Average point features over the seen points of each superpoint.

    Args:
      features: of all P points' scene, a row per seen point.
      superpoints: superpoint id of each point, contiguous from 0.

    Returns:
      One row per superpoint, f16, accumulated in f64. For every loss that sees F_SP
      only, using a point's row equals averaging F_fusion literally and mapping it back.

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
    order = np.argsort(owner, kind="stable")
    sums = np.zeros(features.feat.shape[1])  # of the superpoint that is not finished
    feat = np.zeros((num_superpoints, features.feat.shape[1]), np.float16)
    for first in range(0, len(order), _ROWS_AT_ONCE):
        members = order[first : first + _ROWS_AT_ONCE]
        rows = features.feat[members].astype(np.float64)
        starts = np.flatnonzero(np.diff(owner[members], prepend=-1))
        present = owner[members[starts]]
        if first and owner[order[first - 1]] == present[0]:
            # What came before is the first to be added to: the sum has one order.
            rows[0] += sums
        parts = np.add.reduceat(rows, starts, axis=0)
        feat[present] = parts / counts[present, None]
        sums = parts[-1]
    row = np.where(counts[superpoints] > 0, superpoints, -1).astype(np.int32)
    confidence = features.confidence
    if confidence is not None:
        agreed = np.bincount(owner, confidence, num_superpoints)
        confidence = (agreed / np.maximum(counts, 1)).astype(np.float32)
    return dataclasses.replace(
        features,
        feat=feat,
        row=row,
        counts=counts,
        level="superpoint",
        confidence=confidence,
    )


def save_features(
    path: str | os.PathLike,
    features: Features,
    *,
    key: str,
    meta: Mapping[str, str] | None = None,
) -> None:
    """Write features atomically, in half precision (see `files.write_tensors`).

    Rows that are too long for it are written shorter: only their direction is asked
    for, and losses of the cosine leave the length to chance.
    """
    tensors = {
        "feat": _in_half_range(features.feat),
        "row": features.row,
        "counts": features.counts,
    }
    if features.confidence is not None:
        tensors["confidence"] = features.confidence
    facts = {"level": features.level, "text_space": features.space.id}
    if features.geometry is not None:
        facts["geometry"] = features.geometry
    meta = {**(meta or {}), **facts}
    write_tensors(path, tensors, key=key, schema=SCHEMA, meta=meta)


def load_features(
    path: str | os.PathLike, points: Float[np.ndarray, "P 3"] | None = None
) -> Features:
    """Read features.

    Args:
      path: as `save_features` wrote it.
      points: the scene that the features are for, to be compared; None compares
        nothing.

    Raises:
      InputError: for features of other points; and like `files.read_tensors`.
    """
    tensors, meta = read_tensors(path, schema=SCHEMA)
    features = Features(
        **tensors,
        space=TextSpace.parse(meta.get("text_space"), path),
        level=cast(Level, meta.get("level", "point")),
        geometry=meta.get("geometry"),
    )
    stages = _STAGES[features.level]
    check_points(points, features.num_points, features.geometry, path, stages)
    return features


def space_of(path: str | os.PathLike) -> TextSpace:
    """Return the text space of a file, by its manifest alone.

    Raises:
      InputError: for a missing or damaged manifest, or one that names no space.
    """
    return TextSpace.parse(read_manifest(path)["meta"].get("text_space"), path)


def has_features(path: str | os.PathLike) -> bool:
    """Tell whether any frame saw the scene of a file; the checksum is not verified.

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


def check_points(
    points: Float[np.ndarray, "P 3"] | None,
    num_points: int,
    geometry: str | None,
    path: str | os.PathLike,
    stages: Sequence[str],
) -> None:
    """Raise InputError where a file is not of these points, as far as it says.

    Args:
      points: at hand; None compares nothing.
      num_points: of the file.
      geometry: of the file.
      path: names the file.
      stages: those that make it again, in order.
    """
    if points is None:
        return
    if num_points != len(points):
        raise other_points(len(points), f"those of {num_points}", path, stages)
    if geometry is not None and geometry != geometry_of(points):
        raise other_points(len(points), "those of another geometry", path, stages)


def other_points(
    num_points: int, got: str, path: str | os.PathLike, stages: Sequence[str]
) -> InputError:
    """Return the error of a file that is of other points."""
    return InputError(
        f"features: those of the scene's {num_points} points in their order are "
        f"required, got {got} ({path}). The scene has changed since they were made: "
        f"run {', then '.join(map(command, stages))} for it."
    )


def _in_half_range(
    feat: Float[np.ndarray, "N C"],
) -> Float16[np.ndarray, "N C"]:
    """Return rows in f16; those that would overflow are divided by a power of two."""
    if feat.dtype == np.float16:
        return feat
    half = np.empty(feat.shape, np.float16)
    most = np.finfo(np.float16).max
    for first in range(0, len(feat), _ROWS_AT_ONCE):
        rows = feat[first : first + _ROWS_AT_ONCE]
        largest = np.abs(rows).max(axis=1, keepdims=True, initial=0)
        _, exponent = np.frexp(largest / most)
        half[first : first + _ROWS_AT_ONCE] = np.ldexp(
            rows, np.where(largest > most, -exponent, 0)
        )
    return half
