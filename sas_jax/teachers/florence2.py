"""The captioner `florence2`: asked what the box around every mask describes.

Source: Xiao et al., CVPR 2024, arXiv 2311.06242; its task REGION_TO_DESCRIPTION.
"""

import torch
import transformers

from sas_jax.registry import LoadOptions
from sas_jax.teachers.contracts import Image
from sas_jax.teachers.florence2_words import PLACE, Bart, Letters, Words
from sas_jax.teachers.folders import edges_of, load_network
from sas_jax.teachers.pixels import BICUBIC, IMAGENET, pixels_of
from sas_jax.teachers.sentences import Box, BoxCaptioner

NAME = "florence2"
QUESTION = "What does the region {} describe?"
EDGES = 768, 768

_BINS = 1000  # of a side, each with a token
_MOST_TOKENS = 40


class Florence2(BoxCaptioner):
    """Florence-2, greedy; an image is encoded once for all of its masks."""

    def __init__(
        self,
        network: transformers.Florence2ForConditionalGeneration,
        words: Words,
        weights: str,
        edges: tuple[int, int] = EDGES,
    ):
        """Take a network in evaluation mode, its vocabulary and its images' size."""
        self._words, self._edges = words, edges
        text = network.config.text_config
        self._ends = int(text.bos_token_id), int(text.eos_token_id)
        settings = {
            "question": QUESTION,
            "resize": ["PIL bicubic", edges],
            "decoding": ["greedy", _MOST_TOKENS],
            "tokens": words.id,
        }
        super().__init__(NAME, network, weights, settings)

    def describe(self, image: Image, boxes: list[Box]) -> list[str]:
        """See `BoxCaptioner`."""
        pixels = pixels_of(image, self._edges, IMAGENET, BICUBIC).to(self.device)
        seen = self.network.get_image_features(pixels).pooler_output
        return [self._sentence(seen, place_of(box, image)) for box in boxes]

    def _sentence(self, seen: torch.Tensor, place: str) -> str:
        begin, end = self._ends
        ids = [begin, *self._words.encode(QUESTION.format(place)), end]
        asked = torch.tensor([ids], device=self.device)
        words = self.network.get_input_embeddings()(asked)
        both = torch.cat([seen.to(words.dtype), words], 1)
        (said,) = self.network.generate(
            encoder_outputs=self.network.get_encoder()(inputs_embeds=both),
            max_new_tokens=_MOST_TOKENS,
            num_beams=1,
            do_sample=False,
        ).tolist()
        # It may say where a thing is, too.
        return PLACE.sub("", self._words.decode(said)).strip()


def place_of(box: Box, image: Image) -> str:
    """Return the four tokens of a box: in which thousandths of the sides it ends."""
    height, width = image.shape[:2]
    sides = (width, height) * 2
    bins = (min(x * _BINS // s, _BINS - 1) for x, s in zip(box, sides, strict=True))
    return "".join(f"<loc_{number}>" for number in bins)


def settings() -> transformers.Florence2Config:
    """Return the configuration of the published base model."""
    text = transformers.BartConfig(
        vocab_size=51290,
        d_model=768,
        encoder_layers=6,
        decoder_layers=6,
        encoder_attention_heads=12,
        decoder_attention_heads=12,
        encoder_ffn_dim=3072,
        decoder_ffn_dim=3072,
    )
    vision = transformers.models.florence2.Florence2VisionConfig(projection_dim=768)
    return transformers.Florence2Config(text_config=text, vision_config=vision)


def load(options: LoadOptions) -> Florence2:
    """Load the captioner for the registry.

    `random:<seed>` is the base model at its real size; it says numbers of tokens.

    Raises:
      WeightsMissing: where there is no such folder.
      InputError: for files that do not fill the network.
    """
    kind = transformers.Florence2ForConditionalGeneration
    found = load_network(NAME, kind, settings, options)
    tokens = int(found.network.config.text_config.vocab_size)
    words = Bart(found.folder, tokens) if found.folder else Letters()
    edges = edges_of(found.folder, EDGES)
    made = Florence2(found.network, words, found.weights, edges)
    made.to(options.device)
    return made
