"""Faces and surface coordinates of vertex grids; lofts and sheets are made of them.

Rows lead along v and columns along u; a wrapped grid closes in u.
"""

import numpy as np
from jaxtyping import Float, Int


def grid_faces(rows: int, columns: int, wrap: bool) -> Int[np.ndarray, "F 3"]:
    """Return two faces per cell; a wrapped grid joins its last column to the first."""
    i, j = np.meshgrid(
        np.arange(rows - 1), np.arange(columns if wrap else columns - 1), indexing="ij"
    )
    right = (j + 1) % columns
    a, b = i * columns + j, i * columns + right
    c, d = (i + 1) * columns + right, (i + 1) * columns + j
    first = np.stack([a, b, c], -1).reshape(-1, 3)
    second = np.stack([a, c, d], -1).reshape(-1, 3)
    return np.concatenate([first, second])


def grid_uv(
    points: Float[np.ndarray, "R C 3"], wrap: bool
) -> Float[np.ndarray, "F 3 2"]:
    """Return arc lengths (u, v) in metres at the corners of `grid_faces`."""
    closed = np.concatenate([points, points[:, :1]], 1) if wrap else points
    around = np.linalg.norm(np.diff(closed, axis=1), axis=2).mean(0)
    along = np.linalg.norm(np.diff(points, axis=0), axis=2).mean(1)
    u = np.concatenate([[0.0], np.cumsum(around)])
    v = np.concatenate([[0.0], np.cumsum(along)])
    i, j = np.meshgrid(np.arange(len(v) - 1), np.arange(len(u) - 1), indexing="ij")
    a, b = np.stack([u[j], v[i]], -1), np.stack([u[j + 1], v[i]], -1)
    c, d = np.stack([u[j + 1], v[i + 1]], -1), np.stack([u[j], v[i + 1]], -1)
    first = np.stack([a, b, c], -2).reshape(-1, 3, 2)
    second = np.stack([a, c, d], -2).reshape(-1, 3, 2)
    return np.concatenate([first, second])
