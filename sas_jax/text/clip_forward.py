"""CLIP's text transformer and its kin, in numpy or jax.numpy: the same lines for both.

n texts, L tokens, D width, C features. A transformer with norms before its blocks.
Nothing looks ahead in CLIP's, and nothing beyond a text's end in the others, so what
follows the end changes nothing.

Source: Radford et al. (arXiv 2103.00020), section 2.4.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int

from sas_jax.text import clip_weights

Arrays = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Style:
    """What the tensors of a tower do not say.

    Attributes:
      is_causal: whether a token sees only those before it.
      activation: inside the two-layer perceptrons.
      epsilon: of the norms.
      pooled: whether a text is its end's state, or the mean over its tokens.
    """

    is_causal: bool = True
    activation: Literal["quick_gelu", "gelu_pytorch_tanh", "relu"] = "quick_gelu"
    epsilon: float = 1e-5
    pooled: Literal["end", "mean"] = "end"


CLIP = Style()


def features(
    tower: clip_weights.State, ids: Int[np.ndarray, "n L"], heads: int
) -> Float[np.ndarray, "n C"]:
    """Return unit vectors of tokens, f32, in numpy: slow, and nothing is compiled.

    Args:
      tower: of `clip_weights.text_tower`.
      ids: of `clip_tokens.tokenize`.
      heads: of attention.
    """
    ends = np.argmax(ids, 1)
    x = embedded(tower, ids[:, : int(ends.max(initial=0)) + 1])
    for i in range(clip_weights.size_of(tower).layers):
        x = layer(x, ends, clip_weights.of_layer(tower, i), heads, np)
    return head(x, ends, tower, np)


def embedded(
    tower: clip_weights.State, ids: Int[np.ndarray, "n L"]
) -> Float[np.ndarray, "n L D"]:
    """Return what enters the first layer."""
    rows = tower["token_embedding.weight"][ids]
    return rows + tower["positional_embedding"][: ids.shape[1]]


def layer(
    x: Any, ends: Any, weights: Arrays, heads: int, xp: Any, style: Style = CLIP
) -> Any:
    """Return the states [n, L, D] after one layer.

    Args:
      x: states before it.
      ends: [n] places of the last tokens.
      weights: of `clip_weights.of_layer`.
      heads: of attention.
      xp: numpy or jax.numpy.
      style: of the tower.
    """
    places = xp.arange(x.shape[1])
    if style.is_causal:
        unseen = (places[None, :] > places[:, None])[None, None]
    else:
        unseen = (places[None, :] > ends[:, None])[:, None, None]
    h = _norm(x, weights, "ln_1", xp, style)
    h = h @ weights["attn.in_proj_weight"].T + _row(weights["attn.in_proj_bias"])
    x = x + _linear(_attention(h, unseen, heads, xp), weights, "attn.out_proj")
    h = _linear(_norm(x, weights, "ln_2", xp, style), weights, "mlp.c_fc")
    return x + _linear(_ACTIVATIONS[style.activation](h, xp), weights, "mlp.c_proj")


def head(x: Any, ends: Any, weights: Arrays, xp: Any, style: Style = CLIP) -> Any:
    """Return unit vectors [n, C]: what is pooled, normed and projected."""
    if style.pooled == "mean":
        x = _norm(x, weights, "ln_final", xp, style)
        inside = xp.arange(x.shape[1])[None, :] <= ends[:, None]
        total = xp.sum(xp.where(inside[:, :, None], x, 0), 1, keepdims=True)
        last = total / (ends + 1).astype(x.dtype)[:, None, None]
    else:
        last = x[xp.arange(len(x)), ends][:, None]
        last = _norm(last, weights, "ln_final", xp, style)
    rows = (last @ weights["text_projection"])[:, 0]
    if "text_bias" in weights:
        rows = rows + weights["text_bias"][None]
    return rows / xp.sqrt(xp.sum(rows * rows, 1, keepdims=True))


_ACTIVATIONS = {
    "quick_gelu": lambda h, xp: h / (1 + xp.exp(-1.702 * h)),
    "gelu_pytorch_tanh": lambda h, xp: (
        0.5 * h * (1 + xp.tanh((2 / np.pi) ** 0.5 * (h + 0.044715 * h * h * h)))
    ),
    "relu": lambda h, xp: xp.maximum(h, 0),
}


def _attention(h: Any, unseen: Any, heads: int, xp: Any) -> Any:
    """Mix values [n, L, D] of queries, keys and values [n, L, 3 D] that are seen."""
    n, length, width = h.shape
    query, key, value = (
        part.reshape(n, length, heads, -1).swapaxes(1, 2)
        for part in xp.split(h, 3, axis=2)
    )
    scores = query @ key.swapaxes(2, 3) * (width // 3 // heads) ** -0.5
    scores = xp.where(unseen, -xp.inf, scores)
    scores = xp.exp(scores - xp.max(scores, axis=3, keepdims=True))
    mixed = scores / xp.sum(scores, axis=3, keepdims=True) @ value
    return mixed.swapaxes(1, 2).reshape(n, length, width // 3)


def _linear(x: Any, weights: Arrays, name: str) -> Any:
    return x @ weights[f"{name}.weight"].T + _row(weights[f"{name}.bias"])


def _norm(x: Any, weights: Arrays, name: str, xp: Any, style: Style) -> Any:
    x = x - xp.mean(x, -1, keepdims=True)
    x = x / xp.sqrt(xp.mean(x * x, -1, keepdims=True) + style.epsilon)
    return x * _row(weights[f"{name}.weight"]) + _row(weights[f"{name}.bias"])


def _row(vector: Any) -> Any:
    return vector[None, None]
