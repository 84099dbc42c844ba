"""Means over seeds, correlations and claims against hand numbers."""

import dataclasses

import numpy as np
import pytest

from sas_jax.errors import InputError
from sas_jax.evaluation import protocol, summary


def evaluation(counts):
    return protocol.Evaluation("x", "two", {"a": np.array(counts)})


def test_mean_and_spread_over_seeds():
    one = evaluation([[10, 0, 0], [0, 10, 0]])  # 100 %
    two = evaluation([[5, 5, 0], [0, 10, 0]])  # 50 % and 66.7 %
    row = summary.summarize("student/full", "full", [one, two])
    low = (50 + 200 / 3) / 2
    assert row.miou == pytest.approx((100 + low) / 2)
    assert row.spread == pytest.approx(np.std([100, low], ddof=1))
    assert row.iou == pytest.approx((75, 500 / 6))
    assert summary.summarize("a", "a", [one]).spread is None


def test_unseen_points_count_as_missed_in_the_first_number_only():
    row = summary.summarize("a", "a", [evaluation([[5, 0, 5], [0, 10, 0]])])
    assert row.miou == pytest.approx(75)
    assert row.miou_seen == pytest.approx(100)


def test_rank_correlation_leaves_out_unknown_classes():
    capability = np.array([0.1, 0.5, 0.9, np.nan, 0.2])
    iou = np.array([10.0, 20, 30, 5, np.nan])
    assert summary.rank_correlation(capability, iou) == pytest.approx(1)
    assert np.isnan(summary.rank_correlation(capability[:2], iou[:2]))


def test_difference_correlation_asks_who_is_better():
    iou = np.array([[80.0, 20, 50], [20, 90, 40]])
    capability = np.array([[0.6, 0.3, 0.5], [0.5, 0.6, 0.45]])
    assert summary.difference_correlation(capability, iou) == pytest.approx(1)
    assert summary.difference_correlation(capability[::-1], iou) == pytest.approx(-1)


def test_claims_name_what_does_not_hold_and_what_is_missing():
    def row(name, miou):
        return summary.Row(name, name, miou, 0, 0, 0, None, (miou,), ())

    rows = {
        name: row(name, miou)
        for name, miou in {
            "teacher/a": 40.0,
            "teacher/b": 50.0,
            "fused/capability": 55.0,
            "fused/add": 56.0,
            "student/superpoint": 60.0,
        }.items()
    }
    claims = summary.claims(rows, ["a", "b"])
    assert [claim.holds for claim in claims] == [True, False, None, True, None]
    gains = [claim.gain for claim in claims]
    np.testing.assert_allclose(gains, [5, -1, np.nan, 5, np.nan])


def test_rows_of_different_scenes_make_no_table():
    one, other = evaluation([[1, 0, 0], [0, 1, 0]]), evaluation([[1, 0, 0], [0, 1, 0]])
    summary.check_same_scenes([])
    summary.check_same_scenes([one, other])
    other.counts["b"] = other.counts.pop("a")
    with pytest.raises(InputError, match=r"same scenes, got 2 .*e\.g\. a\."):
        summary.check_same_scenes([one, other])


def test_rows_of_different_classes_make_no_table():
    one = evaluation([[1, 0, 0], [0, 1, 0]])
    other = dataclasses.replace(one, label_set="others")
    with pytest.raises(InputError, match=r"same classes, got .* and others for"):
        summary.check_same_scenes([one, other])
