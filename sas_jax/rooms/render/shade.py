"""Surface appearance: albedo, texture, gloss and glow at hit points.

Notation: F faces of a room, N hit points; colours are linear RGB.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from sas_jax.rooms.geometry import mesh as m
from sas_jax.rooms.geometry.cast import Hits
from sas_jax.rooms.layout import RoomMesh
from sas_jax.rooms.render.atlas import LEVELS, PAINTED, SPANNED, atlas
from sas_jax.rooms.render.paintings import GAMMA

WINDOW_CLASS = 8
_GLOSS = {
    m.PLAIN: 0.04,
    m.TILES: 0.12,
    m.METAL: 0.45,
    m.GLASS: 0.5,
    m.MARBLE: 0.15,
    m.SCREEN: 0.25,
    m.PLANKS: 0.06,
    m.WOOD: 0.04,
}
_CLEAR_GLASS = np.array([0.55, 0.66, 0.68], np.float32)


@dataclass(frozen=True)
class Surfaces:
    """Per-face appearance, gathered for each hit.

    Attributes:
      albedo: f32 [F, 3], linear RGB.
      tile: i32 [F], atlas tile.
      texel: f32 [F, 6], texel coordinates of the first corner and their change to
        the second and the third: (u, v, du_b, dv_b, du_c, dv_c).
      density: f32 [F], texels per metre.
      gloss: f32 [F], strength of highlights.
      glow: bool [F], the face shines by itself (a window's outside view).
    """

    albedo: Float[np.ndarray, "F 3"]
    tile: Int[np.ndarray, " F"]
    texel: Float[np.ndarray, "F 6"]
    density: Float[np.ndarray, " F"]
    gloss: Float[np.ndarray, " F"]
    glow: Bool[np.ndarray, " F"]


def _scramble(seed: Int[np.ndarray, " F"]) -> Int[np.ndarray, " F"]:
    """Mix the bits of pattern seeds, so that neighbours pick unrelated tiles."""
    mixed = seed.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return ((mixed >> np.uint64(33)) & np.uint64(0x7FFFFFFF)).astype(np.int64)


def surfaces(room_mesh: RoomMesh) -> Surfaces:
    """Prepare the appearance of every face of a room."""
    mesh, images = room_mesh.mesh, atlas()
    texture, mixed = mesh.texture, _scramble(mesh.seed)
    clear = (texture == m.GLASS) & (room_mesh.face_class != WINDOW_CLASS)
    texture = np.where(clear, m.PLAIN, texture)
    albedo = np.clip(mesh.color, 0.0, 1.0) ** np.float32(GAMMA)
    albedo[np.isin(texture, PAINTED)] = 1.0
    albedo[clear] = _CLEAR_GLASS
    per_unit = images.texels_per_unit[texture]
    uv = mesh.uv * per_unit[:, None, None]
    shift = np.stack([mixed % 251, mixed // 251 % 241], 1)
    shift[np.isin(texture, (*SPANNED, m.BOOKS))] = 0
    base = uv[:, 0] + shift
    texel = np.concatenate([base, uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0]], 1)
    cross = texel[:, 2] * texel[:, 5] - texel[:, 3] * texel[:, 4]
    area = np.maximum(2.0 * mesh.areas(), 1e-8)
    gloss = np.zeros(len(m.TEXTURE_NAMES), np.float32)
    gloss[list(_GLOSS)] = list(_GLOSS.values())
    return Surfaces(
        albedo=albedo.astype(np.float32),
        tile=(images.first_tile[texture] + mixed % images.num_tiles[texture]).astype(
            np.int32
        ),
        texel=texel.astype(np.float32),
        density=np.sqrt(np.abs(cross) / area).astype(np.float32),
        gloss=np.where(clear, gloss[m.GLASS], gloss[texture]).astype(np.float32),
        glow=(texture == m.GLASS),
    )


def albedo(
    surface: Surfaces,
    hits: Hits,
    footprint_m: Float[np.ndarray, " N"],
) -> Float[np.ndarray, "N 3"]:
    """Return the textured albedo.

    Args:
      surface: of the room.
      hits: N points on faces.
      footprint_m: f32, size of a pixel on the surface; picks the mip level.

    Returns:
      f32 [N, 3], linear RGB.
    """
    face, texel = hits.face, surface.texel[hits.face]
    u = texel[:, 0] + hits.b * texel[:, 2] + hits.c * texel[:, 4]
    v = texel[:, 1] + hits.b * texel[:, 3] + hits.c * texel[:, 5]
    texels = np.clip(surface.density[face] * footprint_m, 1.0, float(1 << LEVELS))
    level = np.minimum(np.log2(texels).astype(np.int32), LEVELS - 1)
    return surface.albedo[face] * atlas().lookup(surface.tile[face], u, v, level)
