"""Scores against the formulas written out as loops, in both ways, and scikit-learn's.

The loops follow the papers' words and the authors' formulas, not this package's arrays.
"""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from text_spaces import space, texts

from sas_jax.artefacts.features import Features
from sas_jax.evaluation import confusion, passes, protocol, semantic, tables
from sas_jax.scenes.labels import IGNORE, label_set

UNSEEN = -1


def looped(truth, prediction, count, official):
    """IoU and accuracy of every class, their means and the accuracy of all points."""
    iou, accuracy, correct, labelled = [], [], 0, 0
    for k in range(count):
        hit = missed = wrong = of_class = 0
        for t, p in zip(truth, prediction, strict=True):
            if t == IGNORE:
                continue
            of_class += t == k
            hit += t == k and p == k
            if p == UNSEEN:
                # The authors cut the row of such predictions off, for the IoU only.
                missed += t == k and not official
            else:
                missed += t == k and p != k
                wrong += t != k and p == k
        if of_class:
            union = hit + missed + wrong
            iou.append(100 * hit / union if union else 0.0)
            accuracy.append(100 * hit / of_class)
        else:
            iou.append(math.nan)
            accuracy.append(math.nan)
        correct += hit
        labelled += of_class
    present = [k for k in range(count) if not math.isnan(iou[k])]
    divisor = count if official else len(present)
    means = [
        sum(values[k] for k in present) / divisor if present else math.nan
        for values in (iou, accuracy)
    ]
    return iou, accuracy, *means, 100 * correct / labelled if labelled else math.nan


ADVERSARIAL = [
    ([IGNORE] * 4, [0, 1, 2, UNSEEN]),  # nothing is labelled
    ([0, 0, 1], [UNSEEN] * 3),  # nothing was seen
    ([0, 0, 0], [1, 1, 1]),  # predictions of an absent class only
    ([2, 2, 2], [2, 2, UNSEEN]),  # one class, two absent
    ([0, 1, 2], [1, 2, 0]),  # all wrong
    ([0, IGNORE, 1, 1], [0, 0, 1, UNSEEN]),
    ([], []),
]


@pytest.mark.parametrize("official", [False, True])
@pytest.mark.parametrize("case", [*range(20), *ADVERSARIAL])
def test_scores_are_those_of_the_loops(case, official):
    if isinstance(case, int):
        rng = np.random.default_rng(case)
        count = int(rng.integers(1, 9))
        truth = rng.choice([*range(count), IGNORE], 200)
        truth[truth == rng.integers(count)] = IGNORE  # some class may be absent
        prediction = rng.integers(UNSEEN, count, 200)
    else:
        (truth, prediction), count = case, 3
    counts = confusion.count(np.array(truth, int), np.array(prediction, int), count)
    compat = "official" if official else "paper"
    scores = protocol.Evaluation("m", "s", {"a": counts}, compat).scores()
    found = scores.iou, scores.accuracy, scores.miou, scores.macc, scores.overall
    for mine, theirs in zip(
        found, looped(truth, prediction, count, official), strict=True
    ):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1))
def test_counts_and_scores_are_those_of_scikit_learn(pairs):
    metrics = pytest.importorskip("sklearn.metrics")
    truth, prediction = np.array(pairs).T
    counts = confusion.count(truth, prediction, 6)
    theirs = metrics.confusion_matrix(truth, prediction, labels=range(6))
    np.testing.assert_array_equal(counts[:, :6], theirs)
    scores = confusion.score(counts)
    iou = 100 * metrics.jaccard_score(
        truth, prediction, labels=np.unique(truth), average=None, zero_division=0
    )
    np.testing.assert_allclose(scores.iou[np.unique(truth)], iou)
    overall = 100 * metrics.accuracy_score(truth, prediction)
    assert scores.overall == pytest.approx(overall)


def test_counts_of_blocks_are_exact(monkeypatch):
    rng = np.random.default_rng(0)
    truth, prediction = rng.integers(0, 5, 1000), rng.integers(-1, 5, 1000)
    whole = confusion.count(truth, prediction, 5)
    monkeypatch.setattr(confusion, "_POINTS_AT_ONCE", 7)
    before = truth.copy()
    np.testing.assert_array_equal(confusion.count(truth, prediction, 5), whole)
    np.testing.assert_array_equal(truth, before)
    many = whole * 10**15  # no float holds such sums
    assert confusion.score(many).overall == pytest.approx(
        confusion.score(whole).overall, abs=1e-12
    )


def test_means_over_groups():
    truth, prediction = np.array([0, 1, 2, 2]), np.array([0, 2, 2, 2])
    scores = confusion.score(confusion.count(truth, prediction, 4))
    assert scores.over([0, 3]) == (100, 100)
    assert scores.over([1, 2]) == (pytest.approx((0 + 200 / 3) / 2), 50)
    assert np.isnan(scores.over([3])).all()
    official = confusion.score(
        confusion.count(truth, prediction, 4), unseen="official", absent="official"
    )
    assert official.over([0, 3]) == (50, 50)


@pytest.mark.parametrize(
    ("name", "groups"),
    [
        ("scannet20", {"foreground": 18}),
        ("matterport21", {"foreground": 18}),
        ("scannet200", {"foreground": 197, "head": 66, "common": 68, "tail": 66}),
        ("nuscenes16", {}),
    ],
)
def test_groups_of_label_sets(name, groups):
    found = protocol.groups_of(label_set(name))
    assert {group: len(classes) for group, classes in found.items()} == groups


@pytest.mark.parametrize(
    ("name", "by_name", "by_position"),
    [
        ("scannet20", 19, 19),
        ("matterport21", 19, 19),
        ("matterport40", None, 38),
        ("matterport80", None, 78),
        ("matterport160", None, 158),
        ("scannet200", None, None),
        ("nuscenes16", None, None),
    ],
)
def test_which_question_becomes_other(name, by_name, by_position):
    for compat, expected in (("paper", by_name), ("official", by_position)):
        asked = protocol.questions(label_set(name), compat)
        found = [i for i, text in enumerate(asked) if text == "other"]
        assert found == ([] if expected is None else [expected])
        assert "a wall in a scene" in asked or name == "nuscenes16"


def features_of(feat, row=None, level="voxel"):
    feat = np.asarray(feat, np.float32)
    row = np.arange(len(feat)) if row is None else np.array(row)
    counts = np.ones(len(feat), np.int32)
    return Features(feat, row.astype(np.int32), counts, space(feat.shape[1]), level)


def random_case(seed, points=40, channels=6, questions=5):
    rng = np.random.default_rng(seed)
    feat = rng.normal(size=(points // 2, channels)) * rng.uniform(0.1, 9)
    row = rng.integers(-1, points // 2, points)
    words = rng.normal(size=(questions, channels))
    words /= np.linalg.norm(words, axis=1, keepdims=True)
    return features_of(feat, row), texts(words.astype(np.float32)), rng


def looped_cosines(features, words):
    found = {}
    for point, row in enumerate(features.row):
        if row >= 0:
            feat = features.feat[row].astype(float)
            found[point] = words.rows @ feat / np.linalg.norm(feat)
    return found


def test_superpoint_scores_are_means_of_cosines_and_fill_unseen_points():
    features, words, rng = random_case(0)
    superpoints = rng.integers(0, 6, 40)
    features.row[superpoints == 3] = -1
    cosines = looped_cosines(features, words)
    scores = semantic.text_scores(features, words).over_superpoints(superpoints)
    best, table = scores.best(), scores.table()
    assert (features.row[best >= 0] < 0).any()
    for point in range(40):
        own = superpoints[point]
        of_same = [c for p, c in cosines.items() if superpoints[p] == own]
        if not of_same:
            assert best[point] == -1 and own == 3
            continue
        mean = np.mean(of_same, axis=0)
        np.testing.assert_allclose(table[own], mean, rtol=1e-4, atol=1e-6)
        assert best[point] == np.argmax(mean)


def test_blocks_do_not_change_scores(monkeypatch):
    features, words, rng = random_case(1)
    superpoints = rng.integers(0, 6, 40)
    ways = [semantic.text_scores(features, words)]
    ways.append(ways[0].over_superpoints(superpoints))
    whole = [(way.best(), way.table()) for way in ways]
    monkeypatch.setattr(semantic, "_ROWS_AT_ONCE", 3)
    ways[1] = ways[0].over_superpoints(superpoints)
    for (best, table), way in zip(whole, ways, strict=True):
        np.testing.assert_array_equal(way.best(), best)
        np.testing.assert_allclose(way.table(), table, rtol=1e-5)


def test_sums_over_passes_are_those_of_the_loop():
    (first, words, _), (second, *_) = random_case(2), random_case(3)
    found = semantic.summed_products([first, second], words)
    for point in range(40):
        total, seen = np.zeros(len(words.rows)), False
        for features in (first, second):
            if features.row[point] < 0:
                continue
            seen = True
            for k, word in enumerate(words.rows):
                half = features.feat[features.row[point]].astype(np.float16)
                product = float(
                    half.astype(float) @ word.astype(np.float16).astype(float)
                )
                total[k] += np.float16(product)
        assert (found.row[point] >= 0) == seen
        if seen:
            np.testing.assert_allclose(
                found.table()[point], total, rtol=2e-3, atol=2e-2
            )


def test_the_ensemble_takes_the_feature_that_is_nearer_to_a_text():
    (first, words, _), (second, *_) = random_case(4), random_case(5)
    found = semantic.classify(semantic.ensemble(first, second, words), words)
    both = [looped_cosines(features, words) for features in (first, second)]
    for point in range(40):
        there = [cosines[point] for cosines in both if point in cosines]
        expected = np.argmax(max(there, key=np.max)) if there else -1
        assert found[point] == expected


def test_43_words_answer_for_16_classes():
    nuscenes = label_set("nuscenes16")
    words = texts(np.eye(43, dtype=np.float32))
    features = features_of(np.eye(43), [*range(43), -1])
    scores = semantic.text_scores(features, words)
    found = protocol.classes_of("m", scores, nuscenes, np.arange(44) // 2)
    np.testing.assert_array_equal(found["m"], [*nuscenes.answers, -1])
    assert found["m" + protocol.SUPERPOINTS][-1] == found["m"][42]
    assert list(protocol.classes_of("m", scores, nuscenes)) == ["m"]


def test_passes_are_turned_and_scaled_and_the_same_every_time():
    points = np.random.default_rng(0).uniform(0, 3, (50, 3))
    assert passes.official_passes(21) == 5 and passes.official_passes(160) == 1
    first, again = (list(passes.moved(points, "room", 3)) for _ in range(2))
    other = next(passes.moved(points, "hall", 1))
    for (a, shift_a), (b, shift_b) in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(shift_a, shift_b)
        gram = [np.linalg.norm(x[1:] - x[0], axis=1) for x in (a, points)]
        ratio = gram[0] / gram[1]
        assert 0.9 <= ratio[0] <= 1.1 and np.ptp(ratio) < 1e-9
        assert shift_a.min() >= 0 and shift_a.max() < 100
    assert not np.allclose(first[0][0], first[1][0])
    assert not np.allclose(first[0][0], other[0])


def test_a_voxel_is_represented_by_its_first_point():
    points = np.array([[0, 0, 0], [0.01, 0, 0], [1, 0, 0], [0.02, 0, 0]])
    features = features_of(np.eye(3), [-1, 0, 1, 2])
    np.testing.assert_array_equal(
        passes.of_voxels(features, points, 0.05).row, [-1, -1, 1, -1]
    )


def test_tables_show_methods_and_classes():
    truth, prediction = np.array([0, 1, 2, 2]), np.array([0, -1, 2, 1])
    counts = {"a": confusion.count(truth, prediction, 4)}
    groups = {"foreground": [2, 3], "tail": [3]}
    made = [
        protocol.Evaluation(name, "s", counts, "paper", groups)
        for name in ("fused/add", "fused/add+superpoints")
    ]
    lines = tables.methods(made).splitlines()
    assert lines[1].split() == (
        ["fused/add", "1", "50.0", "50.0", "50.0", "75.0", "50.0", "50.0", "-", "-"]
    )
    assert len({len(line) for line in lines}) == 1 and len(lines) == 3
    rows = tables.classes(made, ["wall", "floor", "a bed", "sink"]).splitlines()
    assert rows[3].split() == ["a", "bed", "2", "50.0", "50.0"]
    assert rows[4].split() == ["sink", "absent", "-", "-"]
