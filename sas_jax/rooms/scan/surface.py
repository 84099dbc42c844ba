"""The mesh that fusing a scan of the room would give.

The room's triangles are cut to the spacing of a fused scan, what no camera of the
walk sees is removed, touching objects are welded together, and every vertex moves a
little along its normal. Colour comes from the same light as the frames.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8
from scipy import sparse
from scipy.sparse import csgraph

from sas_jax.errors import InputError
from sas_jax.rooms.geometry.cast import Hits
from sas_jax.rooms.layout import Room
from sas_jax.rooms.render import light
from sas_jax.rooms.render.renderer import Renderer
from sas_jax.rooms.scan import refine
from sas_jax.rooms.scan.config import SurfaceConfig
from sas_jax.scenes.split_edges import split_edges

# Neighbours with normals closer than this belong to one over-segment.
_SEGMENT_COSINE = 0.9


@dataclass(frozen=True)
class ScanMesh:
    """A labelled mesh of a scan.

    Attributes:
      vertices: f32 [V, 3], metres.
      faces: i32 [F, 3].
      colors: u8 [V, 3].
      labels: i32 [V], class index 0..19.
      instances: i32 [V], instance id of the room, from 1.
      segments: i32 [V], over-segment; each lies within one instance.
    """

    vertices: Float[np.ndarray, "V 3"]
    faces: Int[np.ndarray, "F 3"]
    colors: UInt8[np.ndarray, "V 3"]
    labels: Int[np.ndarray, " V"]
    instances: Int[np.ndarray, " V"]
    segments: Int[np.ndarray, " V"]


def scan_surface(
    room: Room,
    renderer: Renderer,
    poses: Float[np.ndarray, "N 4 4"],
    intrinsics: Float[np.ndarray, "3 3"],
    size_wh: tuple[int, int],
    rng: np.random.Generator,
    config: SurfaceConfig | None = None,
) -> ScanMesh:
    """Make the scan mesh of a room.

    Args:
      room: what was scanned.
      renderer: of the same room.
      poses: world_from_camera of the dense walk, f64.
      intrinsics: f64, for `size_wh`.
      size_wh: image size in pixels.
      rng: source of the position noise.
      config: spacing and noise; None means the defaults.

    Returns:
      The mesh. Deterministic.

    Raises:
      InputError: when the cameras see nothing.
    """
    config = config or SurfaceConfig()
    mesh = room.joined.mesh
    # Edges end up between half the limit and the limit, the long ones diagonal.
    points, faces, source = split_edges(
        mesh.vertices.astype(np.float64), mesh.faces, config.spacing_m / 0.6
    )
    seen = refine.seen_faces(
        points, faces, poses, *_half(intrinsics, size_wh), config.max_depth_m
    )
    keep = refine.fill_and_prune(faces, seen, len(points), config.min_faces)
    if not keep.any():
        raise InputError(
            f"scan_surface: the cameras must see the room, got {len(poses)} poses that "
            f"see none of its {mesh.num_faces} faces. Take poses from camera_path."
        )
    faces, source = faces[keep], source[keep]
    faces, kept = refine.compact(faces, len(points))
    points = points[kept]
    origin = np.empty(len(points), np.int32)
    origin[faces.ravel()] = np.repeat(source, 3)
    owner = renderer.face_instance[origin]
    return _finish(renderer, room, points, faces, origin, owner, rng, config)


def _half(
    intrinsics: Float[np.ndarray, "3 3"], size_wh: tuple[int, int]
) -> tuple[Float[np.ndarray, "3 3"], tuple[int, int]]:
    """Return the same camera with half the resolution: enough to find what is seen."""
    # Pixel centres are integers: the image's corner lies at -0.5.
    shift = np.array([[1.0, 0.0, -0.5], [0.0, 1.0, -0.5], [0.0, 0.0, 1.0]])
    half = shift @ np.diag([0.5, 0.5, 1.0]) @ np.linalg.inv(shift) @ intrinsics
    return half, (max(1, size_wh[0] // 2), max(1, size_wh[1] // 2))


def _finish(
    renderer: Renderer,
    room: Room,
    points: Float[np.ndarray, "V 3"],
    faces: Int[np.ndarray, "F 3"],
    origin: Int[np.ndarray, " V"],
    owner: Int[np.ndarray, " V"],
    rng: np.random.Generator,
    config: SurfaceConfig,
) -> ScanMesh:
    """Weld, colour, label, segment and roughen; `origin` is a vertex's room face."""
    target = refine.weld(points, owner, 0.45 * config.spacing_m)
    faces = target[faces]
    solid = (faces != np.roll(faces, 1, 1)).all(1)
    faces, kept = refine.compact(faces[solid], len(points))
    points, origin, owner = points[kept], origin[kept], owner[kept]
    normals = vertex_normals(points, faces)
    graph = refine.vertex_graph(faces, len(points))
    offset = _smooth_noise(graph, rng) * config.noise_m
    return ScanMesh(
        vertices=(points + offset[:, None] * normals).astype(np.float32),
        faces=faces,
        colors=_colors(renderer, room, points, origin, config.spacing_m),
        labels=renderer.face_class[origin],
        instances=owner,
        segments=_segments(graph, normals, owner),
    )


def vertex_normals(
    points: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]
) -> Float[np.ndarray, "V 3"]:
    """Return area-weighted unit normals, f64; 0 for a vertex without a face."""
    a, b, c = points[faces.T]
    vector = np.cross(b - a, c - a)
    corner = faces.T.ravel()
    normals = np.stack(
        [np.bincount(corner, np.tile(axis, 3), len(points)) for axis in vector.T], 1
    )
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def _smooth_noise(
    graph: sparse.csr_matrix, rng: np.random.Generator
) -> Float[np.ndarray, " V"]:
    """Return noise of unit variance, partly shared by neighbours as in a fused scan."""
    fine = rng.standard_normal(graph.shape[0])
    degree = np.maximum(np.asarray(graph.sum(1)).ravel(), 1.0)
    coarse = rng.standard_normal(graph.shape[0])
    for _ in range(3):
        coarse = 0.5 * (coarse + graph @ coarse / degree)
    mixed = 0.6 * fine + coarse / max(float(coarse.std()), 1e-9)
    return np.clip(mixed / max(float(mixed.std()), 1e-9), -3.0, 3.0)


def _segments(
    graph: sparse.csr_matrix,
    normals: Float[np.ndarray, "V 3"],
    owner: Int[np.ndarray, " V"],
) -> Int[np.ndarray, " V"]:
    """Group neighbours of one instance with similar normals."""
    edges = graph.tocoo()
    alike = owner[edges.row] == owner[edges.col]
    cosine = (normals[edges.row] * normals[edges.col]).sum(1)
    alike &= cosine > _SEGMENT_COSINE
    linked = sparse.csr_matrix(
        (edges.data[alike], (edges.row[alike], edges.col[alike])), shape=graph.shape
    )
    return csgraph.connected_components(linked, False)[1].astype(np.int32)


def _colors(
    renderer: Renderer,
    room: Room,
    points: Float[np.ndarray, "V 3"],
    origin: Int[np.ndarray, " V"],
    spacing_m: float,
) -> UInt8[np.ndarray, "V 3"]:
    """Light every vertex with the average of 16 rays per effect."""
    mesh = room.joined.mesh
    a, b, c = mesh.vertices.astype(np.float64)[mesh.faces[origin].T]
    u, v, w = b - a, c - a, points - a
    uu, uv, vv = (u * u).sum(1), (u * v).sum(1), (v * v).sum(1)
    uw, vw = (u * w).sum(1), (v * w).sum(1)
    scale = 1.0 / np.maximum(uu * vv - uv * uv, 1e-18)
    second, third = (vv * uw - uv * vw) * scale, (uu * vw - uv * uw) * scale
    hits = Hits(
        origin,
        np.zeros(len(points), np.float32),
        second.astype(np.float32),
        third.astype(np.float32),
    )
    normals = mesh.normals()[origin]
    patch = light.Patch(None, (0, 0), points.astype(np.float32), normals, normals)
    total = np.zeros((len(points), 3), np.float32)
    for direction in light.SPREAD:
        total += renderer.incoming(patch, np.tile(direction, (len(points), 1)))[0]
    footprint = np.full(len(points), spacing_m, np.float32)
    radiance = renderer.radiance(hits, total / len(light.SPREAD), 0.0, footprint)
    return light.develop(radiance * light.exposure(radiance))
