"""Features of a whole scene by voxel, in memory and on disk (numpy only).

P points, N voxels, C channels. Points of one voxel share its feature, so a scene's
features are N rows and an index, not P rows.
"""

import dataclasses
import pathlib

import numpy as np
from jaxtyping import Float, Float16, Int

from sas_jax.artefacts import files

SCHEMA = "sas_jax.scene_features/1"


@dataclasses.dataclass(frozen=True)
class SceneFeatures:
    """Features of a scene by voxel.

    Attributes:
      feat: f32 or f16 [N, C], as the network gives them, not normalised.
      row: i32 [P], the voxel of each point.
    """

    feat: Float[np.ndarray, "N C"]
    row: Int[np.ndarray, "P"]


def save_scene_features(
    path: str | pathlib.Path, features: SceneFeatures, key: str
) -> None:
    """Write scene features in half precision, for queries from a cold process.

    Rows that are too long for it are written shorter: only their direction is asked
    for, and losses of the cosine leave the length to chance.
    """
    tensors = {"feat": _in_half_range(features.feat), "row": features.row}
    files.write_tensors(path, tensors, key=key, schema=SCHEMA)


def _in_half_range(
    feat: Float[np.ndarray, "N C"],
) -> Float16[np.ndarray, "N C"]:
    """Return rows in f16; those that would overflow are divided by a power of two."""
    largest = np.abs(feat).max(axis=1, keepdims=True, initial=0)
    most = np.finfo(np.float16).max
    _, exponent = np.frexp(largest / most)
    return np.ldexp(feat, np.where(largest > most, -exponent, 0)).astype(np.float16)


def load_scene_features(path: str | pathlib.Path) -> SceneFeatures:
    """Read what `save_scene_features` wrote; a damaged file raises `DamagedFile`."""
    tensors, _ = files.read_tensors(path, schema=SCHEMA)
    return SceneFeatures(tensors["feat"], tensors["row"])
