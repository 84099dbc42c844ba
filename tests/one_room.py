"""An empty room that is known at every pixel: what formats of captures are tried with.

Colour is a function of the place, so a point that lies on the room's surface and has
that place's colour was read with the right pose, camera, depth and image.
"""

import dataclasses

import numpy as np

LOW, HIGH = np.array([-2.0, -1.5, 0]), np.array([2.0, 1.5, 2.4])
SIZE_WH = (64, 48)


@dataclasses.dataclass(frozen=True)
class Picture:
    """One frame: u8 colour, f64 depth in metres, world_from_camera (OpenCV, z up)."""

    rgb: np.ndarray
    depth_m: np.ndarray
    pose: np.ndarray
    intrinsics: np.ndarray = dataclasses.field(default_factory=lambda: INTRINSICS)


def turned(axis, degrees, position=(0, 0, 0)):
    """Rotate about one axis (0, 1, 2), then move."""
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    pose = np.eye(4)
    pose[[i, i, j, j], [i, j, i, j]] = c, -s, s, c
    pose[:3, 3] = position
    return pose


def matrix(fx, fy, cx, cy):
    """Return pinhole intrinsics."""
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], float)


INTRINSICS = matrix(40, 40, 31.5, 23.5)


def colors_at(points):
    """Return the colour of places in the room, u8."""
    share = (points - LOW) / (HIGH - LOW)
    return np.rint(255 * np.clip(share, 0, 1)).astype(np.uint8)


def off_surface(points):
    """Return how far points are from the walls, metres."""
    outside = np.maximum(np.maximum(LOW - points, points - HIGH), 0).max(axis=-1)
    inside = np.minimum(np.abs(points - LOW), np.abs(points - HIGH)).min(axis=-1)
    return np.maximum(outside, inside)


def picture(pose, intrinsics=INTRINSICS, size_wh=SIZE_WH):
    """Return what a camera in the room sees."""
    v, u = np.mgrid[0 : size_wh[1], 0 : size_wh[0]]
    pixels = np.stack([u, v, np.ones_like(u)], -1)
    rays = pixels @ np.linalg.inv(intrinsics).T @ pose[:3, :3].T
    at = pose[:3, 3]
    rays[rays == 0] = 1e-12
    depth = np.min(np.where(rays > 0, HIGH - at, LOW - at) / rays, axis=-1)
    return Picture(colors_at(at + rays * depth[..., None]), depth, pose, intrinsics)


def points_of(seen):
    """Return the places that a picture shows, [H * W, 3]."""
    height, width = seen.depth_m.shape
    v, u = np.mgrid[0:height, 0:width]
    pixels = np.stack([u, v, np.ones_like(u)], -1).reshape(-1, 3)
    local = pixels @ np.linalg.inv(seen.intrinsics).T * seen.depth_m.reshape(-1, 1)
    return local @ seen.pose[:3, :3].T + seen.pose[:3, 3]


def walk(count=8):
    """Return the poses of a walk through the room, cameras held upright."""
    level = turned(0, -90)
    for i in range(count):
        at = (0.3 * np.sin(i), 0.1 * i - 0.4, 1.2 + 0.05 * i)
        yield turned(2, 25 * i, at) @ level @ turned(0, -8) @ turned(2, 5)


def pictures(intrinsics=INTRINSICS, size_wh=SIZE_WH, count=8):
    """Return what one camera sees on the walk."""
    return [picture(pose, intrinsics, size_wh) for pose in walk(count)]
