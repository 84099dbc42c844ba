"""The graph that superpoints are cut from: edges between points, weights by normals.

The weight of an edge (a, b) is 1 - n_a . n_b, squared where the surface is convex
(n_b points along b - a), so that convex parts stay whole and concave creases, where
objects meet, cost more.
"""

import numpy as np
import scipy.spatial
from jaxtyping import Float, Float32, Int32

_ROWS_AT_ONCE = 65536


def mesh_edges(faces: Int32[np.ndarray, "F 3"]) -> Int32[np.ndarray, "3*F 2"]:
    """Return the three edges of every face, in face order.

    An inner edge stands twice, once per face, as in the original: the union of two
    segments does not change, but the order of small-segment merging could.
    """
    ends = faces[:, [0, 1, 0, 2, 2, 1]]
    return np.ascontiguousarray(ends.reshape(-1, 2))


def _dot(a: Float32[np.ndarray, "N 3"], b: Float32[np.ndarray, "N 3"]) -> np.ndarray:
    """Sum x, y, z in this order: a library's dot product may choose another."""
    return a[:, 0] * b[:, 0] + a[:, 1] * b[:, 1] + a[:, 2] * b[:, 2]


def _face_normals(
    points: Float32[np.ndarray, "P 3"], faces: Int32[np.ndarray, "F 3"]
) -> Float32[np.ndarray, "F 3"]:
    """Return unit normals, NaN for faces without area."""
    first = points[faces[:, 0]]
    normals = np.cross(points[faces[:, 1]] - first, points[faces[:, 2]] - first)
    with np.errstate(invalid="ignore"):
        return normals / np.sqrt(_dot(normals, normals))[:, None]


def vertex_normals(
    points: Float32[np.ndarray, "P 3"], faces: Int32[np.ndarray, "F 3"]
) -> Float32[np.ndarray, "P 3"]:
    """Return the mean of the unit normals of the faces at each vertex.

    The mean runs over the faces in their order, in f32, like the original's: the last
    bit decides which of two segments a vertex on their border joins.

    Returns:
      Not normalised, as in the original: a vertex on a crease has a short normal, and
      its edges a larger weight. Zero for a vertex without faces; faces without area
      are left out, where the original spreads NaN.
    """
    normals = _face_normals(points.astype(np.float32), faces)
    vertex = faces.reshape(-1)
    corner = np.flatnonzero(np.isfinite(normals).all(axis=1).repeat(3))
    corner = corner[np.argsort(vertex[corner], kind="stable")]
    count = np.bincount(vertex[corner], minlength=len(points))
    rank = np.arange(len(corner)) - np.repeat(np.cumsum(count) - count, count)
    by_rank = corner[np.argsort(rank, kind="stable")]
    mean = np.zeros((len(points), 3), np.float32)
    first = 0
    # Round r takes the r-th face of every vertex that has one.
    for number, size in enumerate(np.bincount(rank)):
        corner = by_rank[first : first + size]
        share = np.float32(1) / np.float32(number + 1)
        index = vertex[corner]
        mean[index] = share * normals[corner // 3] + (1 - share) * mean[index]
        first += size
    return mean


def edge_weights(
    points: Float32[np.ndarray, "P 3"],
    normals: Float32[np.ndarray, "P 3"],
    edges: Int32[np.ndarray, "E 2"],
) -> Float32[np.ndarray, " E"]:
    """Return the weight of each edge (see the module), in f32 like the original."""
    start, end = edges.T
    normal_b = normals[end].astype(np.float32)
    weight = 1 - _dot(normals[start].astype(np.float32), normal_b)
    along = (points[end] - points[start]).astype(np.float32)
    # Points at the same place have no direction: NaN, which is not convex. The sign is
    # that of the unnormalised product but for rounding, where parity is decided.
    with np.errstate(invalid="ignore"):
        along /= np.sqrt(_dot(along, along))[:, None]
        convex = _dot(normal_b, along) > 0
    return np.where(convex, weight * weight, weight)


def knn_edges(
    points: Float[np.ndarray, "P 3"], neighbors: int
) -> Int32[np.ndarray, "E 2"]:
    """Return each point's edges to its nearest neighbours, once each, ordered.

    Args:
      points: metres.
      neighbors: edges per point before duplicates are removed, >= 1.

    Returns:
      (a, b) with a < b, lexicographically sorted; empty for fewer than two points.
    """
    num_points = len(points)
    count = min(neighbors + 1, num_points)
    if count < 2:
        return np.zeros((0, 2), np.int32)
    tree = scipy.spatial.cKDTree(points)
    keys = []
    for first in range(0, num_points, _ROWS_AT_ONCE):
        near = tree.query(points[first : first + _ROWS_AT_ONCE], k=count)[1]
        own = np.repeat(np.arange(first, first + len(near)), count)
        low, high = np.minimum(own, near.reshape(-1)), np.maximum(own, near.reshape(-1))
        keys.append((low * num_points + high)[low < high])
    unique = np.unique(np.concatenate(keys))
    return np.stack([unique // num_points, unique % num_points], axis=1).astype(
        np.int32
    )
