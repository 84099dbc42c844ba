"""Gaussians learned from posed images, beginning with a scan (Kerbl et al. 2023)."""

import dataclasses
import itertools
import logging
import math
import pathlib
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from sas_jax.artefacts.files import content_key
from sas_jax.artefacts.versions import decided_by
from sas_jax.checks import in_range
from sas_jax.errors import DamagedFile, InputError
from sas_jax.gaussians.projection import RenderConfig, gaussians_of
from sas_jax.gaussians.raster import pairs_for
from sas_jax.gaussians.refine import refine
from sas_jax.gaussians.seed import SeedConfig
from sas_jax.gaussians.splats import Splats
from sas_jax.gaussians.training_files import (
    Checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from sas_jax.gaussians.training_step import (
    Parameters,
    State,
    first_state,
    splats_of,
    step,
)
from sas_jax.gaussians.views import View

_ROOM = 1.3
"""Capacity for pairs, of what the views need when it is chosen: Gaussians grow."""


@dataclasses.dataclass(frozen=True)
class SplatRates:
    """Learning rates.

    Attributes:
      means: of centres, times the scan's extent, at the first step.
      last_means: at the last step; between them it falls by a constant factor.
      log_scales: of logarithms of scales.
      rotations: of quaternions.
      logits: of opacities' logits.
      sh0: of constant harmonics.
      sh_rest: of the others.
      exposures: of views' gains and offsets.
    """

    means: float = 1.6e-4
    last_means: float = 1.6e-6
    log_scales: float = 5e-3
    rotations: float = 1e-3
    logits: float = 5e-2
    sh0: float = 2.5e-3
    sh_rest: float = 1.25e-4
    exposures: float = 1e-3


@dataclasses.dataclass(frozen=True)
class SplatTrainConfig:
    """Choose how Gaussians are trained.

    Attributes:
      steps: images that are learned from, one a step.
      held_out_every: every how many-th frame is held out, and scored on.
      dssim_share: part of 1 - SSIM in the loss; the rest is the absolute difference.
      match_exposure: learn a gain and an offset for each colour of each frame: cameras
        choose exposure and white balance anew.
      refine_every: steps between refinements, which end at half of all steps; 0 for
        none.
      split_share: part of the Gaussians that each refinement splits.
      prune_opacity: refinements remove Gaussians that are less opaque.
      seed: of the order of images.
      checkpoint_every: steps between checkpoints.
      seeds: what training begins with.
      rates: learning rates.
      render: how Gaussians are blended.
    """

    steps: int = 3000
    held_out_every: int = 8
    dssim_share: float = 0.2
    match_exposure: bool = True
    refine_every: int = 500
    split_share: float = 0.1
    prune_opacity: float = 0.005
    seed: int = 0
    checkpoint_every: int = 500
    seeds: SeedConfig = SeedConfig()  # noqa: RUF009 (frozen)
    rates: SplatRates = SplatRates()
    render: RenderConfig = RenderConfig()  # noqa: RUF009 (frozen)

    def __post_init__(self) -> None:
        in_range("splats", "splat_steps", self.steps, 1)
        in_range("splats", "held_out_every", self.held_out_every, 2)
        in_range("splats", "dssim_share", self.dssim_share, 0, 1)
        in_range("splats", "refine_every", self.refine_every, 0)
        in_range("splats", "split_share", self.split_share, 0, 1)
        in_range("splats", "prune_opacity", self.prune_opacity, 0, 0.5)
        in_range("splats", "splat_seed", self.seed, 0)
        in_range("splats", "checkpoint_every", self.checkpoint_every, 1)

    def refines(self, done: int) -> bool:
        """Tell whether Gaussians are refined after so many steps."""
        return bool(
            self.refine_every
            and done % self.refine_every == 0
            and done <= self.steps // 2
        )


def training_key(views_key: str, stride: int, config: SplatTrainConfig) -> str:
    """Return the content key of trained Gaussians.

    Args:
      views_key: of points and frames.
      stride: every how many-th frame is used.
      config: see there; how often checkpoints are written decides nothing.
    """
    decides = dataclasses.replace(config, checkpoint_every=1)
    return content_key([views_key, stride, decides, decided_by(__name__)])


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
    now = _resumed(checkpoint, key) or _first(seeds, views, config)
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
            pairs = _capacity(state, views, config)
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


def _first(
    seeds: Splats, views: Sequence[View], config: SplatTrainConfig
) -> Checkpoint:
    state = first_state(seeds, len(views))
    return Checkpoint(state, 0, _capacity(state, views, config), 0.0)


def _capacity(state: State, views: Sequence[View], config: SplatTrainConfig) -> int:
    """Return room for the pairs of every view, and some more."""
    gaussians = gaussians_of(splats_of(state.parameters))
    needed = [
        pairs_for(gaussians, view.camera, *view.size_wh, config.render)
        for view in views
    ]
    return round(_ROOM * max(needed))


def _learned(
    now: Checkpoint, view: View, index: int, config: SplatTrainConfig, extent: float
) -> tuple[State, int, float]:
    """Make one step, again with more room where there was too little."""
    rates, pairs = _rates(config, now.step, extent), now.pairs
    while True:
        state, told = step(
            now.state,
            view.camera,
            view.image,
            np.int32(index),
            rates,
            config=config.render,
            pairs=pairs,
            dssim_share=config.dssim_share,
        )
        if int(told.pairs) <= pairs:
            break
        pairs = round(_ROOM * int(told.pairs))
    loss = float(told.loss)
    if not math.isfinite(loss):
        raise InputError(
            f"splats: a finite loss is required, got {loss} in step {now.step + 1} "
            f"(frame {view.name}). Train with fewer --seeds, or look at that frame."
        )
    return state, pairs, loss


def _rates(config: SplatTrainConfig, done: int, extent: float) -> Parameters:
    """Return the rate of each array after some steps."""
    rates, share = config.rates, done / config.steps
    means = rates.means * (rates.last_means / rates.means) ** share * extent
    exposures = rates.exposures if config.match_exposure else 0.0
    each = (
        *(means, rates.log_scales, rates.rotations, rates.logits),
        *(rates.sh0, rates.sh_rest, exposures, exposures),
    )
    return Parameters(*(np.float32(rate) for rate in each))
