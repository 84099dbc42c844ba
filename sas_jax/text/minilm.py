"""The MiniLM-L6 sentence tower in plain JAX: texts to unit vectors, no torch needed.

Six post-norm transformer layers over WordPiece tokens, mean over the tokens, unit
norm. n texts, L tokens, D = 384. Batches are padded to few sizes so that few programs
are compiled; results are kept in memory and, if wanted, on disk, so that a query from
a fresh process need not even load the weights.
"""

import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import tokenizers
from jaxtyping import Array, Float

from sas_jax.artefacts.space import TextSpace
from sas_jax.text import minilm_files, words
from sas_jax.text.tower import KeptTower, Tokens, in_batches, kept_file

_NUM_LAYERS = 6
_NUM_HEADS = 12
_EPSILON = 1e-12
_LENGTHS = (16, 32, 64, 128, minilm_files.MAX_TOKENS)
_ATTENTION = ("attention.self.query", "attention.self.key", "attention.self.value")


class TextTower(KeptTower):
    """Encode texts with MiniLM-L6 in JAX; weights are read at the first unknown text.

    Attributes:
      space: text space of the vectors.
    """

    def __init__(self, file: pathlib.Path | None = None):
        """Remember where features are kept; None keeps them in memory only."""
        super().__init__(minilm_files.SPACE, file)
        self._tokenizer: tokenizers.Tokenizer | None = None

    def check(self, texts: Sequence[str]) -> dict[str, words.Reading]:
        """Refuse texts without a word that the tower knows; see `words.check`.

        For questions of people: `encode` gives any string a vector. Returns what was
        read of each.

        Raises:
          InputError: naming the texts.
          WeightsMissing: where the tokenizer is not installed.
        """
        tokenizer = minilm_files.load_tokenizer()
        tokenizer.no_truncation()
        return words.check(texts, tokenizer, minilm_files.MAX_TOKENS, self.space.name)

    def _compute(self, texts: list[str]) -> list[np.ndarray]:
        if self._tokenizer is None:
            self._tokenizer = minilm_files.load_tokenizer()
        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch(texts)]
        return in_batches(tokens, _LENGTHS, _encode_tokens)


def load_minilm(space: TextSpace | None = None) -> TextTower:
    """Return the tower; features of texts are kept in the user's cache."""
    return TextTower(kept_file(minilm_files.SPACE))


def _encode_tokens(tokens: Tokens, rows: int, length: int) -> np.ndarray:
    """Pad to rows and length, run the tower, return the rows of the texts."""
    weights = _weights()
    ids = np.zeros((rows, length), np.int32)
    mask = np.zeros(ids.shape, np.float32)
    for row, token_ids in enumerate(tokens):
        ids[row, : len(token_ids)] = token_ids
        mask[row, : len(token_ids)] = 1.0
    mask[len(tokens) :, 0] = 1.0  # an empty row would divide by zero
    embedded = weights["words"][ids] + weights["positions"][:length]
    out = _forward(weights["stack"], weights["norm"], embedded, mask)
    return np.asarray(out)[: len(tokens)]


@functools.cache
def _weights() -> Mapping[str, Any]:
    """Read the checkpoint; the six layers are stacked so that one scan runs them.

    The word table stays in numpy: only the rows of the given tokens are needed.
    """
    path = minilm_files.model_folder() / "model.safetensors"
    with safetensors.safe_open(path, framework="numpy") as file:
        get = file.get_tensor
        segment = get("embeddings.token_type_embeddings.weight")[0]
        return {
            "words": get("embeddings.word_embeddings.weight"),
            "positions": get("embeddings.position_embeddings.weight") + segment,
            "norm": tuple(get(f"embeddings.LayerNorm.{p}") for p in ("weight", "bias")),
            "stack": {
                name: tuple(
                    np.stack(
                        [
                            get(f"encoder.layer.{i}.{name}.{p}")
                            for i in range(_NUM_LAYERS)
                        ]
                    )
                    for p in ("weight", "bias")
                )
                for name in (
                    *_ATTENTION,
                    "attention.output.dense",
                    "attention.output.LayerNorm",
                    "intermediate.dense",
                    "output.dense",
                    "output.LayerNorm",
                )
            },
        }


def _dense(x: Array, weight_bias: tuple) -> Array:
    return x @ weight_bias[0].T + _broadcast(weight_bias[1], x)


def _norm(x: Array, weight_bias: tuple) -> Array:
    mean = jnp.mean(x, -1, keepdims=True)
    variance = jnp.mean(jnp.square(x - mean), -1, keepdims=True)
    scaled = (x - mean) / jnp.sqrt(variance + _EPSILON)
    return scaled * _broadcast(weight_bias[0], x) + _broadcast(weight_bias[1], x)


def _attention(x: Array, layer: Mapping, bias: Array) -> Array:
    n, length, dim = x.shape
    query, key, value = (
        _dense(x, layer[name]).reshape(n, length, _NUM_HEADS, dim // _NUM_HEADS)
        for name in _ATTENTION
    )
    scores = jnp.einsum("nqhd,nkhd->nhqk", query, key)
    scores = scores / jnp.sqrt(jnp.float32(dim // _NUM_HEADS)) + bias
    mixed = jnp.einsum("nhqk,nkhd->nqhd", jax.nn.softmax(scores), value)
    return mixed.reshape(n, length, dim)


def _layer(x: Array, layer: Mapping, bias: Array) -> Array:
    mixed = _dense(_attention(x, layer, bias), layer["attention.output.dense"])
    x = _norm(x + mixed, layer["attention.output.LayerNorm"])
    wide = jax.nn.gelu(_dense(x, layer["intermediate.dense"]), approximate=False)
    return _norm(x + _dense(wide, layer["output.dense"]), layer["output.LayerNorm"])


@jax.jit
def _forward(
    stack: Mapping[str, tuple],
    embedding_norm: tuple,
    embedded: Float[Array, "n L 384"],
    mask: Float[Array, "n L"],
) -> Float[Array, "n 384"]:
    """Run the layers on summed embeddings; padded tokens neither mix in nor count."""
    bias = (1.0 - mask)[:, None, None, :] * jnp.finfo(jnp.float32).min
    hidden, _ = jax.lax.scan(
        lambda x, layer: (_layer(x, layer, bias), None),
        _norm(embedded, embedding_norm),
        stack,
    )
    total = jnp.sum(hidden * mask[..., None], 1)
    mean = total / jnp.sum(mask, 1, keepdims=True)
    return mean / jnp.linalg.norm(mean, axis=-1, keepdims=True)


def _broadcast(vector: Array, like: Array) -> Array:
    return vector.reshape((1,) * (like.ndim - 1) + (-1,))
