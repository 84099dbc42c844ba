"""A room for benchmarks: about 100,000 voxels at 2 cm with an indoor scan's geometry.

Walls, floor, boxes and balls are sampled about as densely as a scan's mesh, turned
against the axes and disturbed by a few millimetres, so that neighbour counts and the
sizes of coarser levels resemble those of reconstructed rooms.
"""

import numpy as np
from jaxtyping import Float, Int32

VOXEL_SIZE_M = 0.02
_POINT_SPACING_M = 0.0168
_NOISE_M = 0.004
_SIZE_M = np.array([3.8, 3.0, 2.2])


def room_voxels(seed: int = 0) -> Int32[np.ndarray, "N 4"]:
    """Return the distinct (batch, x, y, z) voxels of a furnished room."""
    rng = np.random.default_rng(seed)
    points = [_box(rng, _SIZE_M, np.zeros(3), 0.0, faces=(0, 2, 4))]
    for _ in range(4):
        size = rng.uniform([0.4, 0.4, 0.3], [1.6, 0.9, 1.4])
        corner = rng.uniform(np.zeros(3), [2.2, 2.0, 0.01])
        points.append(_box(rng, size, corner, rng.uniform(0, np.pi)))
    for _ in range(6):
        points.append(_ball(rng, rng.uniform(0.1, 0.25), rng.uniform(0.3, _SIZE_M)))
    xyz = _turn(np.concatenate(points), 0.4)
    xyz += rng.normal(0.0, _NOISE_M, xyz.shape)
    voxels = np.unique(np.floor(xyz / VOXEL_SIZE_M).astype(np.int32), axis=0)
    return np.pad(voxels, ((0, 0), (1, 0)))


def _box(
    rng: np.random.Generator,
    size: Float[np.ndarray, "3"],
    corner: Float[np.ndarray, "3"],
    angle: float,
    faces: tuple[int, ...] = (0, 1, 2, 3, 5),
) -> Float[np.ndarray, "P 3"]:
    """Sample faces (x-, x+, y-, y+, z-, z+) of a box turned about the vertical."""
    points = []
    for face in faces:
        axis, side = divmod(face, 2)
        area = np.prod(np.delete(size, axis))
        unit = rng.random((int(area / _POINT_SPACING_M**2), 3))
        unit[:, axis] = side
        points.append(unit * size)
    return _turn(np.concatenate(points), angle) + corner


def _ball(
    rng: np.random.Generator, radius: float, centre: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "P 3"]:
    count = int(4 * np.pi * radius**2 / _POINT_SPACING_M**2)
    direction = rng.normal(size=(count, 3))
    return centre + radius * direction / np.linalg.norm(direction, axis=1)[:, None]


def _turn(points: Float[np.ndarray, "P 3"], angle: float) -> np.ndarray:
    cos, sin = np.cos(angle), np.sin(angle)
    return points @ np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
