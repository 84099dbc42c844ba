"""Points as scanners take them: of boxes in a room, of a LiDAR sweep."""

import numpy as np


def surface_points(rng, spacing_m):
    """Sides of boxes, their points about as far apart as given."""
    points = []
    for _ in range(12):
        size, corner = rng.uniform(0.3, 2.0, 3), rng.uniform(0, 4, 3)
        for axis in range(3):
            count = int(np.prod(np.delete(size, axis)) / spacing_m**2)
            unit = rng.random((count, 3))
            unit[:, axis] = rng.integers(0, 2, count)
            points.append(corner + unit * size)
    return np.concatenate(points)


def sweep_points(rng):
    """What a LiDAR with 32 beams sees of flat ground between two walls."""
    elevation = np.radians(np.linspace(-30, 10, 32))[:, None]
    azimuth = np.linspace(0, 2 * np.pi, 1100, endpoint=False)[None]
    x, y = np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth)
    direction = np.stack([x, y, np.sin(elevation) + 0 * azimuth], -1).reshape(-1, 3)
    with np.errstate(divide="ignore"):
        ground = np.where(direction[:, 2] < 0, -1.8 / direction[:, 2], np.inf)
        walls = rng.uniform(8, 14) / np.abs(direction[:, 1])
    distance = np.minimum(ground, walls)
    distance += rng.normal(0, 0.02, len(distance))
    near = distance < 70
    return distance[near, None] * direction[near]
