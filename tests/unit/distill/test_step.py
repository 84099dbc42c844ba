"""The training step: it learns, compiles once, ignores padding, keeps the schedule."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fresh_student import init_student
from tiny_scenes import (
    CHANNELS,
    CLASSES,
    TEXT,
    Mixer,
    boxes,
    encoded,
    tiny_config,
)

from sas_jax.distill import batch as batches
from sas_jax.distill import loader
from sas_jax.distill import step as steps
from sas_jax.distill.buckets import Bucket
from sas_jax.distill.checkpoint import load_student
from sas_jax.distill.config import RunConfig, TrainConfig, official_config
from sas_jax.distill.data import SceneCache
from sas_jax.distill.factored import FactoredFeatures
from sas_jax.distill.objective import StepInputs, class_logits, step_config
from sas_jax.distill.progress import NonFiniteLoss
from sas_jax.distill.schedule import Schedule, Stage, learning_rate
from sas_jax.distill.train import train
from sas_jax.errors import InputError
from sas_jax.models.minkunet import HEAD
from sas_jax.sparse.native import conv as native
from sas_jax.sparse.rungs import Rung

DEVICES = tuple(jax.devices()[:1])
SMALL = Bucket(Rung((1024, 1024, 512, 512, 512)), 64, 2048)
LARGE = Bucket(Rung((1536, 1536, 1024, 512, 512)), 128, 4096)


def make(config, number, bucket=SMALL, count=2, points=0, build_plan=True):
    rng = np.random.default_rng(0)
    samples = [
        batches.make_sample(larger.load(config), config, rng)
        for box in boxes(count)
        for larger in [dataclasses.replace(box, num_points=box.num_points + points)]
    ]
    batch = batches.collate(
        *(samples, bucket, config),
        ensemble=number == 2,
        rng=rng,
        build_plan=build_plan,
    )
    if number == 2:
        rows = np.zeros((bucket.points, CLASSES), np.float32)
        total = sum(len(s.scene.points) for s in samples)
        rows[:total] = np.random.default_rng(1).normal(size=(total, CLASSES))
        ensemble = dataclasses.replace(batch.ensemble, history=rows)
        batch = dataclasses.replace(batch, ensemble=ensemble)
    return batch


def begin(config, number, batch, network=None):
    network = network or Mixer()
    stage = Stage(number, config.keep_distillation or number == 1, number == 2, 0, 50)
    step = steps.make_train_step(network, step_config(config, stage), DEVICES)
    state = steps.create_state(network, config)
    return step, steps.replicate(state, DEVICES)


def inputs(config):
    return StepInputs(np.float32(1e-2), np.float32(config.ema_alpha), TEXT)


def run(config, number, batch, count=1, network=None):
    step, state = begin(config, number, batch, network)
    for _ in range(count):
        on_device = steps.to_devices([batch], DEVICES)
        state, metrics, history = step(state, on_device, inputs(config))
    return jax.device_get((state, metrics, history))


def weights(state):
    return state.params[HEAD]["kernel"]


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("level", ["superpoint", "point"])
def test_losses_fall(number, level):
    config = tiny_config(level=level)
    batch = make(config, number)
    if level == "point":
        rows = batch.plan.levels[0].coords.shape[0]
        near = np.random.default_rng(2).normal(size=(rows, CHANNELS))
        batch = dataclasses.replace(batch, targets=near.astype(np.float16))
    first = run(config, number, batch)[1]["loss"].total
    # Enough steps to make up for a superpoint whose pseudo label changes on the way.
    last = run(config, number, batch, 60)[1]["loss"].total
    assert last < first - 0.01


def test_the_second_call_does_not_compile_again():
    config = tiny_config()
    traces = []

    class Counting(Mixer):
        def apply(self, *args, **kwargs):
            traces.append(1)
            return super().apply(*args, **kwargs)

    batch = make(config, 2)
    step, state = begin(config, 2, batch, Counting())
    counts = []
    for _ in range(3):
        on_device = steps.to_devices([batch], DEVICES)
        state, _, _ = step(state, on_device, inputs(config))
        counts.append(len(traces))
    assert counts[0] == counts[1] == counts[2]


def test_a_plan_built_in_the_step_changes_no_bit():
    config = tiny_config()
    network = steps.make_network(config)
    results = []
    for build_plan in (True, False):
        batch = make(config, 1, build_plan=build_plan)
        state, metrics, _ = run(config, 1, batch, 2, network)
        results.append((state.params, state.batch_stats, metrics))
    assert len(jax.tree.leaves(batch.plan)) == 2
    jax.tree.map(np.testing.assert_array_equal, *results)


def test_voxels_that_overflow_a_level_in_the_step_are_no_loss():
    config = tiny_config()
    batch = make(config, 1, build_plan=False)
    first, *others = batch.plan.rung.capacities
    small = dataclasses.replace(batch.plan, rung=Rung((first, *(8 for _ in others))))
    overflowed = dataclasses.replace(batch, plan=small)
    assert np.isfinite(run(config, 1, batch)[1]["loss"].total)
    assert np.isnan(run(config, 1, overflowed)[1]["loss"].total)


@pytest.mark.parametrize("number", [1, 2])
def test_capacities_decide_no_bits(number):
    config = tiny_config(voxel_size_m=0.03)
    sizes = [((8192, 8192, 8192, 4096, 512), 64, 8192),
             ((12800, 9216, 8704, 5120, 1536), 192, 40960)]  # fmt: skip
    results = []
    for capacities, superpoints, points in sizes:
        bucket = Bucket(Rung(capacities), superpoints, points)
        batch = make(config, number, bucket, 3, points=2000)
        assert batch.plan.levels[0].num_valid > 4096
        state, metrics, _ = run(config, number, batch, 2)
        results.append((weights(state), metrics))
    jax.tree.map(np.testing.assert_array_equal, *results)


def poisoned(batch):
    """NaN wherever a float belongs to padding or to nobody."""
    targets = np.array(batch.targets)
    used = np.zeros(len(targets), bool)
    used[np.unique(batch.superpoint[batch.mask])] = True
    targets[~used] = np.nan
    ensemble = batch.ensemble
    if ensemble is not None:
        rows = np.array(ensemble.history)
        rows[ensemble.point_superpoint >= batch.num_superpoints] = np.nan
        ensemble = dataclasses.replace(ensemble, history=rows)
    return dataclasses.replace(batch, targets=targets, ensemble=ensemble)


class NanOutside(Mixer):
    """Returns NaN in padding rows, worse than any network."""

    def apply(self, variables, plan, features, **kwargs):
        out, stats = super().apply(variables, plan, features, **kwargs)
        rows = jnp.arange(out.shape[0]) < plan.levels[0].num_valid
        return jnp.where(rows[:, None], out, jnp.nan), stats


@pytest.mark.parametrize("number", [1, 2])
def test_padding_may_hold_nan(number):
    config = tiny_config()
    batch = make(config, number)
    clean_state, clean, _ = run(config, number, batch)
    state, metrics, _ = run(config, number, poisoned(batch), network=NanOutside())
    for name in clean:
        assert metrics[name] == clean[name], name
    np.testing.assert_array_equal(weights(state), weights(clean_state))


@pytest.mark.parametrize("number", [1, 2])
def test_the_bucket_does_not_change_the_result(number):
    config = tiny_config()
    (one, small, _), (two, large, _) = (
        run(config, number, make(config, number, bucket)) for bucket in (SMALL, LARGE)
    )
    for name in small:
        np.testing.assert_allclose(small[name], large[name], rtol=1e-5)
    np.testing.assert_allclose(weights(one), weights(two), atol=1e-6)


def test_terms_are_the_equations_applied_to_the_features():
    config = tiny_config()
    batch = make(config, 2)
    network = Mixer()
    state = steps.create_state(network, config)
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    features = np.asarray(network.apply(variables, batch.plan, None, train=False))
    _, metrics, history = run(config, 2, batch)
    logits = (features @ TEXT.T).astype(np.float64)
    e = batch.ensemble
    new = 0.9 * e.history + 0.1 * logits[e.point_voxel]
    total = int((e.point_superpoint < 64).sum())
    np.testing.assert_allclose(history[0, :total], new[:total], atol=1e-5)

    def entropy(row, label):
        return np.log(np.exp(row).sum()) - row[label]

    voxels = np.flatnonzero(e.mask)
    wanted = np.mean(
        [entropy(logits[n], new[e.first_point[n]].argmax()) for n in voxels]
    )
    assert float(metrics["point_self"].total) / len(voxels) == pytest.approx(
        wanted, rel=1e-4
    )
    owners = np.unique(batch.superpoint[voxels])
    losses = []
    for s in owners:
        label = new[e.point_superpoint == s].mean(axis=0).argmax()
        losses.append(entropy(logits[batch.superpoint == s].mean(axis=0), label))
    assert metrics["superpoint_self"].count == len(owners)
    assert float(metrics["superpoint_self"].total) == pytest.approx(
        sum(losses), rel=1e-4
    )


def test_official_points_take_the_label_of_their_superpoint():
    paper, official = (tiny_config(compat=c) for c in ("paper", "official"))
    one, two = (run(config, 2, make(config, 2))[1] for config in (paper, official))
    assert one["superpoint_self"] == two["superpoint_self"]
    assert one["point_self"] != two["point_self"]


def test_the_second_stage_of_the_paper_keeps_the_first_ones_terms():
    both = run(tiny_config(), 2, make(tiny_config(), 2))[1]
    alone_config = tiny_config(keep_distillation=False)
    alone = run(alone_config, 2, make(alone_config, 2))[1]
    assert {"point", "superpoint", "point_self", "superpoint_self"} <= set(both)
    assert "point" not in alone and "point_self" in alone


def rates(config, stage, total):
    indices = range(stage.first_step, stage.first_step + stage.num_steps)
    return [learning_rate(config, stage, total, i) for i in indices]


def test_runs_that_differ_in_numbers_only_share_their_programs():
    stage = Stage(1, True, False, 0, 9)
    makers = [
        steps.make_train_step(
            steps.make_network(config), step_config(config, stage), DEVICES
        )
        for config in (tiny_config(), tiny_config(seed=9, learning_rate=0.5))
    ]
    assert makers[0] is makers[1]


def test_the_papers_rate_is_linear_over_both_stages():
    stage = Stage(1, True, False, 0, 101)
    got = rates(TrainConfig(), stage, 101)
    np.testing.assert_allclose(got, np.linspace(1e-4, 1e-5, 101), rtol=1e-5)


def test_the_official_rate_is_ten_times_the_base_after_the_first_step():
    config = official_config()
    for first in (0, 300):
        got = rates(config, Stage(1, True, False, first, 100), 400)
        wanted = [1e-4] + [1e-3 * (1 - i / 100) ** 0.9 for i in range(1, 100)]
        np.testing.assert_allclose(got, wanted, rtol=1e-4)


@pytest.mark.parametrize("minutes", [0, 60])
def test_a_poisoned_scene_stops_the_run_and_is_named(tmp_path, monkeypatch, minutes):
    monkeypatch.setattr(steps, "make_network", lambda config: Mixer())
    sources = boxes(4)

    class Poisoned:
        name = key = "bad_scene"

        def load(self, config):
            scene = sources[0].load(config)
            feat = np.full_like(scene.targets.feat, np.nan)
            targets = dataclasses.replace(scene.targets, feat=feat)
            return dataclasses.replace(scene, name=self.name, targets=targets)

    vocabulary = encoded()
    with pytest.raises(NonFiniteLoss, match=r"step \d.*bad_scene"):
        train(
            tiny_config(batch_size=2),
            [*sources[1:], Poisoned()],
            vocabulary,
            tmp_path,
            run=RunConfig(checkpoint_minutes=minutes, progress=False),
        )
    if (tmp_path / "checkpoints" / "1").exists():
        student = load_student(tmp_path / "checkpoints")
        assert np.isfinite(student.variables["params"][HEAD]["kernel"]).all()


def test_students_begin_with_the_weights_of_models_init():
    config = tiny_config(sync_bn=True)
    state = steps.create_state(steps.make_network(config), config)
    wanted = init_student(config.student, config.seed)
    got = {"params": state.params, "batch_stats": state.batch_stats}
    jax.tree.map(np.testing.assert_array_equal, got, wanted)
    assert state.step == 0 and not any(map(np.any, jax.tree.leaves(state.opt_state)))


def test_text_features_of_another_size_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"text features \[3, 8\]"):
        train(
            tiny_config(),
            boxes(2),
            encoded(rows=TEXT[:2]),
            tmp_path,
        )


def test_configurations_are_checked():
    with pytest.raises(InputError, match="compat must be one of"):
        TrainConfig(compat="papers")
    with pytest.raises(InputError, match="ema_alpha"):
        TrainConfig(ema_alpha=1.5)
    with pytest.raises(InputError, match="epochs > 0"):
        TrainConfig(epochs=0)
    with pytest.raises(InputError, match="count alike"):
        official_config(confidence_weights=True)
    assert TrainConfig().first_self_epoch == 70
    assert official_config(seed=3).first_self_epoch == 100


def test_paths_of_the_data_are_the_same_for_all_devices():
    config = tiny_config()
    cache = SceneCache(boxes(3), config, 10**9)
    schedule = Schedule(3, config)
    policy = loader.plan_buckets(cache, schedule, 2)
    shards, _ = loader.BatchSource(cache, schedule, policy, 2)[0]
    one, two = (jax.tree.map(np.shape, shard) for shard in shards)
    assert one == two


def test_logits_are_products_with_features_of_unit_length_if_asked_for():
    rng = np.random.default_rng(0)
    hidden, weights, text = (
        rng.standard_normal(shape).astype(np.float32)
        for shape in ((6, 4), (4, 5), (3, 5))
    )
    written_out = hidden @ weights
    features = FactoredFeatures(hidden, weights, len(hidden))
    raw = class_logits(features, text, unit=False)
    np.testing.assert_allclose(raw, written_out @ text.T, rtol=1e-4, atol=1e-5)
    length = np.linalg.norm(written_out, axis=1, keepdims=True)
    for factor in (1, 100):
        scaled = FactoredFeatures(factor * hidden, weights, len(hidden))
        unit = class_logits(scaled, text, unit=True)
        np.testing.assert_allclose(unit, written_out @ text.T / length, atol=1e-5)

    def total(x):
        return jnp.sum(
            class_logits(FactoredFeatures(x, weights, len(x)), text, unit=True)
        )

    gradient = jax.grad(total)(jnp.zeros((2, 4)))
    assert not np.asarray(gradient).any()


@pytest.mark.parametrize("impl", ["xla", "native"])
def test_the_losses_run_on_the_student_s_implementation(impl):
    if impl == "native" and not native.is_available():
        pytest.skip("the native library is not built")
    config = tiny_config()
    student = dataclasses.replace(config.student, impl=impl)
    config = dataclasses.replace(config, student=student)
    batch = make(config, 2)
    step, state = begin(config, 2, batch)
    on_device = steps.to_devices([batch], DEVICES)
    program = jax.make_jaxpr(step)(state, on_device, inputs(config))
    assert ("ffi_call" in str(program)) == (impl == "native")
    logits = steps.make_logits(Mixer(), 1, unit=True, impl=impl)
    variables = {"params": jax.device_get(state.params)}
    plan = jax.tree.map(np.asarray, batch.plan)
    program = jax.make_jaxpr(logits)(variables, plan, TEXT)
    assert ("ffi_call" in str(program)) == (impl == "native")


def test_logit_scale_must_be_positive():
    with pytest.raises(InputError, match="logit_scale"):
        TrainConfig(logit_scale=0.0)
    stage = Stage(2, True, True, 0, 1)
    assert step_config(TrainConfig(logit_scale=2.0), stage).unit_logits
    assert not step_config(TrainConfig(), stage).unit_logits
