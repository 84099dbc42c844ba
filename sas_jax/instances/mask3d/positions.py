"""Position encodings: where a voxel is in its scene, as channels of a query or key."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

_TEMPERATURE = 10000.0


def spanned(
    positions: Float[Array, "N 3"], member: Bool[Array, " N"]
) -> tuple[Float[Array, " 3"], Float[Array, " 3"]]:
    """Return the least and the largest position of a scene along each axis."""
    inside = member[:, None]
    low = jnp.min(jnp.where(inside, positions, jnp.inf), axis=0)
    high = jnp.max(jnp.where(inside, positions, -jnp.inf), axis=0)
    return low, high


def normalized(
    positions: Float[Array, "N 3"], span: tuple[Array, Array]
) -> Float[Array, "N 3"]:
    """Return positions as 0..1 of a span.

    Along an axis without extent, where the original divides by zero, they are 0.
    """
    low, high = span
    extent = high - low
    safe = jnp.where(extent > 0, extent, jnp.ones_like(extent))
    return jnp.where((extent > 0)[None], (positions - low[None]) / safe[None], 0)


def fourier(
    positions: Float[Array, "N 3"], gauss: Float[Array, "3 F"]
) -> Float[Array, "N 2*F"]:
    """Return sines, then cosines, of random projections of positions."""
    phase = 2 * math.pi * positions @ gauss
    return jnp.concatenate([jnp.sin(phase), jnp.cos(phase)], axis=1)


def sines(positions: Float[Array, "N 3"], width: int) -> Float[Array, "N width"]:
    """Return sines and cosines, in turn, of each axis at falling frequencies.

    Every axis has the same even number of channels; what is left of the width goes to
    the first ones, two each.
    """
    channels = 2 * (width // 3 // 2)
    left = width - 3 * channels
    parts = []
    for axis in range(3):
        own = channels + (2 if left > 2 * axis else 0)
        c = jnp.arange(own)
        power = (2 * (c // 2)).astype(positions.dtype) / own
        phase = 2 * math.pi * positions[:, axis, None] / (_TEMPERATURE**power)[None]
        parts.append(jnp.where((c % 2 == 0)[None], jnp.sin(phase), jnp.cos(phase)))
    return jnp.concatenate(parts, axis=1)
