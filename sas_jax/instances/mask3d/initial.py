"""Random weights for Mask3D, so that everything runs where there are no others."""

import math
import zlib
from typing import Any

import flax.traverse_util
import numpy as np

from sas_jax.instances.mask3d.config import Mask3DConfig
from sas_jax.instances.mask3d.port import variable_shapes


def draw(config: Mask3DConfig, seed: int) -> dict[str, Any]:
    """Return variables of the network, drawn on the host; same seed, same bits.

    Matrices and kernels are uniform with the variance that keeps that of their input,
    norms the identity, biases 0; positions are projected by normal numbers.
    """
    flat = flax.traverse_util.flatten_dict(variable_shapes(config))
    drawn = {path: _draw(path, leaf.shape, seed) for path, leaf in flat.items()}
    return flax.traverse_util.unflatten_dict(drawn)


def _draw(path: tuple[str, ...], shape: tuple[int, ...], seed: int) -> np.ndarray:
    rng = np.random.default_rng([seed, zlib.crc32("/".join(path).encode())])
    leaf = path[-1]
    if leaf == "gauss_B":
        return rng.standard_normal(shape, np.float32)
    if leaf in ("bias", "in_proj_bias", "mean"):
        return np.zeros(shape, np.float32)
    if len(shape) == 1:
        return np.ones(shape, np.float32)
    # Kernels are [..., in, out], matrices [out, in, ...]; of the neighbours of a voxel
    # about a third is there.
    fan_in = math.prod(shape[:-1]) / 3 if leaf == "kernel" else math.prod(shape[1:])
    bound = np.float32(math.sqrt(3 / max(fan_in, 1)))
    return bound * (2 * rng.random(shape, np.float32) - 1)
