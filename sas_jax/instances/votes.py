"""Votes of 2-D masks: do two superpoints belong together?

Let h_i(m) be the share of superpoint i's points, of those that a frame sees in any of
its masks, that lie in mask m. Two of its points lie in one mask with probability

    p(i, j) = sum over m of h_i(m) h_j(m),

the frame's vote on a pair of near superpoints. It weighs as much as the smaller of
both sees of itself, w = min(n_i, n_j) points. Over all frames, and over all pairs
between two regions once superpoints are joined, the vote is sum(w p) / sum(w). Related:
SAI3D's affinity (Yin et al. 2024), the cosine of the histograms.
"""

from collections.abc import Iterable

import numpy as np
import scipy.sparse
from jaxtyping import Float64, Int, Int32


def count_votes(
    superpoints: Int[np.ndarray, " P"],
    pairs: Int[np.ndarray, "E 2"],
    frames: Iterable[Int32[np.ndarray, " P"]],
) -> tuple[Float64[np.ndarray, " E"], Float64[np.ndarray, " E"]]:
    """Return what the masks of all frames say about pairs of superpoints.

    Args:
      superpoints: id of each point, contiguous from 0.
      pairs: near superpoints.
      frames: of every frame the mask of each point, from 1; less where it sees none.

    Returns:
      [E] sum of w p, and [E] sum of w: 0 where no frame sees both.

    Deterministic: yes; frames are added in their order.
    """
    agreed, votes = np.zeros(len(pairs)), np.zeros(len(pairs))
    size = int(superpoints.max(initial=-1)) + 1
    for masks in frames:
        seen = masks > 0
        if not seen.any():
            continue
        shape = size, int(masks.max()) + 1
        ones = np.ones(int(seen.sum()))
        cells = superpoints[seen], masks[seen]
        counts = scipy.sparse.csr_matrix((ones, cells), shape=shape)
        totals = np.asarray(counts.sum(axis=1)).ravel()
        both = np.flatnonzero(np.minimum(*totals[pairs.T]) > 0)
        one, two = pairs[both].T
        together = np.asarray(counts[one].multiply(counts[two]).sum(axis=1)).ravel()
        weight = np.minimum(totals[one], totals[two])
        agreed[both] += weight * together / (totals[one] * totals[two])
        votes[both] += weight
    return agreed, votes
