"""The graph that superpoints are cut from: edges between points, weights by normals.

The weight of a mesh's edge (a, b) is 1 - n_a . n_b, squared where the surface is convex
(n_b points along b - a), so that convex parts stay whole and concave creases, where
objects meet, cost more. A cloud's is 1 - |n_a . n_b|: few programs orient its normals,
and without that nobody knows which side is convex.
"""

import numpy as np
import scipy.sparse
from jaxtyping import Float, Float32, Int, Int32

from sas_jax.scenes.positions import (
    Positions,
    blocks,
    joined_positions,
    nearest_positions,
)


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
    normals = np.empty((len(faces), 3), np.float32)
    for rows in blocks(len(faces), "normals"):
        a, b, c = (np.take(points, corner, axis=0) for corner in faces[rows].T)
        normal = np.cross(b - a, c - a)
        with np.errstate(invalid="ignore"):
            normals[rows] = normal / np.sqrt(_dot(normal, normal))[:, None]
    return normals


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
    sound = np.isfinite(normals).all(axis=1)
    normals = normals[sound]
    first, corners = _corners_by_vertex(faces[sound], len(points))
    count = np.diff(first)
    mean = np.zeros((len(points), 3), np.float32)
    vertex = np.flatnonzero(count)
    # Round r takes the r-th face of every vertex that has one.
    for number in range(count.max(initial=0)):
        vertex = vertex[count[vertex] > number]
        share = np.float32(1) / np.float32(number + 1)
        face = corners[first[vertex] + number] // 3
        own = share * np.take(normals, face, axis=0)
        mean[vertex] = own + (1 - share) * np.take(mean, vertex, axis=0)
    return mean


def _corners_by_vertex(
    faces: Int32[np.ndarray, "F 3"], num_points: int
) -> tuple[Int32[np.ndarray, " P+1"], Int32[np.ndarray, " 3*F"]]:
    """Return the corners of each vertex, ascending, and where each vertex's begin.

    Corner c is faces[c // 3, c % 3]. Turning a matrix with one entry per column from
    columns to rows sorts stably in linear time.
    """
    corner = np.arange(faces.size + 1, dtype=np.int32)
    entries = (np.ones(faces.size, np.int8), faces.reshape(-1), corner)
    matrix = scipy.sparse.csc_matrix(entries, shape=(num_points, faces.size)).tocsr()
    return matrix.indptr, matrix.indices


def edge_weights(
    points: Float32[np.ndarray, "P 3"],
    normals: Float32[np.ndarray, "P 3"],
    edges: Int32[np.ndarray, "E 2"],
) -> Float32[np.ndarray, " E"]:
    """Return the weight of each edge (see the module), in f32 like the original."""
    points, normals = points.astype(np.float32), normals.astype(np.float32)
    weights = np.empty(len(edges), np.float32)
    for rows in blocks(len(edges), "weights"):
        start, end = edges[rows].T
        normal_b = np.take(normals, end, axis=0)
        weight = 1 - _dot(np.take(normals, start, axis=0), normal_b)
        along = np.take(points, end, axis=0) - np.take(points, start, axis=0)
        # Points at the same place have no direction: NaN, which is not convex. The sign
        # is that of the unnormalised product but for rounding, where parity is decided.
        with np.errstate(invalid="ignore"):
            along /= np.sqrt(_dot(along, along))[:, None]
            convex = _dot(normal_b, along) > 0
        weights[rows] = np.where(convex, weight * weight, weight)
    return weights


def knn_edges(
    points: Float[np.ndarray, "P 3"], neighbors: int
) -> Int32[np.ndarray, "E 2"]:
    """Return each point's edges to its nearest neighbours, once each, ordered.

    Args:
      points: metres. Those at one position are one point: the first has the position's
        edges, and one to each of the others.
      neighbors: edges per position before duplicates are removed, >= 1.

    Returns:
      (a, b) with a < b, lexicographically sorted; empty for fewer than two points.
    """
    positions = joined_positions(points)
    if positions is None:
        near = nearest_positions(points, neighbors + 1)
        return _sorted_edges(near[:, :1], near[:, 1:], len(points))
    near = nearest_positions(positions.points, neighbors + 1)
    first = positions.first_points()
    start = np.concatenate(
        [np.repeat(first, near.shape[1] - 1), first[positions.of_point]]
    )
    end = np.concatenate([first[near[:, 1:]].reshape(-1), np.arange(len(points))])
    return _sorted_edges(start, end, len(points))


def _sorted_edges(
    start: Int[np.ndarray, "..."], end: Int[np.ndarray, "..."], num_points: int
) -> Int32[np.ndarray, "E 2"]:
    """Return undirected edges between different points, sorted, once each."""
    keys = np.minimum(start, end).astype(np.int64)
    keys *= num_points
    keys += np.maximum(start, end)
    keys = keys[start != end]
    keys.sort()
    new = np.ones(len(keys), bool)
    new[1:] = keys[1:] != keys[:-1]
    keys = keys[new]
    edges = np.empty((len(keys), 2), np.int32)
    edges[:, 0], edges[:, 1] = keys // num_points, keys % num_points
    return edges


def given_axes(
    positions: Positions, normals: Float32[np.ndarray, "P 3"]
) -> Float32[np.ndarray, "D 3"]:
    """Return a unit normal of each position, with any sign; 0 where none is given.

    Args:
      positions: of the points.
      normals: of any length and sign; zero or not finite where a point has none.

    Returns:
      Of several normals at one position the most upright one. Neither the order of
      the points nor the signs of the normals change more than the sign.
    """
    unit = normals.astype(np.float64)
    length = np.sqrt(_dot(unit, unit))
    known = np.isfinite(length) & (length > 0)
    unit[~known] = 0
    unit[known] /= length[known, None]
    axes = np.empty((len(positions.points), 3), np.float32)
    axes[positions.of_point] = unit
    if positions.repeated:
        several = np.bincount(positions.of_point)[positions.of_point] > 1
        row, axis = _most_upright(positions.of_point[several], unit[several])
        axes[row] = axis
    return axes


def _most_upright(
    rows: Int[np.ndarray, " N"], axes: Float[np.ndarray, "N 3"]
) -> tuple[Int[np.ndarray, " M"], Float[np.ndarray, "M 3"]]:
    """Return each different row and its axis with the largest |z|, then y, then x."""
    x, y, z = axes.T
    sign = np.where(z != 0, np.sign(z), np.where(y != 0, np.sign(y), np.sign(x)))
    axes = axes * sign[:, None]
    x, y, z = axes.T
    order = np.lexsort((-x, -y, -z, rows))
    rows = rows[order]
    first = np.flatnonzero(np.diff(rows, prepend=-1))
    return rows[first], axes[order[first]]


def axis_weights(
    axes: Float32[np.ndarray, "P 3"], edges: Int32[np.ndarray, "E 2"]
) -> Float32[np.ndarray, " E"]:
    """Return 1 - |n_a . n_b| of each edge, for normals whose sign says nothing."""
    weights = np.empty(len(edges), np.float32)
    for rows in blocks(len(edges), "weights"):
        start, end = (np.take(axes, ends, axis=0) for ends in edges[rows].T)
        weights[rows] = 1 - np.abs(_dot(start, end))
    return weights
