"""Whole things answer a question by the mean of their points."""

import numpy as np
import pytest

from sas_jax.errors import InputError
from sas_jax.instances.answers import answers
from sas_jax.instances.masks import of_masks

POINTS = np.stack([np.arange(10.0), np.zeros(10), np.zeros(10)], axis=1)


def mask(*points):
    return np.isin(np.arange(10), points)


def test_the_best_of_overlapping_instances_answers():
    values = np.array([0.9, 0.8, 0.8, np.nan, 0.2, 0.2, 0.7, 0.75, 0.2, 0.2])
    masks = [mask(0, 1, 2, 3), mask(0, 1, 2), mask(4, 5), mask(6, 7), mask(7, 8, 9)]
    found = answers(POINTS, values, of_masks(np.array(masks)))
    assert [region.points.tolist() for region in found] == [[0, 1, 2], [6, 7]]
    assert found[0].score == pytest.approx(2.5 / 3)
    np.testing.assert_array_equal(found[0].center_m, [1, 0, 0])
    np.testing.assert_array_equal(found[0].size_m, [2, 0, 0])


def test_nothing_answers_where_nothing_fits():
    none = of_masks(np.zeros((0, 10), bool))
    assert answers(POINTS, np.full(10, 0.9), none) == []
    some = of_masks(np.array([mask(0, 1)]))
    assert answers(POINTS, np.full(10, 0.4), some) == []
    assert answers(POINTS, np.full(10, np.nan), some) == []
    with pytest.raises(InputError, match="masks over the scene's 9 points"):
        answers(POINTS[:9], np.full(9, 0.9), some)
