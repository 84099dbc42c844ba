"""Graph segmentation into superpoints, after Felzenszwalb and Huttenlocher.

Edges are taken by ascending weight w. Two segments join when w is at most the
threshold of both; a segment's threshold is the w of its last join plus k / size, so
small segments join easily and large ones only across edges no rougher than their own.
Afterwards segments below a least size join a neighbour, in the same edge order.

Source: SAS section 3.4 and its superpoint_extraction (ScanNet's mesh segmentator).
"""

from typing import Literal

import numpy as np
import tqdm
from jaxtyping import Float32, Int32

from sas_jax.errors import InputError
from sas_jax.scenes.cloud import position_normals
from sas_jax.scenes.positions import (
    Positions,
    distinct_positions,
    joined_positions,
    nearest_positions,
    warn_of_repeats,
)
from sas_jax.scenes.scene import check_faces, check_points
from sas_jax.superpoints import native
from sas_jax.superpoints.graph import (
    axis_weights,
    edge_weights,
    given_axes,
    knn_edges,
    mesh_edges,
    vertex_normals,
)

Impl = Literal["native", "numpy"]
# Corners of an unshared mesh that meet in one place; a fan seldom has more faces.
_ORDINARY_FAN = 100
_NORMAL_NEIGHBORS = 16


def segment_mesh(
    points: Float32[np.ndarray, "P 3"],
    faces: Int32[np.ndarray, "F 3"],
    *,
    k_threshold: float = 0.01,
    min_vertices: int = 60,
    impl: Impl | None = None,
    where: str = "superpoints",
) -> Int32[np.ndarray, " P"]:
    """Cut a mesh into superpoints by its vertex normals.

    Vertices at one position are one vertex, so that a file with own vertices for each
    face or along seams is cut like the mesh that shares them.

    Args:
      points: vertices, metres.
      faces: vertex indices, wound alike.
      k_threshold: preference for large segments, >= 0.
      min_vertices: segments of fewer positions join a neighbour where they have one.
        The paper's ScanNet value is 60 (the original program's default is 20).
      impl: see `segment_graph`.
      where: what messages start with.

    Returns:
      Superpoint id of each vertex, contiguous from 0 in order of first appearance. A
      vertex without faces is a superpoint of its own.

    Raises:
      InputError: for bad points, faces or parameters.

    Deterministic: yes. Edges of equal weight are taken in face order, like the
    original's: another order of the faces may give other superpoints.
    """
    check_points(points, where)
    check_faces(faces, len(points), where)
    positions = joined_positions(points)
    if positions is not None:
        warn_of_repeats(positions, where, at_least=_ORDINARY_FAN)
        points = positions.points
        faces = positions.of_point[faces].astype(np.int32)
    edges = mesh_edges(faces)
    weights = edge_weights(points, vertex_normals(points, faces), edges)
    labels = segment_graph(
        len(points), edges, weights, k_threshold, min_vertices, impl=impl
    )
    return labels if positions is None else _in_order(labels[positions.of_point])


def segment_points(
    points: Float32[np.ndarray, "P 3"],
    normals: Float32[np.ndarray, "P 3"] | None = None,
    *,
    neighbors: int = 8,
    k_threshold: float = 0.01,
    min_vertices: int = 60,
    impl: Impl | None = None,
    where: str = "superpoints",
) -> Int32[np.ndarray, " P"]:
    """Cut a cloud without a mesh into superpoints over its nearest-neighbour graph.

    Points at one position are one point.

    Args:
      points: metres.
      normals: of any length; their signs are not used, because few programs orient
        them. None, and rows that are zero or not finite, are estimated from neighbours.
      neighbors: edges per position.
      k_threshold: see `segment_mesh`.
      min_vertices: see `segment_mesh`.
      impl: see `segment_graph`.
      where: what messages start with.

    Returns:
      Superpoint id of each point, contiguous from 0 in order of first appearance.

    Raises:
      InputError: for bad points or parameters.

    Deterministic: yes, and the same partition for any order of the points.
    """
    check_points(points, where)
    if neighbors < 1:
        raise InputError(f"{where}: neighbors must be >= 1, got {neighbors}. Use 8.")
    positions = distinct_positions(points)
    warn_of_repeats(positions, where)
    points = positions.points
    axes = position_axes(positions, normals)
    edges = knn_edges(points, neighbors)
    weights = axis_weights(axes, edges)
    labels = segment_graph(
        len(points), edges, weights, k_threshold, min_vertices, impl=impl
    )
    return _in_order(labels[positions.of_point])


def position_axes(
    positions: Positions, normals: Float32[np.ndarray, "P 3"] | None
) -> Float32[np.ndarray, "D 3"]:
    """Return a unit normal of any sign for each position.

    Args:
      positions: of the points.
      normals: of the points, see `graph.given_axes`; what is missing is estimated from
        neighbours.
    """
    points = positions.points
    axes = np.zeros(points.shape, np.float32)
    if normals is not None:
        axes = given_axes(positions, normals)
    missing = ~axes.any(axis=1)
    if missing.any():
        near = nearest_positions(points, _NORMAL_NEIGHBORS)
        # Without a copy of the neighbours where no point has a normal.
        near = near if missing.all() else near[missing]
        axes[missing] = position_normals(points, near)
    return axes


def _in_order(labels: Int32[np.ndarray, " P"]) -> Int32[np.ndarray, " P"]:
    """Renumber segments 0..L-1 by first appearance."""
    first = np.empty(labels.max() + 1, np.intp)
    # Of several values for one row, the last one assigned stays.
    first[labels[::-1]] = np.arange(len(labels))[::-1]
    rank = np.empty(len(first), np.int32)
    rank[np.argsort(first)] = np.arange(len(first), dtype=np.int32)
    return rank[labels]


def segment_graph(
    num_points: int,
    edges: Int32[np.ndarray, "E 2"],
    weights: Float32[np.ndarray, " E"],
    k_threshold: float = 0.01,
    min_vertices: int = 60,
    *,
    impl: Impl | None = None,
) -> Int32[np.ndarray, " P"]:
    """Segment any weighted graph (see the module for the rule).

    Args:
      num_points: P.
      edges: pairs of points in 0..P-1.
      weights: f32, finite. Equal weights are taken in edge order, so the result does
        not depend on the sorting algorithm.
      k_threshold: >= 0.
      min_vertices: >= 0.
      impl: "native" (C++), "numpy" (the same result, slowly); None takes native where
        its library is built.

    Returns:
      Segment id of each point, contiguous from 0 in order of first appearance.

    Raises:
      InputError: for bad arguments, or impl="native" without the library.
    """
    _check_graph(num_points, edges, weights, k_threshold, min_vertices)
    if impl is None:
        impl = "native" if native.available() else "numpy"
    if impl == "native":
        return native.segment_graph(
            num_points, edges, weights, k_threshold, min_vertices
        )
    return _segment_graph_numpy(num_points, edges, weights, k_threshold, min_vertices)


def _check_graph(
    num_points: int,
    edges: np.ndarray,
    weights: np.ndarray,
    k_threshold: float,
    min_vertices: int,
) -> None:
    if edges.shape != (len(weights), 2):
        raise InputError(
            f"superpoints: one weight per edge is required, got edges "
            f"{list(edges.shape)} and {len(weights)} weights. Compute both together."
        )
    if edges.size and (edges.min() < 0 or edges.max() >= num_points):
        raise InputError(
            f"superpoints: edges must lie in 0..{num_points - 1}, got "
            f"{edges.min()}..{edges.max()}. Are they of this cloud?"
        )
    if not np.isfinite(weights).all() or not k_threshold >= 0 or min_vertices < 0:
        raise InputError(
            "superpoints: finite weights, k_threshold >= 0 and min_vertices >= 0 are "
            f"required, got k_threshold={k_threshold}, min_vertices={min_vertices}, "
            f"{int((~np.isfinite(weights)).sum())} weights that are not finite. "
            "Check normals and parameters."
        )


class _Segments:
    """Disjoint sets of points; the root of a set is its smallest point."""

    def __init__(self, num_points: int):
        self.parent = list(range(num_points))
        self.size = [1] * num_points

    def find(self, point: int) -> int:
        parent = self.parent
        while parent[point] != point:
            parent[point] = parent[parent[point]]
            point = parent[point]
        return point

    def join(self, a: int, b: int) -> int:
        root, other = min(a, b), max(a, b)
        self.parent[other] = root
        self.size[root] += self.size[other]
        return root


def _segment_graph_numpy(
    num_points: int,
    edges: Int32[np.ndarray, "E 2"],
    weights: Float32[np.ndarray, " E"],
    k_threshold: float,
    min_vertices: int,
) -> Int32[np.ndarray, " P"]:
    """Spell out the rule; the oracle of the native kernel."""
    order = np.argsort(weights, kind="stable")
    pairs = edges[order].tolist()
    k = np.float32(k_threshold)
    segments = _Segments(num_points)
    threshold = [k] * num_points
    joins = tqdm.tqdm(pairs, desc="segments", delay=2, leave=False)
    for (a, b), weight in zip(joins, weights[order], strict=True):
        a, b = segments.find(a), segments.find(b)
        if a != b and weight <= threshold[a] and weight <= threshold[b]:
            root = segments.join(a, b)
            threshold[root] = weight + k / np.float32(segments.size[root])
    for a, b in pairs:
        a, b = segments.find(a), segments.find(b)
        if a != b and min(segments.size[a], segments.size[b]) < min_vertices:
            segments.join(a, b)
    roots = np.array([segments.find(p) for p in range(num_points)], np.int32)
    # A root is the smallest point of its segment: sorted roots appear in this order.
    return np.unique(roots, return_inverse=True)[1].astype(np.int32)
