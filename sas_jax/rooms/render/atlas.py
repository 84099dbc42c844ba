"""Procedural texture images, all in one array, with mip levels.

Notation: a *tile* is a seamless image of `SIDE`^2 texels, linear RGB. For most
textures it is a factor on the albedo of a face; for the textures in `PAINTED`
(pictures, book spines, views through windows, screens) it is the albedo itself.
Each texture id of `mesh` has one or several tiles; a face's pattern seed picks one.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int

from sas_jax.rooms.geometry import mesh as m
from sas_jax.rooms.render import patterns

SIDE = 128
LEVELS = 6
PAINTED = (m.PICTURE, m.BOOKS, m.GLASS, m.SCREEN)
SPANNED = (m.PICTURE, m.SCREEN, m.GLASS)

# Texture id -> (number of tiles, texture units that one tile spans).
_TILES = {
    m.PLAIN: (1, 2.0),
    m.WOOD: (3, 4.0),
    m.TILES: (3, 4.0),
    m.FABRIC: (2, 16.0),
    m.PAINT: (2, 4.0),
    m.STRIPES: (6, 4.0),
    m.PICTURE: (32, 1.0),
    m.BOOKS: (6, 1.0),
    m.CHECKER: (6, 4.0),
    m.METAL: (1, 4.0),
    m.GLASS: (8, 1.0),
    m.BRICK: (3, 4.0),
    m.PLANKS: (3, 8.0),
    m.MARBLE: (3, 2.0),
    m.DOTS: (6, 4.0),
    m.SCREEN: (6, 1.0),
}


@dataclass(frozen=True)
class Atlas:
    """All tiles.

    Attributes:
      texels: f32 [N, 3], linear RGB; per tile the levels from fine to coarse.
      level_start: i32 [LEVELS], where a level begins within its tile.
      tile_size: texels of one tile over all levels.
      first_tile: i32 [16], first tile of each texture id.
      num_tiles: i32 [16], number of tiles of each texture id.
      texels_per_unit: f32 [16], finest texels in one unit of texture coordinates.
    """

    texels: Float[np.ndarray, "N 3"]
    level_start: Int[np.ndarray, " L"]
    tile_size: int
    first_tile: Int[np.ndarray, " T"]
    num_tiles: Int[np.ndarray, " T"]
    texels_per_unit: Float[np.ndarray, " T"]

    def lookup(
        self,
        tile: Int[np.ndarray, " N"],
        u: Float[np.ndarray, " N"],
        v: Float[np.ndarray, " N"],
        level: Int[np.ndarray, " N"],
    ) -> Float[np.ndarray, "N 3"]:
        """Read the nearest texel.

        Args:
          tile: i32, which tile.
          u: f32, column in finest texels, any range (tiles repeat).
          v: f32, row in finest texels, any range.
          level: i32 in [0, LEVELS).

        Returns:
          f32 [N, 3], linear RGB.
        """
        column = (np.floor(u).astype(np.int32) & (SIDE - 1)) >> level
        row = (np.floor(v).astype(np.int32) & (SIDE - 1)) >> level
        index = tile * self.tile_size + self.level_start[level]
        index += row * (SIDE >> level) + column
        return self.texels[index]


def _pyramid(tile: Float[np.ndarray, "S S 3"]) -> Float[np.ndarray, "N 3"]:
    levels = [tile.reshape(-1, 3)]
    for _ in range(LEVELS - 1):
        half = len(tile) // 2
        tile = tile.reshape(half, 2, half, 2, 3).mean((1, 3), dtype=np.float32)
        levels.append(tile.reshape(-1, 3))
    return np.concatenate(levels)


@lru_cache(maxsize=1)
def atlas() -> Atlas:
    """Draw every tile once per process; always the same bits."""
    tiles: list[np.ndarray] = []
    first, number = [], []
    for texture, (count, units) in _TILES.items():
        first.append(len(tiles))
        number.append(count)
        for variant in range(count):
            rng = np.random.default_rng([20, texture, variant])
            image = patterns.draw(texture, rng, SIDE, units)
            tiles.append(_pyramid(np.ascontiguousarray(image, np.float32)))
    per_unit = np.array([SIDE / units for _, units in _TILES.values()], np.float32)
    # A surface that spans its tile once must not wrap round at coordinate 1.
    per_unit[list(SPANNED)] -= 0.01
    sizes = [(SIDE >> level) ** 2 for level in range(LEVELS)]
    return Atlas(
        texels=np.concatenate(tiles),
        level_start=np.cumsum([0, *sizes[:-1]]).astype(np.int32),
        tile_size=sum(sizes),
        first_tile=np.array(first, np.int32),
        num_tiles=np.array(number, np.int32),
        texels_per_unit=per_unit,
    )
