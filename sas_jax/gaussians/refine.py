"""Refinement between steps: Gaussians that hardly show go, those pulled hardest split.

Kerbl et al. 2023, section 5.2, made simpler: a scan's seeds lie on all surfaces, so
there is only the split, it draws no random numbers, and a share of all is split
instead of those above a threshold, which keeps time and memory known in advance.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Int

from sas_jax.gaussians.projection import rotation_matrices
from sas_jax.gaussians.training_step import Learned, State

APART, NARROWER = 0.5, 0.75**0.5
"""Of a standard deviation: where the two parts of a Gaussian lie, and what theirs is.

APART^2 + NARROWER^2 = 1: both together have the centre and the covariance of the one.
"""
_OVERLAP = float(np.exp(-((APART / NARROWER) ** 2)))
_MOST_OPAQUE = 0.999


class Refined(NamedTuple):
    """What became of Gaussians."""

    split: int
    pruned: int


def refine(
    state: State, *, split_share: float, prune_opacity: float
) -> tuple[State, Refined]:
    """Return the state after a prune and a split.

    The part that is left of a pruned Gaussian's pixels changes by `prune_opacity` at
    most, and by nothing up to 1/255, which no renderer shows. The two parts of a split
    one are `split_one`'s; they begin without moments.

    Args:
      state: of G Gaussians.
      split_share: of the Gaussians that are left, the part that is split: those whose
        mean pull was largest, of equal ones the first.
      prune_opacity: those with less go, unless all would.

    Deterministic: yes.
    """
    learned = state.parameters.splats
    opacities = np.asarray(jax.nn.sigmoid(learned.logits))
    kept = opacities >= prune_opacity
    kept = kept if kept.any() else np.ones_like(kept)
    pulls = (np.asarray(state.pulls) / np.maximum(state.seen, 1))[kept]
    count = min(round(split_share * len(pulls)), int((pulls > 0).sum()))
    chosen = np.sort(np.argsort(-pulls, kind="stable")[:count])
    left = _rows(learned, kept)
    parts = split_one(_rows(left, chosen))
    splats = _put(left, chosen, parts)
    none = jax.tree.map(jnp.zeros_like, parts)
    count_of, mu, nu = state.adam
    mu, nu = (
        tree._replace(splats=_put(_rows(tree.splats, kept), chosen, none))
        for tree in (mu, nu)
    )
    number = len(splats.means)
    after = State(
        state.parameters._replace(splats=splats),
        optax.ScaleByAdamState(count_of, mu, nu),
        jnp.zeros(number, jnp.float32),
        jnp.zeros(number, jnp.int32),
    )
    return after, Refined(count, int((~kept).sum()))


def split_one(parents: Learned) -> tuple[Learned, Learned]:
    """Return the two parts of each Gaussian, along its longest axis.

    They lie `APART` standard deviations from its centre and are `NARROWER` along that
    axis, so that both together have its centre and covariance. They hide in sum what it
    hid, seen across that axis: for Gaussians of one depth, of which the second is seen
    through the first, the integral of opacity is the same. All else is the parent's.
    What changes is the profile: an opaque one's peak is lower by up to a fifth.
    """
    host = jax.tree.map(np.asarray, parents)
    axis, rows = np.argmax(host.log_scales, axis=1), np.arange(len(host.means))
    turned = np.asarray(rotation_matrices(parents.rotations))
    step = APART * np.exp(host.log_scales[rows, axis])[:, None] * turned[rows, :, axis]
    log_scales = host.log_scales.copy()
    log_scales[rows, axis] += np.float32(np.log(NARROWER))
    # With widths s = NARROWER and the overlap E: o = 2 s o' - s E o'^2 / 2.
    opacities = 1 / (1 + np.exp(-host.logits.astype(np.float64)))
    root = np.sqrt(4 - 2 * _OVERLAP / NARROWER * opacities)
    part = np.clip((2 - root) / _OVERLAP, 1e-7, _MOST_OPAQUE)
    logits = (np.log(part) - np.log1p(-part)).astype(np.float32)
    both = parents._replace(
        log_scales=jnp.asarray(log_scales), logits=jnp.asarray(logits)
    )
    low, high = jnp.asarray(host.means - step), jnp.asarray(host.means + step)
    return both._replace(means=low), both._replace(means=high)


def _rows(
    learned: Learned, which: Bool[np.ndarray, " G"] | Int[np.ndarray, " M"]
) -> Learned:
    return jax.tree.map(lambda value: value[which], learned)


def _put(
    learned: Learned, where: Int[np.ndarray, " M"], parts: tuple[Learned, Learned]
) -> Learned:
    """Return Gaussians of which some are replaced, with as many behind all others."""

    def put(value: Array, first: Array, second: Array) -> Array:
        return jnp.concatenate([value.at[where].set(first), second])

    return jax.tree.map(put, learned, *parts)
