"""Answers to a question as whole things: the proposals that it is true of."""

import numpy as np
from jaxtyping import Float

from sas_jax.evaluation.query import QueryConfig, Region, answers_well, region_of
from sas_jax.instances.masks import Instances, check_same_points

_SHARED = 0.5
"""Of the smaller of two answers, from which they are one."""


def answers(
    points: Float[np.ndarray, "P 3"],
    values: Float[np.ndarray, " P"],
    instances: Instances,
    config: QueryConfig | None = None,
) -> list[Region]:
    """Return the instances that answer a question, best first.

    An instance answers by the mean relevancy of its points; where instances overlap,
    the one that answers best stands for all.

    Args:
      points: metres.
      values: relevancy per point; NaN for points without a feature, which count as 0.
      instances: of the points.
      config: thresholds, on means.

    Raises:
      InputError: for instances of other points.
    """
    config = config or QueryConfig()
    check_same_points(instances, len(points), "the scene")
    known = np.nan_to_num(values, nan=0.0)
    means = np.array([known[mask].mean() for mask in instances.masks()])
    found: list[Region] = []
    taken: list[np.ndarray] = []
    for index in np.argsort(-means, kind="stable"):
        if not answers_well(means, config)[index]:
            break
        mask = instances.mask(index)
        if any(
            (mask & other).sum() > _SHARED * min(mask.sum(), other.sum())
            for other in taken
        ):
            continue
        taken.append(mask)
        found.append(region_of(points, np.flatnonzero(mask), float(means[index])))
    return found
