"""Questions against other words: where one text fits better than all of some others."""

import numpy as np
from jaxtyping import Float32, Int

from sas_jax.artefacts.features import Features
from sas_jax.artefacts.space import TextFeatures
from sas_jax.evaluation.semantic import text_scores


def margins(
    features: Features,
    superpoints: Int[np.ndarray, " P"] | None,
    texts: TextFeatures,
    others: TextFeatures,
) -> Float32[np.ndarray, " P"]:
    """Return by how much the best of some texts fits better than the best of others.

    Args:
      features: of the points.
      superpoints: of the points, which then answer by the mean of their superpoint's
        cosines, also those that no camera saw; None: each by its own.
      texts: what is asked for, at least one.
      others: what it is held against, at least one.

    Returns:
      Differences of cosines; NaN where nothing was seen.

    Raises:
      InputError: when they live in different text spaces.
    """
    scores = [text_scores(features, each) for each in (texts, others)]
    if superpoints is not None:
        scores = [each.over_superpoints(superpoints) for each in scores]
    best, other = (each.table().max(axis=1) for each in scores)
    return np.append(best - other, np.float32(np.nan))[scores[0].row]
