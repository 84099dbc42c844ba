"""Confidence is one less the entropy of the votes, as counted class by class."""

import math

import numpy as np
import pytest
from text_spaces import point_features, texts

from sas_jax.fusion.confidence import vote_confidence
from sas_jax.fusion.fuse import FuseConfig, fuse


def literal(prediction, weights, seen):
    """One point: the share of each class, its entropy, over that of equal votes."""
    voters = [t for t in range(len(seen)) if seen[t]]
    if len(voters) == 1:
        return 1.0
    share = {}
    for t in voters:
        share[prediction[t]] = share.get(prediction[t], 0.0) + weights[t]
    entropy = -sum(p * math.log(p) for p in share.values() if p > 0)
    return 1 - entropy / math.log(len(voters))


def test_equals_the_count_of_votes():
    rng = np.random.default_rng(0)
    prediction = rng.integers(0, 3, (4, 90))
    seen = rng.random((4, 90)) < 0.7
    seen[0, ~seen.any(axis=0)] = True
    weights = rng.random((4, 90)) * seen * (rng.random((4, 90)) < 0.9)
    weights[0] += 1e-3 * seen[0]
    weights[:, weights.sum(axis=0) == 0] = seen[:, weights.sum(axis=0) == 0]
    weights /= weights.sum(axis=0)
    wanted = [
        literal(*columns)
        for columns in zip(*map(np.transpose, (prediction, weights, seen)), strict=True)
    ]
    found = vote_confidence(prediction, weights, seen)
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    assert found.dtype == np.float32 and 0 <= found.min() < 0.3 < found.max() == 1


def test_agreement_is_sure_and_equal_contradiction_is_not():
    both = np.ones((2, 2), bool)
    votes = np.array([[4, 4], [4, 1]])
    half = np.full((2, 2), 0.5)
    np.testing.assert_allclose(vote_confidence(votes, half, both), [1, 0], atol=1e-7)
    trusted = np.array([[0.5, 0.99], [0.5, 0.01]])
    assert vote_confidence(votes, trusted, both)[1] > 0.9


@pytest.mark.parametrize("strategy", ["capability", "linear", "add"])
def test_fused_features_come_with_it_where_texts_tell_what_is_said(strategy):
    index, counts = np.arange(2, dtype=np.int32), np.ones(2, np.int32)
    said = {"a": [[1, 0], [1, 0]], "b": [[1, 0], [0, 1]]}
    features = {
        name: point_features(np.array(feat, np.float16), index, counts, 2)
        for name, feat in said.items()
    }
    table = np.full((2, 2), 0.5)
    known = None if strategy == "add" else texts(np.eye(2, dtype=np.float32))
    fused = fuse(features, table, known, FuseConfig(strategy=strategy))
    if strategy == "add":
        assert fused.confidence is None
    else:
        np.testing.assert_allclose(fused.confidence, [1, 0], atol=1e-6)
