"""Text spaces of no tower, and features in them, for tests."""

import dataclasses

import numpy as np

from sas_jax.artefacts.features import Features, rows_of_points
from sas_jax.artefacts.space import TextFeatures, TextSpace
from sas_jax.text import minilm_files


def space(dim: int, name: str = "test") -> TextSpace:
    """Return a space of some dimension; another name is another space."""
    return TextSpace(name, "0" * 64, dim)


def texts(rows: np.ndarray, name: str = "test") -> TextFeatures:
    """Return rows as text features."""
    return TextFeatures(rows, space(rows.shape[1], name))


def point_features(
    feat, index, counts, num_points, name: str = "test", **more
) -> Features:
    """Return features of the points `index`."""
    row = rows_of_points(index, num_points)
    return Features(feat, row, counts, space(feat.shape[1], name), **more)


def in_minilm(features: Features) -> Features:
    """Return features of 384 dimensions as if they lived in the space of MiniLM."""
    return dataclasses.replace(features, space=minilm_files.SPACE)
