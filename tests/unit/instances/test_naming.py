import numpy as np
import pytest
from text_spaces import point_features, texts

from sas_jax.artefacts.features import superpoint_means
from sas_jax.errors import InputError
from sas_jax.instances import masks, naming
from sas_jax.instances.naming import NamingConfig
from sas_jax.instances.submission import in_label_set
from sas_jax.scenes.labels import SCANNET20, label_set

P, C, K = 50, 8, 6


def given(seed=0, labels=SCANNET20):
    rng = np.random.default_rng(seed)
    index = np.flatnonzero(rng.random(P) < 0.8).astype(np.int32)
    feat = rng.normal(size=(len(index), C)).astype(np.float32)
    features = point_features(feat, index, np.ones(len(index), np.int32), P)
    words = rng.normal(size=(len(labels.questions), C)).astype(np.float32)
    words /= np.linalg.norm(words, axis=1, keepdims=True)
    found = rng.random((K, P)) < 0.4
    found[2] = ~features.seen  # nobody saw it
    scores = rng.random(K).astype(np.float32)
    return masks.of_masks(found, scores), features, texts(words)


def slowly(instances, features, words, temperature, columns):
    """Return the probability of every class for every mask."""
    table = np.zeros((len(instances), len(words.rows)))
    for row, mask in zip(table, instances.masks(), strict=True):
        dense = [features.dense()[p] for p in np.flatnonzero(mask & features.seen)]
        if dense:
            mean = np.mean([f / np.linalg.norm(f) for f in dense], axis=0)
            cosines = words.rows[columns] @ mean / np.linalg.norm(mean)
            row[columns] = np.exp(cosines / temperature)
            row /= row.sum()
    return table


def plain(instances):
    return [
        (round(float(score), 5), int(index), mask.tobytes())
        for score, index, mask in zip(
            instances.scores, instances.classes, instances.masks(), strict=True
        )
    ]


@pytest.mark.parametrize("rank", ["product", "mask", "class", "constant"])
@pytest.mark.parametrize("asked", ["all", "scored"])
def test_top_1(rank, asked):
    instances, features, words = given()
    columns = list(range(20)) if asked == "all" else list(range(2, 20))
    table = slowly(instances, features, words, 0.1, columns)
    best = table.argmax(axis=1)
    p = table.max(axis=1)
    scores = {
        "product": p * instances.scores,
        "mask": instances.scores,
        "class": p,
        "constant": np.ones(K),
    }[rank]
    order = np.argsort(-scores, kind="stable")
    expected = [
        (
            round(float(scores[k]), 5),
            int(best[k]) if p[k] else -1,
            instances.mask(k).tobytes(),
        )
        for k in order
    ]
    config = NamingConfig(rank=rank, asked=asked, temperature=0.1)
    found = naming.name_instances(instances, features, words, SCANNET20, config)
    got = plain(found)
    assert [row[1:] for row in got] == [row[1:] for row in expected]
    np.testing.assert_allclose(
        [row[0] for row in got], [row[0] for row in expected], atol=2e-5
    )
    assert found.class_names == SCANNET20.classes.names


def test_top_k():
    instances, features, words = given(1)
    table = slowly(instances, features, words, 0.1, list(range(20)))
    sure = table * instances.scores[:, None]
    config = NamingConfig(reading="topk", top_k=30, temperature=0.1)
    found = naming.name_instances(instances, features, words, SCANNET20, config)
    pairs = np.argsort(-sure, axis=None)[:30]
    assert found.classes.tolist() == (pairs % 20).tolist()
    np.testing.assert_allclose(found.scores, sure.ravel()[pairs], rtol=1e-4)
    owners = [instances.mask(k).tobytes() for k in pairs // 20]
    assert [mask.tobytes() for mask in found.masks()] == owners
    assert len(set(owners)) < len(owners)
    every = NamingConfig(reading="topk", top_k=10_000, temperature=0.1)
    found = naming.name_instances(instances, features, words, SCANNET20, every)
    assert len(found) == 20 * (K - 1)  # not those of the mask that nobody saw


def test_features_of_any_level():
    instances, features, _ = given(2)
    superpoints = (np.arange(P) // 5).astype(np.int32)
    means = superpoint_means(features, superpoints)
    found = naming.mask_features(means, instances)
    dense = means.dense()
    for row, mask in zip(found, instances.masks(), strict=True):
        inside = dense[mask & means.seen]
        unit = inside / np.linalg.norm(inside, axis=1, keepdims=True)
        mean = unit.mean(axis=0)
        np.testing.assert_allclose(row, mean / np.linalg.norm(mean), atol=1e-5)


def test_words_that_answer_for_a_class():
    labels = label_set("nuscenes16")
    instances, features, words = given(3, labels)
    rows = naming.mask_features(features, instances)
    cosines = naming.class_cosines(rows, words, labels)
    answers = np.array(labels.answers)
    expected = [(rows @ words.rows.T)[:, answers == n].max(axis=1) for n in range(16)]
    np.testing.assert_array_equal(cosines, np.transpose(expected))
    found = naming.name_instances(instances, features, words, labels)
    assert (found.classes == -1).sum() == 1


def test_no_masks_and_no_features():
    instances, features, words = given()
    nothing = instances.chosen(np.zeros(K, bool))
    for reading in ("top1", "topk"):
        config = NamingConfig(reading=reading)
        named = naming.name_instances(nothing, features, words, SCANNET20, config)
        assert len(named) == 0
    empty = point_features(
        np.zeros((0, C), np.float32), np.zeros(0, np.int32), np.zeros(0, np.int32), P
    )
    named = naming.name_instances(instances, empty, words, SCANNET20)
    assert (named.classes == -1).all() and not named.scores.any()


def test_what_does_not_fit():
    instances, features, words = given()
    with pytest.raises(InputError, match="space"):
        other = texts(words.rows, "another")
        naming.name_instances(instances, features, other, SCANNET20)
    with pytest.raises(InputError, match="scene's 50 points"):
        fewer = masks.of_masks(np.ones((1, 49), bool))
        naming.name_instances(fewer, features, words, SCANNET20)
    for change in ({"reading": "x"}, {"rank": "x"}, {"asked": "x"}, {"top_k": 0}):
        with pytest.raises(InputError, match=r"naming: .*, got '?[x0]"):
            NamingConfig(**change)


def test_names_of_another_list():
    longer = label_set("scannet200")
    names = longer.classes.names
    classes = [names.index("chair"), names.index("lamp"), -1]
    found = masks.of_masks(np.eye(3, dtype=bool), None, classes, names)
    shorter = in_label_set(found, SCANNET20)
    assert shorter.classes.tolist() == [SCANNET20.classes.names.index("chair"), -1, -1]
