"""Depth of frames that have none, rendered from the scene's own surface.

The surface is a set of points dense enough for its spacing: the vertices and samples of
a mesh, or a cloud. Every point is drawn as a square of its spacing, the nearest one
wins; so visibility needs no graphics library and is the same on every machine.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float, Float32, Int, Int32

from sas_jax.scenes.positions import distinct_positions, nearest_positions
from sas_jax.scenes.scene import Frame, FrameSource

# Samples of a mesh, at most, and the least spacing that is asked for, metres.
_MOST_SAMPLES = 4_000_000
_LEAST_SPACING_M = 0.005
# Half the side of the largest square, pixels: a point near the camera covers no more.
_MOST_RADIUS_PX = 12
_NEAR_M = 0.05


@dataclasses.dataclass(frozen=True, eq=False)
class Surface:
    """Points that stand for a surface.

    Attributes:
      points: [N, 3] f32 metres.
      spacing_m: [N] f32, how far the next point is at most.
    """

    points: Float32[np.ndarray, "N 3"]
    spacing_m: Float32[np.ndarray, " N"]


@dataclasses.dataclass(frozen=True, eq=False)
class WithRenderedDepth:
    """Frames of a source with the depth of a surface where they have none.

    Attributes:
      source: of the frames.
      points: [P, 3] f32 of the scene, in the world of their poses.
      make_surface: what is rendered, made when the first frame is read.
      tracks: rows of the points that an image is known to see, by its name.
    """

    source: FrameSource
    points: Float32[np.ndarray, "P 3"]
    make_surface: Callable[[], Surface]
    tracks: Mapping[str, Int[np.ndarray, " N"]] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the source."""
        return self.source.names

    @functools.cached_property
    def surface(self) -> Surface:
        """Return what is rendered, in the world of the poses."""
        return self.make_surface()

    def read(self, name: str) -> Frame:
        """Read one frame; see `FrameSource.read`."""
        frame = self.source.read(name)
        if frame.depth_m is not None:
            return frame
        depth_m = render_depth(self.surface, frame)
        if self.tracks is not None and name in self.tracks:
            _stand_out(depth_m, self.points[self.tracks[name]], frame)
        return dataclasses.replace(frame, depth_m=depth_m)


def surface_of_cloud(points: Float32[np.ndarray, "P 3"]) -> Surface:
    """Return a cloud as a surface: the spacing is that of each point's neighbours.

    The distance to the fourth nearest point, at most four times its median: sparse
    corners must not become plates.
    """
    distinct = distinct_positions(points).points
    last = nearest_positions(distinct, 5)[:, -1]
    distance = np.linalg.norm(distinct[last] - distinct, axis=1)
    limit = max(4 * float(np.median(distance)), _LEAST_SPACING_M)
    spacing_m = np.clip(distance, _LEAST_SPACING_M, limit).astype(np.float32)
    return Surface(distinct.astype(np.float32), spacing_m)


def surface_of_mesh(
    points: Float32[np.ndarray, "P 3"], faces: Int32[np.ndarray, "F 3"]
) -> Surface:
    """Return a mesh as a surface: points on a grid in every face.

    The spacing is the least that stays below four million points, or is an edge of the
    longest face where there are more faces than that; not under 5 mm.
    """
    corners = points[faces].astype(np.float64)
    edges = corners[:, [1, 2, 0]] - corners
    longest = np.sqrt((edges**2).sum(-1).max(axis=1, initial=0))
    spacing = _LEAST_SPACING_M
    coarsest = longest.max(initial=0)  # then the corners of faces are all samples
    while spacing < coarsest and _num_samples(longest, spacing) > _MOST_SAMPLES:
        spacing *= 1.25
    steps = np.maximum(np.ceil(longest / spacing).astype(np.int64), 1)
    sampled, sizes = [points], [np.full(len(points), spacing, np.float32)]
    for count in np.unique(steps):
        i, j = np.indices((count + 1, count + 1)).reshape(2, -1)
        i, j = i[i + j <= count], j[i + j <= count]
        weights = np.stack([i, j, count - i - j], axis=1) / count
        of = corners[steps == count]
        inside = np.einsum("wc,fcx->fwx", weights, of).reshape(-1, 3)
        sampled.append(inside.astype(np.float32))
        sizes.append(np.full(len(inside), spacing, np.float32))
    return Surface(np.concatenate(sampled), np.concatenate(sizes))


def _num_samples(longest: Float[np.ndarray, " F"], spacing: float) -> int:
    steps = np.maximum(np.ceil(longest / spacing), 1)
    return int(((steps + 1) * (steps + 2) / 2).sum())


def render_depth(surface: Surface, frame: Frame) -> Float32[np.ndarray, "H W"]:
    """Return the depth of a surface in a frame, metres along z; 0 where there is none.

    Args:
      surface: in the frame's world.
      frame: its size, intrinsics and pose count.
    """
    height, width = frame.size_hw
    front, column, row, z = _projected(surface.points, frame)
    reach = surface.spacing_m[front] * frame.intrinsics[0, 0] / (2 * z)
    radius = np.clip(np.ceil(reach - 0.5), 0, _MOST_RADIUS_PX).astype(np.int64)
    near = (column >= -radius) & (column < width + radius)
    near &= (row >= -radius) & (row < height + radius)
    column, row = column[near].astype(np.int64), row[near].astype(np.int64)
    depth = np.full(height * width, np.inf, np.float32)
    _splat(depth, column, row, z[near].astype(np.float32), radius[near], width)
    return np.where(np.isfinite(depth), depth, np.float32(0)).reshape(height, width)


def _projected(points: Float32[np.ndarray, "N 3"], frame: Frame):
    """Return rows of the points before a camera, their column, row and depth."""
    pose, matrix = frame.world_from_camera, frame.intrinsics
    moved = [points[:, i] - pose[i, 3] for i in range(3)]
    x, y, z = (
        moved[0] * pose[0, i] + moved[1] * pose[1, i] + moved[2] * pose[2, i]
        for i in range(3)
    )
    front = np.flatnonzero(z > _NEAR_M)
    z = z[front]
    column = np.rint(x[front] * matrix[0, 0] / z + matrix[0, 2])
    row = np.rint(y[front] * matrix[1, 1] / z + matrix[1, 2])
    return front, column, row, z


def _stand_out(
    depth_m: Float32[np.ndarray, "H W"],
    points: Float32[np.ndarray, "N 3"],
    frame: Frame,
) -> None:
    """Write the depth of points that a frame is known to see at their own pixels.

    A sparse cloud says little of what lies before what; a match in the image does.
    """
    height, width = frame.size_hw
    _, column, row, z = _projected(points, frame)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    order = np.argsort(-z[inside], kind="stable")  # of a pixel, the nearest comes last
    at = (row[inside][order].astype(np.int64), column[inside][order].astype(np.int64))
    depth_m[at] = z[inside][order]


def _splat(depth, column, row, z, radius, width) -> None:
    height = len(depth) // width
    for size in np.unique(radius):
        of = radius == size
        # Points of one pixel first: then squares of the nearest ones only.
        flat, nearest = _nearest_per_pixel(column[of], row[of], z[of], width, size)
        at = np.divmod(flat, width + 2 * size)
        for down in range(-size, size + 1):
            for right in range(-size, size + 1):
                r, c = at[0] - size + down, at[1] - size + right
                inside = (r >= 0) & (r < height) & (c >= 0) & (c < width)
                index = r[inside] * width + c[inside]
                depth[index] = np.minimum(depth[index], nearest[inside])


def _nearest_per_pixel(column, row, z, width, size):
    """Return pixels of the image with a margin, each once, and their least depth."""
    flat = (row + size) * (width + 2 * size) + column + size
    order = np.argsort(flat, kind="stable")
    flat, z = flat[order], z[order]
    first = np.flatnonzero(np.append(True, flat[1:] != flat[:-1]) if len(flat) else [])
    if not len(first):
        return flat, z
    return flat[first], np.minimum.reduceat(z, first)
