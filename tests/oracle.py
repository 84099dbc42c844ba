"""The slow, obvious truth about sparse convolution: dictionaries and loops in float64.

Nothing here imports the library, so that no mistake can be made twice. Voxels are
tuples (batch, x, y, z) in level-0 units; rows are lists in the order of the voxels.
"""

import itertools
import math

import numpy as np


def offsets(kernel_size):
    """Offsets (x, y, z) of a cubic kernel, x fastest."""
    first = -(kernel_size // 2) if kernel_size % 2 == 1 else 0
    steps = range(first, first + kernel_size)
    return [(x, y, z) for z, y, x in itertools.product(steps, steps, steps)]


def coarsen(coords, stride):
    """Sorted distinct voxels of edge `stride` that hold the given ones."""
    return sorted(
        {
            (int(b), *(stride * math.floor(int(c) / stride) for c in axes))
            for b, *axes in coords
        }
    )


def pairs(coords_in, coords_out, kernel_size, level_stride):
    """All (offset index, input row, output row) that a convolution multiplies."""
    row_of = {tuple(int(c) for c in voxel): i for i, voxel in enumerate(coords_in)}
    found = []
    for k, offset in enumerate(offsets(kernel_size)):
        for o, (b, *axes) in enumerate(coords_out):
            moved = [
                int(c) + level_stride * s for c, s in zip(axes, offset, strict=True)
            ]
            i = row_of.get((int(b), *moved))
            if i is not None:
                found.append((k, i, o))
    return found


def conv(features, weights, pairs, num_out):
    """Return out[o] = sum over pairs of W[k]^T in[i]."""
    features, weights = np.float64(features), np.float64(weights)
    out = np.zeros((num_out, weights.shape[2]))
    for k, i, o in pairs:
        out[o] += features[i] @ weights[k]
    return out


def conv_gradients(features, weights, pairs, cotangent):
    """Gradients of sum(out * cotangent) with respect to features and weights."""
    features, weights = np.float64(features), np.float64(weights)
    cotangent = np.float64(cotangent)
    grad_features, grad_weights = np.zeros_like(features), np.zeros_like(weights)
    for k, i, o in pairs:
        grad_features[i] += weights[k] @ cotangent[o]
        grad_weights[k] += np.outer(features[i], cotangent[o])
    return grad_features, grad_weights


def transpose(pairs):
    """Pairs of the transposed convolution."""
    return [(k, o, i) for k, i, o in pairs]


def rounding_bound(features, weights, pairs, num_out, eps=2.0**-23):
    """How far float32 summation in any order may be from `conv`, per element.

    A sum of n products is off by at most about n * eps * sum |x| |w|.
    """
    magnitude = conv(np.abs(features), np.abs(weights), pairs, num_out)
    terms = np.zeros(num_out)
    for _, _, o in pairs:
        terms[o] += np.shape(features)[1]
    return (terms[:, None] + 1) * eps * magnitude


def gradient_bounds(features, weights, pairs, cotangent, eps=2.0**-23):
    """The same for both results of `conv_gradients`."""
    magnitudes = conv_gradients(
        np.abs(features), np.abs(weights), pairs, np.abs(cotangent)
    )
    per_input, per_offset = np.zeros(len(features)), np.zeros(len(weights))
    for k, i, _ in pairs:
        per_input[i] += np.shape(weights)[2]
        per_offset[k] += 1
    return (
        (per_input[:, None] + 1) * eps * magnitudes[0],
        (per_offset[:, None, None] + 1) * eps * magnitudes[1],
    )
