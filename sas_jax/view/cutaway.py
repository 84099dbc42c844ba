"""Rooms seen from outside: which surfaces stand in the way, whatever their normals say.

Walls and ceilings are the outermost surfaces of a scan: hardly anything of it lies on
their other side. That is told from planes without sign, so that it holds for normals of
either side, of none, and for any axis that points up. Where the normals of these
surfaces agree that they face inwards, or all outwards, their sign is known, and inner
surfaces that are seen from behind are left out too.
"""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Float32

from sas_jax.scenes.cloud import estimate_normals
from sas_jax.superpoints.graph import vertex_normals

# Share of the scan that may lie beyond a wall: a doorway, noise.
_BEYOND = 0.02
# A wall is as thick as this, share of the scan's diagonal and metres.
_THICK, _THICK_M = 0.02, 0.15
# Where so many of the outermost normals face one side, normals have a side.
_AGREE = 0.9
# Smaller scans are of objects, which are looked at, not into.
_OBJECT_M = 1.5
_SAMPLE, _DIRECTIONS = 4000, 400
# Cosine of directions that are about that of a normal: 25 degrees.
_ABOUT = 0.9
_ROWS_AT_ONCE = 1 << 15
_CELL_M, _DENSE = 0.08, 5


@dataclasses.dataclass(frozen=True)
class Cutaway:
    """Which way surfaces face, as far as that is known.

    Attributes:
      normals: [P, 3] f32, of unit length or zero; of no side where `sided` is false.
      outward: [P, 3] f32 unit, away from the scan; zero but on its outermost surfaces.
      sided: whether normals point to where surfaces are seen from.
    """

    normals: Float32[np.ndarray, "P 3"]
    outward: Float32[np.ndarray, "P 3"]
    sided: bool

    def shown(self, toward: Float[np.ndarray, "P 3"]) -> Bool[np.ndarray, " P"]:
        """Return which points are drawn.

        Args:
          toward: directions from the points to the camera, of any length.
        """
        hidden = np.einsum("pi,pi->p", self.outward, toward) > 0
        if self.sided:
            hidden |= np.einsum("pi,pi->p", self.normals, toward) < 0
        return ~hidden


def cutaway(
    points: Float32[np.ndarray, "P 3"],
    normals: Float32[np.ndarray, "P 3"] | None = None,
    faces: np.ndarray | None = None,
) -> Cutaway:
    """Return how a scan is opened.

    Args:
      points: metres.
      normals: of the points, of either side; None: of the faces, or of neighbours.
      faces: [F, 3] of points, or None.
    """
    if normals is None:
        normals = (
            estimate_normals(points) if faces is None else vertex_normals(points, faces)
        )
    if faces is None:
        normals = _smoothed(points, normals)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    normals = (normals / np.maximum(length, 1e-6)).astype(np.float32)
    nothing = np.zeros_like(normals)
    low, high = np.percentile(points, [0.5, 99.5], axis=0)
    if (high - low).max() < _OBJECT_M:
        return Cutaway(normals, nothing, sided=False)
    side = _outer_side(points, normals, float(np.linalg.norm(high - low)))
    outer = side != 0
    inwards = float((side[outer] < 0).mean()) if outer.any() else 0.5
    sided = max(inwards, 1 - inwards) >= _AGREE
    outward = np.where(outer[:, None], side[:, None] * normals, nothing)
    return Cutaway(normals * (1 if inwards >= 0.5 else -1), outward, sided)


def _smoothed(
    points: Float32[np.ndarray, "P 3"], normals: Float32[np.ndarray, "P 3"]
) -> Float32[np.ndarray, "P 3"]:
    """Return normals of cells where these hold many points, on the side of the given.

    Neighbours in a dense cloud are as near as its noise is large.
    """
    _, cell = np.unique(np.floor(points / _CELL_M), axis=0, return_inverse=True)
    count = np.bincount(cell)
    if len(points) < _DENSE * len(count):
        return normals

    def mean(rows: Float32[np.ndarray, "P 3"]) -> Float32[np.ndarray, "n 3"]:
        sums = [np.bincount(cell, column) for column in rows.T]
        return (np.stack(sums, axis=1) / count[:, None]).astype(np.float32)

    smooth = estimate_normals(mean(points))
    turned = np.einsum("ni,ni->n", smooth, mean(normals)) < 0
    return np.where(turned[:, None], -smooth, smooth)[cell]


def _outer_side(
    points: Float32[np.ndarray, "P 3"],
    normals: Float32[np.ndarray, "P 3"],
    diagonal_m: float,
) -> Float32[np.ndarray, " P"]:
    """Return 1 where a normal points out of the scan, -1 where it points in, else 0."""
    sample = points[:: -(-len(points) // _SAMPLE)]
    directions = _directions()
    heights = sample @ directions.T
    low, high = np.percentile(heights, [100 * _BEYOND, 100 * (1 - _BEYOND)], axis=0)
    thick = min(_THICK * diagonal_m, _THICK_M)
    side = np.zeros(len(points), np.float32)
    for first in range(0, len(points), _ROWS_AT_ONCE):
        rows = slice(first, first + _ROWS_AT_ONCE)
        # Depth images are noisy, and so is the normal of a wall that is made of them:
        # it is outermost in one of the directions about its normal.
        facing = normals[rows] @ directions.T
        facing = np.where(np.abs(facing) > _ABOUT, np.sign(facing), 0)
        height = points[rows] @ directions.T
        above = np.where(height > high - thick, facing, 0)
        below = np.where(height < low + thick, -facing, 0)
        # Of a sheet, both would hold: it is looked at from either side.
        most = np.maximum(above.max(axis=1), below.max(axis=1))
        side[rows] = most + np.minimum(above.min(axis=1), below.min(axis=1))
    return side


def _directions() -> Float32[np.ndarray, "D 3"]:
    """Return directions all over half a sphere; the axes are among them."""
    rank = np.arange(_DIRECTIONS)
    z = (rank + 0.5) / _DIRECTIONS
    angle = rank * np.pi * (3 - np.sqrt(5))
    flat = np.sqrt(1 - z**2)
    spread = np.stack([flat * np.cos(angle), flat * np.sin(angle), z], axis=1)
    return np.concatenate([np.eye(3), spread]).astype(np.float32)
