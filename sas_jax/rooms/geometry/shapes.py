"""Flat shapes and cloth: boxes, the work horse of furniture, rectangles and sheets.

All meshes have outward faces.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from sas_jax.rooms.geometry.grids import grid_faces, grid_uv
from sas_jax.rooms.geometry.mesh import Material, Mesh, build, is_grained

Vector = Sequence[float]

# Corner c of the unit box has bits (x, y, z); sides in order -x +x -y +y -z +z.
_CORNERS = np.array([[c & 1, c >> 1 & 1, c >> 2 & 1] for c in range(8)], np.float64)
_SIDES = np.array(
    [
        [0, 4, 6, 2],
        [1, 3, 7, 5],
        [0, 1, 5, 4],
        [2, 6, 7, 3],
        [0, 2, 3, 1],
        [4, 5, 7, 6],
    ]
)
_BOX_FACES = np.concatenate([_SIDES[:, [0, 1, 2]], _SIDES[:, [0, 2, 3]]])
_BOX_AXES = np.tile(np.array([[1, 2], [1, 2], [0, 2], [0, 2], [0, 1], [0, 1]]), (2, 1))
_FACE_INDEX = np.arange(12)[:, None]


def _box_uv(
    corners: Float[np.ndarray, "8 3"], size: Float[np.ndarray, " 3"], swap: bool
) -> Float[np.ndarray, "12 3 2"]:
    axes = _BOX_AXES
    if swap:
        short_first = size[axes[:, 0]] < size[axes[:, 1]]
        axes = np.where(short_first[:, None], axes[:, ::-1], axes)
    points = corners[_BOX_FACES]
    return np.stack(
        [
            points[_FACE_INDEX, [0, 1, 2], axes[:, :1]],
            points[_FACE_INDEX, [0, 1, 2], axes[:, 1:]],
        ],
        axis=-1,
    )


def box(low: Vector, high: Vector, material: Material) -> Mesh:
    """Make the axis-aligned box between two corners.

    Args:
      low: lowest corner (x, y, z) in metres.
      high: highest corner, larger in each coordinate.
      material: appearance of the six sides.

    Returns:
      A mesh of 8 vertices and 12 faces.
    """
    start = np.asarray(low, np.float64)
    size = np.asarray(high, np.float64) - start
    corners = start + _CORNERS * size
    uv = _box_uv(corners, size, is_grained(material))
    return build(corners, _BOX_FACES, uv, material)


def quad(corners: Float[np.ndarray, "4 3"], material: Material) -> Mesh:
    """Make a flat rectangle seen from the side where its corners turn left.

    Args:
      corners: lower left, lower right, upper right, upper left.
      material: appearance; spanned textures cover the rectangle once.

    Returns:
      A one-sided mesh of two faces.
    """
    points = np.asarray(corners, np.float64)
    width = np.linalg.norm(points[1] - points[0])
    height = np.linalg.norm(points[3] - points[0])
    uv = np.array([[0, 0], [width, 0], [width, height], [0, height]])
    if is_grained(material) and height > width:
        uv = uv[:, ::-1]
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    return build(points, faces, uv[faces], material)


def sheet(
    points: Float[np.ndarray, "R C 3"], material: Material, *, thickness_m: float
) -> Mesh:
    """Make a thin curved sheet that faces +y and hangs in the xz plane.

    Args:
      points: middle surface; rows lead up (z), columns lead along x.
      material: appearance of both sides.
      thickness_m: distance between front and back along y.

    Returns:
      A closed mesh: front, back and the narrow rim.
    """
    points = np.asarray(points, np.float64)
    offset = np.array([0.0, 0.5 * thickness_m, 0.0])
    # One ring runs along the back to the right, then along the front to the left.
    loop = np.concatenate([points - offset, points[:, ::-1] + offset], axis=1)
    rows, columns = loop.shape[:2]
    half = points.shape[1]
    first = _strip_cap(0, half, columns)[:, ::-1]
    last = _strip_cap((rows - 1) * columns, half, columns)
    faces = np.concatenate([grid_faces(rows, columns, True), first, last])
    flat = loop.reshape(-1, 3)
    cap_uv = flat[np.concatenate([first, last])][..., :2]
    uv = np.concatenate([grid_uv(loop, True), cap_uv])
    return build(flat, faces, uv, material)


def _strip_cap(start: int, half: int, columns: int) -> np.ndarray:
    """Faces that close the two-row strip of one loop, facing the stack's end."""
    j = np.arange(half - 1)
    a, b = start + j, start + j + 1
    c, d = start + columns - 2 - j, start + columns - 1 - j
    return np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])


def cloth(
    width_m: float,
    height_m: float,
    material: Material,
    *,
    folds: int,
    amplitude_m: float,
    phase: float = 0.0,
    flare: float = 0.0,
) -> Mesh:
    """Make a hanging cloth with vertical folds.

    Args:
      width_m: extent along x, centred on 0.
      height_m: extent from z = 0 up.
      material: appearance.
      folds: number of waves across the width.
      amplitude_m: depth of a wave, half of the extent along y.
      phase: start of the wave in radians.
      flare: relative growth of the folds from top to hem.

    Returns:
      A closed thin mesh about y = 0.
    """
    x = np.linspace(-0.5, 0.5, 8 * folds + 1)
    z = np.linspace(0.0, height_m, 5)
    wave = np.sin(2 * np.pi * folds * (x + 0.5) + phase)
    wave = wave + 0.3 * np.sin(2 * np.pi * 0.37 * folds * x + 2 * phase)
    depth = amplitude_m / 1.3 * (1.0 - flare * z / height_m)
    grid = np.empty((len(z), len(x), 3))
    grid[..., 0] = x * width_m
    grid[..., 1] = depth[:, None] * wave
    grid[..., 2] = z[:, None]
    return sheet(grid, material, thickness_m=0.006)
