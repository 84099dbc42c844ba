"""The synthesizer Stable Diffusion, 1.x, 2.x or XL, through diffusers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from sas_jax.artefacts import files
from sas_jax.capability import (
    attention,
    diffusion_pipelines,
    prompt_tokens,
    random_diffusion,
)
from sas_jax.capability.attention import AttentionConfig
from sas_jax.capability.contracts import MaskConfig, Synthesized, SynthesizerOptions
from sas_jax.checks import in_range, one_of
from sas_jax.errors import InputError
from sas_jax.registry import said
from sas_jax.weights.find import find_folder, seed_of

if TYPE_CHECKING:
    import diffusers

NAME = "stable-diffusion"

_DTYPES = (None, "float32", "float16", "bfloat16")


@dataclasses.dataclass(frozen=True)
class StableDiffusionConfig:
    """How Stable Diffusion is run.

    Attributes:
      steps: denoising steps; 50 in the authors' code.
      guidance: 7.0 is what the authors' code passes (it declares 7.5 and ignores it).
      image_size: edge of the images, pixels; None takes that which the U-Net was
        trained for (512 for 1.x, 512 or 768 for 2.x, 1024 for XL).
      scheduler: one of `diffusion_pipelines.SCHEDULERS`; None takes the pipeline's.
      batch: images per run.
      device: `cpu` or `cuda:<n>`.
      dtype: `float32`, `float16` or `bfloat16`; None takes `float16` on a GPU, and
        `float32` on the CPU.
    """

    steps: int = 50
    guidance: float = 7.0
    image_size: int | None = None
    scheduler: str | None = None
    batch: int = 1
    device: str = "cpu"
    dtype: str | None = None

    def __post_init__(self) -> None:
        in_range("stable diffusion", "diffusion_steps", self.steps, 1)
        in_range("stable diffusion", "batch", self.batch, 1)
        in_range("stable diffusion", "diffusion_px", self.image_size, 1)
        in_range("stable diffusion", "guidance", self.guidance, 0)
        one_of("stable diffusion", "dtype", self.dtype, _DTYPES)
        known = diffusion_pipelines.SCHEDULERS
        if self.scheduler not in (None, *known):
            raise InputError(
                f"stable diffusion: a scheduler must be one of {', '.join(known)}, got "
                f"{self.scheduler}. Correct --diffusion_scheduler."
            )


class StableDiffusionSynthesizer:
    """Paint with a pipeline of diffusers.

    Deterministic: for one device and, on the CPU, one number of threads.
    """

    masks = MaskConfig()
    one_thread = False
    judge = None

    def __init__(
        self,
        pipeline: diffusers.DiffusionPipeline,
        config: StableDiffusionConfig | None = None,
        maps: AttentionConfig | None = None,
        weights: str | None = None,
    ) -> None:
        """Take a pipeline, which is moved to the device and changed.

        Args:
          pipeline: of Stable Diffusion 1.x, 2.x or XL.
          config: how it is run.
          maps: how its attention becomes one map.
          weights: what stands for its weights in keys; None hashes them.

        Raises:
          InputError: when the pipeline has no attention to words, the tokenizer does
            not fit the text encoder, or the images' size does not fit the decoder.
        """
        diffusion_pipelines.check_pipeline(pipeline)
        self._config = _resolved(config or StableDiffusionConfig(), pipeline)
        self._maps = maps or AttentionConfig()
        if self._config.scheduler is not None:
            diffusion_pipelines.set_scheduler(pipeline, self._config.scheduler)
        self.spec = {
            "model": "stable_diffusion",
            "config": files.canonical(dataclasses.replace(self._config, device="")),
            **diffusion_pipelines.identity(pipeline, weights),
            "attention": files.canonical(self._maps),
        }
        self._size = self.spec["config"]["image_size"]
        dtype = getattr(torch, str(self._config.dtype))
        self._pipeline = pipeline.to(self._config.device, dtype)
        self._pipeline.set_progress_bar_config(disable=True)
        self.images_at_once = self._config.batch

    def synthesize(self, prompt: str, word: str, seeds: Sequence[int]) -> Synthesized:
        """See `Synthesizer`.

        Raises:
          InputError: when the prompt lacks the word, or a number overflows.
        """
        parts = [
            self._batch(prompt, word, seeds[i : i + self._config.batch])
            for i in range(0, len(seeds), self._config.batch)
        ]
        images, maps = (np.concatenate(p) for p in zip(*parts, strict=True))
        return Synthesized(images, maps, prompt, tuple(int(s) for s in seeds))

    def _batch(self, prompt, word, seeds) -> tuple[np.ndarray, np.ndarray]:
        config, size = self._config, self._size
        tokens = [self._tokens(prompt, word)] * len(seeds)
        with attention.recording(self._pipeline.unet, guided=self._guided) as store:
            images = self._pipeline(
                [prompt] * len(seeds),
                num_inference_steps=config.steps,
                guidance_scale=config.guidance,
                generator=[
                    torch.Generator(config.device).manual_seed(int(seed))
                    for seed in seeds
                ],
                height=size,
                width=size,
                output_type="np",
            ).images
        maps = attention.class_maps(store, tokens, size, self._maps, word)
        if not (np.isfinite(images).all() and bool(maps.isfinite().all())):
            raise InputError(
                f"stable diffusion: finite numbers are required, got others in "
                f"{config.dtype} for {prompt!r}. Run it on the CPU, in float32."
            )
        return (images * 255).round().astype(np.uint8), maps.cpu().numpy()

    @property
    def _guided(self) -> bool:
        """Whether diffusers puts an unconditional half first, by its own rule."""
        distilled = self._pipeline.unet.config.time_cond_proj_dim is not None
        return self._config.guidance > 1 and not distilled

    def _tokens(self, prompt: str, word: str) -> list[int]:
        """Return the positions of a class's tokens, the same for every tokenizer."""
        pairs = diffusion_pipelines.text_parts(self._pipeline)
        found = [
            prompt_tokens.positions(tokenizer, prompt, word, self._maps.compat)
            for tokenizer, _ in pairs
        ]
        if any(row != found[0] for row in found):
            raise InputError(
                f"stable diffusion: both tokenizers must split {prompt!r} alike, got "
                f"{word!r} at {found}. Give an unchanged folder of the model."
            )
        return found[0]


def _resolved(config: StableDiffusionConfig, pipeline) -> StableDiffusionConfig:
    """Fill in what follows from the pipeline and the device."""
    scale = pipeline.vae_scale_factor
    trained, most = pipeline.unet.config.sample_size, _most_steps(pipeline)
    if config.image_size is None and not isinstance(trained, int):
        raise InputError(
            f"stable diffusion: a U-Net that says its edge is required, got {trained}. "
            "Give --diffusion_px."
        )
    in_range("stable diffusion", "diffusion_steps", config.steps, 1, most)
    size = config.image_size or trained * scale
    if size % scale:
        raise InputError(
            f"stable diffusion: image_size must be a multiple of {scale}, got {size}. "
            "Correct --diffusion_px."
        )
    dtype = config.dtype or ("float32" if config.device == "cpu" else "float16")
    return dataclasses.replace(config, image_size=size, dtype=dtype)


def _most_steps(pipeline) -> int:
    """Return how many levels of noise there are; more steps would repeat some."""
    return pipeline.scheduler.config.num_train_timesteps


def load(options: SynthesizerOptions) -> StableDiffusionSynthesizer:
    """Load the synthesizer for the registry.

    Raises:
      WeightsMissing: when its weights are not on this machine.
      InputError: as the class, and for a folder that is no such pipeline.
    """
    config = said(
        StableDiffusionConfig(device=options.device),
        steps=options.steps,
        guidance=options.guidance,
        image_size=options.image_px,
        scheduler=options.scheduler,
    )
    maps, seed = AttentionConfig(options.compat), seed_of(options.weights)
    if seed is not None:
        pipeline = random_diffusion.random_pipeline(seed)
        return StableDiffusionSynthesizer(pipeline, config, maps, options.weights)
    folder = find_folder(NAME, options.weights, download=options.download)
    pipeline = diffusion_pipelines.load_pipeline(folder)
    return StableDiffusionSynthesizer(pipeline, config, maps)
