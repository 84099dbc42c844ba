"""The training step: forward, losses, gradients and update, on every device at once.

Parameters enter and leave unstacked (`in_axes=None`, `out_axes=None`); a device gets
its own scenes, and sums over devices make loss, gradients and statistics those of the
whole batch. This file holds the only pmap.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int32, PyTree

from sas_jax.distill.batch import Batch
from sas_jax.distill.config import TrainConfig
from sas_jax.distill.factored import FactoredFeatures
from sas_jax.distill.losses import Term
from sas_jax.distill.objective import (
    StepConfig,
    StepInputs,
    class_logits,
    loss_terms,
)
from sas_jax.models.init import init_network
from sas_jax.models.minkunet import HEAD, MinkUNet, constant_features
from sas_jax.sparse.device_plan import UnbuiltPlan
from sas_jax.sparse.plan import Plan

AXIS = "device"


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """All that a step changes.

    Attributes:
      params: parameters of the student.
      batch_stats: running statistics of its batch norms.
      opt_state: moments of Adam.
      step: i32 scalar, steps done.
    """

    params: PyTree
    batch_stats: PyTree
    opt_state: PyTree
    step: Int32[Array, ""]


class Network(Protocol):
    """What the step needs of a flax module whose last layer is linear, named `HEAD`."""

    def __hash__(self) -> int:
        """Return equal numbers for equal networks, which share their programs."""
        ...

    def init(self, key: Array, /, *args: Any, **kwargs: Any) -> PyTree:
        """Return variables of which the shapes matter, see `models.init`."""
        ...

    def apply(self, variables: PyTree, *args: Any, **kwargs: Any) -> Any:
        """Run the network; with `head=False`, up to what its last layer takes."""
        ...


def optimizer() -> optax.GradientTransformation:
    """Return Adam without its learning rate, which the step applies itself.

    Source: SAS Table 7 and the authors' code (the main text says AdamW; the weight
    decay is 0, which makes them equal).
    """
    return optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8)


def make_network(config: TrainConfig) -> Network:
    """Return the student, with statistics over all devices where asked for."""
    axis = AXIS if config.sync_bn else None
    return MinkUNet(dataclasses.replace(config.student, sync_axis=axis))


def create_state(network: Network, config: TrainConfig) -> TrainState:
    """Return freshly drawn parameters and an empty optimiser, in host memory.

    Args:
      network: the student.
      config: seed and input channels.
    """
    student = config.student
    variables = init_network(
        network.init, student.in_channels, config.seed, student.plan_spec
    )
    params = variables["params"]
    state = TrainState(
        params=params,
        batch_stats=variables.get("batch_stats", {}),
        opt_state=optimizer().init(params),
        step=jnp.zeros((), jnp.int32),
    )
    return jax.device_get(state)


@functools.lru_cache(maxsize=16)
def make_train_step(
    network: Network, config: StepConfig, devices: tuple[jax.Device, ...]
) -> Callable:
    """Return `step(state, batch, inputs) -> (state, metrics, history)`.

    It compiles once per bucket; equal arguments return the same function, so that
    runs in one process share its programs.

    Args:
      network: the student.
      config: which losses count.
      devices: where to run.

    Returns:
      A function of a replicated state, which it consumes, a batch whose arrays have a
      leading axis of devices, and `StepInputs`. It returns the new state, `metrics`
      (sums and counts over all devices, by name) and the updated history, which alone
      keeps the leading axis: it belongs to the scenes of each device.
    """

    def step(state: TrainState, batch: Batch, inputs: StepInputs):
        plan, lost = batch.built_plan(), jnp.zeros((), bool)
        if isinstance(batch.plan, UnbuiltPlan):
            lost = plan.levels[0].num_valid != batch.plan.num_voxels
        batch = dataclasses.replace(batch, plan=plan)

        def loss_of(params: PyTree):
            return _loss(network, params, state.batch_stats, batch, inputs, config)

        (loss, aux), grads = jax.value_and_grad(loss_of, has_aux=True)(state.params)
        terms, history, batch_stats = aux
        # A plan that did not fit its bucket is empty: that must not pass for a step.
        loss = jnp.where(lost, jnp.full_like(loss, jnp.nan), loss)
        grads, terms, loss = jax.lax.psum((grads, terms, loss), AXIS)
        batch_stats = _mean_stats(state.batch_stats, batch_stats, plan)
        metrics = {
            **terms,
            "loss": _scalar(loss),
            "grad_norm": _scalar(optax.tree.norm(grads)),
            "learning_rate": _scalar(inputs.learning_rate),
        }
        new_state = _updated(state, grads, batch_stats, inputs.learning_rate)
        return new_state, metrics, history

    return jax.pmap(
        step,
        axis_name=AXIS,
        in_axes=(None, 0, None),
        out_axes=(None, None, 0),
        donate_argnums=(0,),
        devices=list(devices),
    )


def _loss(
    network: Network,
    params: PyTree,
    batch_stats: PyTree,
    batch: Batch,
    inputs: StepInputs,
    config: StepConfig,
) -> tuple[Float[Array, ""], tuple]:
    """Return this device's share of the loss, and what else the forward pass made."""
    plan = batch.built_plan()
    inputs_of = batch.inputs
    if inputs_of is None:
        inputs_of = constant_features(plan, config.in_channels)
    hidden, updated = network.apply(
        {"params": params, "batch_stats": batch_stats},
        plan,
        inputs_of,
        train=True,
        head=False,
        mutable=["batch_stats"],
    )
    num_voxels = plan.levels[0].num_valid
    features = FactoredFeatures(hidden, params[HEAD]["kernel"], num_voxels, config.impl)
    terms, history = loss_terms(features, batch, inputs, config)
    counts = {name: jax.lax.psum(term.count, AXIS) for name, term in terms.items()}
    shares = [t.total / jnp.maximum(counts[name], 1.0) for name, t in terms.items()]
    loss = cast(Array, sum(shares))  # of one at least
    return loss, (terms, history, updated.get("batch_stats", {}))


def _updated(
    state: TrainState, grads: PyTree, batch_stats: PyTree, rate: Float[Array, ""]
) -> TrainState:
    with jax.numpy_dtype_promotion("standard"):  # optax mixes integer and float
        updates, opt_state = optimizer().update(grads, state.opt_state)
    return TrainState(
        params=jax.tree.map(lambda p, u: p - rate * u, state.params, updates),
        batch_stats=batch_stats,
        opt_state=opt_state,
        step=state.step + 1,
    )


def _mean_stats(old: PyTree, new: PyTree, plan: Plan) -> PyTree:
    """Average running statistics over devices, weighted by their voxels."""
    voxels = plan.levels[0].num_valid.astype(jnp.float32)
    total = jax.lax.psum(voxels, AXIS)
    share = voxels / jnp.maximum(total, 1.0)
    mean = jax.lax.psum(jax.tree.map(lambda x: share * x, new), AXIS)
    return jax.tree.map(lambda was, now: jnp.where(total > 0, now, was), old, mean)


def _scalar(value: Float[Array, ""]) -> Term:
    return Term(value, jnp.ones((), value.dtype))


def to_devices(shards: Sequence[PyTree], devices: Sequence[jax.Device]) -> PyTree:
    """Put one shard on each device and return arrays with a leading axis of devices."""
    mesh = jax.sharding.Mesh(np.array(devices), (AXIS,))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(AXIS))

    def place(*leaves: np.ndarray) -> Array:
        placed = [
            jax.device_put(np.asarray(leaf)[None], device)
            for leaf, device in zip(leaves, devices, strict=True)
        ]
        shape = (len(devices), *placed[0].shape[1:])
        return jax.make_array_from_single_device_arrays(shape, sharding, placed)

    return jax.tree.map(place, *shards)


def replicate(tree: PyTree, devices: Sequence[jax.Device]) -> PyTree:
    """Put the same arrays on every device."""
    mesh = jax.sharding.Mesh(np.array(devices), (AXIS,))
    return jax.device_put(
        tree, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    )


@functools.lru_cache(maxsize=4)
def make_logits(
    network: Network, in_channels: int, *, unit: bool, impl: str | None = None
) -> Callable:
    """Return `logits(variables, plan, text) -> [N, K]`, in evaluation mode.

    Args:
      network: the student.
      in_channels: of its constant input.
      unit: as in `objective.class_logits`.
      impl: implementation of the products, the student's.
    """

    @jax.jit
    def logits(
        variables: PyTree, plan: Plan, text: Float[Array, "K C"]
    ) -> Float[Array, "N K"]:
        inputs = constant_features(plan, in_channels)
        hidden = network.apply(variables, plan, inputs, train=False, head=False)
        kernel = variables["params"][HEAD]["kernel"]
        features = FactoredFeatures(hidden, kernel, plan.levels[0].num_valid, impl)
        return class_logits(features, text, unit=unit)

    return logits
