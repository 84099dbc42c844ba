"""The rasteriser in plain JAX: the same pixels as the native one, on any device.

Tiles have lists of very different length, and shapes are static. So lists are cut into
segments of 64 Gaussians, all alike: how much light each lets through is found first,
then what reaches it through those before, then what it adds. Work is proportional to
pairs; nothing is stopped early, what lies behind the stop has weight 0. Gradients are
JAX's own but for running products, whose derivative is a division.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int32

from sas_jax.gaussians.projection import Projected
from sas_jax.gaussians.tiles import TILE, grid, tile_lists

ALPHA_CUT, STOP = 1 / 255, 1e-4
_SEGMENT = 64
_AT_ONCE = 256  # segments: 16 MB of f32 per array of their pixels and Gaussians


class _Segments(NamedTuple):
    """N segments in blocks; those behind the last one belong to tile T."""

    tile: Int32[Array, "N B"]
    gaussian: Int32[Array, "N B S"]
    valid: Bool[Array, "N B S"]
    nth: Int32[Array, "N B"]


def rasterize(
    projected: Projected,
    features: Float[Array, "G F"],
    width: int,
    height: int,
    alpha_cap: float,
    pairs: int,
) -> tuple[Float[Array, "H W F"], Float[Array, "H W"]]:
    """See `raster.rasterize`."""
    num_x, num_y = grid(width, height)
    tiles = num_x * num_y
    segments, overflow = _cut(projected, width, height, pairs)
    dtype = projected.means2d.dtype

    def alphas(part: _Segments) -> Float[Array, "B 256 S"]:
        return _alphas(projected, part, num_x, alpha_cap)

    @jax.checkpoint
    def opens(part: _Segments) -> Float[Array, "B 256"]:
        return _through(alphas(part))

    through = jax.lax.map(opens, segments)
    reaches = _before(through.reshape(-1, TILE * TILE), segments.nth.reshape(-1))
    columns = jnp.concatenate([features, jnp.ones((len(features), 1), dtype)], axis=1)

    @jax.checkpoint
    def adds(part: _Segments, reach: Float[Array, "B 256"]) -> Float[Array, "B 256 F1"]:
        weights = _weights(alphas(part), reach)
        rows = columns[part.gaussian]
        return jnp.einsum("bps,bsf->bpf", weights, rows, precision="highest")

    def step(image: Float[Array, "T 256 F1"], block: tuple) -> tuple:
        part, reach = block
        return image.at[part.tile].add(adds(part, reach), mode="drop"), None

    image = jnp.zeros((tiles, TILE * TILE, columns.shape[1]), dtype)
    image, _ = jax.lax.scan(step, image, (segments, reaches.reshape(through.shape)))
    image = image.reshape(num_y, num_x, TILE, TILE, -1).swapaxes(1, 2)
    image = image.reshape(num_y * TILE, num_x * TILE, -1)[:height, :width]
    image = jnp.where(overflow, jnp.nan, image)
    return image[..., :-1], image[..., -1]


def _cut(
    projected: Projected, width: int, height: int, pairs: int
) -> tuple[_Segments, Bool[Array, ""]]:
    """Return the segments of all lists, and whether pairs are missing."""
    lists = tile_lists(
        jax.tree.map(jax.lax.stop_gradient, projected), width, height, pairs
    )
    tiles = len(lists.start) - 1
    most = pairs // _SEGMENT + min(tiles, pairs)
    at_once = min(_AT_ONCE, most)
    number = jnp.arange(-(-most // at_once) * at_once, dtype=jnp.int32)
    length = lists.start[1:] - lists.start[:-1]
    ends = jnp.cumsum((length + _SEGMENT - 1) // _SEGMENT, dtype=jnp.int32)
    tile = jnp.searchsorted(ends, number, side="right").astype(jnp.int32)
    first = jnp.concatenate([jnp.zeros(1, jnp.int32), ends])[tile]
    nth = jnp.where(tile < tiles, number - first, 0)
    start = lists.start[tile] + nth * _SEGMENT
    place = start[:, None] + jnp.arange(_SEGMENT, dtype=jnp.int32)[None]
    end = lists.start[jnp.minimum(tile + 1, tiles)]
    valid = (place < end[:, None]) & (tile < tiles)[:, None]
    gaussian = lists.gaussian[jnp.where(valid, place, 0)]
    blocks = (tile, gaussian, valid, nth)
    shaped = (a.reshape(-1, at_once, *a.shape[1:]) for a in blocks)
    return _Segments(*shaped), lists.overflow


def _alphas(
    projected: Projected, part: _Segments, num_x: int, alpha_cap: float
) -> Float[Array, "B 256 S"]:
    """Return the opacity of each Gaussian in each pixel, 0 below 1/255."""
    pixel = jnp.arange(TILE * TILE, dtype=jnp.int32)[None]
    tile = part.tile[:, None]
    dtype = projected.means2d.dtype
    x = (tile % num_x * TILE + pixel % TILE).astype(dtype) + 0.5
    y = (tile // num_x * TILE + pixel // TILE).astype(dtype) + 0.5
    means = projected.means2d[part.gaussian][:, None]
    dx, dy = means[..., 0] - x[:, :, None], means[..., 1] - y[:, :, None]
    conics = projected.conics[part.gaussian][:, None]
    a, b, c = conics[..., 0], conics[..., 1], conics[..., 2]
    power = 0.5 * (a * dx * dx + c * dy * dy) + b * dx * dy
    ok = part.valid[:, None] & (power >= 0)
    fall = jnp.exp(-jnp.where(ok, power, 0))
    opacity = projected.opacities[part.gaussian][:, None]
    alpha = jnp.minimum(opacity * fall, alpha_cap)
    return jnp.where(ok & (alpha >= ALPHA_CUT), alpha, 0)


def _before(
    through: Float[Array, "N 256"], nth: Int32[Array, " N"]
) -> Float[Array, "N 256"]:
    """Return the product over the segments before, of the same tile.

    Args:
      through: of each segment.
      nth: place of each in its tile.
    """
    here = jnp.arange(len(nth), dtype=jnp.int32)

    def double(product: Float[Array, "N 256"], reach: Int32[Array, ""]) -> tuple:
        # So far the product of as many segments as are reached; now of twice as many.
        other = product[jnp.maximum(here - reach, 0)]
        more = (nth >= reach)[:, None]
        return product * jnp.where(more, other, 1), None

    shifted = jnp.where((nth > 0)[:, None], through[jnp.maximum(here - 1, 0)], 1)
    reaches = 2 ** jnp.arange(max(len(nth) - 1, 1).bit_length(), dtype=jnp.int32)
    return jax.lax.scan(double, shifted, reaches)[0]


@jax.custom_vjp
def _through(alpha: Float[Array, "B 256 S"]) -> Float[Array, "B 256"]:
    """Return the product of 1 - alpha; alpha is at most the cap, below 1."""
    return jnp.prod(1 - alpha, axis=2)


def _through_forward(alpha: Array) -> tuple:
    product = _through(alpha)
    return product, (alpha, product)


def _through_backward(kept: tuple, grad: Array) -> tuple:
    alpha, product = kept
    return (-(grad * product)[:, :, None] / (1 - alpha),)


_through.defvjp(_through_forward, _through_backward)


@jax.custom_vjp
def _weights(
    alpha: Float[Array, "B 256 S"], reach: Float[Array, "B 256"]
) -> Float[Array, "B 256 S"]:
    """Return alpha times what the ones before let through; 0 from the stop on."""
    return _weights_forward(alpha, reach)[0]


def _weights_forward(alpha: Array, reach: Array) -> tuple:
    after = reach[:, :, None] * jnp.cumprod(1 - alpha, axis=2)
    before = jnp.concatenate([reach[:, :, None], after[:, :, :-1]], axis=2)
    # The one that would pass the stop is left out, and all behind it.
    before = jnp.where(after > STOP, before, 0)
    return alpha * before, (alpha, before, reach)


def _weights_backward(kept: tuple, grad: Array) -> tuple:
    """With h = w dL/dw: dL/dalpha = T dL/dw - (sum of later h) / (1 - alpha)."""
    alpha, before, reach = kept
    parts = alpha * before * grad
    later = jax.lax.cumsum(parts, axis=2, reverse=True) - parts
    of_alpha = jnp.where(before > 0, before * grad - later / (1 - alpha), 0)
    some = reach > STOP  # else all weights are 0
    of_reach = jnp.where(some, jnp.sum(parts, axis=2) / jnp.where(some, reach, 1), 0)
    return of_alpha, of_reach


_weights.defvjp(_weights_forward, _weights_backward)
