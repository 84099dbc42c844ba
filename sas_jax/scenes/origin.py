"""Scans in map coordinates: what is taken off before f32 would round them.

At 2,048 m the numbers of f32 lie 0.24 mm apart and round by up to 0.12 mm; in UTM
coordinates it is half a metre. Below, nothing is taken off and no bit changes.
"""

import logging

import numpy as np
from jaxtyping import Float, Float64

# Coordinates from here on lose more than a tenth of a millimetre in f32; from the
# second number on, f64 does too.
_FAR_M = 2048.0
_TOO_FAR_M = 2.0**40
# Origins are whole hundreds of metres: readable, and equal for scans of one place.
_STEP_M = 100.0


def choose_origin(points: Float[np.ndarray, "P 3"]) -> Float64[np.ndarray, " 3"]:
    """Return what to take off coordinates so that f32 holds them; zeros for most.

    The median decides, each axis for itself, so that neither stray points nor points
    at zero ("no reading") move it.

    Args:
      points: finite, in metres; of any precision.
    """
    if not len(points):
        return np.zeros(3)
    middle = np.median(points, axis=0).astype(np.float64)
    far = (np.abs(middle) >= _FAR_M) & (np.abs(middle) < _TOO_FAR_M)
    origin = np.where(far, np.round(middle / _STEP_M) * _STEP_M, 0.0)
    if origin.any():
        logging.info(
            "map coordinates: computing relative to %.0f %.0f %.0f; results are given "
            "in the coordinates of the input.",
            *origin,
        )
    return origin


def moved_by(offset: Float[np.ndarray, " 3"]) -> Float64[np.ndarray, "4 4"]:
    """Return the rigid motion that adds an offset."""
    motion = np.eye(4)
    motion[:3, 3] = offset
    return motion
