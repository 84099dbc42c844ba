"""Features beside a file of Gaussians, for viewers that know only Gaussians.

The artefact is that of every scene's features (`artefacts.features`): half precision,
with its text space and a key of the positions, so that another file's are refused.
"""

import dataclasses
import pathlib

import numpy as np

from sas_jax.artefacts.features import (
    Features,
    geometry_of,
    load_features,
    rows_of_points,
    save_features,
)
from sas_jax.artefacts.space import TextSpace
from sas_jax.errors import ContractError
from sas_jax.gaussians.splats import Splats


def sidecar_of(path: str | pathlib.Path) -> pathlib.Path:
    """Return where the features of a file of Gaussians lie."""
    path = pathlib.Path(path)
    return path.with_name(f"{path.name}.features.safetensors")


def save_sidecar(path: str | pathlib.Path, splats: Splats, space: TextSpace) -> None:
    """Write features beside a file; those of zeros only are of Gaussians without one.

    Args:
      path: of the Gaussians.
      splats: with features.
      space: of the features' texts.

    Raises:
      ContractError: for Gaussians without features.
      InputError: for features of another length than the space's, and when the disk is
        full or not writable.
    """
    if splats.features is None:
        raise ContractError("sidecar: features are required, got none. Lift them.")
    seen = np.flatnonzero(splats.features.any(axis=1))
    features = Features(
        feat=splats.features[seen],
        row=rows_of_points(seen, len(splats)),
        counts=np.ones(len(seen), np.int32),
        space=space,
    )
    save_beside(path, features, splats)


def save_beside(path: str | pathlib.Path, features: Features, splats: Splats) -> None:
    """Write the features of a file's Gaussians beside it.

    Raises:
      InputError: when the disk is full or not writable.
    """
    geometry = geometry_of(splats.means)
    named = dataclasses.replace(features, geometry=geometry)
    save_features(sidecar_of(path), named, key=geometry)


def load_sidecar(path: str | pathlib.Path, splats: Splats) -> tuple[Splats, TextSpace]:
    """Return the Gaussians of a file with the features beside it, and their space.

    Raises:
      InputError: where there are none, for damaged ones, and for those of others.
    """
    features = load_features(sidecar_of(path), splats.means)
    return dataclasses.replace(splats, features=features.dense()), features.space
