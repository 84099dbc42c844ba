"""Triangle meshes with flat colours and procedural-texture coordinates.

Notation: `V` vertices, `F` faces; lengths in metres, z up. A face is wound
counter-clockwise seen from outside, so its normal `(b - a) x (c - a)` points out.

Appearance is stored per face and per face corner, so a renderer needs the mesh only:

- `color` is the base albedo of a face, sRGB in [0, 1];
- `texture` is one of the ids below and says how the base colour is modulated;
- `uv` are texture coordinates of the three corners, interpolated with barycentric
  weights. One unit is one period of the texture (one tile, one stripe pair, one
  plank width, ...). For `PICTURE`, `SCREEN` and `GLASS` the surface spans [0, 1]^2,
  with v up.
  For `WOOD` and `PLANKS` the grain runs along u;
- `seed` selects one of many random patterns of the same texture.

Coordinates belong to the surface: they move with the object, not with the world.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

PLAIN = 0
WOOD = 1
TILES = 2
FABRIC = 3
PAINT = 4
STRIPES = 5
PICTURE = 6
BOOKS = 7
CHECKER = 8
METAL = 9
GLASS = 10
BRICK = 11
PLANKS = 12
MARBLE = 13
DOTS = 14
SCREEN = 15
TEXTURE_NAMES = (
    "plain",
    "wood",
    "tiles",
    "fabric",
    "paint",
    "stripes",
    "picture",
    "books",
    "checker",
    "metal",
    "glass",
    "brick",
    "planks",
    "marble",
    "dots",
    "screen",
)
_SPANNED = (PICTURE, SCREEN, GLASS)
_GRAINED = (WOOD, PLANKS)


@dataclass(frozen=True)
class Material:
    """What a surface looks like.

    Attributes:
      color: base albedo, sRGB in [0, 1].
      texture: texture id of this module.
      scale_m: length of one texture period.
      seed: selects the random pattern.
    """

    color: tuple[float, float, float]
    texture: int = PLAIN
    scale_m: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Mesh:
    """Triangles with appearance; the module docstring explains each field."""

    vertices: Float[np.ndarray, "V 3"]
    faces: Int[np.ndarray, "F 3"]
    color: Float[np.ndarray, "F 3"]
    texture: Int[np.ndarray, " F"]
    uv: Float[np.ndarray, "F 3 2"]
    seed: Int[np.ndarray, " F"]

    @property
    def num_faces(self) -> int:
        """Return the number of triangles."""
        return len(self.faces)

    def bounds(self) -> Float[np.ndarray, "2 3"]:
        """Return the axis-aligned box as (lowest, highest) corner."""
        return np.stack([self.vertices.min(0), self.vertices.max(0)])

    def face_vectors(self) -> Float[np.ndarray, "F 3"]:
        """Return outward vectors of length twice the face area, float64."""
        a, b, c = self.vertices.astype(np.float64)[self.faces.T]
        return _cross(b - a, c - a)

    def areas(self) -> Float[np.ndarray, " F"]:
        """Return face areas in square metres."""
        return 0.5 * np.linalg.norm(self.face_vectors(), axis=1)

    def normals(self) -> Float[np.ndarray, "F 3"]:
        """Return outward unit normals."""
        vectors = self.face_vectors()
        length = np.linalg.norm(vectors, axis=1, keepdims=True)
        return (vectors / np.maximum(length, 1e-30)).astype(np.float32)


def _cross(
    u: Float[np.ndarray, "F 3"], v: Float[np.ndarray, "F 3"]
) -> Float[np.ndarray, "F 3"]:
    """Cross products of rows; np.cross is three times slower on small arrays."""
    product = np.empty_like(u)
    product[:, 0] = u[:, 1] * v[:, 2] - u[:, 2] * v[:, 1]
    product[:, 1] = u[:, 2] * v[:, 0] - u[:, 0] * v[:, 2]
    product[:, 2] = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
    return product


def build(
    vertices: Float[np.ndarray, "V 3"],
    faces: Int[np.ndarray, "F 3"],
    uv_m: Float[np.ndarray, "F 3 2"],
    material: Material,
) -> Mesh:
    """Make a mesh of one material from raw triangles.

    Args:
      vertices: corner positions in metres.
      faces: vertex indices, counter-clockwise from outside.
      uv_m: surface coordinates of each face corner in metres; ignored units for
        the spanned textures, which are stretched to [0, 1]^2.
      material: appearance of every face.

    Returns:
      The mesh, float32 and int32.
    """
    if material.texture in _SPANNED:
        low = uv_m.min((0, 1))
        uv = (uv_m - low) / np.maximum(uv_m.max((0, 1)) - low, 1e-9)
    else:
        uv = uv_m / material.scale_m
    count = len(faces)
    return Mesh(
        vertices=np.asarray(vertices, np.float32),
        faces=np.asarray(faces, np.int32),
        color=np.tile(np.asarray(material.color, np.float32), (count, 1)),
        texture=np.full(count, material.texture, np.int32),
        uv=np.asarray(uv, np.float32),
        seed=np.full(count, material.seed, np.int32),
    )


def concat(meshes: Sequence[Mesh]) -> Mesh:
    """Join meshes into one, keeping their order."""
    starts = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes[:-1]])
    return Mesh(
        vertices=np.concatenate([mesh.vertices for mesh in meshes]),
        faces=np.concatenate(
            [m.faces + np.int32(s) for m, s in zip(meshes, starts, strict=True)]
        ),
        color=np.concatenate([mesh.color for mesh in meshes]),
        texture=np.concatenate([mesh.texture for mesh in meshes]),
        uv=np.concatenate([mesh.uv for mesh in meshes]),
        seed=np.concatenate([mesh.seed for mesh in meshes]),
    )


def with_vertices(mesh: Mesh, vertices: Float[np.ndarray, "V 3"]) -> Mesh:
    """Return the mesh with moved vertices, cast to float32."""
    return Mesh(
        np.asarray(vertices, np.float32),
        mesh.faces,
        mesh.color,
        mesh.texture,
        mesh.uv,
        mesh.seed,
    )


def transform(
    mesh: Mesh,
    *,
    scale: float | Sequence[float] = 1.0,
    rotate_z: float = 0.0,
    translate: Sequence[float] = (0.0, 0.0, 0.0),
) -> Mesh:
    """Scale, then turn about the z axis, then move.

    Args:
      mesh: what to move.
      scale: one positive factor or one per axis.
      rotate_z: angle in radians, counter-clockwise seen from above.
      translate: offset in metres.

    Returns:
      The moved mesh; texture coordinates stay as they are.
    """
    points = mesh.vertices.astype(np.float64) * np.asarray(scale, np.float64)
    if rotate_z:
        points = points @ rotation("z", rotate_z).T
    return with_vertices(mesh, points + np.asarray(translate, np.float64))


def rotation(axis: str, angle: float) -> Float[np.ndarray, "3 3"]:
    """Return the right-handed rotation by `angle` radians about axis x, y or z."""
    i = "xyz".index(axis)
    j, k = (i + 1) % 3, (i + 2) % 3
    matrix = np.eye(3)
    matrix[j, j] = matrix[k, k] = np.cos(angle)
    matrix[j, k], matrix[k, j] = -np.sin(angle), np.sin(angle)
    return matrix


def tilt(
    mesh: Mesh, axis: str, angle: float, pivot: Sequence[float] = (0.0, 0.0, 0.0)
) -> Mesh:
    """Turn a mesh by `angle` radians about an axis through `pivot`."""
    origin = np.asarray(pivot, np.float64)
    points = (mesh.vertices.astype(np.float64) - origin) @ rotation(axis, angle).T
    return with_vertices(mesh, points + origin)


def is_grained(material: Material) -> bool:
    """Say whether the texture has a grain that must follow the longer side."""
    return material.texture in _GRAINED
