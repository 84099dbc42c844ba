"""Free-text queries: a relevancy for every point and the regions that answer best.

N features, C channels, P points. A similarity alone says little ("0.31" may be high
or low), so each point's similarity to the query is held against its similarity to
words that fit anything; the result is 0.5 where the query fits no better than those.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from sas_jax.artefacts.features import Features
from sas_jax.artefacts.space import TextFeatures, one_space
from sas_jax.errors import InputError
from sas_jax.evaluation.semantic import text_scores
from sas_jax.sparse import keys as voxel_keys
from sas_jax.sparse import tables
from sas_jax.sparse.extent import spacing

ANYTHING = ("object", "things", "stuff", "texture")
_BLOCK_ROWS = 65536


@dataclasses.dataclass(frozen=True)
class QueryConfig:
    """Settings of a query.

    Attributes:
      temperature: of the two-way softmax between the query and `ANYTHING`.
      threshold: relevancy of points that may belong to a region.
      relative_threshold: the same as a share of the scene's best relevancy above
        `neutral`, so that only what answers nearly as well as the best is a region.
      neutral: relevancy of what fits no better than anything would.
      cell_m: points are put into cells with this edge, metres; cells that touch, if
        only at a corner, belong to one region.
      min_points: smaller regions are left out.
    """

    temperature: float = 0.1
    threshold: float = 0.5
    relative_threshold: float = 0.6
    neutral: float = 0.5
    cell_m: float = 0.06
    min_points: int = 20


def config_for(points: Float[np.ndarray, "P 3"]) -> QueryConfig:
    """Return settings whose cells are larger than points are apart, LiDAR's too."""
    usual = QueryConfig()
    apart = spacing(points, usual.cell_m)
    return usual if apart == usual.cell_m else QueryConfig(cell_m=1.5 * apart)


@dataclasses.dataclass(frozen=True)
class Region:
    """A connected part of the scene that answers a query.

    Attributes:
      score: mean relevancy of its points.
      center_m: [3] centre of its bounding box, metres.
      size_m: [3] edges of its axis-aligned bounding box, metres.
      points: [R] indices of its points.
    """

    score: float
    center_m: Float[np.ndarray, "3"]
    size_m: Float[np.ndarray, "3"]
    points: Int[np.ndarray, " R"]


def unit(features: Float[np.ndarray, "N C"]) -> Float[np.ndarray, "N C"]:
    """Return rows of length one in float32; a zero row stays zero."""
    rows = features.astype(np.float32)  # a copy, and the only one of this size
    for start in range(0, len(rows), _BLOCK_ROWS):
        block = rows[start : start + _BLOCK_ROWS]
        length = np.linalg.norm(block, axis=1, keepdims=True)
        block /= np.maximum(length, 1e-12)
    return rows


def relevancy(
    features: Float[np.ndarray, "N C"],
    query: Float[np.ndarray, " C"],
    anything: Float[np.ndarray, "A C"],
    temperature: float = 0.1,
) -> Float[np.ndarray, " N"]:
    """Hold each feature's similarity to the query against words that fit anything.

    The smallest of the two-way softmaxes `1 / (1 + exp((f.a - f.q) / temperature))`
    over the words a: the query must beat every one of them.

    Args:
      features: unit rows, e.g. from `unit`, computed once per scene.
      query: unit text feature of the query.
      anything: unit text features of `ANYTHING`.
      temperature: > 0.

    Returns:
      Values in (0, 1); 0.5 where the query fits as well as the best such word, and
      for zero features.

    Source: the relevancy of LERF (arXiv 2303.09553, section 3.4).
    """
    if features.shape[1] != query.shape[-1]:
        raise InputError(
            f"query: text and features must share one space, got {query.shape[-1]} and "
            f"{features.shape[1]} channels. Use the text tower of the features."
        )
    texts = np.concatenate([query[None], anything]).astype(np.float32)
    return _against_anything(features @ texts.T, temperature)


def _against_anything(
    similarity: Float[np.ndarray, "N 1+A"], temperature: float
) -> Float[np.ndarray, " N"]:
    margin = similarity[:, 0] - similarity[:, 1:].max(axis=1)
    return 1 / (1 + np.exp(-margin / temperature))


def unit_features(features: Features) -> Features:
    """Return features with rows of length one, for any number of questions."""
    return dataclasses.replace(features, feat=unit(features.feat))


def point_relevancy(
    features: Features,
    question: TextFeatures,
    anything: TextFeatures,
    temperature: float = 0.1,
    superpoints: Int[np.ndarray, " P"] | None = None,
) -> Float[np.ndarray, " P"]:
    """Return the relevancy of every point to a question, NaN without a feature.

    Args:
      features: with rows of length one, from `unit_features`.
      question: of one text.
      anything: of `ANYTHING`.
      temperature: see `relevancy`.
      superpoints: of the points; all points of one then answer by the mean of its
        similarities, also those that no camera saw.

    Raises:
      InputError: when they live in different text spaces.
    """
    one_space("query", {"the features": features.space, "the text": question.space})
    if superpoints is None:
        rows = relevancy(features.feat, question.rows[0], anything.rows, temperature)
        return np.append(rows, np.float32(np.nan))[features.row]
    texts = np.concatenate([question.rows[:1], anything.rows])
    means = text_scores(features, TextFeatures(texts, question.space))
    means = means.over_superpoints(superpoints)
    rows = _against_anything(means.table(), temperature)
    return np.append(rows, np.float32(np.nan))[means.row]


def answers_well(
    values: Float[np.ndarray, " P"], config: QueryConfig
) -> Bool[np.ndarray, " P"]:
    """Tell which values answer better than anything would, and nearly as the best."""
    best = float(values.max(initial=0))
    above = config.relative_threshold * (best - config.neutral)
    relative = config.neutral + above
    return values > max(config.threshold, relative)


def _groups(points: Float[np.ndarray, "P 3"], cell_m: float) -> Int[np.ndarray, " P"]:
    """Return which connected group of touching cells each point is in."""
    cells = np.floor(points / cell_m).astype(np.int32)
    keys = voxel_keys.pack(np.pad(cells - cells.min(0), ((0, 0), (1, 0))))
    unique, inverse = np.unique(keys, return_inverse=True)
    offsets = tables.kernel_offsets(3)
    nbr = tables.neighbour_table(unique, offsets, 1, capacity=len(unique))
    half = nbr[: len(offsets) // 2]  # the others are the same pairs again
    _, row = np.nonzero(half >= 0)
    ones = np.ones(len(row), np.int8)
    graph = coo_matrix((ones, (row, half[half >= 0])), (len(unique),) * 2)
    return connected_components(graph, directed=False)[1][inverse]


def region_of(
    points: Float[np.ndarray, "P 3"], members: Int[np.ndarray, " R"], score: float
) -> Region:
    """Return the region of some points, at least one."""
    low, high = points[members].min(0), points[members].max(0)
    return Region(score, (low + high) / 2, high - low, members)


def distinct(several: Sequence[Sequence[Region]], num_points: int) -> list[Region]:
    """Return the regions of several questions as one answer, best first.

    Of two that share half of the smaller one the better stands for both.

    Args:
      several: regions of each question.
      num_points: of the scene.
    """
    ordered = sorted((r for found in several for r in found), key=lambda r: -r.score)
    kept: list[Region] = []
    taken = np.zeros(num_points, np.int64)  # number of the kept region, 0 without
    for region in ordered:
        numbers, shared = np.unique(taken[region.points], return_counts=True)
        if any(
            number
            and count > 0.5 * min(len(kept[number - 1].points), len(region.points))
            for number, count in zip(numbers, shared, strict=True)
        ):
            continue
        kept.append(region)
        taken[region.points] = len(kept)
    return kept


def regions(
    points: Float[np.ndarray, "P 3"],
    values: Float[np.ndarray, " P"],
    config: QueryConfig | None = None,
) -> list[Region]:
    """Group the points that answer the query into connected regions, best first.

    Args:
      points: metres.
      values: relevancy per point; NaN for points without a feature.
      config: thresholds.

    Returns:
      Regions by falling score; empty when nothing answers better than `ANYTHING`.
    """
    config = config or QueryConfig()
    chosen = np.flatnonzero(answers_well(np.nan_to_num(values, nan=0.0), config))
    if not len(chosen):
        return []
    group = _groups(points[chosen], config.cell_m)
    order = np.argsort(group, kind="stable")
    bounds = np.flatnonzero(np.diff(group[order])) + 1
    found = []
    for members in np.split(chosen[order], bounds):
        if len(members) < config.min_points:
            continue
        found.append(region_of(points, members, float(values[members].mean())))
    return sorted(found, key=lambda region: -region.score)
