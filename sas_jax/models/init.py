"""Initial variables of a network, drawn on the host.

Flax's own `init` traces the whole network and compiles one random generator per
parameter, many seconds before training starts. Here the shapes come from abstract
evaluation and the values from numpy, one stream per (seed, name), so that they depend
neither on the order of modules nor on the version of JAX.
"""

import functools
import zlib
from collections.abc import Callable
from typing import Any

import flax.traverse_util
import jax
import numpy as np
from jaxtyping import Float

from sas_jax.models.config import StudentConfig
from sas_jax.models.layers import fan_out
from sas_jax.models.minkunet import MinkUNet, constant_features
from sas_jax.sparse.plan import Plan, build_plan
from sas_jax.sparse.plan_spec import MINKUNET, PlanSpec
from sas_jax.sparse.rungs import exact_rung


def init_network(
    init: Callable[..., Any],
    in_channels: int,
    seed: int,
    spec: PlanSpec = MINKUNET,
) -> dict[str, Any]:
    """Return the variables that a network's `init` asks for, drawn on the host.

    Convolutions are normal with variance 2 / fan_out (Kaiming, for ReLU), transposed
    ones uniform within 1 / sqrt(fan_out), norms the identity.

    Args:
      init: method of the flax module, used for shapes only.
      in_channels: channels of the network's input.
      seed: same seed, same bits.
      spec: levels and kernels that the network asks for.

    Source: authors' code, MinkUNet weight_initialization, which visits plain
    convolutions only; transposed ones keep the library's default.
    """
    flat = flax.traverse_util.flatten_dict(network_shapes(init, in_channels, spec))
    drawn = {path: _draw(path, leaf.shape, seed) for path, leaf in flat.items()}
    return flax.traverse_util.unflatten_dict(drawn)


@functools.cache
def variable_shapes(config: StudentConfig) -> dict[str, Any]:
    """Return the variables of a student as shapes, without computing anything.

    The same dict for the same student, since tracing takes seconds: do not change it.
    """
    return network_shapes(MinkUNet(config).init, config.in_channels, config.plan_spec)


def network_shapes(
    init: Callable[..., Any], in_channels: int, spec: PlanSpec
) -> dict[str, Any]:
    """Return the variables that a network's `init` asks for, as shapes."""
    # The shapes of parameters do not depend on the voxels: one is enough.
    rung = exact_rung((1,) * spec.num_levels)
    plan, _ = build_plan(np.zeros((1, 4), np.int32), rung, spec=spec)

    def draw(plan: Plan) -> dict[str, Any]:
        features = constant_features(plan, in_channels)
        return init(jax.random.key(0), plan, features, train=False)

    return jax.eval_shape(draw, plan)


def _draw(
    path: tuple[str, ...], shape: tuple[int, ...], seed: int
) -> Float[np.ndarray, "..."]:
    module, leaf = path[-2:]
    if leaf != "kernel":
        one = leaf in ("scale", "var")
        return np.full(shape, 1.0 if one else 0.0, np.float32)
    rng = np.random.default_rng([seed, zlib.crc32("/".join(path).encode())])
    if module.startswith("convtr"):
        bound = np.float32(fan_out(shape) ** -0.5)
        return bound * (2 * rng.random(shape, np.float32) - 1)
    std = np.float32((2 / fan_out(shape)) ** 0.5)
    return std * rng.standard_normal(shape, np.float32)
