"""Weights that are a function of their names: the same everywhere, without a file.

The outputs in the golden folder are those of original networks that were filled with
these tensors under their checkpoints' names. Filling ours through its converter
under the same names proves architecture and converter at once.
"""

import hashlib
import math

import numpy as np

_SEED = "sas_jax/v1"
_GOLDEN_RATIO = np.uint64(0x9E3779B97F4A7C15)
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_AT_ONCE = 1 << 20
_EMBEDDINGS = (
    *("pos_embed", "cls_token", "positional_embedding", "token_embedding"),
    *("query_embed", "query_feat", "pn_indicator", "level_embed", "class_embed"),
    *("spatial_embed", "spatial_featured", "lang_proj", "text_projection"),
    *("mask_sptial_embed", "class_embedding", "position_embedding", "mask_tokens"),
    *("iou_token", "sem_token", "point_embed", "not_a_point", "tok_embeddings"),
)


def uniform(name, count, seed=_SEED):
    """Return f32 [count] in [-1, 1): splitmix64 of a counter, keyed by the name."""
    digest = hashlib.sha256(f"{seed}\0{name}".encode()).digest()
    key = np.uint64(int.from_bytes(digest[:8], "little"))
    out = np.empty(count, np.float32)
    with np.errstate(over="ignore"):
        for start in range(0, count, _AT_ONCE):
            stop = min(start + _AT_ONCE, count)
            z = np.arange(start + 1, stop + 1, dtype=np.uint64) * _GOLDEN_RATIO + key
            for shift, factor in zip((30, 27), _MIX, strict=True):
                z = (z ^ (z >> np.uint64(shift))) * factor
            z ^= z >> np.uint64(31)
            scaled = (z >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-23)
            out[start:stop] = scaled - np.float32(1)
    return out


def kind_of(name, shape):
    """Return the kind of a tensor of a checkpoint, by its name and shape."""
    leaf = name.rpartition(".")[2]
    fixed = {
        "num_batches_tracked": "zero",
        "running_mean": "mean",
        "running_var": "var",
    }
    if leaf in fixed:
        return fixed[leaf]
    if any(part in name for part in _EMBEDDINGS):
        return "embed"
    if len(shape) >= 2:
        return "linear"
    return "normw" if leaf in ("weight", "gamma_1", "gamma_2", "gamma") else "bias"


def tensor(name, shape, kind=None, seed=_SEED):
    """Return the tensor of a name: f32, or an i64 zero for counters."""
    shape = tuple(int(edge) for edge in shape)
    kind = kind or kind_of(name, shape)
    if kind == "zero":
        return np.zeros(shape, np.int64)
    offset, scale = {
        "linear": (0, math.sqrt(3 / max(1, math.prod(shape[1:])))),
        "convT": (0, math.sqrt(3 / shape[0]) if shape else 1),
        "embed": (0, 0.02 * math.sqrt(3)),
        "normw": (1, 0.1),
        "bias": (0, 0.02),
        "mean": (0, 0.1),
        "var": (1, 0.5),
        "input": (0, 1),
    }[kind]
    values = uniform(name, math.prod(shape), seed)
    return (np.float32(offset) + np.float32(scale) * values).reshape(shape)
