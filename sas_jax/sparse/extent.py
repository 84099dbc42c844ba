"""Clouds whose unit cannot be metres, told by their size and their spacing.

A scan in millimetres is a thousand times too large, and so are the gaps between its
points: each is alone in its voxel and far from the next one at nearly every level, so
that a network sees nothing. Size alone proves nothing, for a street is as long as a
room in inches; but the points of a street are not metres apart.
"""

import logging
import math

import numpy as np
from jaxtyping import Float

from sas_jax.errors import InputError

# Metres per unit, and the unit's name.
_UNITS = (
    (0.001, "millimetres"),
    (0.01, "centimetres"),
    (0.0254, "inches"),
    (0.3048, "feet"),
)
# Smaller or denser clouds are not questioned.
_LARGE_M, _SPARSE_M, _SPARSE_VOXELS = 100.0, 0.5, 8
# What a scan is like: its longest edge and its spacing, at most and typically.
_EDGE_M, _SPACING_M = (1.0, 100.0), (0.001, 0.15)
_USUAL_EDGE_M, _USUAL_SPACING_M = 5.0, 0.03
# Half of the points of a surface share their cell at one and a half times the spacing.
_CELLS = 1.5
# Cells four times as large are a sixteenth as many on a surface, a sixty-fourth in a
# volume: what fills space is no scan in any unit.
_LEAST_LEFT = 1 / 20
_FEWEST_POINTS = 100

_log = logging.getLogger(__name__)


def check_extent(
    points: Float[np.ndarray, "P 3"], voxel_size_m: float, where: str
) -> None:
    """Refuse points that would be a scan if they were in another unit.

    Points that are as far apart without being a scan in any known unit get a warning:
    they cost little, but what a network says of them is worth nothing.

    Args:
      points: positions that should be metres; may be empty or not finite.
      voxel_size_m: edge of the finest voxels, > 0.
      where: begins the message, e.g. "scene scene0000_00".

    Raises:
      InputError: naming the unit that would fit, and voxels that would.
    """
    if len(points) < _FEWEST_POINTS or not np.isfinite(points).all():
        return
    # Not the farthest ones: a single stray point would hide what the others are.
    low, high = np.percentile(points.astype(np.float64), (1, 99), axis=0)
    edges = high - low
    if edges.max() <= _LARGE_M:
        return
    least = max(_SPARSE_M, _SPARSE_VOXELS * voxel_size_m)
    spacing_m = spacing(points, least)
    if spacing_m <= least:
        return
    unit = _unit_that_fits(edges.max(), spacing_m)
    unit = unit if _lies_on_surfaces(points, spacing_m) else None
    if unit is None:
        _log.warning(
            "%s: %d points that are about %.2g m apart are all alone in voxels of %g "
            "m; larger ones (--voxel_size_m) would have neighbours",
            *(where, len(points), spacing_m, voxel_size_m),
        )
        return
    factor, name = unit
    raise InputError(
        f"{where}: points in metres are required, got {len(points)} over "
        f"{_text(edges)} m, about {spacing_m:.2g} m apart, each alone in its voxel of "
        f"{voxel_size_m:g} m. They look like {name}: multiply them by {factor:g} "
        f"({_text(factor * edges)} m), own scans by --scale. If they are metres, use "
        f"voxels of that size: --voxel_size_m={spacing_m:.2g}."
    )


def spacing(points: Float[np.ndarray, "P 3"], least: float) -> float:
    """Return how far points are apart, or `least` if that is not more.

    Half of the points of a surface share a cell of one and a half times as much.
    """
    size, rows = least, _occupied(points, 1e-4)
    # Around the origin, eight cells stay whatever their size is.
    while _occupied(points, _CELLS * size) > max(8, rows / 2):
        size *= 2**0.5
    return size


def _lies_on_surfaces(points: Float[np.ndarray, "P 3"], apart: float) -> bool:
    few, many = (_occupied(points, k * _CELLS * apart) for k in (4, 1))
    return few > _LEAST_LEFT * many


def _unit_that_fits(edge: float, apart: float) -> tuple[float, str] | None:
    """Return the unit in which these would be the likeliest edge and spacing."""

    def surprise(unit: tuple[float, str]) -> float:
        # Rooms vary less than the distances at which they are scanned.
        of_edge = 1.5 * abs(math.log(unit[0] * edge / _USUAL_EDGE_M))
        return of_edge + abs(math.log(unit[0] * apart / _USUAL_SPACING_M))

    fitting = [
        unit
        for unit in _UNITS
        if _EDGE_M[0] <= unit[0] * edge <= _EDGE_M[1]
        and _SPACING_M[0] <= unit[0] * apart <= _SPACING_M[1]
    ]
    return min(fitting, key=surprise, default=None)


def _occupied(points: Float[np.ndarray, "P 3"], cell: float) -> int:
    """Return the number of cells with points in them, but for chance collisions."""
    cells = np.floor(points.astype(np.float64) / cell).astype(np.int64)
    mixed = np.zeros(len(cells), np.uint64)
    for axis in range(3):
        mixed ^= cells[:, axis].astype(np.uint64)
        mixed *= np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    return len(np.unique(mixed))


def _text(edges: Float[np.ndarray, "3"]) -> str:
    return " x ".join(f"{edge:.3g}" if edge < 1000 else f"{edge:.0f}" for edge in edges)
