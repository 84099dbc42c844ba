"""The captioner `blip`: a sentence of the cut-out around every mask.

Source: Li et al., ICML 2022, arXiv 2201.12086.
"""

import numpy as np
import tokenizers
import transformers

from sas_jax.registry import LoadOptions
from sas_jax.teachers.contracts import Image
from sas_jax.teachers.folders import load_network, load_tokenizer
from sas_jax.teachers.pixels import BICUBIC, CLIP, pixels_of
from sas_jax.teachers.sentences import Box, BoxCaptioner

NAME = "blip"
MARGIN = 0.1
"""Share of a box's sides that is shown around it: a thing is known by its place."""

_MOST_TOKENS = 20


class Blip(BoxCaptioner):
    """BLIP's caption, unconditional and greedy, of every mask's box and its margin."""

    def __init__(
        self,
        network: transformers.BlipForConditionalGeneration,
        tokenizer: tokenizers.Tokenizer,
        weights: str,
    ):
        """Take a network in evaluation mode and the tokenizer of its sentences."""
        self._tokenizer, edge = tokenizer, int(network.config.vision_config.image_size)
        self._size = edge, edge
        settings = {
            "margin": MARGIN,
            "resize": "PIL bicubic, to a square",
            "decoding": ["greedy", _MOST_TOKENS],
            "tokens": tokenizer.to_str(),
        }
        super().__init__(NAME, network, weights, settings)

    def describe(self, image: Image, boxes: list[Box]) -> list[str]:
        """See `BoxCaptioner`."""
        return [self._sentence(cut_out(image, box)) for box in boxes]

    def _sentence(self, view: Image) -> str:
        pixels = pixels_of(view, self._size, CLIP, BICUBIC).to(self.device)
        (ids,) = self.network.generate(
            pixel_values=pixels,
            max_new_tokens=_MOST_TOKENS,
            num_beams=1,
            do_sample=False,
        ).tolist()
        # The network knows two tokens more than the vocabulary: they end no word.
        known = [i for i in ids if i < self._tokenizer.get_vocab_size()]
        return self._tokenizer.decode(known).strip()


def cut_out(image: Image, box: Box) -> Image:
    """Return what is shown of an image: a box and a margin, as far as there is one."""
    left, top, right, bottom = box
    wide, high = round(MARGIN * (right - left)), round(MARGIN * (bottom - top))
    rows = slice(max(0, top - high), bottom + high)
    columns = slice(max(0, left - wide), right + wide)
    return np.ascontiguousarray(image[rows, columns])


def settings() -> transformers.BlipConfig:
    """Return the configuration of the published base model."""
    text = {"num_attention_heads": 12}
    return transformers.BlipConfig(text_config=text, vision_config={})


def load(options: LoadOptions) -> Blip:
    """Load the captioner for the registry.

    `random:<seed>` is the base model at its real size, with BERT's real vocabulary.

    Raises:
      WeightsMissing: where there is no such folder.
      InputError: for files that do not fill the network.
    """
    kind = transformers.BlipForConditionalGeneration
    found = load_network(NAME, kind, settings, options)
    tokens = int(found.network.config.text_config.vocab_size)
    tokenizer = load_tokenizer(found.folder, NAME, tokens)
    made = Blip(found.network, tokenizer, found.weights)
    made.to(options.device)
    return made
