"""Synthesis: a prompt and seeds become images of a class, each with a map of it.

One contract, two models: the small diffusion model of the embedded world and Stable
Diffusion through diffusers. Both are run under `attention.recording`.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from jaxtyping import Float, UInt8

from sas_jax.artefacts import files
from sas_jax.capability import attention
from sas_jax.capability.attention import AttentionConfig
from sas_jax.errors import InputError, WeightsMissing
from sas_jax.rooms.painter import small_diffusion
from sas_jax.rooms.painter.small_diffusion import SamplingConfig, SmallDiffusion
from sas_jax.teachers.text import word_tokens
from sas_jax.teachers.weights_id import settings_of, weights_id

if TYPE_CHECKING:
    import diffusers

STABLE_DIFFUSION = "stable-diffusion-v1-5/stable-diffusion-v1-5"


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


class Synthesizer(Protocol):
    """Paint images of a class.

    Attributes:
      spec: everything that changes the images; it goes into cache keys.
    """

    spec: dict

    def synthesize(self, prompt: str, word: str, seeds: Sequence[int]) -> Synthesized:
        """Paint one image per seed.

        Args:
          prompt: full text, which contains `word`.
          word: class name; its tokens' attention is kept.
          seeds: one per image; the same seed gives the same image.
        """


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch work on one thread of the CPU.

    Several threads add up in another order. That moves the last bits of an image, and
    GrabCut makes hundreds of pixels of them.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class SmallSynthesizer:
    """Paint with the small diffusion model; a class is one batch.

    Deterministic: yes, for any number of threads: it uses one. Several processes, each
    with its own classes, use the other cores (see `run.make_images`).
    """

    def __init__(
        self,
        model: SmallDiffusion | None = None,
        sampling: SamplingConfig | None = None,
        config: AttentionConfig | None = None,
    ) -> None:
        """Take a model (default: the shipped one) and how to run it."""
        self._model = model or small_diffusion.load()
        self._sampling = sampling or SamplingConfig()
        self._config = config or AttentionConfig()
        self.spec = {
            "model": "small_diffusion",
            "weights": self._model.weights_id,
            "sampling": files.canonical(self._sampling),
            "attention": files.canonical(self._config),
        }

    def synthesize(self, prompt: str, word: str, seeds: Sequence[int]) -> Synthesized:
        """See `Synthesizer`."""
        return self._run(
            prompt,
            word,
            seeds,
            lambda texts: self._model.sample(texts, seeds, self._sampling),
        )

    def redraw(
        self,
        images: UInt8[np.ndarray, "m S S 3"],
        prompt: str,
        word: str,
        seeds: Sequence[int],
        strength: float,
    ) -> Synthesized:
        """Noise given images part of the way and paint over them with a prompt.

        Where the content of an image is known, this measures how well attention
        finds it.
        """
        return self._run(
            prompt,
            word,
            seeds,
            lambda texts: self._model.redraw(
                images, texts, seeds, strength, self._sampling
            ),
        )

    def _run(self, prompt, word, seeds, draw) -> Synthesized:
        length = self._model.config.text_length
        offsets = self._model.text([prompt], length).offsets[0]
        tokens = [word_tokens(prompt, word, offsets)] * len(seeds)
        guided = self._sampling.guidance != 1
        with one_thread():
            with attention.recording(self._model.unet, guided=guided) as store:
                images = draw([prompt] * len(seeds))
            edge = images.shape[1]
            maps = attention.class_maps(store, tokens, edge, self._config, word)
        return Synthesized(images, maps.numpy(), prompt, tuple(int(s) for s in seeds))


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
