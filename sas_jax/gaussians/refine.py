"""Refinement between steps: Gaussians that hardly show go, those pulled hardest split.

Kerbl et al. 2023, section 5.2, made simpler: a scan's seeds lie on all surfaces, so
there is only the split, it draws no random numbers, and a share of all is split
instead of those above a threshold, which keeps time and memory known in advance.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from sas_jax.gaussians.projection import rotation_matrices
from sas_jax.gaussians.training_step import OF_VIEWS, Parameters, State

APART, NARROWER = 0.6, 0.8
"""Of a standard deviation: where the two parts of a Gaussian lie, and what theirs is.

APART^2 + NARROWER^2 = 1: both together have the centre and the covariance of the one.
"""
_AT_CENTRE = float(np.exp(-0.5 * (APART / NARROWER) ** 2))
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
    host = jax.tree.map(np.asarray, state)
    opacities = 1 / (1 + np.exp(-host.parameters.logits.astype(np.float64)))
    kept = opacities >= prune_opacity
    kept = kept if kept.any() else np.ones_like(kept)
    pulls = (host.pulls / np.maximum(host.seen, 1))[kept]
    count = min(round(split_share * len(pulls)), int((pulls > 0).sum()))
    chosen = np.sort(np.argsort(-pulls, kind="stable")[:count])
    left = _rows(host.parameters, kept)
    first, second = split_one(_rows(left, chosen))
    moments = [_rows(m, kept) for m in (host.adam.mu, host.adam.nu)]
    nothing = jax.tree.map(np.zeros_like, first)
    parameters = _put(left, chosen, first, second)
    mu, nu = (_put(m, chosen, nothing, nothing) for m in moments)
    number = len(parameters.means)
    after = State(
        parameters,
        host.adam._replace(mu=mu, nu=nu),
        np.zeros(number, np.float32),
        np.zeros(number, np.int32),
    )
    return jax.tree.map(jnp.asarray, after), Refined(count, int((~kept).sum()))


def split_one(parents: Parameters) -> tuple[Parameters, Parameters]:
    """Return the two parts of each Gaussian, along its longest axis.

    They lie `APART` standard deviations from its centre and are `NARROWER` along that
    axis, so that both together have its centre and covariance. Their opacity is such
    that both, one behind the other, are as opaque at its centre as it was (up to an
    opacity of 0.94; they become no more opaque than 0.999). All else is the parent's.
    """
    axis = np.argmax(parents.log_scales, axis=1)
    rows = np.arange(len(axis))
    turned = np.asarray(rotation_matrices(jnp.asarray(parents.rotations)))
    step = APART * np.exp(parents.log_scales[rows, axis])[:, None]
    step = (step * turned[rows, :, axis]).astype(np.float32)
    log_scales = parents.log_scales.copy()
    log_scales[rows, axis] += np.float32(np.log(NARROWER))
    # 1 - (1 - o' e)^2 = o; the square root of 1 - o from the logit, exactly.
    through = np.exp(-0.5 * np.logaddexp(0, parents.logits.astype(np.float64)))
    part = np.minimum((1 - through) / _AT_CENTRE, _MOST_OPAQUE)
    logits = (np.log(part) - np.log1p(-part)).astype(np.float32)
    both = parents._replace(log_scales=log_scales, logits=logits)
    return (
        both._replace(means=parents.means - step),
        both._replace(means=parents.means + step),
    )


def _rows(
    parameters: Parameters, which: Bool[np.ndarray, " G"] | Int[np.ndarray, " M"]
) -> Parameters:
    """Return some of the Gaussians, and all that belongs to views."""
    return Parameters(
        **{
            name: value if name in OF_VIEWS else value[which]
            for name, value in parameters._asdict().items()
        }
    )


def _put(
    parameters: Parameters,
    where: Int[np.ndarray, " M"],
    first: Parameters,
    second: Parameters,
) -> Parameters:
    """Return Gaussians of which some are replaced, with more behind them."""

    def put(
        name: str, value: Shaped[np.ndarray, "G ..."]
    ) -> Float[np.ndarray, "G ..."]:
        if name in OF_VIEWS:
            return value
        value = value.copy()
        value[where] = getattr(first, name)
        return np.concatenate([value, getattr(second, name)])

    return Parameters(**{n: put(n, v) for n, v in parameters._asdict().items()})
