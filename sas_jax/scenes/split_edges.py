"""Triangles cut at the middles of their edges, until none is longer than it may be."""

import dataclasses

import numpy as np
from jaxtyping import Float, Float64, Int

from sas_jax.scenes.mesh import Mesh
from sas_jax.scenes.positions import blocks

# Larger meshes are cut less finely.
_MOST_PARTS = 8e6
# A mesh is cut where this many times the edge is usual in it: few long edges, as where
# holes were filled, do not count.
_COARSE = 1.5


def refined(mesh: Mesh, edge: float) -> tuple[Mesh, float]:
    """Return a mesh with points all over its triangles where it is coarse.

    A network sees points, not triangles: a wall of two would be four points to it.

    Args:
      mesh: with faces or without.
      edge: longest edge that there should be, in the unit of the points.

    Returns:
      The mesh with more points, without normals; the first ones are its own, and the
      others have the mean colour of the triangle that they come from. Itself where the
      middle of its surface has triangles with edges of at most 1.5 times as much. And
      the edge that it was cut to: a larger one where there would be over 8 million
      parts, 0 for a mesh that was not cut.
    """
    if mesh.faces is None:
        return mesh, 0.0
    longest, area = triangle_sizes(mesh.points, mesh.faces)
    if not area.sum() > 0 or _middle(longest, area) <= _COARSE * edge:
        return mesh, 0.0
    across = 2 * area / np.maximum(longest, 1e-300)
    while ((longest / edge + 1) * (across / edge + 1)).sum() > _MOST_PARTS:
        edge *= 2**0.5
    points = mesh.points.astype(np.float64)
    cut, faces, source = split_edges(points, mesh.faces, edge)
    colors = mesh.colors
    if colors is not None:
        mean = np.rint(colors[mesh.faces].mean(axis=1)).astype(np.uint8)
        found = np.empty((len(cut), 3), np.uint8)
        found[faces] = mean[source][:, None]
        found[: len(colors)] = colors
        colors = found
    more = dataclasses.replace(
        mesh,
        points=cut.astype(np.float32),
        normals=None,
        colors=colors,
        faces=faces,
        label=None,
        face_label=None if mesh.face_label is None else mesh.face_label[source],
    )
    return more, edge


def triangle_sizes(
    points: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]
) -> tuple[Float64[np.ndarray, " F"], Float64[np.ndarray, " F"]]:
    """Return the longest edge and the area of each triangle."""
    longest, area = np.empty((2, len(faces)))
    for rows in blocks(len(faces), "triangles"):
        a, b, c = (points[corner].astype(np.float64) for corner in faces[rows].T)
        edges = [((q - p) ** 2).sum(axis=1) for p, q in ((a, b), (b, c), (c, a))]
        longest[rows] = np.sqrt(np.max(edges, axis=0))
        area[rows] = np.sqrt((np.cross(b - a, c - a) ** 2).sum(axis=1)) / 2
    return longest, area


def _middle(values: Float64[np.ndarray, " F"], weights: Float64[np.ndarray, " F"]):
    """Return the median by weight."""
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return values[order[np.searchsorted(total, total[-1] / 2)]]


def split_edges(
    vertices: Float[np.ndarray, "V 3"],
    faces: Int[np.ndarray, "F 3"],
    max_edge_m: float,
) -> tuple[Float[np.ndarray, "W 3"], Int[np.ndarray, "G 3"], Int[np.ndarray, " G"]]:
    """Halve edges until all are short enough.

    Whether an edge is halved depends on its length only, so faces that share an edge
    keep sharing its parts: no cracks, no T-junctions.

    Args:
      vertices: f64, metres.
      faces: i32.
      max_edge_m: longest edge of the result.

    Returns:
      vertices f64, faces i32 and the source face of each, i32. The first V vertices
      are those of the input.
    """
    source = np.arange(len(faces), dtype=np.int32)
    while True:
        ends = faces[:, [[0, 1], [1, 2], [2, 0]]]
        vector = vertices[ends[..., 1]] - vertices[ends[..., 0]]
        long = (vector**2).sum(-1) > max_edge_m**2
        if not long.any():
            return vertices, faces.astype(np.int32), source
        pairs = np.sort(ends[long], axis=1)
        code = pairs[:, 0].astype(np.int64) * len(vertices) + pairs[:, 1]
        unique, which = np.unique(code, return_inverse=True)
        a, b = np.divmod(unique, len(vertices))
        middle = np.full(faces.shape, -1, np.int64)
        middle[long] = len(vertices) + which
        vertices = np.concatenate([vertices, 0.5 * (vertices[a] + vertices[b])])
        faces, parent = _split_faces(vertices, faces, middle)
        source = source[parent]


def _split_faces(
    vertices: Float[np.ndarray, "V 3"],
    faces: Int[np.ndarray, "F 3"],
    middle: Int[np.ndarray, "F 3"],
) -> tuple[Int[np.ndarray, "G 3"], Int[np.ndarray, " G"]]:
    """Cut faces at the middles of their edges; `middle[f, k]` is on edge k -> k+1."""
    cut = middle >= 0
    count = cut.sum(1)
    rows = np.arange(len(faces))
    # Turn each face so that edge 0 is cut and, with two cuts, edge 2 is not.
    first = np.where(count == 2, (np.argmin(cut, 1) + 1) % 3, np.argmax(cut, 1))
    turn = (first[:, None] + np.arange(3)) % 3
    v, m = faces[rows[:, None], turn], middle[rows[:, None], turn]
    parts, parents = [faces[count == 0]], [rows[count == 0]]

    def add(select: np.ndarray, *corners: np.ndarray) -> None:
        parts.append(np.stack([c[select] for c in corners], 1))
        parents.append(rows[select])

    one, two, three = count == 1, count == 2, count == 3
    add(one, v[:, 0], m[:, 0], v[:, 2])
    add(one, m[:, 0], v[:, 1], v[:, 2])
    add(two, m[:, 0], v[:, 1], m[:, 1])
    # The rest is a quadrilateral: cut it along the shorter diagonal.
    safe = np.maximum(m, 0)
    ac = ((vertices[v[:, 0]] - vertices[safe[:, 1]]) ** 2).sum(1)
    bd = ((vertices[safe[:, 0]] - vertices[v[:, 2]]) ** 2).sum(1)
    near, far = two & (ac <= bd), two & (ac > bd)
    add(near, v[:, 0], m[:, 0], m[:, 1])
    add(near, v[:, 0], m[:, 1], v[:, 2])
    add(far, v[:, 0], m[:, 0], v[:, 2])
    add(far, m[:, 0], m[:, 1], v[:, 2])
    add(three, v[:, 0], m[:, 0], m[:, 2])
    add(three, m[:, 0], v[:, 1], m[:, 1])
    add(three, m[:, 2], m[:, 1], v[:, 2])
    add(three, m[:, 0], m[:, 1], m[:, 2])
    return np.concatenate(parts), np.concatenate(parents)
