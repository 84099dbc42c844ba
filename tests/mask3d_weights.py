"""Weights of Mask3D as functions of their names, by the golden files' recipe."""

import math

import det_weights
import numpy as np

TINY_GAINS = (
    *(("in_proj_weight", 2), ("query_projection.", 2.5), ("lin_squeeze.", 3)),
    *(("mask_embed_head.", 1.5), ("out_proj.weight", 1.5)),
)
TINY_KERNEL = 1.25


def weight(name, shape, seed, kernel_gain=TINY_KERNEL, gains=TINY_GAINS):
    """Return the tensor of an original name."""
    matrix = name.endswith("weight") and len(shape) >= 2
    gain = next((g for part, g in gains if part in name), None) if matrix else None
    if name.endswith(".kernel"):
        offsets, channels = (1, shape[0]) if len(shape) == 2 else shape[:2]
        there = 1 if len(shape) == 2 or "convtr" in name else offsets / 3
        offset, scale = 0, kernel_gain * math.sqrt(3 / (channels * there))
    elif name.endswith("norm2.bn.weight"):
        offset, scale = 0.4, 0.1
    elif name.endswith("gauss_B"):
        offset, scale = 0, math.sqrt(3)
    elif name.endswith(".bias") and len(shape) == 2:
        offset, scale = 0, 0.02
    elif gain is not None:
        offset, scale = 0, gain * math.sqrt(3 / math.prod(shape[1:]))
    else:
        return det_weights.tensor(name, shape, seed=seed)
    values = det_weights.uniform(name, math.prod(shape), seed)
    return (np.float32(offset) + np.float32(scale) * values).reshape(shape)


def state(shapes, seed, **gains):
    """Return a state dict of original names and shapes."""
    return {name: weight(name, shape, seed, **gains) for name, shape in shapes.items()}
