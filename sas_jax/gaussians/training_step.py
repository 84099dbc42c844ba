"""One step of training Gaussians on an image: its loss, gradients and Adam."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int32, UInt8

from sas_jax.gaussians.files.activations import logit_of_opacity
from sas_jax.gaussians.harmonics import sh_colours
from sas_jax.gaussians.metrics import photometric_loss
from sas_jax.gaussians.projection import (
    Camera,
    Gaussians,
    RenderConfig,
    project,
)
from sas_jax.gaussians.raster import rasterize
from sas_jax.gaussians.splats import Splats
from sas_jax.gaussians.tiles import count_pairs

_SMALLEST_SCALE_M = 1e-7


class Learned(NamedTuple):
    """What is learned of G Gaussians; f32.

    Attributes:
      means: [G, 3] metres.
      log_scales: [G, 3] logarithms of metres.
      rotations: [G, 4] quaternions of any length.
      logits: [G] of opacities.
      sh0: [G, 1, 3] constant harmonics.
      sh_rest: [G, K - 1, 3] the others.
    """

    means: Float[Array, "G 3"]
    log_scales: Float[Array, "G 3"]
    rotations: Float[Array, "G 4"]
    logits: Float[Array, " G"]
    sh0: Float[Array, "G 1 3"]
    sh_rest: Float[Array, "G K 3"]


class Parameters(NamedTuple):
    """All that is learned; f32.

    Attributes:
      splats: Gaussians.
      gains: [V, 3] logarithms, of each training view and colour.
      offsets: [V, 3] likewise, added to colours.
    """

    splats: Learned
    gains: Float[Array, "V 3"]
    offsets: Float[Array, "V 3"]


class State(NamedTuple):
    """What a step changes.

    Attributes:
      parameters: see there.
      adam: first and second moments, and the number of steps.
      pulls: [G] sum of lengths of the gradient of the centre in the image, in halves
        of the image, since the last refinement.
      seen: [G] in how many steps since then.
    """

    parameters: Parameters
    adam: optax.ScaleByAdamState
    pulls: Float[Array, " G"]
    seen: Int32[Array, " G"]


class Told(NamedTuple):
    """What a step says.

    Attributes:
      loss: of the image before the step.
      pairs: how many were needed; where that is more than there was room for, the
        state was left as it was.
    """

    loss: Float[Array, ""]
    pairs: Int32[Array, ""]


def adam() -> optax.GradientTransformation:
    """Return Adam without its rates; the epsilon is that of Kerbl et al.'s code."""
    return optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-15)


def first_state(splats: Splats, views: int) -> State:
    """Return the state that training begins with.

    Args:
      splats: seeds.
      views: number of training views.
    """
    log_scales = np.log(np.maximum(splats.scales, _SMALLEST_SCALE_M))
    learned = Learned(
        means=jnp.asarray(splats.means),
        log_scales=jnp.asarray(log_scales),
        rotations=jnp.asarray(splats.rotations),
        logits=jnp.asarray(logit_of_opacity(splats.opacities)),
        sh0=jnp.asarray(splats.sh[:, :1]),
        sh_rest=jnp.asarray(splats.sh[:, 1:]),
    )
    even = jnp.zeros((views, 3), jnp.float32)
    parameters = Parameters(learned, even, even)
    number = len(splats)
    return State(
        parameters,
        adam().init(parameters),
        jnp.zeros(number, jnp.float32),
        jnp.zeros(number, jnp.int32),
    )


def splats_of(state: State) -> Splats:
    """Return the Gaussians; views' gains and offsets are left out.

    They are relative to their mean over the views, so colours are those of the mean
    exposure.
    """
    learned = state.parameters.splats
    found = jax.tree.map(np.asarray, _gaussians(learned))
    length = np.linalg.norm(found.rotations, axis=1, keepdims=True)
    return Splats(
        means=found.means,
        scales=found.scales,
        rotations=found.rotations / length,
        opacities=found.opacities,
        sh=np.concatenate([learned.sh0, learned.sh_rest], axis=1),
    )


def _gaussians(learned: Learned) -> Gaussians:
    return Gaussians(
        learned.means,
        jnp.exp(learned.log_scales),
        learned.rotations,
        jax.nn.sigmoid(learned.logits),
    )


@functools.partial(jax.jit, static_argnames=("pairs", "dssim_share"))
def step(
    state: State,
    camera: Camera,
    image: UInt8[Array, "H W 3"],
    view: Int32[Array, ""],
    rates: Parameters,
    *,
    pairs: int | None,
    dssim_share: float,
) -> tuple[State, Told]:
    """Learn from one view.

    Args:
      state: of G Gaussians.
      camera: of the image.
      image: sRGB.
      view: its number among the training views.
      rates: a learning rate for each array of the parameters, [] f32.
      pairs: see `raster.rasterize`.
      dssim_share: see `metrics.photometric_loss`.
    """
    height, width = image.shape[:2]
    config = RenderConfig()
    truth = image.astype(jnp.float32) / 255

    def loss_of(parameters: Parameters, moved: Float[Array, "G 2"]) -> tuple:
        learned = parameters.splats
        projected = project(_gaussians(learned), camera, width, height, config)
        needed = count_pairs(projected, width, height)
        # A displacement of zero, whose gradient says where an ellipse is pulled to.
        shifted = projected._replace(means2d=projected.means2d + moved)
        sh = jnp.concatenate([learned.sh0, learned.sh_rest], axis=1)
        seen, _ = rasterize(
            shifted,
            sh_colours(learned.means, sh, camera.viewmat),
            width=width,
            height=height,
            pairs=pairs,
            alpha_cap=config.alpha_cap,
        )
        gain = parameters.gains[view] - jnp.mean(parameters.gains, axis=0)
        offset = parameters.offsets[view] - jnp.mean(parameters.offsets, axis=0)
        exposed = seen * jnp.exp(gain)[None, None] + offset[None, None]
        loss = photometric_loss(exposed, truth, dssim_share)
        return loss, (needed, jnp.any(projected.radii > 0, axis=1))

    unmoved = jnp.zeros((len(state.pulls), 2), jnp.float32)
    (loss, (needed, seen)), (grads, pull) = jax.value_and_grad(
        loss_of, argnums=(0, 1), has_aux=True
    )(state.parameters, unmoved)
    halves = jnp.array([[width / 2, height / 2]], jnp.float32)
    length = jnp.sqrt(jnp.sum(jnp.square(pull * halves), axis=1))
    after = _updated(state, grads, rates)._replace(
        pulls=state.pulls + length, seen=state.seen + seen.astype(jnp.int32)
    )
    if pairs is not None:
        fits = needed <= pairs
        after = jax.tree.map(lambda new, old: jnp.where(fits, new, old), after, state)
    return after, Told(loss, needed)


def _updated(state: State, grads: Parameters, rates: Parameters) -> State:
    with jax.numpy_dtype_promotion("standard"):  # optax mixes integer and float
        updates, moments = adam().update(grads, state.adam)
    parameters = jax.tree.map(
        lambda value, change, rate: value - rate * change,
        state.parameters,
        updates,
        rates,
    )
    return state._replace(parameters=parameters, adam=moments)
