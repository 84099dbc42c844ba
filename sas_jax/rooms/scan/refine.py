"""Turn modelling triangles into the triangles of a scan: small, seen, in one piece.

Notation: V vertices, F faces; `source` is the modelling face that a face is part of.
"""

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse, spatial
from scipy.sparse import csgraph

from sas_jax.rooms.geometry.cast import Caster, camera_rays


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
