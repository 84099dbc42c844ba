"""Farthest point sampling with the tie rule of the CUDA kernel behind Mask3D.

Voxels lie on a grid, so ties are the norm, and who wins one decides where a query
begins. The kernel's threads take every T-th point and reduce their candidates in a
tree; the winner is the point whose number modulo T, its bits reversed, is least, and
of those the one with the least number.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int32

_LOG_THREADS = 9
_NEVER = np.float32(-1)


def farthest_points(
    coords: Int32[Array, "N 3"],
    number: Int32[Array, " N"],
    member: Bool[Array, " N"],
    how_many: int,
) -> Int32[Array, " Q"]:
    """Return rows of which each is farthest from those before it.

    Args:
      coords: voxels in any order.
      number: which of the scene's n members a row is, 0..n-1; number 0 is the first.
      member: which rows are voxels of the scene; there must be one.
      how_many: rows to take; more than there are repeats some.

    Source: the kernel skips points within |x|^2 <= 1e-3 of the origin; on integers
    that is the origin's voxel, which can only be the start. It squares in float32,
    which is exact up to distances of 4096 voxels.
    """
    count = jnp.sum(member, dtype=jnp.int32)
    rank = _tie_ranks(number, count)
    origin = jnp.all(coords == 0, axis=1)
    candidate = member & ~origin
    first = jnp.argmax(member & (number == 0)).astype(jnp.int32)
    position = coords.astype(jnp.float32)
    start = jnp.where(candidate, jnp.float32(jnp.inf), _NEVER)

    def take(i, state):
        rows, nearest = state
        step = position - position[rows[i - 1]][None]
        nearest = jnp.minimum(nearest, jnp.sum(step * step, axis=1))
        best = jnp.max(nearest)
        tied = jnp.where(nearest == best, rank, jnp.int32(jnp.iinfo(jnp.int32).max))
        row = jnp.where(best == _NEVER, first, jnp.argmin(tied).astype(jnp.int32))
        return rows.at[i].set(row), nearest

    rows = jnp.zeros(how_many, jnp.int32).at[0].set(first)
    return jax.lax.fori_loop(1, how_many, take, (rows, start))[0]


def _tie_ranks(number: Int32[Array, " N"], count: Int32[Array, ""]) -> Array:
    """Return the order in which tied points win, least first."""
    powers = 1 << jnp.arange(1, _LOG_THREADS + 1, dtype=jnp.int32)
    log_threads = jnp.sum(powers <= count, dtype=jnp.int32)
    threads = 1 << log_threads
    residue = number % threads
    bits = jnp.arange(_LOG_THREADS, dtype=jnp.int32)
    ones = (residue[:, None] >> bits[None]) & 1
    mirrored = jnp.sum(ones << (_LOG_THREADS - 1 - bits)[None], axis=1, dtype=jnp.int32)
    mirrored = mirrored >> (_LOG_THREADS - log_threads)
    return mirrored * (count // threads + 1) + number // threads
