"""Turn modelling triangles into the triangles of a scan: small, seen, in one piece.

Notation: V vertices, F faces; `source` is the modelling face that a face is part of.
"""

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse, spatial
from scipy.sparse import csgraph

from sas_jax.rooms.geometry.cast import Caster, camera_rays


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


def seen_faces(
    vertices: Float[np.ndarray, "V 3"],
    faces: Int[np.ndarray, "F 3"],
    poses: Float[np.ndarray, "N 4 4"],
    intrinsics: Float[np.ndarray, "3 3"],
    size_wh: tuple[int, int],
    max_depth_m: float,
) -> Bool[np.ndarray, " F"]:
    """Tell which faces lie behind a pixel of any camera, nearest first.

    Args:
      vertices: metres.
      faces: i32.
      poses: f64, world_from_camera.
      intrinsics: f64, for `size_wh`.
      size_wh: image size in pixels.
      max_depth_m: range of the depth camera.
    """
    caster = Caster(vertices, faces)
    seen = np.zeros(len(faces), bool)
    for pose in poses:
        hits = caster.first_hit(*camera_rays(pose, intrinsics, size_wh))
        seen[hits.face[(hits.face >= 0) & (hits.t < max_depth_m)]] = True
    return seen


def fill_and_prune(
    faces: Int[np.ndarray, "F 3"],
    seen: Bool[np.ndarray, " F"],
    num_vertices: int,
    min_faces: int,
) -> Bool[np.ndarray, " F"]:
    """Close pinholes in the seen surface and drop crumbs.

    Args:
      faces: i32.
      seen: seen faces.
      num_vertices: V.
      min_faces: smaller connected pieces are dropped.

    Returns:
      The faces to keep.
    """
    touched = np.zeros(num_vertices, bool)
    touched[faces[seen].ravel()] = True
    keep = seen | touched[faces].all(1)
    kept = faces[keep]
    piece = csgraph.connected_components(vertex_graph(kept, num_vertices), False)[1]
    size = np.bincount(piece[kept[:, 0]], minlength=piece.max() + 1)
    keep[keep] = size[piece[kept[:, 0]]] >= min_faces
    return keep


def vertex_graph(faces: Int[np.ndarray, "F 3"], num_vertices: int) -> sparse.csr_matrix:
    """Return the symmetric 0/1 adjacency of vertices."""
    a, b = (
        faces[:, [0, 1, 2, 1, 2, 0]].T.ravel(),
        faces[:, [1, 2, 0, 0, 1, 2]].T.ravel(),
    )
    graph = sparse.csr_matrix(
        (np.ones(len(a), np.float32), (a, b)), shape=(num_vertices, num_vertices)
    )
    graph.data[:] = 1.0
    return graph


def weld(
    vertices: Float[np.ndarray, "V 3"],
    owner: Int[np.ndarray, " V"],
    radius_m: float,
) -> Int[np.ndarray, " V"]:
    """Pair vertices of different objects that touch, so that the scan hangs together.

    Args:
      vertices: f64, metres.
      owner: i32, instance of each vertex.
      radius_m: largest distance of a pair.

    Returns:
      i32, representative of each vertex: itself, or its partner. A pair takes the
      vertex of the object with the larger instance id (furniture, not the floor).
    """
    target = np.arange(len(vertices), dtype=np.int32)
    pairs = spatial.cKDTree(vertices).query_pairs(radius_m, output_type="ndarray")
    pairs = pairs[owner[pairs[:, 0]] != owner[pairs[:, 1]]]
    if not len(pairs):
        return target
    distance = ((vertices[pairs[:, 0]] - vertices[pairs[:, 1]]) ** 2).sum(1)
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0], distance))]
    used = np.zeros(len(vertices), bool)
    for a, b in pairs.tolist():
        if not used[a] and not used[b]:
            used[a] = used[b] = True
            keep, drop = (a, b) if owner[a] > owner[b] else (b, a)
            target[drop] = keep
    return target


def compact(
    faces: Int[np.ndarray, "F 3"], num_vertices: int
) -> tuple[Int[np.ndarray, "F 3"], Int[np.ndarray, " W"]]:
    """Drop unused vertices; return renumbered faces and the kept old numbers."""
    used = np.zeros(num_vertices, bool)
    used[faces.ravel()] = True
    number = np.cumsum(used) - 1
    return number[faces].astype(np.int32), np.flatnonzero(used)
