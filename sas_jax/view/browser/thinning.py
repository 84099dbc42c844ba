"""Fewer points to draw: one of each voxel, of an edge that leaves as many as wanted."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int64

from sas_jax.sparse.keys import pack

_ROUNDS = 12


class Drawn(NamedTuple):
    """Which points are drawn.

    Attributes:
      which: [D] of those, ascending.
      edge_m: of the voxels that one of each was taken, metres; 0: all are drawn.
    """

    which: Int64[np.ndarray, " D"]
    edge_m: float


def thinned(points: Float[np.ndarray, "P 3"], most: int) -> Drawn:
    """Return at most `most` points, evenly over the surface.

    Args:
      points: metres.
      most: >= 1.

    Deterministic: yes.
    """
    if len(points) <= most:
        return Drawn(np.arange(len(points)), 0.0)
    extent = np.ptp(points, axis=0).astype(np.float64)
    edge = max(float(np.sqrt(np.sort(extent)[1:].prod() / most)), 1e-4)
    kept = _firsts(points, edge)
    for _ in range(_ROUNDS):
        if 0.8 * most <= len(kept) <= most:
            break
        # A surface has as many voxels as its area holds squares of their edge.
        step = edge * np.sqrt(len(kept) / (0.9 * most))
        if step <= 1e-6:  # most points lie at one place
            break
        edge, kept = float(step), _firsts(points, float(step))
    while len(kept) > most:
        edge *= 1.2
        kept = _firsts(points, edge)
    return Drawn(kept, edge)


def _firsts(points: Float[np.ndarray, "P 3"], edge_m: float) -> Int64[np.ndarray, " D"]:
    """Return the first point of each voxel, ascending."""
    cells = np.floor((points - points.min(axis=0)) / edge_m)
    cells = np.minimum(cells, 2**16 - 1).astype(np.int32)
    _, first = np.unique(pack(np.pad(cells, ((0, 0), (1, 0)))), return_index=True)
    return np.sort(first)
