"""Evaluations survive the disk; scenes without labels are refused."""

import numpy as np
import pytest
from text_spaces import point_features, space, texts

from sas_jax.artefacts.features import Features
from sas_jax.errors import InputError
from sas_jax.evaluation import protocol, semantic
from sas_jax.scenes.labels import SCANNET20
from sas_jax.scenes.scene import Scene


def scene(labels):
    points = np.zeros((3, 3), np.float32)
    return Scene("s", points, labels=labels, label_set=SCANNET20)


def test_round_trip(tmp_path):
    labels = np.array([0, 1, 255], np.int32)
    predicted = {"m": np.array([0, 2, -1], np.int32)}
    made = protocol.evaluate([scene(labels)], lambda s: predicted, SCANNET20)["m"]
    protocol.save(tmp_path / "e.json", made, key="k")
    read = protocol.load(tmp_path / "e.json")
    assert read.scores().miou == pytest.approx(50)
    np.testing.assert_array_equal(read.counts["s"], made.counts["s"])
    assert read.counts["s"].sum() == 2
    assert (read.compat, read.groups) == (made.compat, made.groups)


@pytest.mark.parametrize(
    ("scenes", "message"),
    [([], "at least one scene"), ([scene(None)], "labels are required")],
)
def test_nothing_to_score_is_an_error(scenes, message):
    with pytest.raises(InputError, match=message):
        protocol.evaluate(scenes, lambda s: {"m": s.labels}, SCANNET20)


def test_points_without_a_feature_get_no_class():
    features = point_features(
        np.array([[0, 1.0], [2, 1]], np.float16),
        np.array([1, 3], np.int32),
        np.ones(2, np.int32),
        5,
    )
    got = semantic.classify(features, texts(np.eye(2, dtype=np.float32)))
    np.testing.assert_array_equal(got, [-1, 1, -1, 0, -1])


def of_voxels(feat):
    rows = np.arange(len(feat), dtype=np.int32)
    return Features(feat, rows, rows + 1, space(feat.shape[1]), "voxel")


@pytest.mark.parametrize(("dim", "name"), [(5, "test"), (4, "other tower")])
def test_another_text_space_is_an_error(dim, name):
    features = of_voxels(np.zeros((2, 4), np.float16))
    with pytest.raises(InputError, match=r"one text space.*of the texts"):
        semantic.classify(features, texts(np.zeros((3, dim), np.float32), name))


def test_scores_do_not_depend_on_feature_length():
    rng = np.random.default_rng(0)
    feat = rng.normal(size=(50, 8)).astype(np.float32)
    words = texts(rng.normal(size=(4, 8)).astype(np.float32))
    scaled = feat * rng.uniform(0.1, 9, (50, 1)).astype(np.float32)
    np.testing.assert_array_equal(
        semantic.classify(of_voxels(feat), words),
        semantic.classify(of_voxels(scaled), words),
    )
