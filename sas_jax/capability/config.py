"""How images are painted, cut into masks, and teachers measured on them."""

import dataclasses
from typing import Literal

from sas_jax.checks import in_range
from sas_jax.registry import Compat

Score = Literal["own", "all"]
"""Whether a class is scored on its own images, Eq. 3, or on those of all classes."""

_LARGEST_SEED = 2**31
"""Generators take no longer ones, or take several for the same."""


@dataclasses.dataclass(frozen=True)
class CapabilityConfig:
    """How capability is measured.

    Attributes:
      images_per_class: m. The paper does not state it; the authors' code makes 50.
      seed: images use the seeds `seed`, `seed + 1`, ... as the authors' code does.
      compat: `paper` takes the mean of the images' IoU and measures every class that
        can be synthesized. `official` pools intersections and unions over the images
        of a class, adds "in a room" to the prompt and gives `other` capability 0.
      teacher_px: edge at which teachers see the images; 0 leaves them as painted.
    """

    images_per_class: int = 8
    seed: int = 0
    compat: Compat = "paper"
    teacher_px: int = 128

    def __post_init__(self) -> None:
        in_range("capability", "images_per_class", self.images_per_class, 1)
        in_range("capability", "capability_seed", self.seed, 0, _LARGEST_SEED)
        in_range("capability", "teacher_px", self.teacher_px, 0)


@dataclasses.dataclass(frozen=True)
class SynthesisConfig:
    """With which models images and their pseudo masks are made.

    Attributes:
      synthesizer: what paints the images, a name of its registry.
      diffusion_weights: file or folder of its weights, or `random:<seed>` to try Stable
        Diffusion without them; None takes its own.
      diffusion_steps: denoising steps; None takes its own number.
      diffusion_scheduler: how Stable Diffusion denoises; None takes its own.
      diffusion_px: edge of Stable Diffusion's images; None takes that of its training.
      guidance: scale of classifier-free guidance; None takes its own.
      attention_threshold: on the attention map, for the coarse mask; None takes its
        own.
      point_prompter: what refines masks by points, a name of its registry.
      sam_weights: folder of a prompter's weights, or `random:<seed>`; None looks where
        weights are kept.
    """

    synthesizer: str = "small"
    diffusion_weights: str | None = None
    diffusion_steps: int | None = None
    diffusion_scheduler: Literal["pndm", "ddim", "dpm", "euler"] | None = None
    diffusion_px: int | None = None
    guidance: float | None = None
    attention_threshold: float | None = None
    point_prompter: str = "grabcut"
    sam_weights: str | None = None

    def __post_init__(self) -> None:
        in_range("synthesis", "diffusion_steps", self.diffusion_steps, 1)
        in_range("synthesis", "diffusion_px", self.diffusion_px, 8)
        in_range("synthesis", "guidance", self.guidance, 0)
        in_range("synthesis", "attention_threshold", self.attention_threshold, 0, 1)
