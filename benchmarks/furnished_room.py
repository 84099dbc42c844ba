"""A furnished room as a mesh with posed depth images, for benchmarks of any size.

Walls, floor and boxes are grids of vertices with a few millimetres of noise; depth is
cast exactly. Vertices and views are a function of their numbers alone.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Float32, Int32

from sas_jax.scenes.scene import Frame, Scene

_SIZE_M = np.array([4.8, 3.6, 2.5])
# Low and high corner of each box.
_BOXES_M = np.array(
    [
        [[0.2, 0.1, 0.0], [2.1, 1.0, 0.8]],
        [[3.9, 2.5, 0.0], [4.7, 3.5, 0.5]],
        [[2.0, 1.5, 0.0], [2.9, 2.2, 0.75]],
        [[0.0, 2.2, 0.0], [0.4, 3.5, 2.0]],
        [[3.9, 0.0, 0.0], [4.8, 0.6, 1.8]],
    ]
)
_NOISE_M = 0.004
_HW = (240, 320)
_INTRINSICS = np.array([[288.935, 0, 159.5], [0, 288.935, 119.5], [0, 0, 1]])


def scene(num_points: int, num_frames: int, paused: Callable) -> Scene:
    """Return the room.

    Args:
      num_points: vertices.
      num_frames: views from within.
      paused: is given whatever makes a frame, and returns what that returns.
    """
    points, faces = mesh(num_points)
    frames = Views(num_frames, paused)
    return Scene("room", points, faces=faces, frame_source=frames)


def mesh(
    num_points: int,
) -> tuple[Float32[np.ndarray, "P 3"], Int32[np.ndarray, "F 3"]]:
    """Return vertices and triangles of all surfaces, about evenly spaced."""
    rectangles = list(_rectangles())
    area = sum(np.linalg.norm(u) * np.linalg.norm(v) for _, u, v in rectangles)
    spacing = 0.995 * np.sqrt(area / num_points)
    points, faces, count = [], [], 0
    for corner, u, v in rectangles:
        n, m = (int(np.linalg.norm(edge) / spacing) + 2 for edge in (u, v))
        s, t = np.meshgrid(np.linspace(0, 1, n), np.linspace(0, 1, m), indexing="ij")
        points.append(corner + s.reshape(-1, 1) * u + t.reshape(-1, 1) * v)
        i = count + np.arange(n * m, dtype=np.int32).reshape(n, m)
        a, b, c, d = i[:-1, :-1], i[1:, :-1], i[1:, 1:], i[:-1, 1:]
        faces.append(np.stack([a, b, c, a, c, d], -1).reshape(-1, 3))
        count += n * m
    rng = np.random.default_rng(0)
    vertices = np.concatenate(points)[:num_points].astype(np.float32)
    vertices += rng.standard_normal(vertices.shape, np.float32) * np.float32(_NOISE_M)
    triangles = np.concatenate(faces)
    return vertices, triangles[(triangles < len(vertices)).all(axis=1)]


def _rectangles():
    """Yield a corner and two edges of every surface, wound to face the air."""
    boxes = [(np.zeros(3), _SIZE_M, True), *((*box, False) for box in _BOXES_M)]
    for low, high, inward in boxes:
        for axis in range(3):
            edges = [np.zeros(3), np.zeros(3)]
            for edge, other in zip(
                edges, ((axis + 1) % 3, (axis + 2) % 3), strict=True
            ):
                edge[other] = (high - low)[other]
            for top in (False, True):
                corner = low.copy()
                corner[axis] = (high if top else low)[axis]
                first, second = edges if top != inward else edges[::-1]
                yield corner, first, second


@dataclasses.dataclass(frozen=True)
class Views:
    """Frames from a walk through the room; see `scenes.scene.FrameSource`."""

    num_frames: int
    paused: Callable

    @property
    def names(self) -> tuple[str, ...]:
        """One per frame."""
        return tuple(str(i) for i in range(self.num_frames))

    def read(self, name: str) -> Frame:
        """Cast the depth of one frame."""
        return self.paused(lambda: _frame(int(name), self.num_frames))


def _frame(number: int, num_frames: int) -> Frame:
    turn = 2 * np.pi * number / num_frames
    centre = _SIZE_M / 2 + [1.2 * np.cos(turn), 0.6 * np.sin(turn), 0.35]
    yaw, pitch = 7 * turn, 0.35 + 0.25 * np.sin(3 * turn)
    forward = np.array(
        [np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), -np.sin(pitch)]
    )
    right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    pose[:3, 3] = centre
    rgb = np.full((*_HW, 3), number % 256, np.uint8)
    return Frame(
        name=str(number),
        rgb=rgb,
        depth_m=_depth(pose),
        intrinsics=_INTRINSICS,
        world_from_camera=pose,
    )


def _depth(pose: Float[np.ndarray, "4 4"]) -> Float32[np.ndarray, "H W"]:
    """Return the distance along the axis to the first surface of every pixel."""
    row, column = np.mgrid[: _HW[0], : _HW[1]]
    local = np.stack([column, row, np.ones(_HW)], -1) @ np.linalg.inv(_INTRINSICS).T
    rays = local @ pose[:3, :3].T  # one metre along the axis
    rays = np.where(rays == 0, 1e-12, rays)
    centre = pose[:3, 3]
    walls = np.maximum((0 - centre) / rays, (_SIZE_M - centre) / rays).min(axis=2)
    for low, high in _BOXES_M:
        a, b = (low - centre) / rays, (high - centre) / rays
        near = np.minimum(a, b).max(axis=2)
        far = np.maximum(a, b).min(axis=2)
        walls = np.where((near > 0) & (near < far), np.minimum(walls, near), walls)
    return walls.astype(np.float32)
