"""What capability asks of its models: a synthesizer, a point prompter, a judge.

m images of S x S pixels of one class; H, W image size; points are (row, column).
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from sas_jax.artefacts.files import PathLike
from sas_jax.registry import Compat, LoadOptions

VERSION = 0
"""It decides no numbers: rules and options stand in keys by value."""


@dataclasses.dataclass(frozen=True)
class MaskConfig:
    """How a map becomes points.

    Attributes:
      threshold: on the map stretched to [0, 1]. 0.7 is the authors' value for Stable
        Diffusion; every synthesizer says its own.
      num_points: positive points per image.
      border_px: rim where no point may lie, in 512-pixel units.
      min_pixels: with fewer pixels inside the rim the points come from the image's
        centre, in 512-pixel units.
    """

    threshold: float = 0.7
    num_points: int = 3
    border_px: int = 70
    min_pixels: int = 10


@dataclasses.dataclass(frozen=True)
class Synthesized:
    """Images of one class.

    Attributes:
      images: uint8 [m, S, S, 3].
      attention: float32 [m, S, S] in [0, 1]: where the class's words act.
      prompt: text that they were made from.
      seeds: one per image.
    """

    images: UInt8[np.ndarray, "m S S 3"]
    attention: Float[np.ndarray, "m S S"]
    prompt: str
    seeds: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class SynthesizerOptions(LoadOptions):
    """What a synthesizer's loader is told; None keeps the model's own value.

    Attributes:
      steps: denoising steps.
      guidance: scale of classifier-free guidance.
      image_px: edge of the images.
      scheduler: how it denoises, a name that the model knows.
    """

    steps: int | None = None
    guidance: float | None = None
    image_px: int | None = None
    scheduler: str | None = None


class Synthesizer(Protocol):
    """Paint images of a class.

    Attributes:
      spec: everything that changes the images; it goes into cache keys.
      masks: how its attention maps become masks, unless somebody says otherwise.
      one_thread: whether it works on one thread of the CPU, so that several processes
        may each paint classes of their own.
      judge: name of what can judge its pseudo masks (see `registry.JUDGES`), or None.
      images_at_once: how many images it paints in one go. A run that is killed loses
        these at most; None paints and keeps a class as a whole.
    """

    spec: dict
    masks: MaskConfig
    one_thread: bool
    judge: str | None
    images_at_once: int | None

    def synthesize(self, prompt: str, word: str, seeds: Sequence[int]) -> Synthesized:
        """Paint one image per seed.

        Args:
          prompt: full text, which contains `word`.
          word: class name; its tokens' attention is kept.
          seeds: one per image; the same seed gives the same image.
        """


class PointPrompter(Protocol):
    """Outline the thing on which some points lie.

    Attributes:
      spec: everything that changes the masks; it goes into cache keys.
      one_thread: see `Synthesizer`.
    """

    spec: dict
    one_thread: bool

    def mask(
        self,
        image: UInt8[np.ndarray, "H W 3"],
        points: Int[np.ndarray, "n 2"],
        hint: Float[np.ndarray, "H W"] | None = None,
    ) -> Bool[np.ndarray, "H W"]:
        """Return the mask of one image.

        Args:
          image: RGB.
          points: (row, column) of pixels on the thing.
          hint: soft map in [0, 1] of where it is; models that need points only
            ignore it.
        """


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What images and their pseudo masks are made with.

    Attributes:
      synthesizer: paints.
      prompter: refines masks by points.
      masks: threshold and point rules.
    """

    synthesizer: Synthesizer
    prompter: PointPrompter
    masks: MaskConfig

    @property
    def one_thread(self) -> bool:
        """Whether several processes may share the classes."""
        return self.synthesizer.one_thread and self.prompter.one_thread


@dataclasses.dataclass(frozen=True)
class JudgeOptions:
    """What a judge's loader is told; None keeps the judge's own value.

    Attributes:
      images_per_class: on how many images with known masks.
      compat: which prompt.
      designs: which things the images show, in the judge's own words.
    """

    images_per_class: int | None = None
    compat: Compat = "paper"
    designs: str | None = None


class Judge(Protocol):
    """Tell how good pseudo masks are, on images whose true masks are known.

    Attributes:
      ticks: how often `judge` calls `progress`, if there is something to do.
    """

    ticks: int

    def judge(
        self, folder: PathLike, recipe: Recipe, progress: Callable[[], None]
    ) -> Mapping[str, float | None]:
        """Measure, unless that was done, and keep tables and pictures in a folder.

        Args:
          folder: the workspace's `capability` folder.
          recipe: under test; its synthesizer is one that names this judge.
          progress: see `ticks`.

        Returns:
          Kind of mask -> mean IoU, None where nothing could be measured.
        """
