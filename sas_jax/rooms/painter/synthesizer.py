"""The synthesizer of the rooms: the small diffusion model under recorded attention."""

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import UInt8

from sas_jax.artefacts import files
from sas_jax.capability import attention
from sas_jax.capability.attention import AttentionConfig
from sas_jax.capability.contracts import MaskConfig, Synthesized, SynthesizerOptions
from sas_jax.registry import said
from sas_jax.rooms.painter import small_diffusion
from sas_jax.rooms.painter.small_diffusion import SamplingConfig, SmallDiffusion
from sas_jax.teachers.text import word_tokens

SMALL_MASKS = MaskConfig(threshold=0.5)
"""For grids of 16 and 8 cells, where Stable Diffusion has 64, 32 and 16."""


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
    with its own classes, use the other cores.
    """

    masks = SMALL_MASKS
    one_thread = True
    judge = "renders"
    images_at_once = None  # a class takes seconds, and less in one batch

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


def load(options: SynthesizerOptions) -> SmallSynthesizer:
    """Load the synthesizer for the registry; it works on the CPU only.

    Raises:
      WeightsMissing: when there is no such file.
    """
    model = small_diffusion.load(options.weights or small_diffusion.SHIPPED)
    sampling = said(SamplingConfig(), steps=options.steps, guidance=options.guidance)
    return SmallSynthesizer(model, sampling, AttentionConfig(options.compat))
