"""Means over rows: coarser voxels from finer ones, segments from voxels."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from sas_jax.sparse.plan import Plan


def pooled(rows: Float[Array, "cap0 C"], plan: Plan) -> list[Float[Array, "cap C"]]:
    """Return the rows of level 0 and their means on every coarser level.

    A voxel's mean is that of the finer voxels in it that exist, level by level: a mean
    of means. Padding rows are 0.
    """
    levels = [rows]
    for level in range(len(plan.levels) - 1):
        levels.append(_half(levels[-1], plan.down(level, 2).nbr))
    return levels


def _half(
    rows: Float[Array, "cap_in C"], children: Int32[Array, "8 cap_out"]
) -> Float[Array, "cap_out C"]:
    """Return the mean of the rows that each column of a table names."""
    total = jnp.zeros((children.shape[1], rows.shape[1]), rows.dtype)
    # One after the other: all eight at once would be as large as the finer level twice.
    for rows_of_child in children:
        there = (rows_of_child >= 0)[:, None]
        total = total + jnp.where(there, rows[rows_of_child], jnp.zeros_like(total))
    count = jnp.sum(children >= 0, axis=0).astype(rows.dtype)
    return total / jnp.maximum(count, 1)[:, None]


def segment_means(
    rows: Float[Array, "cap C"], segments: Int32[Array, " cap"], capacity: int
) -> Float[Array, "S C"]:
    """Return the mean row of every segment, 0 where it has none.

    Args:
      rows: in any order.
      segments: of each row; -1 in padding.
      capacity: S, segments and more.
    """
    # Out of range is dropped; a negative index would count from the end.
    index = jnp.where(segments < 0, capacity, segments)
    total = jax.ops.segment_sum(rows, index, capacity)
    ones = jnp.ones(len(rows), rows.dtype)
    count = jax.ops.segment_sum(ones, index, capacity)
    return total / jnp.maximum(count, 1)[:, None]
