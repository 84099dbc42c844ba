"""Losses against slow loops, finite differences, and poisoned padding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from sas_jax.distill import losses

N, S, C, K = 23, 5, 4, 3


def example(seed=0):
    rng = np.random.default_rng(seed)
    superpoint = rng.integers(0, S - 1, N).astype(np.int32)  # the last one is empty
    superpoint[-2:] = S  # padding
    return {
        "features": rng.normal(size=(N, C)).astype(np.float32),
        "logits": rng.normal(size=(N, K)).astype(np.float32) * 3,
        "superpoint": superpoint,
        "mask": (rng.random(N) < 0.7) & (superpoint < S) & (superpoint != 2),
        "targets": rng.normal(size=(S, C)).astype(np.float32),
        "labels": rng.integers(0, K, N).astype(np.int32),
        "superpoint_labels": rng.integers(0, K, S).astype(np.int32),
    }


def cosine(a, b):
    return float(np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b)))


def cross_entropy(logits, label):
    logits = logits.astype(np.float64)
    return float(np.log(np.exp(logits).sum()) - logits[label])


def point_targets(x):
    return x["targets"][np.minimum(x["superpoint"], S - 1)]


def members(x, s):
    return [n for n in range(N) if x["mask"][n] and x["superpoint"][n] == s]


def oracle(x):
    """(total, count) of every loss, one voxel and one superpoint at a time."""
    voxels = [n for n in range(N) if x["mask"][n]]
    present = [s for s in range(S) if members(x, s)]
    features = x["features"].astype(np.float64)
    logits = x["logits"].astype(np.float64)
    return {
        "point_cosine": (
            sum(1 - cosine(features[n], point_targets(x)[n]) for n in voxels),
            len(voxels),
        ),
        "superpoint_cosine": (
            sum(
                1 - cosine(features[members(x, s)].mean(axis=0), x["targets"][s])
                for s in present
            ),
            len(present),
        ),
        "point_cross_entropy": (
            sum(cross_entropy(logits[n], x["labels"][n]) for n in voxels),
            len(voxels),
        ),
        "superpoint_cross_entropy": (
            sum(
                cross_entropy(
                    logits[members(x, s)].mean(axis=0), x["superpoint_labels"][s]
                )
                for s in present
            ),
            len(present),
        ),
    }


def terms(x, features, logits):
    superpoint, mask = x["superpoint"], x["mask"]
    return {
        "point_cosine": losses.point_cosine(features, point_targets(x), mask),
        "superpoint_cosine": losses.superpoint_cosine(
            features, superpoint, mask, x["targets"]
        ),
        "point_cross_entropy": losses.point_cross_entropy(logits, x["labels"], mask),
        "superpoint_cross_entropy": losses.superpoint_cross_entropy(
            logits, superpoint, mask, x["superpoint_labels"]
        ),
    }


NAMES = list(oracle(example()))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(3))
def test_matches_plain_loops(name, seed):
    x = jax.tree.map(jnp.asarray, example(seed))
    term = jax.jit(lambda f, g: terms(x, f, g)[name])(x["features"], x["logits"])
    total, count = oracle(example(seed))[name]
    np.testing.assert_allclose(term.total, total, rtol=2e-6)
    assert int(term.count) == count > 0


@pytest.mark.parametrize("name", NAMES)
def test_gradients_match_finite_differences(name):
    x = jax.tree.map(jnp.asarray, example())

    def loss(features, logits):
        return terms(x, features, logits)[name].total

    check_grads(
        loss, (x["features"], x["logits"]), order=1, modes=["rev"], atol=2e-2, rtol=2e-2
    )


@pytest.mark.parametrize("name", NAMES)
def test_rows_outside_the_mask_may_hold_nan_and_get_no_gradient(name):
    x = jax.tree.map(jnp.asarray, example())
    clean = terms(x, x["features"], x["logits"])[name]

    def poison(rows):
        return jnp.where(x["mask"][:, None], rows, jnp.nan)

    def loss(features, logits):
        term = terms(x, features, logits)[name]
        return term.total, term

    gradient = jax.grad(loss, argnums=(0, 1), has_aux=True)
    grads, term = gradient(poison(x["features"]), poison(x["logits"]))
    assert term == clean
    for grad in grads:
        assert np.isfinite(grad).all()
        assert not np.asarray(grad)[~np.asarray(x["mask"])].any()


@pytest.mark.parametrize("zero", ["features", "targets", "both"])
def test_zero_vectors_have_cosine_zero_and_zero_gradient(zero):
    x = example()
    if zero != "targets":
        x["features"][:] = 0
    if zero != "features":
        x["targets"][:] = 0
    x = jax.tree.map(jnp.asarray, x)
    for name in ("point_cosine", "superpoint_cosine"):
        value, grad = jax.value_and_grad(
            lambda f, name=name: terms(x, f, x["logits"])[name].total
        )(x["features"])
        np.testing.assert_allclose(value, terms(x, x["features"], x["logits"])[name][1])
        assert not np.asarray(grad).any()


def test_the_gradient_of_a_short_vector_is_finite():
    features = jnp.full((1, C), 1e-6, jnp.float32)
    mask = jnp.ones(1, bool)
    targets = jnp.arange(C, dtype=jnp.float32)[None]
    grad = jax.grad(lambda f: losses.point_cosine(f, targets, mask).total)(features)
    assert np.isfinite(grad).all() and np.asarray(grad).any()


@pytest.mark.parametrize("name", NAMES)
def test_nothing_that_counts_gives_zero_of_zero(name):
    x = example()
    x["mask"][:] = False
    x = jax.tree.map(jnp.asarray, x)
    assert terms(x, x["features"], x["logits"])[name] == (0.0, 0.0)


def test_segment_means_leave_out_padding_and_empty_segments():
    values = jnp.asarray([[2.0], [4.0], [9.0], [7.0]])
    segment = jnp.asarray([0, 0, 2, 3], jnp.int32)
    mask = jnp.asarray([True, True, False, True])
    means, counts = losses.segment_mean(values, segment, mask, 3)
    np.testing.assert_array_equal(means[:, 0], [3, 0, 0])
    np.testing.assert_array_equal(counts, [2, 0, 0])


def test_terms_of_shards_add_up_to_the_whole():
    x = jax.tree.map(jnp.asarray, example())
    whole = losses.point_cosine(x["features"], point_targets(x), x["mask"])
    parts = [
        losses.point_cosine(
            x["features"][rows], point_targets(x)[rows], x["mask"][rows]
        )
        for rows in (slice(0, 6), slice(6, N))
    ]
    np.testing.assert_allclose(parts[0].total + parts[1].total, whole.total, rtol=1e-6)
    assert parts[0].count + parts[1].count == whole.count
    assert parts[0].count != parts[1].count


def test_stored_superpoint_means_give_the_loss_of_point_features():
    """Eq. 10 read literally: average F_fusion per superpoint and map it back."""
    rng = np.random.default_rng(4)
    x = example()
    fused = rng.normal(size=(N, C)).astype(np.float32)
    means = np.zeros((S, C), np.float32)
    for s in range(S):
        rows = [n for n in range(N) if x["superpoint"][n] == s]
        if rows:
            means[s] = fused[rows].mean(axis=0)
    mapped = np.stack(
        [means[s] if s < S else np.zeros(C, np.float32) for s in x["superpoint"]]
    )
    literal = sum(
        1 - cosine(x["features"][n].astype(np.float64), mapped[n])
        for n in range(N)
        if x["mask"][n]
    )
    x = jax.tree.map(jnp.asarray, {**x, "targets": means})
    stored = terms(x, x["features"], x["logits"])["point_cosine"].total
    np.testing.assert_allclose(stored, literal, rtol=2e-6)
