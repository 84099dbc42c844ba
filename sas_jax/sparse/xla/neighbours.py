"""The neighbour search in plain XLA, for every platform."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int32, UInt64

from sas_jax.native_call import mark_varying, varying_axes
from sas_jax.sparse.xla import keys as words
from sas_jax.sparse.xla.keys import Keys


def search(
    keys: Keys,
    centres: Keys,
    num_centres: Int32[Array, ""],
    deltas: UInt64[np.ndarray, "Z C"],
) -> Int32[Array, "Z C M"]:
    """Return the row of `centres + deltas` in the sorted keys, or -1.

    Offsets of one column differ in z alone. Where its lowest voxel would be is found
    by bisection, and the others can only lie right behind.

    Args:
      keys: sorted distinct keys, unused ones last.
      centres: keys to look from.
      num_centres: how many of them are voxels.
      deltas: what to add per offset, ascending along Z.
    """
    high, low = words.split(deltas)
    columns = Keys(jnp.asarray(high.T), jnp.asarray(low.T))
    valid = jnp.arange(len(centres.high), dtype=jnp.int32) < num_centres

    def one_column(column: Keys) -> Int32[Array, "Z M"]:
        steps = [Keys(*step) for step in zip(*column, strict=True)]
        cursor = words.lower_bound(keys, words.add(centres, steps[0]))
        found = []
        for step in steps:
            wanted, here = words.add(centres, step), words.take(keys, cursor)
            match = (here.high == wanted.high) & (here.low == wanted.low) & valid
            found.append(jnp.where(match, cursor, jnp.full_like(cursor, -1)))
            cursor += match.astype(jnp.int32)
        return jnp.stack(found)

    columns = mark_varying(columns, varying_axes((keys, centres, num_centres)))
    return jnp.swapaxes(jax.lax.map(one_column, columns), 0, 1)
