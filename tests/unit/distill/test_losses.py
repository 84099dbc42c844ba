"""Losses against slow loops, finite differences, and poisoned padding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from sas_jax.distill import losses
from sas_jax.distill.factored import FactoredFeatures

N, S, C, K, H = 23, 5, 4, 3, 6


def example(seed=0):
    rng = np.random.default_rng(seed)
    superpoint = rng.integers(0, S - 1, N).astype(np.int32)  # the last one is empty
    superpoint[-2:] = S  # padding
    return {
        "hidden": rng.normal(size=(N, H)).astype(np.float32),
        "weights": rng.normal(size=(H, C)).astype(np.float32),
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


def written_out(x):
    return x["hidden"].astype(np.float64) @ x["weights"].astype(np.float64)


def point_targets(x):
    return x["targets"][np.minimum(x["superpoint"], S - 1)]


def members(x, s):
    return [n for n in range(N) if x["mask"][n] and x["superpoint"][n] == s]


def oracle(x):
    """(total, count) of every loss, one voxel and one superpoint at a time."""
    voxels = [n for n in range(N) if x["mask"][n]]
    present = [s for s in range(S) if members(x, s)]
    features = written_out(x)
    logits = x["logits"].astype(np.float64)
    return {
        "point_cosine": (
            sum(1 - cosine(features[n], point_targets(x)[n]) for n in voxels),
            len(voxels),
        ),
        "own_cosine": (
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


def terms(x, hidden, weights, logits):
    superpoint, mask = x["superpoint"], x["mask"]
    features = FactoredFeatures(hidden, weights, len(hidden))
    of_voxels, of_superpoints = losses.superpoint_cosines(
        features, superpoint, mask, x["targets"]
    )
    return {
        "point_cosine": losses.point_cosine(features, point_targets(x), mask),
        "own_cosine": of_voxels,
        "superpoint_cosine": of_superpoints,
        "point_cross_entropy": losses.point_cross_entropy(logits, x["labels"], mask),
        "superpoint_cross_entropy": losses.superpoint_cross_entropy(
            logits, superpoint, mask, x["superpoint_labels"]
        ),
    }


def inputs(x):
    return x["hidden"], x["weights"], x["logits"]


NAMES = list(oracle(example()))
COSINES = NAMES[:3]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(3))
def test_matches_plain_loops(name, seed):
    x = jax.tree.map(jnp.asarray, example(seed))
    term = jax.jit(lambda *args: terms(x, *args)[name])(*inputs(x))
    total, count = oracle(example(seed))[name]
    np.testing.assert_allclose(term.total, total, rtol=4e-6)
    assert int(term.count) == count > 0


@pytest.mark.parametrize("name", NAMES)
def test_gradients_match_finite_differences(name):
    x = jax.tree.map(jnp.asarray, example())

    def loss(*args):
        return terms(x, *args)[name].total

    check_grads(loss, inputs(x), order=1, modes=["rev"], atol=2e-2, rtol=2e-2)


def test_weighted_losses_are_weighted_sums():
    x = example()
    features = FactoredFeatures(x["hidden"], x["weights"], N)
    share = np.random.default_rng(5).random(S).astype(np.float32)
    share[0] = 0
    own = share[np.minimum(x["superpoint"], S - 1)]
    f, targets, mask = written_out(x), point_targets(x), x["mask"]
    voxels = sum(own[n] * (1 - cosine(f[n], targets[n])) for n in range(N) if mask[n])
    present = [s for s in range(S) if members(x, s)]
    means = sum(
        share[s] * (1 - cosine(f[members(x, s)].mean(axis=0), x["targets"][s]))
        for s in present
    )
    wanted = [(voxels, own[mask].sum()), (means, share[present].sum())]
    point = losses.point_cosine(features, targets, mask, own)
    both = losses.superpoint_cosines(
        features, x["superpoint"], mask, x["targets"], jnp.asarray(share)
    )
    for term, (total, count) in zip((point, *both), [wanted[0], *wanted], strict=True):
        assert float(term.total) == pytest.approx(total, rel=1e-5)
        assert float(term.count) == pytest.approx(count, rel=1e-6)


@pytest.mark.parametrize("name", COSINES)
def test_gradients_are_those_of_features_that_are_written_out(name):
    x = example()

    present = [s for s in range(S) if members(x, s)]
    member = np.stack([np.isin(np.arange(N), members(x, s)) for s in present])
    average = (member / member.sum(axis=1, keepdims=True)).astype(np.float32)

    def plain(hidden, weights):
        features = hidden @ weights
        if name == "superpoint_cosine":
            features, targets = average @ features, x["targets"][np.array(present)]
        else:
            features, targets = features[x["mask"]], point_targets(x)[x["mask"]]
        dots = jnp.sum(features * targets, axis=1)
        lengths = jnp.linalg.norm(features, axis=1) * np.linalg.norm(targets, axis=1)
        return jnp.sum(1 - dots / lengths)

    def factored(hidden, weights):
        return terms(x, hidden, weights, x["logits"])[name].total

    arguments = jnp.asarray(x["hidden"]), jnp.asarray(x["weights"])
    wanted = jax.grad(plain, argnums=(0, 1))(*arguments)
    got = jax.grad(factored, argnums=(0, 1))(*arguments)
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_rows_outside_the_mask_may_hold_nan_and_get_no_gradient(name):
    x = jax.tree.map(jnp.asarray, example())
    clean = terms(x, *inputs(x))[name]

    def poison(rows):
        return jnp.where(x["mask"][:, None], rows, jnp.nan)

    def loss(hidden, weights, logits):
        term = terms(x, hidden, weights, logits)[name]
        return term.total, term

    gradient = jax.grad(loss, argnums=(0, 1, 2), has_aux=True)
    poisoned = poison(x["hidden"]), x["weights"], poison(x["logits"])
    used = np.unique(np.asarray(x["superpoint"])[np.asarray(x["mask"])])
    absent = ~np.isin(np.arange(S), used)
    x["targets"] = jnp.where(absent[:, None], jnp.nan, x["targets"])
    grads, term = gradient(*poisoned)
    assert term == clean
    for grad in grads:
        assert np.isfinite(grad).all()
    for grad in (grads[0], grads[2]):
        assert not np.asarray(grad)[~np.asarray(x["mask"])].any()


@pytest.mark.parametrize("zero", ["hidden", "targets", "both"])
def test_zero_vectors_have_cosine_zero_and_zero_gradient(zero):
    x = example()
    if zero != "targets":
        x["hidden"][:] = 0
    if zero != "hidden":
        x["targets"][:] = 0
    x = jax.tree.map(jnp.asarray, x)
    for name in COSINES:
        value, grad = jax.value_and_grad(
            lambda h, name=name: terms(x, h, *inputs(x)[1:])[name].total
        )(x["hidden"])
        np.testing.assert_allclose(value, terms(x, *inputs(x))[name].count)
        assert not np.asarray(grad).any()


def test_the_gradient_of_a_short_vector_is_finite():
    mask = jnp.ones(1, bool)
    targets = jnp.arange(C, dtype=jnp.float32)[None]

    def loss(hidden):
        features = FactoredFeatures(hidden, jnp.eye(C), len(hidden))
        return losses.point_cosine(features, targets, mask).total

    grad = jax.grad(loss)(jnp.full((1, C), 1e-6, jnp.float32))
    assert np.isfinite(grad).all() and np.asarray(grad).any()


@pytest.mark.parametrize("name", NAMES)
def test_nothing_that_counts_gives_zero_of_zero(name):
    x = example()
    x["mask"][:] = False
    x = jax.tree.map(jnp.asarray, x)
    assert terms(x, *inputs(x))[name] == (0.0, 0.0)


def test_segment_means_leave_out_padding_and_empty_segments():
    values = jnp.asarray([[2.0], [4.0], [9.0], [7.0]])
    segment = jnp.asarray([0, 0, 2, 3], jnp.int32)
    mask = jnp.asarray([True, True, False, True])
    means, counts = losses.segment_mean(values, segment, mask, 3)
    np.testing.assert_array_equal(means[:, 0], [3, 0, 0])
    np.testing.assert_array_equal(counts, [2, 0, 0])


def test_terms_of_shards_add_up_to_the_whole():
    x = jax.tree.map(jnp.asarray, example())
    targets, mask = point_targets(x), x["mask"]

    def features(rows):
        return FactoredFeatures(
            x["hidden"][rows], x["weights"], x["hidden"][rows].shape[0]
        )

    whole = losses.point_cosine(features(slice(None)), targets, mask)
    parts = [
        losses.point_cosine(features(rows), targets[rows], mask[rows])
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
        1 - cosine(written_out(x)[n], mapped[n]) for n in range(N) if x["mask"][n]
    )
    x = jax.tree.map(jnp.asarray, {**x, "targets": means})
    stored = terms(x, *inputs(x))["own_cosine"].total
    np.testing.assert_allclose(stored, literal, rtol=2e-6)
