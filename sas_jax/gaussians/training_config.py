"""How Gaussians are trained; flags are made of it, so it imports no JAX."""

import dataclasses

from sas_jax.checks import in_range


@dataclasses.dataclass(frozen=True)
class SeedConfig:
    """Choose what training begins with.

    Attributes:
      seeds: Gaussians to begin with, at most; a denser scan is thinned to voxels.
      seed_opacity: of each of them.
      sh_degree: of the harmonics that colours vary with: 0 to 3.
    """

    seeds: int = 40_000
    seed_opacity: float = 0.5
    sh_degree: int = 1

    def __post_init__(self) -> None:
        in_range("splats", "splat_seeds", self.seeds, 2)
        in_range("splats", "seed_opacity", self.seed_opacity, 0.01, 0.99)
        in_range("splats", "sh_degree", self.sh_degree, 0, 3)


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

    means: float = 6e-4
    last_means: float = 6e-6
    log_scales: float = 1e-2
    rotations: float = 1e-3
    logits: float = 5e-2
    sh0: float = 2.5e-3
    sh_rest: float = 1.25e-4
    exposures: float = 5e-3


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
    seeds: SeedConfig = SeedConfig()
    rates: SplatRates = SplatRates()

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
