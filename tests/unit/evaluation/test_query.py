"""Relevancy against a hand value; regions of separate clusters."""

import numpy as np
import pytest
from text_spaces import space, texts

from sas_jax.artefacts.features import Features
from sas_jax.errors import InputError
from sas_jax.evaluation import query


def test_relevancy_is_the_smallest_two_way_softmax():
    features = query.unit(np.array([[1.0, 0, 0], [1, 1, 0], [0, 0, 0]]))
    texts = np.eye(3, dtype=np.float32)
    got = query.relevancy(features, texts[0], texts[1:], temperature=0.5)
    np.testing.assert_allclose(got, [1 / (1 + np.exp(-2)), 0.5, 0.5], rtol=1e-6)


def test_scale_of_a_feature_does_not_matter():
    rng = np.random.default_rng(0)
    features, texts = rng.normal(size=(5, 8)), query.unit(rng.normal(size=(3, 8)))
    one = query.relevancy(query.unit(features), texts[0], texts[1:])
    many = query.relevancy(query.unit(7 * features), texts[0], texts[1:])
    np.testing.assert_allclose(one, many, rtol=1e-5)


def test_regions_are_connected_parts_best_first():
    rng = np.random.default_rng(1)
    near = rng.uniform(0, 0.3, (200, 3))
    points = np.concatenate([near, near + 2, near + 4, [[9, 9, 9.0]]])
    values = np.repeat([0.8, 0.9, 0.2], 200)
    values = np.append(values, 0.95)
    config = query.QueryConfig(relative_threshold=0.3)
    found = query.regions(points, values, config)
    assert [round(region.score, 3) for region in found] == [0.9, 0.8]
    np.testing.assert_array_equal(np.sort(found[0].points), np.arange(200, 400))
    np.testing.assert_allclose(found[1].center_m, 0.15, atol=0.02)


def test_cells_are_as_large_as_points_are_apart():
    x, y = np.meshgrid(np.arange(0, 10, 0.25), np.arange(0, 10, 0.25))
    street = np.stack([x, y, 0 * x], -1).reshape(-1, 3)
    points = np.concatenate([street, street + np.array([30, 0, 0])])
    values = np.repeat([0.9, 0.8], len(street))
    found = query.regions(points, values, query.config_for(points))
    assert [len(region.points) for region in found] == [len(street)] * 2
    room = np.random.default_rng(2).uniform(0, 1, (1000, 3)) * [1, 1, 0]
    for dense in (room, np.zeros((5, 3))):
        assert query.config_for(dense) == query.QueryConfig()


@pytest.mark.parametrize("values", [np.full(30, 0.4), np.full(30, np.nan)])
def test_nothing_that_answers_gives_no_region(values):
    assert query.regions(np.zeros((30, 3)), values) == []


def test_another_space_is_an_error():
    with pytest.raises(InputError, match="share one space"):
        query.relevancy(np.zeros((2, 4)), np.zeros(3), np.zeros((1, 3)))


def test_superpoints_answer_by_the_mean_of_their_points():
    rng = np.random.default_rng(2)
    feat = query.unit(rng.normal(size=(3, 4)))
    row = np.array([0, 1, 2, -1, -1], np.int32)
    features = Features(feat, row, np.ones(3, np.int32), space(4), "voxel")
    words = query.unit(rng.normal(size=(3, 4)))
    superpoints = np.array([0, 0, 1, 1, 2])
    asked = texts(words[:1]), texts(words[1:])
    got = query.point_relevancy(features, *asked, superpoints=superpoints)
    mean = (feat[0] + feat[1]) / 2
    alone = query.point_relevancy(features, *asked)
    expected = query.relevancy(mean[None], words[0], words[1:])[0]
    np.testing.assert_allclose(got[:2], expected, rtol=1e-5)
    np.testing.assert_allclose(got[2:4], alone[2], rtol=1e-5)  # 3 was not seen
    assert np.isnan(got[4]) and np.isnan(alone[3:]).all()
