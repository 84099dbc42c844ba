"""Zero-shot semantic segmentation: the text that is nearest to a point's feature.

P points, N rows of features, C channels of the text space, A texts. One protocol serves
2-D features of a teacher, fused features and student features alike.

A student names classes point by point, in noise that its superpoints do not have. Means
of class scores over superpoints take it away, and give the points that no camera saw
what their superpoint scored.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from jaxtyping import Float, Float32, Int, Int32
from scipy.sparse import coo_matrix

from sas_jax.artefacts.features import Features
from sas_jax.artefacts.space import TextFeatures, one_space
from sas_jax.errors import ContractError
from sas_jax.evaluation.confusion import NO_PREDICTION

_ROWS_AT_ONCE = 65_536


@dataclasses.dataclass(frozen=True)
class TextScores:
    """How well each text fits each point of a scene.

    Attributes:
      row: [P] i32, row of each point, -1 for a point without a feature.
      num_rows: N.
      num_texts: A.
      blocks: yields the rows' scores in order, [n, A] f32 each; again at every call.
    """

    row: Int32[np.ndarray, " P"]
    num_rows: int
    num_texts: int
    blocks: Callable[[], Iterator[Float32[np.ndarray, "n A"]]]

    def best(self) -> Int32[np.ndarray, " P"]:
        """Return the index of the best text of every point, -1 without a feature."""
        best = np.full(self.num_rows + 1, NO_PREDICTION, np.int32)  # the last: row -1
        start = 0
        for block in self.blocks():
            best[start : start + len(block)] = np.argmax(block, axis=1)
            start += len(block)
        return best[self.row]

    def table(self) -> Float32[np.ndarray, "N A"]:
        """Return all rows' scores at once."""
        return np.concatenate(
            [np.zeros((0, self.num_texts), np.float32), *self.blocks()]
        )

    def over_superpoints(self, superpoints: Int[np.ndarray, " P"]) -> "TextScores":
        """Return the mean scores of the points of each superpoint that have a feature.

        Args:
          superpoints: id of each point, contiguous from 0.

        Returns:
          Scores of all points; -1 stays where no point of a superpoint has a feature.

        Raises:
          ContractError: when there is not one id per point.
        """
        if superpoints.shape != self.row.shape:
            raise ContractError(
                f"evaluate: one superpoint per point ({len(self.row)}) is required, "
                f"got {list(superpoints.shape)}."
            )
        count = int(superpoints.max(initial=-1)) + 1
        has = np.flatnonzero(self.row >= 0)
        shape = (count, self.num_rows)
        ones = np.ones(len(has), np.float32)
        shares = coo_matrix((ones, (superpoints[has], self.row[has])), shape).tocsc()
        sums, start = np.zeros((count, self.num_texts), np.float32), 0
        for block in self.blocks():
            sums += shares[:, start : start + len(block)] @ block
            start += len(block)
        points = np.bincount(superpoints[has], minlength=count)
        means = sums / np.maximum(points, 1)[:, None]
        row = np.where(points[superpoints] > 0, superpoints, -1).astype(np.int32)
        return TextScores(row, count, self.num_texts, lambda: iter((means,)))


def text_scores(features: Features, texts: TextFeatures) -> TextScores:
    """Return the cosine of every feature with every text.

    Args:
      features: of any level.
      texts: e.g. of the prompts "a XX in a scene" (section 3.5).

    Raises:
      InputError: when the two live in different spaces.
    """
    one_space("evaluate", {"the features": features.space, "the texts": texts.space})
    columns = np.ascontiguousarray(texts.rows.T, np.float32)

    def blocks() -> Iterator[Float32[np.ndarray, "n A"]]:
        for start in range(0, len(features.feat), _ROWS_AT_ONCE):
            rows = features.feat[start : start + _ROWS_AT_ONCE].astype(np.float32)
            yield rows @ columns / _lengths(rows)

    return TextScores(features.row, len(features.feat), len(texts.rows), blocks)


def summed_products(passes: Iterable[Features], texts: TextFeatures) -> TextScores:
    """Return the sum over several passes of every point's products with the texts.

    What the authors' evaluation adds up: features as they are, features and texts and
    each pass's products in half precision. Holds [P, A].

    Args:
      passes: features of the same points, at least one.
      texts: as in `text_scores`.

    Raises:
      InputError: when the two live in different spaces.

    Source: authors' code (run/evaluate.py).
    """
    columns = texts.rows.T.astype(np.float16).astype(np.float32)
    sums, seen = np.zeros((0, len(texts.rows)), np.float32), np.zeros(0, bool)
    for features in passes:
        spaces = {"the features": features.space, "the texts": texts.space}
        one_space("evaluate", spaces)
        if not len(seen):
            sums = np.zeros((features.num_points, len(texts.rows)), np.float32)
            seen = np.zeros(features.num_points, bool)
        products = np.empty((len(features.feat), len(texts.rows)), np.float16)
        for start in range(0, len(products), _ROWS_AT_ONCE):
            block = slice(start, start + _ROWS_AT_ONCE)
            half = features.feat[block].astype(np.float16).astype(np.float32)
            products[block] = half @ columns
        sums[features.seen] += products[features.row[features.seen]]
        seen |= features.seen
    row = np.where(seen, np.arange(len(seen)), -1).astype(np.int32)
    return TextScores(row, len(sums), len(texts.rows), lambda: iter((sums,)))


def ensemble(first: Features, second: Features, texts: TextFeatures) -> Features:
    """Return per point the feature with the larger maximal cosine to any text.

    Args:
      first: of a scene's points, e.g. of a student; it wins a draw.
      second: of the same points, e.g. fused; a point may be in one of both only.
      texts: as in `text_scores`.

    Raises:
      InputError: when they live in different spaces.

    Source: OpenScene (arXiv 2211.15654), section 3.3: the 2-D/3-D ensemble.
    """
    both = (first, second)
    best = [_largest(text_scores(features, texts))[features.row] for features in both]
    row = np.where(best[1] > best[0], second.row + len(first.feat), first.row)
    row = np.where(np.maximum(*best) == -np.inf, -1, row)
    return Features(
        np.concatenate([features.feat.astype(np.float32) for features in both]),
        row.astype(np.int32),
        np.concatenate([features.counts for features in both]),
        first.space,
        "voxel",
        first.geometry,
    )


def _largest(scores: TextScores) -> Float32[np.ndarray, " N+1"]:
    """Return each row's largest score, and -inf for row -1."""
    largest = [block.max(axis=1) for block in scores.blocks()]
    return np.concatenate([*largest, np.full(1, -np.inf, np.float32)])


def classify(features: Features, texts: TextFeatures) -> Int32[np.ndarray, " P"]:
    """Return the index of the nearest text of every point, -1 without a feature.

    Args:
      features: of any level.
      texts: as in `text_scores`.

    Raises:
      InputError: when the two live in different spaces.
    """
    return text_scores(features, texts).best()


def _lengths(rows: Float[np.ndarray, "n C"]) -> Float32[np.ndarray, "n 1"]:
    return np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
