"""Which Gaussians touch which tile of the image, nearest first; shapes are static."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int32

from sas_jax.gaussians.projection import Projected

TILE = 16
"""Pixels along a side. Boxes lose nothing, so tiles change no pixel."""
MOST_PAIRS = 1 << 30


class TileLists(NamedTuple):
    """Pairs of a tile and a Gaussian, by tile, then depth in f32, then index.

    Attributes:
      gaussian: [P] i32; behind the last pair anything.
      start: [T + 1] i32, where the list of each tile begins, and the end.
      overflow: whether P was too small, and pairs are missing.
    """

    gaussian: Int32[Array, " P"]
    start: Int32[Array, " T1"]
    overflow: Bool[Array, ""]


def grid(width: int, height: int) -> tuple[int, int]:
    """Return how many tiles there are along x and y."""
    return -(-width // TILE), -(-height // TILE)


def tile_boxes(
    projected: Projected, width: int, height: int
) -> tuple[Int32[Array, "G 2"], Int32[Array, "G 2"]]:
    """Return the first tile along x and y, and how many (0 where nothing is seen)."""
    dtype = projected.means2d.dtype
    radii = projected.radii.astype(dtype)
    last = jnp.array([grid(width, height)], dtype)
    low = jnp.floor((projected.means2d - radii) / TILE)
    high = jnp.ceil((projected.means2d + radii) / TILE)
    low, high = (jnp.clip(a, 0, last).astype(jnp.int32) for a in (low, high))
    return low, jnp.where(projected.radii > 0, high - low, 0)


def count_pairs(projected: Projected, width: int, height: int) -> Int32[Array, ""]:
    """Return how many pairs there are; 2^30 also where there are more."""
    _, size = tile_boxes(projected, width, height)
    each = size[:, 0] * size[:, 1]
    # Whole numbers would wrap around.
    many = jnp.sum(each.astype(jnp.float32)) >= MOST_PAIRS
    return jnp.where(many, MOST_PAIRS, jnp.sum(each, dtype=jnp.int32))


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def tile_lists(projected: Projected, width: int, height: int, pairs: int) -> TileLists:
    """Return the lists of all tiles, row by row of the image.

    Args:
      projected: G Gaussians.
      width: pixels.
      height: pixels.
      pairs: P, at least `count_pairs`.
    """
    low, size = tile_boxes(projected, width, height)
    num_x, num_y = grid(width, height)
    depth = jnp.where(projected.radii[:, 0] > 0, projected.depths, jnp.inf)
    order = jnp.argsort(depth.astype(jnp.float32), stable=True).astype(jnp.int32)
    size, low = size[order], low[order]
    each = size[:, 0] * size[:, 1]
    ends = jnp.cumsum(each, dtype=jnp.int32)
    place = jnp.arange(pairs, dtype=jnp.int32)
    slots = jnp.arange(len(order), dtype=jnp.int32)
    slot = jnp.repeat(slots, each, total_repeat_length=pairs)
    nth = place - (ends - each)[slot]
    wide = jnp.maximum(size[slot, 0], 1)
    tile_x, tile_y = low[slot, 0] + nth % wide, low[slot, 1] + nth // wide
    total = count_pairs(projected, width, height)
    tile = jnp.where(place < total, tile_y * num_x + tile_x, num_x * num_y)
    # Pairs come nearest first, and the sort by tile is stable.
    tile, gaussian = jax.lax.sort((tile, order[slot]), num_keys=1, is_stable=True)
    bounds = jnp.arange(num_x * num_y + 1, dtype=jnp.int32)
    start = jnp.searchsorted(tile, bounds).astype(jnp.int32)
    return TileLists(gaussian, start, total > pairs)
