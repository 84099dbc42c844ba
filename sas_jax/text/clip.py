"""CLIP's text towers in plain JAX: texts to unit vectors, no torch needed.

The layers are those of `clip_forward`, compiled for few shapes; see `tower` for what is
kept of texts that were met.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from sas_jax.artefacts.space import TextSpace
from sas_jax.errors import WeightsMissing
from sas_jax.text import clip_files, clip_forward, clip_tokens, clip_weights, words
from sas_jax.text.known_texts import CLIP_B32, CLIP_L14_336, KnownTexts
from sas_jax.text.tower import KeptTower, Tokens, in_batches, kept_file
from sas_jax.weights.cards import cards
from sas_jax.weights.find import VARIABLE, seed_of

_LENGTHS = (16, 32, clip_tokens.MAX_TOKENS)


class TransformerTower(KeptTower):
    """Encode tokens in JAX; weights are read at the first unknown text.

    Attributes:
      space: of the vectors.
    """

    def __init__(
        self,
        space: TextSpace,
        read: Callable[[], clip_weights.Tower],
        heads: int,
        style: clip_forward.Style,
    ):
        """Take what the layers are made of.

        Args:
          space: of the vectors.
          read: returns the tensors.
          heads: of attention.
          style: of the layers.
        """
        super().__init__(space, kept_file(space))
        self._read, self._heads, self._style = read, heads, style

    def _encode_tokens(self, tokens: Tokens, rows: int, length: int) -> np.ndarray:
        """Pad to rows and length, run the tower, return a row per text and padding."""
        ids = np.zeros((rows, length), np.int32)
        ends = np.zeros(rows, np.int32)
        for row, token_ids in enumerate(tokens):
            ids[row, : len(token_ids)] = token_ids
            ends[row] = len(token_ids) - 1
        embedded = clip_forward.embedded(self._read(), ids)
        # GPUs would round the factors of products to ten bits.
        with jax.default_matmul_precision("highest"):
            return np.asarray(
                _forward(*self._stacked, embedded, ends, self._heads, self._style)
            )

    @functools.cached_property
    def _stacked(self) -> tuple[dict[str, Array], dict[str, Array]]:
        """The layers, stacked so that one scan runs them, and what follows them."""
        tower = self._read()
        count = clip_weights.size_of(tower).layers
        layers = [clip_weights.of_layer(tower, i) for i in range(count)]
        stack = {name: np.stack([one[name] for one in layers]) for name in layers[0]}
        outside = ("ln_final.weight", "ln_final.bias", "text_projection", "text_bias")
        rest = {name: tower[name] for name in outside if name in tower}
        return jax.device_put((stack, rest))


class ClipTower(TransformerTower):
    """Encode texts with CLIP."""

    def __init__(self, weights: clip_files.TextWeights):
        """Take weights that were found; their numbers are not read yet."""
        heads = clip_weights.SIZES[weights.space.name].heads
        super().__init__(weights.space, lambda: weights.tower, heads, clip_forward.CLIP)
        self._folder = weights.folder

    def check(self, texts: Sequence[str]) -> dict[str, words.Reading]:
        """Refuse texts without a word that the tower knows; see `words.check`.

        For questions of people: `encode` gives any string a vector. Returns what was
        read of each.

        Raises:
          InputError: naming the texts.
          WeightsMissing: where the tokenizer is not installed.
        """
        return words.check(
            texts,
            clip_tokens.load_tokenizer(self._folder),
            clip_tokens.MAX_TOKENS,
            self.space.name,
            clean=clip_tokens.clean,
            spell=clip_tokens.spell,
        )

    def _compute(self, texts: list[str]) -> list[np.ndarray]:
        rows = clip_tokens.tokenize(texts, folder=self._folder)
        ids = [row[: int(row.argmax()) + 1].tolist() for row in rows]
        return in_batches(ids, _LENGTHS, self._encode_tokens)


def load_b32(space: TextSpace | None = None) -> ClipTower | KnownTexts:
    """Return the tower of CLIP ViT-B/32; see `load`."""
    return load(CLIP_B32, space)


def load_b16(space: TextSpace | None = None) -> ClipTower:
    """Return the text tower of CLIP ViT-B/16; without its weights no text is known.

    Args:
      space: that is asked for; `random:<seed>` is made, None and all others are what
        is on this machine.

    Raises:
      WeightsMissing: where there are none.
    """
    asked = "" if space is None else space.weights_sha256
    weights = asked if seed_of(asked) is not None else None
    return ClipTower(clip_files.load("clip-vit-b16", weights))


def load_l14_336(space: TextSpace | None = None) -> ClipTower | KnownTexts:
    """Return the text tower of CLIP ViT-L/14 at 336 pixels; see `load`."""
    return load(CLIP_L14_336, space)


def load(published: TextSpace, space: TextSpace | None) -> ClipTower | KnownTexts:
    """Return the tower of a space, or what is known of it.

    Args:
      published: the space of OpenAI's weights.
      space: that is asked for; None takes what is on this machine.

    Returns:
      A tower where its weights are found, and for `random:<seed>`; where there are
      none, the texts of imported files.
    """
    name = published.name
    asked = "" if space is None else space.weights_sha256
    if seed_of(asked) is not None:
        return ClipTower(clip_files.load(name, asked))
    try:
        tower = ClipTower(clip_files.load(name))
    except WeightsMissing:
        return KnownTexts(published, _how_to_get(name))
    if space == published != tower.space:
        found = f"Those that were found are others: {tower.space}."
        return KnownTexts(published, found)
    return tower


def _how_to_get(name: str) -> str:
    hub = cards()[name].file("*")
    return (
        f"Run: hf download {hub.hub} ({hub.size_gb:g} GB, {hub.licence}); or put it "
        f"into ${VARIABLE}/{name}."
    )


@functools.partial(jax.jit, static_argnames=("heads", "style"))
def _forward(
    stack: dict[str, Array],
    outside: dict[str, Array],
    embedded: Float[Array, "n L D"],
    ends: Int[Array, " n"],
    heads: int,
    style: clip_forward.Style,
) -> Float[Array, "n C"]:
    def step(x: Array, layer: dict[str, Array]) -> tuple[Array, Any]:
        return clip_forward.layer(x, ends, layer, heads, jnp, style), None

    hidden, _ = jax.lax.scan(step, embedded, stack)
    return clip_forward.head(hidden, ends, outside, jnp, style)
