"""A point cloud from depth images: back-projection, voxel thinning, normals.

Every voxel keeps the mean of the points, colours and viewing directions that fell
into it, so memory grows with the surface seen and not with the number of frames.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, Float32, Int, Int64, UInt8

from sas_jax.errors import InputError
from sas_jax.scenes.positions import blocks, distinct_positions, nearest_positions
from sas_jax.scenes.scene import Frame

# A key packs three signed voxel coordinates of 21 bits.
_KEY_BITS = 21
_COORD_LIMIT = 1 << (_KEY_BITS - 1)
# Of a set of neighbours, across and along a line.
_LINE_VARIANCE = 1e-6
_VERTICAL_COSINE = 0.999


def back_project(
    frame: Frame, max_depth_m: float
) -> tuple[Float[np.ndarray, "N 3"], UInt8[np.ndarray, "N 3"]]:
    """Return world points (f64, metres) and colours of all pixels with a depth.

    Args:
      frame: with depth.
      max_depth_m: readings beyond are left out; sensor noise grows with distance.
    """
    depth = frame.known_depth_m
    row, column = np.nonzero((depth > 0) & (depth <= max_depth_m))
    z = depth[row, column].astype(np.float64)
    x = (column - frame.intrinsics[0, 2]) * z / frame.intrinsics[0, 0]
    y = (row - frame.intrinsics[1, 2]) * z / frame.intrinsics[1, 1]
    pose = frame.world_from_camera
    # Per coordinate, like `lifting.project`: independent of the number of threads.
    world = [
        pose[i, 0] * x + pose[i, 1] * y + pose[i, 2] * z + pose[i, 3] for i in range(3)
    ]
    return np.stack(world, axis=1), frame.rgb[row, column]


@dataclasses.dataclass(frozen=True)
class Cloud:
    """Thinned points in voxel order.

    Attributes:
      points: [V, 3] f32 metres.
      colors: [V, 3] u8.
      toward_camera: [V, 3] f32, mean direction to the cameras (not normalised).
    """

    points: Float32[np.ndarray, "V 3"]
    colors: UInt8[np.ndarray, "V 3"]
    toward_camera: Float32[np.ndarray, "V 3"]


class VoxelCloud:
    """Accumulate frames into one mean point per occupied voxel."""

    def __init__(self, voxel_size_m: float):
        """Start empty; `voxel_size_m` is the edge of a voxel, metres, > 0."""
        if not voxel_size_m > 0:
            raise InputError(
                f"voxel cloud: voxel_size_m must be > 0, got {voxel_size_m}. Use 0.02."
            )
        self._voxel_size_m = voxel_size_m
        self._keys = np.zeros(0, np.int64)
        self._sums = np.zeros((0, 10))  # position, colour, direction, count

    def add(
        self,
        points: Float[np.ndarray, "N 3"],
        colors: UInt8[np.ndarray, "N 3"],
        camera: Float[np.ndarray, " 3"],
    ) -> None:
        """Add points of one frame taken from the position `camera`.

        Raises:
          InputError: for points too far out to be a scene (over 10 km at 1 cm).
        """
        if len(points) == 0:
            return
        toward = camera - points
        toward /= np.maximum(np.linalg.norm(toward, axis=1, keepdims=True), 1e-9)
        ones = np.ones((len(points), 1))
        rows = np.concatenate([points, colors.astype(np.float64), toward, ones], axis=1)
        keys = np.concatenate([self._keys, self._pack(points)])
        rows = np.concatenate([self._sums, rows])
        self._keys, of_row = np.unique(keys, return_inverse=True)
        size = len(self._keys)
        sums = [
            np.bincount(of_row, weights=column, minlength=size) for column in rows.T
        ]
        self._sums = np.stack(sums, axis=1)

    def _pack(self, points: Float[np.ndarray, "N 3"]) -> Int64[np.ndarray, " N"]:
        coords = np.floor(points / self._voxel_size_m)
        if not np.abs(coords).max() < _COORD_LIMIT:  # also NaN
            raise InputError(
                "voxel cloud: points must lie within "
                f"{_COORD_LIMIT * self._voxel_size_m:.0f} m of the origin, got "
                f"{np.abs(points).max():.6g} m. Check poses and depth scale."
            )
        x, y, z = (coords.astype(np.int64) + _COORD_LIMIT).T
        return (x << (2 * _KEY_BITS)) | (y << _KEY_BITS) | z

    def result(self) -> Cloud:
        """Return the mean point, colour and direction of every voxel."""
        means = self._sums[:, :9] / self._sums[:, 9:]
        return Cloud(
            points=means[:, :3].astype(np.float32),
            colors=np.round(means[:, 3:6]).astype(np.uint8),
            toward_camera=means[:, 6:9].astype(np.float32),
        )


def estimate_normals(
    points: Float32[np.ndarray, "P 3"],
    toward_camera: Float32[np.ndarray, "P 3"] | None = None,
    neighbors: int = 16,
) -> Float32[np.ndarray, "P 3"]:
    """Return unit normals: the direction of least variance among nearest neighbours.

    Args:
      points: metres, finite. Points that share a position are one neighbour.
      toward_camera: directions that normals must not point away from; without them
        the sign is arbitrary.
      neighbors: positions per estimate, including the point's own, >= 3.

    Returns:
      See `position_normals` for neighbours on a line. A point's normal does not depend
      on the order of the points.

    Raises:
      InputError: for fewer than three neighbours.

    Deterministic: yes.
    """
    if neighbors < 3:
        raise InputError(f"normals: neighbors must be >= 3, got {neighbors}. Use 16.")
    positions = distinct_positions(points)
    near = nearest_positions(positions.points, neighbors)
    normals = position_normals(positions.points, near)[positions.of_point]
    if toward_camera is not None:
        away = np.einsum("ni,ni->n", normals, toward_camera) < 0
        normals[away] *= -1
    return normals


def position_normals(
    positions: Float[np.ndarray, "D 3"], near: Int[np.ndarray, "N K"]
) -> Float32[np.ndarray, "N 3"]:
    """Return the unit direction of least variance of each set of positions.

    Args:
      positions: metres.
      near: rows of each set.

    Returns:
      The sign is arbitrary. Where the set lies on a line (it is a thousand times as
      long as wide), every direction across has no variance: the one nearest to z is
      taken, so that all of a line agrees; z itself for a single position.
    """
    positions = positions.astype(np.float64)
    normals = np.empty((len(near), 3), np.float32)
    for rows in blocks(len(near), "normals"):
        variance, axes = np.linalg.eigh(_covariance(positions, near[rows]))
        normals[rows] = axes[:, :, 0]
        line = variance[:, 1] <= _LINE_VARIANCE * variance[:, 2]
        along = axes[line, :, 2] * (variance[line, 2:] > 0)
        normals[rows][line] = _upright_across(along)
    return normals


def _covariance(
    positions: Float[np.ndarray, "D 3"], near: Int[np.ndarray, "N K"]
) -> Float[np.ndarray, "N 3 3"]:
    """Return K times the covariance of each set, f64.

    Sums run over the set in its order: a reduction of numpy may choose another, by
    the number of sets.
    """
    mean = np.zeros((len(near), 3))
    for column in near.T:
        mean += np.take(positions, column, axis=0)
    mean /= near.shape[1]
    covariance = np.zeros((3, 3, len(near)))
    for column in near.T:
        local = (np.take(positions, column, axis=0) - mean).T
        for i in range(3):
            covariance[i, : i + 1] += local[i] * local[: i + 1]
    # Only the lower triangle is read.
    return np.moveaxis(covariance, 2, 0)


def _upright_across(along: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
    """Return the unit direction across each unit one that is nearest to z, or x."""
    toward = np.where(
        np.abs(along[:, 2:]) > _VERTICAL_COSINE, [[1.0, 0, 0]], [[0, 0, 1.0]]
    )
    across = toward - (toward * along).sum(axis=1, keepdims=True) * along
    return across / np.linalg.norm(across, axis=1, keepdims=True)
