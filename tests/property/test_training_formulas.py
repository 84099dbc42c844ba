"""Both losses and the pseudo labels of whole batches against the written formulas."""

import dataclasses

import formulas
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from text_spaces import point_features
from tiny_scenes import CHANNELS, CLASSES, tiny_config

from sas_jax.distill import batch as batches
from sas_jax.distill.buckets import Bucket
from sas_jax.distill.data import TrainScene, targets_of
from sas_jax.distill.factored import FactoredFeatures
from sas_jax.distill.history import History, SceneRows
from sas_jax.distill.objective import StepInputs, loss_terms, step_config
from sas_jax.distill.schedule import Stage
from sas_jax.sparse.rungs import Rung

BUCKET = Bucket(Rung((128, 128, 64, 64, 64)), superpoints=16, points=256)
ROWS, HIDDEN, SIZE_M, ALPHA = BUCKET.rung.capacities[0], 5, 0.25, 0.8


@dataclasses.dataclass(frozen=True)
class Case:
    """Two scenes as the formulas see them, and the batch as the library makes it."""

    fused: list
    superpoint: list
    first_point: list
    point_voxel: list
    batch: batches.Batch
    scenes: list

    @property
    def of_voxel(self):
        return [self.superpoint[p] for p in self.first_point]


def make_case(seed, config):
    rng = np.random.default_rng(seed)
    samples, scenes = [], []
    fused, superpoint, first_point, point_voxel = [], [], [], []
    for name in "ab":
        points = rng.uniform(0, 1, (40, 3)).astype(np.float32)
        # An id without points, and one of which no camera saw anything.
        ids = rng.choice([0, 1, 2, 4, 5], 40).astype(np.int32)
        ids[0] = 5
        seen = (rng.random(40) < 0.6) & (ids != 4)
        feat = rng.normal(size=(seen.sum(), CHANNELS)).astype(np.float16)
        index = np.flatnonzero(seen)
        counts = np.ones(len(index), np.int32)
        features = point_features(feat, index, counts, 40)
        targets = targets_of(features, ids, config, "test")
        scenes.append(TrainScene(name, points, ids, targets))
        samples.append(batches.make_sample(scenes[-1], config, None))

        _, first, inverse = formulas.voxels(points, SIZE_M)
        rows = iter(feat)
        fused += [next(rows) if saw else None for saw in seen]
        first_point += [p + len(superpoint) for p in first]
        point_voxel += [n + len(first_point) - len(first) for n in inverse]
        superpoint += [int(s) + 6 * (name == "b") for s in ids]
    batch = batches.collate(samples, BUCKET, config, ensemble=True, rng=rng)
    return Case(fused, superpoint, first_point, point_voxel, batch, scenes)


def random_student(rng):
    hidden = rng.normal(size=(ROWS, HIDDEN)).astype(np.float32)
    weights = rng.normal(size=(HIDDEN, CHANNELS)).astype(np.float32)
    written = hidden.astype(np.float64) @ weights.astype(np.float64)
    return FactoredFeatures(hidden, weights, jnp.int32(ROWS)), written


@jax.jit(static_argnames="config")
def terms_of(features, batch, inputs, config):
    return loss_terms(features, batch, inputs, config)


def counted(mask, allowed, most):
    """Rows that the library counts: those of the formula, or a part of them."""
    rows = np.flatnonzero(mask).tolist()
    assert set(rows) <= set(allowed)
    assert len(rows) == min(len(allowed), most or len(allowed))
    return rows


def assert_term(term, wanted):
    assert int(term.count) == len(wanted) > 0
    # f32 against f64: a sum of cosines or entropies of order one.
    np.testing.assert_allclose(term.total, sum(wanted), rtol=2e-5, atol=2e-5)


MODES = st.sampled_from(["paper", "official"]), st.sampled_from([None, 20])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), *MODES, st.sampled_from(["superpoint", "point"]))
def test_distillation(seed, compat, most, level):
    config = tiny_config(
        compat=compat, level=level, max_sample_voxels=most, voxel_size_m=SIZE_M
    )
    case = make_case(seed, config)
    student, written = random_student(np.random.default_rng(seed))
    text = np.eye(CLASSES, CHANNELS, dtype=np.float32)
    inputs = StepInputs(np.float32(0), np.float32(ALPHA), text)
    first = step_config(config, Stage(1, True, False, 0, 1))
    terms, history = terms_of(student, case.batch, inputs, first)
    assert history is None

    points = case.fused, case.superpoint, case.first_point
    allowed = formulas.taught_voxels(*points, level, compat)
    rows = counted(case.batch.mask, allowed, most)
    if level == "point":
        own = [case.fused[case.first_point[n]] for n in rows]
        wanted = [
            1 - formulas.cosine(written[n], np.float64(f))
            for n, f in zip(rows, own, strict=True)
        ]
        assert_term(terms["point"], wanted)
        assert "superpoint" not in terms
        return
    targets = formulas.superpoint_targets(*points, rows, compat)
    if compat == "paper":  # stored in half precision
        targets = {s: np.float64(np.float16(t)) for s, t in targets.items()}
    voxels, superpoints = formulas.distillation(written, targets, case.of_voxel, rows)
    assert_term(terms["point"], voxels)
    assert_term(terms["superpoint"], superpoints)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), *MODES)
def test_self_distillation_over_several_visits(seed, compat, most):
    """The formulas keep features and multiply; the library keeps products."""
    config = tiny_config(compat=compat, max_sample_voxels=most, voxel_size_m=SIZE_M)
    case = make_case(seed, config)
    rng = np.random.default_rng(seed)
    text = rng.normal(size=(CLASSES, CHANNELS)).astype(np.float32)
    inputs = StepInputs(np.float32(0), np.float32(ALPHA), text)
    second = step_config(config, Stage(2, False, True, 0, 1))
    kept, past = begin(case, rng, text)
    rows_of = SceneRows([["a", "b"]], [[40, 40]])
    everything = list(range(len(case.first_point)))
    rows = counted(case.batch.ensemble.mask, everything, most)
    for _ in range(3):
        student, written = random_student(rng)
        (batch,) = kept.attach([case.batch], rows_of)
        terms, updated = terms_of(student, batch, inputs, second)
        kept.push(rows_of, updated[None])
        past = formulas.ensembled(past, written, case.point_voxel, ALPHA)
        of_points, of_superpoints = formulas.pseudo_labels(
            past, case.superpoint, text, compat
        )
        labels = [of_points[p] for p in case.first_point]
        voxels, superpoints = formulas.self_distillation(
            written, text, labels, of_superpoints, case.of_voxel, rows
        )
        assert set(terms) == {"point_self", "superpoint_self"}
        assert_term(terms["point_self"], voxels)
        assert_term(terms["superpoint_self"], superpoints)
        np.testing.assert_allclose(updated[:80], np.array(past) @ text.T, atol=1e-4)


def begin(case, rng, text):
    """Return the history of the library and of the formulas, by superpoint means."""
    features = rng.normal(size=(80, CHANNELS))
    kept = History()
    for scene, rows in zip(case.scenes, (slice(40), slice(40, 80)), strict=True):
        logits = (features[rows] @ text.T).astype(np.float32)
        kept.start(scene.name, logits, scene.superpoint)
    means = formulas.mean_by(case.superpoint, list(features))
    return kept, [means[s] for s in case.superpoint]


@pytest.mark.parametrize("seed", range(3))
def test_the_modes_differ(seed):
    """What both tests above tell apart is there to be told apart."""
    totals = []
    for compat in ("paper", "official"):
        config = tiny_config(compat=compat, voxel_size_m=SIZE_M)
        case = make_case(seed, config)
        points = case.fused, case.superpoint, case.first_point
        rows = formulas.taught_voxels(*points, "superpoint", compat)
        targets = formulas.superpoint_targets(*points, rows, compat)
        written = random_student(np.random.default_rng(seed))[1]
        terms = formulas.distillation(written, targets, case.of_voxel, rows)
        totals.append((len(rows), sum(terms[1])))
    assert totals[0][0] > totals[1][0]
    assert abs(totals[0][1] - totals[1][1]) > 1e-3
