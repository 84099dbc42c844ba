"""Superpoints on disk: the superpoint id of each of a scene's P points."""

import os

import numpy as np
from jaxtyping import Float, Int32

from sas_jax.artefacts.features import check_points, geometry_of, other_points
from sas_jax.artefacts.files import read_manifest, read_tensors, write_tensors
from sas_jax.errors import DamagedFile
from sas_jax.stages import command

SCHEMA = "sas_jax.superpoints/1"
_STAGES = ("make_superpoints",)


def save_superpoints(
    path: str | os.PathLike,
    superpoints: Int32[np.ndarray, " P"],
    *,
    key: str,
    points: Float[np.ndarray, "P 3"] | None = None,
) -> None:
    """Write the superpoint id of each point atomically; the manifest has the counts.

    Args:
      path: ends in `.safetensors`.
      superpoints: ids, contiguous from 0.
      key: content key of what they were made from.
      points: the scene's, to be compared by readers.
    """
    meta = {
        "points": str(len(superpoints)),
        "superpoints": str(int(superpoints.max(initial=-1)) + 1),
    }
    if points is not None:
        meta["geometry"] = geometry_of(points)
    tensors = {"superpoints": superpoints.astype(np.int32)}
    write_tensors(path, tensors, key=key, schema=SCHEMA, meta=meta)


def load_superpoints(
    path: str | os.PathLike,
    points: Float[np.ndarray, "P 3"] | None = None,
    geometry: str | None = None,
) -> Int32[np.ndarray, " P"]:
    """Read the superpoint id of each point.

    Args:
      path: as `save_superpoints` wrote it.
      points: the scene that they are for, to be compared; None compares nothing.
      geometry: the same where only the key of the points is at hand.

    Raises:
      InputError: for superpoints of other points; and like `files.read_tensors`.
    """
    tensors, meta = read_tensors(path, schema=SCHEMA)
    ids, stated = tensors["superpoints"], meta.get("geometry")
    check_points(points, len(ids), stated, path, _STAGES)
    if None not in (geometry, stated) and geometry != stated:
        raise other_points(len(ids), "others", path, _STAGES)
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
            f"Delete the file and run again: {command('make_superpoints')}"
        ) from error
