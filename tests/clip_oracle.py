"""CLIP's text side, slow and obvious: the tokenizer by its definition, f64 layers."""

import itertools
import re

import numpy as np

_WORD = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[^\W\d_]+|\d|(?:[^\w\s]|_)+")


def pairs_merged(word, ranks):
    """Return the pieces of a word: the pair of lowest rank is merged until none is."""
    pieces = [*word[:-1], word[-1] + "</w>"]
    while len(pieces) > 1:
        pairs = itertools.pairwise(pieces)
        best = min(pairs, key=lambda pair: ranks.get(pair, np.inf))
        if best not in ranks:
            break
        merged, i = [], 0
        while i < len(pieces):
            is_pair = tuple(pieces[i : i + 2]) == best
            merged.append("".join(best) if is_pair else pieces[i])
            i += 2 if is_pair else 1
        pieces = merged
    return pieces


def tokens(text, ids, merges):
    """Return the ids of a clean ASCII text, without start and end."""
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    words = _WORD.findall(text)
    return [ids[piece] for word in words for piece in pairs_merged(word, ranks)]


def tower(state, ids, heads):
    """Return text features, f64 [n, C], of a state under OpenAI's names.

    Source: the CLIP paper (arXiv 2103.00020), section 2.4: a causal transformer with
    norms before its blocks; the state of the end token, normed and projected.
    """
    state = {name: np.asarray(array, np.float64) for name, array in state.items()}
    return np.stack([_one(state, row, heads) for row in np.asarray(ids)])


def _one(state, row, heads):
    row = row[: int(np.argmax(row)) + 1]  # nothing looks ahead
    length = len(row)
    x = state["token_embedding.weight"][row] + state["positional_embedding"][:length]
    for i in range(sum(name.endswith("ln_1.weight") for name in state)):

        def get(name, i=i):
            return state[f"transformer.resblocks.{i}.{name}"]

        h = _norm(x, get("ln_1.weight"), get("ln_1.bias"))
        h = h @ get("attn.in_proj_weight").T + get("attn.in_proj_bias")
        mixed = []
        split = (np.split(part, heads, 1) for part in np.split(h, 3, 1))
        for q, k, v in zip(*split, strict=True):
            scores = q @ k.T / np.sqrt(q.shape[1])
            scores[np.triu_indices(length, 1)] = -np.inf
            weights = np.exp(scores - scores.max(1, keepdims=True))
            mixed.append(weights / weights.sum(1, keepdims=True) @ v)
        x = x + np.concatenate(mixed, 1) @ get("attn.out_proj.weight").T
        x = x + get("attn.out_proj.bias")
        h = _norm(x, get("ln_2.weight"), get("ln_2.bias"))
        h = h @ get("mlp.c_fc.weight").T + get("mlp.c_fc.bias")
        h = h / (1 + np.exp(-1.702 * h))
        x = x + h @ get("mlp.c_proj.weight").T + get("mlp.c_proj.bias")
    x = _norm(x, state["ln_final.weight"], state["ln_final.bias"])
    return x[-1] @ state["text_projection"]


def _norm(x, weight, bias):
    x = x - x.mean(1, keepdims=True)
    return x / np.sqrt((x * x).mean(1, keepdims=True) + 1e-5) * weight + bias
