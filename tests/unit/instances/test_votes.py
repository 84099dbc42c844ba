"""Votes of masks against a count over pairs of points."""

import numpy as np
import pytest

from sas_jax.instances.votes import count_votes


def written_out(superpoints, pairs, frames):
    agreed, votes = np.zeros(len(pairs)), np.zeros(len(pairs))
    for masks in frames:
        for row, (a, b) in enumerate(pairs):
            one, two = (masks[(superpoints == i) & (masks > 0)] for i in (a, b))
            if len(one) and len(two):
                weight = min(len(one), len(two))
                agreed[row] += weight * np.mean(one[:, None] == two[None])
                votes[row] += weight
    return agreed, votes


@pytest.mark.parametrize("seed", range(3))
def test_a_vote_is_the_share_of_pairs_of_points_in_one_mask(seed):
    rng = np.random.default_rng(seed)
    superpoints = np.repeat(np.arange(6), rng.integers(1, 9, 6))
    frames = rng.integers(-1, 4, (5, len(superpoints))).astype(np.int32)
    frames[3] = rng.choice([-1, 0], len(superpoints))  # nothing but void
    frames[:, superpoints == 5] = -1  # never seen
    pairs = np.stack(np.triu_indices(6, 1), 1).astype(np.int32)
    got = count_votes(superpoints, pairs, iter(frames))
    for ours, theirs in zip(got, written_out(superpoints, pairs, frames), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    assert not got[1][(pairs == 5).any(axis=1)].any()


def test_without_frames_or_pairs_nobody_votes():
    none = np.zeros((0, 2), np.int32)
    superpoints = np.zeros(4, np.int64)
    agreed, votes = count_votes(superpoints, none, [np.ones(4, np.int32)])
    assert agreed.shape == votes.shape == (0,)
    empty = count_votes(np.zeros(0, np.int64), none, [np.zeros(0, np.int32)])
    assert empty[0].shape == (0,)
    assert not count_votes(superpoints, np.array([[0, 0]]), [])[1].any()
