"""Temporal ensembling against its literal definition, Eq. 11 and 12."""

import jax.numpy as jnp
import numpy as np
import pytest
from tiny_scenes import boxes, tiny_config

from sas_jax.distill import batch as batches
from sas_jax.distill.buckets import Bucket
from sas_jax.distill.history import History, SceneRows, pseudo_labels, update_history
from sas_jax.errors import InputError
from sas_jax.sparse.rungs import Rung

P, N, C, K, S = 40, 17, 12, 5, 6


def test_the_mean_of_logits_is_the_logits_of_mean_features():
    """The paper keeps features [P, C] and multiplies by T only to label."""
    rng = np.random.default_rng(0)
    text = rng.normal(size=(K, C))
    text = (text / np.linalg.norm(text, axis=1, keepdims=True)).astype(np.float32)
    features = rng.normal(size=(P, C))
    logits = jnp.asarray(features @ text.T, jnp.float32)
    superpoint = rng.integers(0, S, P).astype(np.int32)
    alpha = 0.9
    for _ in range(30):
        voxel_features = rng.normal(size=(N, C))
        point_voxel = rng.integers(0, N, P).astype(np.int32)
        features = alpha * features + (1 - alpha) * voxel_features[point_voxel]
        voxel_logits = jnp.asarray(voxel_features @ text.T, jnp.float32)
        logits = update_history(logits, voxel_logits, jnp.asarray(point_voxel), alpha)
    np.testing.assert_allclose(logits, features @ text.T, atol=2e-6)

    labels, superpoint_labels = pseudo_labels(logits, jnp.asarray(superpoint), S)
    np.testing.assert_array_equal(labels, (features @ text.T).argmax(axis=1))
    for s in range(S):
        mean = features[superpoint == s].mean(axis=0)
        assert superpoint_labels[s] == (text @ mean).argmax()


def test_padding_points_do_not_vote():
    history = jnp.asarray([[1.0, 0], [1, 0], [0, 99]])
    labels, superpoint_labels = pseudo_labels(history, jnp.asarray([0, 0, 1]), 1)
    assert labels[0] == superpoint_labels[0] == 0


def test_superpoint_and_point_labels_can_differ():
    history = jnp.asarray([[1.0, 0], [1, 0], [0, 5]])
    labels, superpoint_labels = pseudo_labels(history, jnp.zeros(3, jnp.int32), 1)
    np.testing.assert_array_equal(labels, [0, 0, 1])
    np.testing.assert_array_equal(superpoint_labels, [1])


def test_a_tiny_update_is_not_lost():
    """The authors' alpha on f16 storage leaves most histories as they are."""
    history = np.full((1, 1), 10.0)
    index = jnp.zeros(1, jnp.int32)
    kept = jnp.asarray(history, jnp.float32)
    for _ in range(1000):
        kept = update_history(kept, jnp.asarray([[9.0]]), index, 0.9999)
    np.testing.assert_allclose(kept, 9 + 0.9999**1000, rtol=1e-4)
    half = history.astype(np.float16)
    for _ in range(1000):
        half = (0.9999 * half.astype(np.float64) + 0.0001 * 9.0).astype(np.float16)
    assert half[0, 0] == 10.0


def history_case(count=3):
    config = tiny_config()
    scenes = [box.load(config) for box in boxes(count)]
    bucket = Bucket(Rung((2048, 2048, 1024, 512, 512)), 64, 2048)
    rng = np.random.default_rng(0)
    groups = [scenes[:2], scenes[2:]]
    shards = [
        batches.collate(
            [batches.make_sample(s, config, rng) for s in group],
            bucket,
            config,
            ensemble=True,
        )
        for group in groups
    ]
    scene_rows = SceneRows(
        [[s.name for s in group] for group in groups],
        [[len(s.points) for s in group] for group in groups],
    )
    history = History()
    for scene in scenes:
        logits = rng.normal(size=(len(scene.points), K)).astype(np.float32)
        history.start(scene.name, logits, scene.superpoint)
    return scenes, shards, scene_rows, history


def test_a_history_begins_with_superpoint_means():
    scenes, _, _, _ = history_case()
    scene = scenes[1]
    logits = np.random.default_rng(1).normal(size=(len(scene.points), K))
    history = History()
    history.start(scene.name, logits.astype(np.float32), scene.superpoint)
    (started,) = history.arrays().values()
    for s in range(scene.num_superpoints):
        rows = scene.superpoint == s
        wanted = logits[rows].mean(axis=0)
        np.testing.assert_allclose(
            started[rows], np.tile(wanted, (rows.sum(), 1)), atol=1e-6
        )


def test_attached_rows_are_those_of_the_scenes():
    scenes, shards, scene_rows, history = history_case()
    filled = history.attach(shards, scene_rows)
    before = history.arrays()
    first, second = (f.ensemble.history for f in filled)
    count = len(scenes[0].points)
    np.testing.assert_array_equal(first[:count], before["box0"])
    np.testing.assert_array_equal(
        first[count : count + len(scenes[1].points)], before["box1"]
    )
    np.testing.assert_array_equal(second[: len(scenes[2].points)], before["box2"])
    assert not second[len(scenes[2].points) :].any()


def test_a_result_is_taken_over_when_its_scene_comes_again():
    _, shards, scene_rows, history = history_case()
    filled = history.attach(shards, scene_rows)
    rows = np.stack([f.ensemble.history for f in filled])
    history.push(scene_rows, jnp.asarray(rows + 1))
    again = history.attach(shards, scene_rows)
    for shard, old in zip(again, filled, strict=True):
        valid = shard.ensemble.point_superpoint < 64
        np.testing.assert_array_equal(
            shard.ensemble.history[valid], old.ensemble.history[valid] + 1
        )
    np.testing.assert_array_equal(
        history.arrays()["box2"],
        filled[1].ensemble.history[: scene_rows.num_points[1][0]] + 1,
    )


def test_saved_arrays_do_not_change_afterwards():
    _, shards, scene_rows, history = history_case()
    saved = history.arrays()
    copies = {name: rows.copy() for name, rows in saved.items()}
    rows = np.stack([f.ensemble.history for f in history.attach(shards, scene_rows)])
    history.push(scene_rows, jnp.asarray(rows + 1))
    history.settle()
    for name, copy in copies.items():
        np.testing.assert_array_equal(saved[name], copy)


def test_unknown_scenes_and_other_sizes_are_refused():
    _, shards, scene_rows, history = history_case()
    with pytest.raises(InputError, match="scene box0 are required, got none"):
        History().attach(shards, scene_rows)
    arrays = history.arrays()
    arrays["box1"] = arrays["box1"][:-1]
    with pytest.raises(InputError, match="box1"):
        History(arrays).attach(shards, scene_rows)
