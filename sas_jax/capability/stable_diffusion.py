"""The synthesizer Stable Diffusion, 1.x or 2.x, through diffusers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from sas_jax.artefacts import files
from sas_jax.capability import attention
from sas_jax.capability.attention import AttentionConfig
from sas_jax.capability.contracts import MaskConfig, Synthesized, SynthesizerOptions
from sas_jax.errors import InputError, WeightsMissing
from sas_jax.registry import said
from sas_jax.teachers.text import word_tokens
from sas_jax.teachers.weights_id import settings_of, weights_id

if TYPE_CHECKING:
    import diffusers

STABLE_DIFFUSION = "stable-diffusion-v1-5/stable-diffusion-v1-5"


@dataclasses.dataclass(frozen=True)
class StableDiffusionConfig:
    """How Stable Diffusion is run.

    Attributes:
      model: folder or hub id.
      steps: denoising steps; 50 in the authors' code.
      guidance: 7.0 is what the authors' code passes (it declares 7.5 and ignores it).
      image_size: edge of the images, pixels.
      batch: images per run.
      device: `cpu` or `cuda:<n>`.
      dtype: `float32`, `float16` or `bfloat16`.
    """

    model: str = STABLE_DIFFUSION
    steps: int = 50
    guidance: float = 7.0
    image_size: int = 512
    batch: int = 1
    device: str = "cpu"
    dtype: str = "float32"


class StableDiffusionSynthesizer:
    """Paint with Stable Diffusion (1.x or 2.x) from local files.

    Deterministic: for one device and, on the CPU, one number of threads.
    """

    masks = MaskConfig()
    one_thread = False
    judge = None

    def __init__(
        self,
        config: StableDiffusionConfig | None = None,
        maps: AttentionConfig | None = None,
        pipeline: diffusers.StableDiffusionPipeline | None = None,
    ) -> None:
        """Load the pipeline, or take one that is already there.

        Raises:
          WeightsMissing: when the weights are not on this machine.
          InputError: when the tokenizer does not fit the text encoder.
        """
        self._config = config or StableDiffusionConfig()
        self._maps = maps or AttentionConfig()
        self._pipeline = pipeline or load_pipeline(self._config)
        _check_tokenizer(self._pipeline)
        self._pipeline.set_progress_bar_config(disable=True)
        self.spec = {
            "model": "stable_diffusion",
            "config": files.canonical(
                dataclasses.replace(self._config, device="", model="")
            ),
            **_parts(self._pipeline),
            "attention": files.canonical(self._maps),
        }

    def synthesize(self, prompt: str, word: str, seeds: Sequence[int]) -> Synthesized:
        """See `Synthesizer`."""
        parts = [
            self._batch(prompt, word, seeds[i : i + self._config.batch])
            for i in range(0, len(seeds), self._config.batch)
        ]
        images, maps = (np.concatenate(p) for p in zip(*parts, strict=True))
        return Synthesized(images, maps, prompt, tuple(int(s) for s in seeds))

    def _batch(self, prompt, word, seeds) -> tuple[np.ndarray, np.ndarray]:
        config, pipeline = self._config, self._pipeline
        tokens = [prompt_tokens(pipeline.tokenizer, prompt, word)] * len(seeds)
        generators = [
            torch.Generator(config.device).manual_seed(int(seed)) for seed in seeds
        ]
        with attention.recording(pipeline.unet, guided=config.guidance > 1) as store:
            images = pipeline(
                [prompt] * len(seeds),
                num_inference_steps=config.steps,
                guidance_scale=config.guidance,
                generator=generators,
                height=config.image_size,
                width=config.image_size,
                output_type="np",
            ).images
        maps = attention.class_maps(store, tokens, config.image_size, self._maps, word)
        return (images * 255).round().astype(np.uint8), maps.cpu().numpy()


def load_pipeline(config: StableDiffusionConfig) -> diffusers.StableDiffusionPipeline:
    """Load Stable Diffusion from a folder or the local hub cache; nothing is fetched.

    Raises:
      WeightsMissing: when it is not there.
    """
    # imported here: the class pulls in half of transformers, with its log lines
    import diffusers

    try:
        pipeline = diffusers.StableDiffusionPipeline.from_pretrained(
            config.model,
            local_files_only=True,
            safety_checker=None,
            requires_safety_checker=False,
            low_cpu_mem_usage=False,  # the other way needs accelerate
        )
    except (OSError, ValueError) as error:  # ValueError: neither a folder nor an id
        raise WeightsMissing(
            f"stable diffusion: weights must be on this machine (4 GB, CreativeML Open "
            f"RAIL-M), got none ({config.model}). Run `hf download {STABLE_DIFFUSION}` "
            "or give a folder; without them use the small diffusion model."
        ) from error
    return pipeline.to(config.device, getattr(torch, config.dtype))


def _parts(pipeline: diffusers.StableDiffusionPipeline) -> dict:
    """Return the identity of all parts of a pipeline that decide an image."""
    networks = {
        "unet": pipeline.unet,
        "decoder": pipeline.vae,
        "text": pipeline.text_encoder,
    }
    text = pipeline.text_encoder.config.to_dict()
    return {
        "weights": weights_id(**networks),
        "unet": settings_of(pipeline.unet.config),
        "decoder": settings_of(pipeline.vae.config),
        "text": settings_of(text),
        "words": files.content_key(pipeline.tokenizer.get_vocab()),
        "sampler": type(pipeline.scheduler).__name__,
        "schedule": settings_of(pipeline.scheduler.config),
    }


def prompt_tokens(tokenizer, prompt: str, word: str) -> list[int]:
    """Return the positions of a word's tokens in a prompt, for CLIP's tokenizer.

    Raises:
      InputError: when the prompt does not contain the word.
    """
    offsets = tokenizer(prompt, return_offsets_mapping=True)["offset_mapping"]
    return word_tokens(prompt, word, [tuple(pair) for pair in offsets])


def _check_tokenizer(pipeline) -> None:
    # Without its files the tokenizer class builds an empty one and says nothing.
    have = len(pipeline.tokenizer)
    want = pipeline.text_encoder.config.vocab_size
    if have != want:
        raise InputError(
            f"stable diffusion: the tokenizer must have {want} entries, got {have}. "
            "Download the model's tokenizer folder too."
        )


def load(options: SynthesizerOptions) -> StableDiffusionSynthesizer:
    """Load the synthesizer for the registry; raises as its class."""
    config = said(
        StableDiffusionConfig(device=options.device),
        model=options.weights,
        steps=options.steps,
        guidance=options.guidance,
    )
    return StableDiffusionSynthesizer(config, AttentionConfig(options.compat))
