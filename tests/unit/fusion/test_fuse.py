import dataclasses

import formulas
import numpy as np
import pytest
from text_spaces import point_features, space, texts

from sas_jax.errors import InputError
from sas_jax.fusion import fuse as fuse_module
from sas_jax.fusion.fuse import FuseConfig, fuse
from sas_jax.fusion.strategies import STRATEGIES

K, C, P = 5, 8, 60
NAMES = ("a", "b", "c")


def make_case(seed=0, teachers=3, seen=0.7):
    rng = np.random.default_rng(seed)
    text = rng.normal(size=(K, C))
    text = (text / np.linalg.norm(text, axis=1, keepdims=True)).astype(np.float32)
    capability = rng.uniform(0, 1, (teachers, K)).astype(np.float32)
    features = {}
    for name in NAMES[:teachers]:
        index = np.flatnonzero(rng.random(P) < seen).astype(np.int32)
        feat = text[rng.integers(0, K, len(index))] + 0.2 * rng.normal(
            size=(len(index), C)
        )
        counts = rng.integers(1, 9, len(index)).astype(np.int32)
        features[name] = point_features(feat.astype(np.float16), index, counts, P)
    return features, capability, text


def fuse_point(vectors, rows, capability, text, config):
    """Fuse the features of one point from the teachers (`rows`) that have seen it."""
    if config.strategy == "add":
        return np.mean(vectors, axis=0)
    if config.strategy == "linear":
        best = [max(0, (text @ v).max() / np.linalg.norm(v)) for v in vectors]
        return np.average(vectors, axis=0, weights=best)
    return formulas.fusion(
        vectors, rows, capability, text, config.tau, config.other_index, config.compat
    )


def oracle(features, capability, text, config):
    fused = {}
    for p in range(P):
        rows, vectors = [], []
        for t, teacher in enumerate(features.values()):
            row = np.flatnonzero(teacher.point_index == p)
            if len(row):
                rows.append(t)
                vectors.append(teacher.feat[row[0]].astype(np.float64))
        if vectors:
            fused[p] = fuse_point(
                vectors, rows, capability.astype(float), text.astype(float), config
            )
    return fused


@pytest.mark.parametrize("teachers", [1, 2, 3])
@pytest.mark.parametrize(
    "config",
    [
        FuseConfig(),
        FuseConfig(tau=1.0),
        FuseConfig(compat="official"),
        FuseConfig(compat="official", other_index=0),
        FuseConfig(compat="official", other_index=2),
        FuseConfig(strategy="add"),
        FuseConfig(strategy="linear"),
    ],
    ids=str,
)
def test_equals_the_loop_over_points(monkeypatch, teachers, config):
    monkeypatch.setattr(fuse_module, "_POINTS_AT_ONCE", 13)
    features, capability, text = make_case(teachers, teachers)
    result = fuse(features, capability, texts(text), config)
    expected = oracle(features, capability, text, config)
    np.testing.assert_array_equal(result.point_index, sorted(expected))
    wanted = np.stack([expected[p] for p in sorted(expected)])
    np.testing.assert_allclose(result.feat, wanted, rtol=2**-10, atol=2**-10)
    views = np.zeros((teachers, P), np.int32)
    for row, teacher in zip(views, features.values(), strict=True):
        row[teacher.point_index] = teacher.counts
    np.testing.assert_array_equal(result.counts, views.max(axis=0)[result.point_index])


def test_two_teachers_by_hand():
    text = np.eye(2, dtype=np.float32)
    capability = np.array([[0.9, 0.2], [0.1, 0.6]], np.float32)
    index, counts = np.zeros(1, np.int32), np.array([2], np.int32)
    features = {
        "dense": point_features(np.array([[1, 0]], np.float16), index, counts, 1),
        "mask": point_features(np.array([[0, 1]], np.float16), index, counts + 3, 1),
    }
    # dense predicts class 0, mask class 1: p = ((.9+.2)/2, (.1+.6)/2) = (.55, .35).
    result = fuse(features, capability, texts(text), FuseConfig(tau=0.1))
    share = 1 / (1 + np.exp(-(0.55 - 0.35) / 0.1))
    np.testing.assert_allclose(result.feat, [[share, 1 - share]], atol=1e-3)
    assert result.counts[0] == 5
    # Officially the two are divided by their sum, 0.9.
    official = fuse(
        features, capability, texts(text), FuseConfig(tau=0.1, compat="official")
    )
    share = 1 / (1 + np.exp(-(0.55 - 0.35) / 0.9 / 0.1))
    np.testing.assert_allclose(official.feat, [[share, 1 - share]], atol=1e-3)


def test_temperature_limits():
    features, capability, text = make_case(4, seen=1.0)
    equal = fuse(features, capability, texts(text), FuseConfig(tau=1e6))
    added = fuse(features, capability, texts(text), FuseConfig("add"))
    np.testing.assert_allclose(equal.feat, added.feat, atol=2e-3)
    sharp = fuse(features, capability, texts(text), FuseConfig(tau=1e-6)).feat
    stack = np.stack([f.feat for f in features.values()])
    # Always the feature of one teacher, and not of the same one everywhere.
    chosen = np.abs(stack - sharp).max(axis=2).argmin(axis=0)
    assert (np.abs(stack - sharp).max(axis=2).min(axis=0) < 2e-3).all()
    assert len(set(chosen)) > 1


def test_order_of_teachers_does_not_matter_in_the_paper():
    features, capability, text = make_case(5)
    one = fuse(features, capability, texts(text))
    back = {name: features[name] for name in reversed(features)}
    two = fuse(back, capability[::-1], texts(text))
    np.testing.assert_allclose(one.feat, two.feat, atol=2e-3)


def test_a_point_of_one_teacher_keeps_its_feature():
    features, capability, text = make_case(6, teachers=2, seen=0.5)
    a, b = features["a"], features["b"]
    alone = np.setdiff1d(a.point_index, b.point_index)
    assert len(alone)
    nothing = np.zeros(0, np.int32)
    blind = point_features(np.zeros((0, C), np.float16), nothing, nothing, P)
    for strategy in ("capability", "add", "linear"):
        result = fuse(features, capability, texts(text), FuseConfig(strategy)).dense()
        np.testing.assert_array_equal(result[alone], a.dense()[alone])
        pair = {"a": a, "blind": blind}
        result = fuse(pair, capability, texts(text), FuseConfig(strategy)).dense()
        np.testing.assert_array_equal(result, a.dense())
    union = np.union1d(a.point_index, b.point_index)
    np.testing.assert_array_equal(
        fuse(features, capability, texts(text)).point_index, union
    )


def test_other_counts_like_any_class_in_the_paper():
    features, capability, text = make_case(7, seen=1.0)
    paper = fuse(features, capability, texts(text), FuseConfig(other_index=2))
    plain = fuse(features, capability, texts(text), FuseConfig())
    np.testing.assert_array_equal(paper.feat, plain.feat)
    official = FuseConfig(compat="official", other_index=2)
    other = np.argmax(features["a"].dense() @ text.T, axis=1) == 2
    result = fuse(features, capability, texts(text), official).dense()
    assert other.any()
    np.testing.assert_array_equal(result[other], features["a"].dense()[other])


def test_zero_capability_and_zero_features_stay_finite():
    features, capability, text = make_case(8)
    zero = {
        n: point_features(f.feat * 0, f.point_index, f.counts, P)
        for n, f in features.items()
    }
    for strategy in STRATEGIES:
        for compat in ("paper", "official"):
            result = fuse(
                zero, capability * 0, texts(text), FuseConfig(strategy, compat=compat)
            )
            np.testing.assert_array_equal(result.feat, 0)


def test_single_needs_no_tables():
    features, _, _ = make_case(9)
    assert fuse(features, None, None, FuseConfig("single")) is features["a"]
    chosen = FuseConfig("single", teacher="c")
    assert fuse(features, None, None, chosen) is features["c"]
    with pytest.raises(InputError, match="a, b, c; got 'd'"):
        fuse(features, None, None, FuseConfig("single", teacher="d"))


def test_points_seen_by_nobody_are_absent():
    features, capability, text = make_case(10, seen=0.0)
    result = fuse(features, capability, texts(text))
    assert result.feat.shape == (0, C) and result.num_points == P


def test_bad_input():
    features, capability, text = make_case(11)
    with pytest.raises(InputError, match="strategy must be one of"):
        FuseConfig("sum")
    with pytest.raises(InputError, match="tau > 0 is required"):
        FuseConfig(tau=0)
    with pytest.raises(InputError, match=r"capability \[3, 5\]"):
        fuse(features, capability[:, :4], texts(text))
    with pytest.raises(InputError, match=r"capability \[3, 5\]"):
        fuse(features, None, texts(text))
    with pytest.raises(InputError, match=r"text features \[K, 8\]"):
        fuse(features, capability, texts(text[:, :7]))
    with pytest.raises(InputError, match="finite values"):
        fuse(features, capability * np.nan, texts(text))
    other = point_features(
        np.zeros((0, C), np.float16),
        np.zeros(0, np.int32),
        np.zeros(0, np.int32),
        P + 1,
    )
    with pytest.raises(InputError, match="one scene"):
        fuse({**features, "d": other}, capability, texts(text))
    with pytest.raises(InputError, match="one scene"):
        fuse({}, capability, texts(text))


@pytest.mark.parametrize("strategy", ["add", "single"])
def test_the_geometry_of_the_teachers_is_kept_and_must_be_one(strategy):
    features, _, _ = make_case(teachers=2)
    config = FuseConfig(strategy, teacher="b" if strategy == "single" else None)
    known = {**features, "b": dataclasses.replace(features["b"], geometry="g")}
    assert fuse(known, None, None, config).geometry == "g"
    assert fuse(features, None, None, config).geometry is None
    mixed = {**known, "a": dataclasses.replace(features["a"], geometry="h")}
    with pytest.raises(InputError, match=r"several geometries.*extract_features\.py"):
        fuse(mixed, None, None, config)


@pytest.mark.parametrize("strategy", ["capability", "add", "linear"])
def test_two_spaces_of_one_dimension_are_not_fused(strategy):
    """A mean of their vectors, and a product of both, would be numbers like any."""
    features, capability, text = make_case(teachers=2)
    config = FuseConfig(strategy)
    other = dataclasses.replace(features["b"], space=space(C, "other tower"))
    message = (
        r"fuse: one text space is required, got test \(8-d, weights 000000000000\) of "
        r"the features of a and other tower \(8-d, .*\) of the features of b\."
    )
    with pytest.raises(InputError, match=message):
        fuse({**features, "b": other}, capability, texts(text), config)
    both = {n: dataclasses.replace(f, space=other.space) for n, f in features.items()}
    assert fuse(both, capability, texts(text, "other tower"), config).space.dim == C
    if strategy != "add":
        with pytest.raises(InputError, match="of the texts"):
            fuse(features, capability, texts(text, "other tower"), config)
    weights = dataclasses.replace(space(C), weights_sha256="1" * 64)
    retrained = dataclasses.replace(features["b"], space=weights)
    with pytest.raises(InputError, match="one text space"):
        fuse({**features, "b": retrained}, capability, texts(text), config)


def test_one_of_several_may_live_in_another_space():
    features, _, _ = make_case(teachers=2)
    other = dataclasses.replace(features["b"], space=space(C, "other tower"))
    config = FuseConfig("single", teacher="b")
    assert fuse({**features, "b": other}, None, None, config) is other


def test_means_of_superpoints_are_not_fused_as_points():
    features, capability, text = make_case()
    coarse = dataclasses.replace(features["a"], level="superpoint")
    with pytest.raises(InputError, match=r"features of points.*superpoints"):
        fuse({**features, "a": coarse}, capability, texts(text))


def test_a_strategy_of_ones_own_weighs():
    features, capability, text = make_case(12)
    seen = np.stack([f.row >= 0 for f in features.values()])

    def surest(votes):
        """Trust the teacher that is best at what it says itself."""
        own = np.take_along_axis(votes.capability, votes.prediction, axis=1)
        own = np.where(votes.seen, own, -1)
        return own == own.max(axis=0)

    result = fuse(features, capability, texts(text), strategy=surest).dense()
    dense = np.stack([f.dense() for f in features.values()])
    says = np.argmax(dense @ text.T, axis=2)
    for point in np.flatnonzero(seen.any(axis=0)):
        able = [
            capability[t, says[t, point]] if seen[t, point] else -1
            for t in range(len(dense))
        ]
        np.testing.assert_array_equal(result[point], dense[np.argmax(able), point])


def test_a_strategy_of_ones_own_may_know_no_class():
    features, _, _ = make_case(13)
    equal = fuse(features, None, None, strategy=lambda votes: 3 * votes.seen)
    added = fuse(features, None, None, FuseConfig("add"))
    np.testing.assert_array_equal(equal.feat, added.feat)
    nobody = fuse(features, None, None, strategy=lambda votes: 0 * votes.seen)
    np.testing.assert_array_equal(nobody.feat, added.feat)


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        (lambda votes: votes.seen[0], "one for each teacher and point"),
        (lambda votes: -1.0 * votes.seen, "finite weights >= 0"),
        (lambda votes: np.nan * votes.seen, "finite weights >= 0"),
    ],
)
def test_weights_that_are_none_are_refused(strategy, message):
    features, _, _ = make_case(14)
    with pytest.raises(InputError, match=message):
        fuse(features, None, None, strategy=strategy)
