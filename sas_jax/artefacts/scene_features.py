"""Features of a whole scene by voxel, in memory and on disk (numpy only).

P points, N voxels, C channels. Points of one voxel share its feature, so a scene's
features are N rows and an index, not P rows.
"""

import dataclasses
import pathlib

import numpy as np
from jaxtyping import Float, Int

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
    """Write scene features in half precision, for queries from a cold process."""
    tensors = {"feat": features.feat.astype(np.float16), "row": features.row}
    files.write_tensors(path, tensors, key=key, schema=SCHEMA)


def load_scene_features(path: str | pathlib.Path) -> SceneFeatures:
    """Read what `save_scene_features` wrote; a damaged file raises `DamagedFile`."""
    tensors, _ = files.read_tensors(path, schema=SCHEMA)
    return SceneFeatures(tensors["feat"], tensors["row"])
