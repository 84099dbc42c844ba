"""Scores against hand numbers and a slow count."""

import numpy as np
import pytest

from sas_jax.errors import ContractError, InputError
from sas_jax.evaluation import confusion


def slow_iou(truth, prediction, k):
    inter = union = 0
    for t, p in zip(truth, prediction, strict=True):
        if t == 255:
            continue
        inter += t == k and p == k
        union += t == k or p == k
    return 100 * inter / union if union else float("nan")


def test_hand_example():
    truth = np.array([0, 0, 0, 1, 1, 255])
    prediction = np.array([0, 0, 1, 1, -1, 0])
    scores = confusion.score(confusion.count(truth, prediction, 3))
    np.testing.assert_allclose(scores.iou[:2], [200 / 3, 100 / 3])
    assert np.isnan(scores.iou[2])
    assert scores.miou == pytest.approx(50)
    assert scores.overall == pytest.approx(60)
    np.testing.assert_array_equal(scores.points, [3, 2, 0])


def test_random_against_slow_count():
    rng = np.random.default_rng(0)
    truth = rng.choice([0, 1, 2, 3, 255], 500)
    prediction = rng.integers(-1, 4, 500)
    scores = confusion.score(confusion.count(truth, prediction, 4))
    for k in range(4):
        assert scores.iou[k] == pytest.approx(slow_iou(truth, prediction, k))


def test_unseen_points_by_policy():
    truth, prediction = np.array([0, 0, 1, 1]), np.array([0, -1, 1, 1])
    counts = confusion.count(truth, prediction, 2)
    assert confusion.score(counts).miou == pytest.approx(75)
    assert confusion.score(counts, unseen="ignored").miou == pytest.approx(100)
    official = confusion.score(counts, unseen="official")
    assert official.miou == pytest.approx(100)
    assert official.overall == pytest.approx(75)


def test_absent_classes_by_policy():
    counts = confusion.count(np.array([0, 0]), np.array([0, 0]), 4)
    assert confusion.score(counts).miou == pytest.approx(100)
    assert confusion.score(counts, absent="official").miou == pytest.approx(25)


def test_counts_add_over_scenes():
    rng = np.random.default_rng(1)
    truth, prediction = rng.integers(0, 5, 100), rng.integers(-1, 5, 100)
    parts = [slice(0, 40), slice(40, 100)]
    counts = [confusion.count(truth[s], prediction[s], 5) for s in parts]
    np.testing.assert_array_equal(sum(counts), confusion.count(truth, prediction, 5))


def test_nothing_scored_gives_nan_not_an_error():
    counts = confusion.count(np.array([255]), np.array([0]), 2)
    assert np.isnan(confusion.score(counts).miou)


@pytest.mark.parametrize(
    ("truth", "prediction", "error", "message"),
    [
        ([0, 1], [0], ContractError, "one prediction per point"),
        ([7], [0], InputError, "labels must lie in"),
        ([0], [9], ContractError, "predictions must lie in"),
    ],
)
def test_bad_input(truth, prediction, error, message):
    with pytest.raises(error, match=message):
        confusion.count(np.array(truth), np.array(prediction), 3)
