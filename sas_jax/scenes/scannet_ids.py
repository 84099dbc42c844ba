"""Whether the ids of a scan are NYU40's, with strays among them, or raw ones.

ScanNet v2 labels with NYU40 ids, 0..40, its first release with raw ids, of which the
most frequent are below 41 too. A few scans of v2 hold single ids beyond 40. Such ids
alone therefore tell little; what the annotators called the objects tells more.
"""

import logging
import pathlib
from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Shaped

from sas_jax.scenes.labels import NYU40_IDS, SCANNET20

# Classes whose raw name is NYU40's and whose raw id is another one: wall is 1 in both,
# a sofa is a couch there.
_TELLING = {
    name: nyu40
    for name, nyu40 in zip(
        SCANNET20.classes.names, SCANNET20.raw_ids["nyu40"], strict=True
    )
    if name not in ("wall", "sofa", "other furniture")
}
# Of the different ids in a scan: raw ids have their long tail beyond 40, strays are one
# or two of a dozen.
_MOST_STRAYS = 0.25


def are_raw(
    ids: Shaped[np.ndarray, " P"], named: Mapping[str, Bool[np.ndarray, " P"]]
) -> bool:
    """Tell whether ids, some of them beyond NYU40's, are raw ones.

    Args:
      ids: >= 0, at least one > 40.
      named: which points belong to objects of a name, for the names that are known.
    """
    points = hits = 0
    for name, nyu40 in _TELLING.items():
        if name in named:
            points += int(named[name].sum())
            hits += int((ids[named[name]] == nyu40).sum())
    if points:
        return 2 * hits < points
    different = np.unique(ids[ids > 0])
    return bool((different >= NYU40_IDS).mean() > _MOST_STRAYS)


def without_strays(
    ids: Shaped[np.ndarray, " P"], path: pathlib.Path
) -> Shaped[np.ndarray, " P"]:
    """Return the ids with those that NYU40 does not have as 0, unlabelled; and warn."""
    stray = ids >= NYU40_IDS
    logging.warning(
        "scannet: labels must be NYU40 ids, 0..40, got %d of %d points with %s; they "
        "count as unlabelled (%s).",
        *(stray.sum(), len(ids), ", ".join(map(str, np.unique(ids[stray])[:9])), path),
    )
    return np.where(stray, 0, ids)
