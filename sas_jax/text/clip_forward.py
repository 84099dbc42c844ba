"""CLIP's text transformer, in numpy or jax.numpy: the same lines for both.

n texts, L tokens, D width, C features. A causal transformer with norms before its
blocks: nothing looks ahead, so what follows a text's end changes nothing.

Source: Radford et al. (arXiv 2103.00020), section 2.4.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from sas_jax.text import clip_weights

Arrays = Mapping[str, Any]
_EPSILON = 1e-5


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
        x = layer(x, clip_weights.of_layer(tower, i), heads, np)
    return head(x, ends, tower, np)


def embedded(
    tower: clip_weights.State, ids: Int[np.ndarray, "n L"]
) -> Float[np.ndarray, "n L D"]:
    """Return what enters the first layer."""
    rows = tower["token_embedding.weight"][ids]
    return rows + tower["positional_embedding"][: ids.shape[1]]


def layer(x: Any, weights: Arrays, heads: int, xp: Any) -> Any:
    """Return the states [n, L, D] after one layer.

    Args:
      x: states before it.
      weights: of `clip_weights.of_layer`.
      heads: of attention.
      xp: numpy or jax.numpy.
    """
    h = _norm(x, weights, "ln_1", xp)
    h = h @ weights["attn.in_proj_weight"].T + _row(weights["attn.in_proj_bias"])
    x = x + _linear(_attention(h, heads, xp), weights, "attn.out_proj")
    h = _linear(_norm(x, weights, "ln_2", xp), weights, "mlp.c_fc")
    h = h / (1 + xp.exp(-1.702 * h))  # "quick" GELU
    return x + _linear(h, weights, "mlp.c_proj")


def head(x: Any, ends: Any, weights: Arrays, xp: Any) -> Any:
    """Return unit vectors [n, C]: states of the end tokens, normed and projected."""
    last = x[xp.arange(len(x)), ends][:, None]
    rows = (_norm(last, weights, "ln_final", xp) @ weights["text_projection"])[:, 0]
    return rows / xp.sqrt(xp.sum(rows * rows, 1, keepdims=True))


def _attention(h: Any, heads: int, xp: Any) -> Any:
    """Mix values [n, L, D] of queries, keys and values [n, L, 3 D], looking back."""
    n, length, width = h.shape
    query, key, value = (
        part.reshape(n, length, heads, -1).swapaxes(1, 2)
        for part in xp.split(h, 3, axis=2)
    )
    scores = query @ key.swapaxes(2, 3) * (width // 3 // heads) ** -0.5
    ahead = xp.triu(xp.ones((1, 1, length, length), bool), 1)
    scores = xp.where(ahead, -xp.inf, scores)
    scores = xp.exp(scores - xp.max(scores, axis=3, keepdims=True))
    mixed = scores / xp.sum(scores, axis=3, keepdims=True) @ value
    return mixed.swapaxes(1, 2).reshape(n, length, width // 3)


def _linear(x: Any, weights: Arrays, name: str) -> Any:
    return x @ weights[f"{name}.weight"].T + _row(weights[f"{name}.bias"])


def _norm(x: Any, weights: Arrays, name: str, xp: Any) -> Any:
    x = x - xp.mean(x, -1, keepdims=True)
    x = x / xp.sqrt(xp.mean(x * x, -1, keepdims=True) + _EPSILON)
    return x * _row(weights[f"{name}.weight"]) + _row(weights[f"{name}.bias"])


def _row(vector: Any) -> Any:
    return vector[None, None]
