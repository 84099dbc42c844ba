"""Scene features on disk: half precision keeps every row's direction."""

import numpy as np

from sas_jax.artefacts.scene_features import (
    SceneFeatures,
    load_scene_features,
    save_scene_features,
)
from sas_jax.evaluate import query


def test_rows_come_back_in_half_precision(tmp_path):
    feat = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32) * 100
    row = np.array([0, 5, 5, 1], np.int32)
    save_scene_features(tmp_path / "f.safetensors", SceneFeatures(feat, row), "k")
    got = load_scene_features(tmp_path / "f.safetensors")
    np.testing.assert_array_equal(got.feat, feat.astype(np.float16))
    np.testing.assert_array_equal(got.row, row)


def test_rows_too_long_for_half_precision_keep_their_direction(tmp_path):
    feat = np.random.default_rng(1).normal(size=(6, 5)).astype(np.float32)
    feat[1] *= 1e6
    feat[2] *= 65504 / np.abs(feat[2]).max()
    feat[2, np.abs(feat[2]).argmax()] = 65504  # the largest that fits
    feat[3] *= 1e15
    save_scene_features(
        tmp_path / "f.safetensors", SceneFeatures(feat, np.arange(6)), "k"
    )
    got = load_scene_features(tmp_path / "f.safetensors").feat
    assert np.isfinite(got).all()
    np.testing.assert_allclose(query.unit(got), query.unit(feat), atol=1e-3)
    kept = [0, 2, 4, 5]
    np.testing.assert_array_equal(got[kept], feat[kept].astype(np.float16))
    empty = SceneFeatures(np.zeros((0, 5), np.float32), np.zeros(0, np.int32))
    save_scene_features(tmp_path / "e.safetensors", empty, "k")
    assert load_scene_features(tmp_path / "e.safetensors").feat.shape == (0, 5)
