"""Gaussians learned from posed images, beginning with a scan (Kerbl et al. 2023)."""

import dataclasses
import itertools
import logging
import math
import pathlib
import time
from collections.abc import Callable, Iterator, Sequence

import jax.numpy as jnp
import numpy as np

from sas_jax.artefacts.files import content_key
from sas_jax.artefacts.versions import decided_by
from sas_jax.errors import DamagedFile, InputError
from sas_jax.gaussians.projection import RenderConfig, gaussians_of
from sas_jax.gaussians.raster import choose_impl, pairs_for
from sas_jax.gaussians.refine import refine
from sas_jax.gaussians.splats import Splats
from sas_jax.gaussians.training_config import SplatTrainConfig
from sas_jax.gaussians.training_files import (
    Checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from sas_jax.gaussians.training_step import (
    Learned,
    Parameters,
    State,
    first_state,
    splats_of,
    step,
)
from sas_jax.gaussians.views import View

_ROOM = 1.3
"""Capacity for pairs, of what the views need when it is chosen: Gaussians grow."""


def training_key(
    views_key: str,
    stride: int,
    image_size_wh: tuple[int, int] | None,
    config: SplatTrainConfig,
) -> str:
    """Return the content key of trained Gaussians.

    Args:
      views_key: of points and frames.
      stride: every how many-th frame is used.
      image_size_wh: at which frames are used.
      config: see there; how often checkpoints are written decides nothing.
    """
    decides = dataclasses.replace(config, checkpoint_every=1)
    settings = [stride, image_size_wh, decides]
    return content_key([views_key, settings, decided_by(__name__)])


def train(
    seeds: Splats,
    views: Sequence[View],
    config: SplatTrainConfig,
    *,
    checkpoint: pathlib.Path | None = None,
    key: str = "",
    on_step: Callable[[int, float, int], None] = lambda done, loss, number: None,
) -> Checkpoint:
    """Train Gaussians; `splats_of` makes a scene of the result.

    Args:
      seeds: to begin with.
      views: to learn from, at least one.
      config: see there.
      checkpoint: where the state is kept; what is there of this key is gone on with,
        to the same bits as without a stop.
      key: see `training_key`.
      on_step: called with the number of steps made, the last loss and the number of
        Gaussians.

    Deterministic: yes, on one kind of machine.

    Raises:
      InputError: when a loss is no number, and when the disk is full.
    """
    now = _resumed(checkpoint, key) or _first(seeds, views)
    extent, began = extent_m(seeds), time.monotonic() - now.seconds
    order = _order(len(views), config.seed)
    for done, index in enumerate(itertools.islice(order, config.steps), 1):
        if done <= now.step:
            continue
        state, pairs, loss = _learned(now, views[index], index, config, extent)
        if config.refines(done):
            state, _ = refine(
                state,
                split_share=config.split_share,
                prune_opacity=config.prune_opacity,
            )
            pairs = _capacity(state, views)
        now = Checkpoint(state, done, pairs, time.monotonic() - began)
        on_step(done, loss, len(state.pulls))
        last = done == config.steps
        if checkpoint and (last or done % config.checkpoint_every == 0):
            save_checkpoint(checkpoint, now, key)
    return now


def extent_m(splats: Splats) -> float:
    """Return the size of a scene that centres' rate is relative to.

    Half the diagonal of the box of the middle nine tenths along each axis; a few
    points far outside a window change it little.
    """
    low, high = np.percentile(splats.means.astype(np.float64), [5, 95], axis=0)
    return float(np.linalg.norm(high - low) / 2)


def _order(views: int, seed: int) -> Iterator[int]:
    """Yield views, all of them once before any comes again."""
    for epoch in itertools.count():
        yield from np.random.default_rng([seed, epoch]).permutation(views).tolist()


def _resumed(path: pathlib.Path | None, key: str) -> Checkpoint | None:
    if path is None:
        return None
    try:
        return load_checkpoint(path, key)
    except DamagedFile as error:
        logging.warning("%s", error)
        return None


def _first(seeds: Splats, views: Sequence[View]) -> Checkpoint:
    state = first_state(seeds, len(views))
    return Checkpoint(state, 0, _capacity(state, views), 0.0)


def _capacity(state: State, views: Sequence[View]) -> int | None:
    """Return room for the pairs of every view, and some more; None if none is asked."""
    if choose_impl(None, state.pulls.dtype) == "native":
        return None
    gaussians = gaussians_of(splats_of(state))
    needed = [
        pairs_for(gaussians, view.camera, *view.size_wh, RenderConfig())
        for view in views
    ]
    return round(_ROOM * max(needed))


def _learned(
    now: Checkpoint, view: View, index: int, config: SplatTrainConfig, extent: float
) -> tuple[State, int | None, float]:
    """Make one step, again with more room where there was too little."""
    rates, pairs = _rates(config, now.step, extent), now.pairs
    while True:
        state, told = step(
            now.state,
            view.camera,
            view.image,
            np.int32(index),
            rates,
            pairs=pairs,
            dssim_share=config.dssim_share,
        )
        if pairs is None or int(told.pairs) <= pairs:
            break
        pairs = round(_ROOM * int(told.pairs))
    loss = float(told.loss)
    if not math.isfinite(loss):
        raise InputError(
            f"splats: a finite loss is required, got {loss} in step {now.step + 1} "
            f"(frame {view.name}). Look at that frame, or train from another scan."
        )
    return state, pairs, loss


def _rates(config: SplatTrainConfig, done: int, extent: float) -> Parameters:
    """Return the rate of each array after some steps."""
    rates, share = config.rates, done / config.steps
    means = rates.means * (rates.last_means / rates.means) ** share * extent
    exposures = rates.exposures if config.match_exposure else 0.0
    each = (
        *(means, rates.log_scales, rates.rotations, rates.logits),
        *(rates.sh0, rates.sh_rest, exposures),
    )
    *of_splats, of_views = (jnp.float32(rate) for rate in each)
    return Parameters(Learned(*of_splats), of_views, of_views)
