"""Some points of a mesh's or a cloud's surface, evenly spread, and their normals."""

import numpy as np
from jaxtyping import Float, Float64

from sas_jax.scenes.cloud import estimate_normals
from sas_jax.scenes.mesh import Mesh
from sas_jax.scenes.split_edges import triangle_sizes

_POINTS = 20_000
# Of a cloud: as many are looked at, and one is taken per cell of this share of its
# longest edge.
_LOOKED_AT = 400_000
_CELL = 1 / 150
_ROBUST = (1.0, 99.0)


def surface_sample(
    mesh: Mesh,
) -> tuple[Float64[np.ndarray, "S 3"], Float64[np.ndarray, "S 3"]]:
    """Return at most 20,000 points and their unit normals, of either sign.

    On a mesh they are drawn by area; of a cloud, which is dense where a scanner was
    near, one is taken per cell.

    Args:
      mesh: in any unit.

    Returns:
      f64, relative to the mesh's origin. Deterministic.
    """
    rng = np.random.default_rng(0)
    if mesh.faces is not None:
        found = _of_faces(mesh, rng)
        if found is not None:
            return found
    points = mesh.points
    if len(points) > _LOOKED_AT:
        points = points[np.sort(rng.integers(0, len(points), _LOOKED_AT))]
    points = points.astype(np.float64)
    low, high = robust_range(points)
    cell = max(float((high - low).max()) * _CELL, 1e-12)
    cells = np.clip((points - low) / cell, -1e3, 1e3).astype(np.int64)
    keys = (cells * [1 << 40, 1 << 20, 1]).sum(axis=1)
    _, first = np.unique(keys, return_index=True)
    if len(first) > _POINTS:
        first = first[rng.permutation(len(first))[:_POINTS]]
    points = points[np.sort(first)]
    normals = estimate_normals(points.astype(np.float32)).astype(np.float64)
    return points, normals


def _of_faces(
    mesh: Mesh, rng: np.random.Generator
) -> tuple[Float64[np.ndarray, "S 3"], Float64[np.ndarray, "S 3"]] | None:
    assert mesh.faces is not None
    total = np.cumsum(triangle_sizes(mesh.points, mesh.faces)[1])
    if not (len(total) and np.isfinite(total[-1]) and total[-1] > 0):
        return None
    chosen = np.searchsorted(total, rng.random(_POINTS) * total[-1], side="right")
    faces = mesh.faces[np.minimum(chosen, len(total) - 1)]
    a, b, c = (mesh.points[corner].astype(np.float64) for corner in faces.T)
    u, v = rng.random((2, _POINTS, 1))
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    across = np.cross(b - a, c - a)
    length = np.linalg.norm(across, axis=1, keepdims=True)
    return a + u * (b - a) + v * (c - a), across / np.maximum(length, 1e-300)


def robust_range(
    points: Float[np.ndarray, "S C"],
) -> tuple[Float64[np.ndarray, " C"], Float64[np.ndarray, " C"]]:
    """Return least and greatest coordinates but for a hundredth at each end."""
    low, high = np.percentile(points, _ROBUST, axis=0)
    return low, high
