"""What a training step takes is known before it is taken."""

import dataclasses

import jax
import jax.monitoring
import jax.numpy as jnp
import pytest
from tiny_scenes import boxes, encoded, tiny_config

from sas_jax import memory
from sas_jax.distill import footprint, step
from sas_jax.distill.buckets import Bucket
from sas_jax.distill.footprint import (
    check_memory,
    compiled_without_a_trace,
    step_bytes,
)
from sas_jax.distill.train import train
from sas_jax.errors import InputError
from sas_jax.models.init import network_shapes
from sas_jax.models.minkunet import constant_features
from sas_jax.sparse.native import conv as native
from sas_jax.sparse.plan import abstract_plan, plan_bytes
from sas_jax.sparse.rungs import Rung

BUCKET = Bucket(Rung((20480, 7680, 2560, 1280, 320)), 512, 20480)


def test_it_is_what_the_compiler_says():
    if not native.is_available():
        pytest.skip("the native library is not built: XLA blocks its gathers otherwise")
    config = tiny_config(sync_bn=True)
    network = step.make_network(dataclasses.replace(config, sync_bn=False))
    spec = config.student.plan_spec
    shapes = network_shapes(network.init, 3, spec)

    def loss(params, batch_stats, plan):
        variables = {"params": params, "batch_stats": batch_stats}
        out, _ = network.apply(variables, plan, constant_features(plan), train=True,
                               head=False, mutable=["batch_stats"])  # fmt: skip
        return jnp.sum(out * out)

    plan = abstract_plan(spec, BUCKET.rung)
    program = jax.jit(jax.grad(loss)).lower(
        shapes["params"], shapes["batch_stats"], plan
    )
    account = program.compile().memory_analysis()
    parameters = sum(4 * leaf.size for leaf in jax.tree.leaves(shapes["params"]))
    said = step_bytes(config, BUCKET) - 2 * plan_bytes(spec, BUCKET.rung)
    said -= 4 * parameters
    assert said == pytest.approx(account.temp_size_in_bytes, rel=0.15)


def test_a_step_that_does_not_fit_is_refused_before_it_is_tried(monkeypatch, tmp_path):
    config = tiny_config()
    monkeypatch.setattr(memory, "available_bytes", lambda: 50_000_000)
    with pytest.raises(
        InputError, match=r"GB are required for a training step of .*_m"
    ):
        train(config, boxes(3), encoded(), tmp_path)
    assert not any((tmp_path / "checkpoints").glob("*"))


def test_devices_of_one_machine_share_its_memory(monkeypatch):
    config, cpu = tiny_config(), jax.devices()[0]
    needed = step_bytes(config, BUCKET)
    monkeypatch.setattr(memory, "available_bytes", lambda: needed)
    check_memory(config, BUCKET, [cpu])
    with pytest.raises(InputError, match="--batch_size"):
        check_memory(config, BUCKET, [cpu, cpu])


def test_a_network_is_not_traced_where_there_is_plenty(monkeypatch):
    config = tiny_config()
    monkeypatch.setattr(step, "make_network", None)
    monkeypatch.setattr(memory, "available_bytes", lambda: 1 << 40)
    check_memory(config, BUCKET, jax.devices()[:1])
    monkeypatch.setattr(memory, "available_bytes", lambda: None)
    check_memory(config, BUCKET, jax.devices()[:1])


def test_what_a_long_compilation_leaves_is_given_back(monkeypatch):
    event, times = "/jax/core/compile/backend_compile_duration", []
    monkeypatch.setattr(memory, "give_back", lambda: times.append(1))
    with compiled_without_a_trace():
        jax.monitoring.record_event_duration_secs(event, 0.1)
        jax.monitoring.record_event_duration_secs("/jax/other", 2.0)
        assert not times
        jax.monitoring.record_event_duration_secs(event, 2.0)
        assert len(times) == 1
    jax.monitoring.record_event_duration_secs(event, 2.0)
    assert len(times) == 1


def test_jax_still_tells_of_compilations(monkeypatch):
    seen = []
    monkeypatch.setattr(memory, "give_back", lambda: seen.append(1))
    monkeypatch.setattr(footprint, "_LONG_COMPILATION_S", 0.0)
    with compiled_without_a_trace():
        jax.jit(lambda x: x * 3 + 1)(jnp.ones(3))
    assert seen
    memory.give_back()  # does not fail
