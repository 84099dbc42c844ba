"""Memory of a training step: known before it is taken, and not left to compilers."""

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import jax
import jax.monitoring
import jax.numpy as jnp
from jaxtyping import PyTree

from sas_jax import memory
from sas_jax.distill import step
from sas_jax.distill.buckets import Bucket
from sas_jax.distill.config import TrainConfig
from sas_jax.models.init import network_shapes
from sas_jax.models.minkunet import constant_features
from sas_jax.sparse.plan import Plan, abstract_plan, plan_bytes

# Parameters, their gradients and two moments.
_COPIES_OF_PARAMETERS = 4
# Arrays of the widest rows that the backward pass has beside those that are kept:
# features, their gradients, and what is computed again.
_UNDER_WAY = 5
# Programs that compile faster leave little behind.
_LONG_COMPILATION_S = 1.0
_COMPILATION = "/jax/core/compile/backend_compile_duration"
# No network keeps more of a row than this many times what its plan takes of it: 64
# layers of 512 channels. Where that fits there is no need to trace the network.
_MOST_PER_PLAN = 160


def check_memory(
    config: TrainConfig, bucket: Bucket, devices: Sequence[jax.Device]
) -> None:
    """Refuse a run whose usual step does not fit the memory that is free.

    Args:
      config: of the run.
      bucket: the usual one.
      devices: where steps run, each with a batch of its own.

    Raises:
      InputError: with what is required and what would lower it.
    """
    free = memory.device_bytes(devices[0])
    replicas = len(devices) if devices[0].platform == "cpu" else 1
    plan = plan_bytes(config.student.plan_spec, bucket.rung)
    if free is None or replicas * _MOST_PER_PLAN * plan <= free:
        return
    memory.require(
        replicas * step_bytes(config, bucket),
        f"a training step of {bucket.rung.capacities[0]} rows of voxels",
        free,
        "Use larger voxels (--voxel_size_m), fewer scenes per step (--batch_size) or a "
        "smaller network (--arch).",
    )


def step_bytes(config: TrainConfig, bucket: Bucket) -> int:
    """Return what a step takes on one device, to about a tenth.

    What the backward pass keeps of the forward pass, as JAX traces it, and what it
    works on, two plans (one on its way) and parameters with gradients and moments.
    """
    student = config.student
    spec = student.plan_spec
    # Statistics that are shared take no memory, but cannot be traced on their own.
    network = step.make_network(dataclasses.replace(config, sync_bn=False))
    shapes = network_shapes(network.init, student.in_channels, spec)

    def kept(variables: PyTree, plan: Plan) -> list[jax.Array]:
        return _kept(network, variables, plan, student.in_channels)

    rows = jax.eval_shape(kept, shapes, abstract_plan(spec, bucket.rung))
    return (
        _bytes(rows)
        + _UNDER_WAY * max(_bytes([leaf]) for leaf in rows)
        + 2 * plan_bytes(spec, bucket.rung)
        + _COPIES_OF_PARAMETERS * _bytes(jax.tree.leaves(shapes["params"]))
    )


@contextlib.contextmanager
def compiled_without_a_trace() -> Iterator[None]:
    """Give back, inside, what compilers of long programs leave, before these run.

    For a network it is a hundred megabytes of pages that hold nothing, which the C
    library would keep beside all that a step takes.
    """

    def give_back(event: str, duration_secs: float, **kwargs: str | int) -> None:
        del kwargs
        if event == _COMPILATION and duration_secs > _LONG_COMPILATION_S:
            memory.give_back()

    jax.monitoring.register_event_duration_secs_listener(give_back)
    try:
        yield
    finally:
        jax.monitoring.unregister_event_duration_listener(give_back)


def _kept(
    network: step.Network, variables: PyTree, plan: Plan, channels: int
) -> list[jax.Array]:
    """Return the floating arrays, no parameters, that the backward pass needs."""

    def forward(params: PyTree) -> tuple[jax.Array, PyTree]:
        return network.apply(
            {**variables, "params": params},
            plan,
            constant_features(plan, channels),
            train=True,
            head=False,
            mutable=["batch_stats"],
        )

    _, pull, _ = jax.vjp(forward, variables["params"], has_aux=True)
    leaves = {id(leaf): leaf for leaf in jax.tree.leaves(pull)}
    for parameter in jax.tree.leaves(variables):
        leaves.pop(id(parameter), None)
    floating = (jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves.values())
    return list(itertools.compress(leaves.values(), floating))


def _bytes(leaves: list) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)
