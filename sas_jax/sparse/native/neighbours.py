"""The neighbour search as a CUDA kernel; see kernels/cuda/neighbours.h."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int32, UInt64

from sas_jax import native_call
from sas_jax.sparse.xla import keys as words
from sas_jax.sparse.xla.keys import Keys

_TARGET = "sas_neighbours"


def is_available() -> bool:
    """Say whether the search is a kernel on JAX's default platform."""
    return native_call.is_available(_TARGET)


def search(
    keys: Keys,
    centres: Keys,
    num_centres: Int32[Array, ""],
    deltas: UInt64[np.ndarray, "Z C"],
) -> Int32[Array, "Z C M"]:
    """Return the row of `centres + deltas` in the sorted keys, or -1; as `xla`'s."""
    steps = jnp.asarray(np.stack(words.split(deltas)))
    (table,) = native_call.call(
        _TARGET,
        ((*deltas.shape, len(centres.high)),),
        *(*keys, *centres, jnp.asarray(num_centres, jnp.int32), steps),
        dtype=jnp.int32,
    )
    return table
