"""What a geometry file holds: points, and what it says about them."""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Float64, Int32, Shaped, UInt8

from sas_jax.scenes.origin import choose_origin
from sas_jax.scenes.scene import Scene, check_faces, check_points

# Normals this close to unit length are left as they are.
_UNIT_TOLERANCE = 1e-3


@dataclasses.dataclass(frozen=True)
class Mesh:
    """A mesh, or a cloud without faces; what the file lacks is None.

    Attributes:
      points: [P, 3] f32, finite, relative to `origin`; in the file's units and axes.
      normals: [P, 3] f32 unit, or None; also where a stored one is zero or not finite.
      colors: [P, 3] u8 or None.
      faces: [F, 3] i32 or None; polygons are cut into fans, strips into triangles.
      label: [P] vertex property `label` in its own number type, or None.
      face_label: [F] i32 property of faces that was asked for, or None.
      origin: [3] f64, what was taken off the coordinates of the file; zero unless f32
        would round them (see `choose_origin`).
      unit_m: metres of the file's unit where its format states one, else None.
      up: axis that points up where the format states one, see `upright.AXES`.
    """

    points: Float32[np.ndarray, "P 3"]
    normals: Float32[np.ndarray, "P 3"] | None = None
    colors: UInt8[np.ndarray, "P 3"] | None = None
    faces: Int32[np.ndarray, "F 3"] | None = None
    label: Shaped[np.ndarray, " P"] | None = None
    face_label: Int32[np.ndarray, " F"] | None = None
    origin: Float64[np.ndarray, " 3"] = dataclasses.field(
        default_factory=lambda: np.zeros(3)
    )
    unit_m: float | None = None
    up: str | None = None


def scene_of_mesh(mesh: Mesh, name: str, **more: Any) -> Scene:
    """Return the scene whose points are a mesh's vertices.

    Args:
      mesh: in metres, z up.
      name: of the scene.
      **more: all else that `Scene` has: labels, frames in the world of the points.
    """
    return Scene(
        name=name,
        points=mesh.points,
        normals=mesh.normals,
        colors=mesh.colors,
        faces=mesh.faces,
        origin=mesh.origin,
        **more,
    )


def moved_mesh(mesh: Mesh, motion: Float[np.ndarray, "4 4"]) -> Mesh:
    """Return a mesh after a rigid motion of the file's world.

    The origin turns with it: coordinates stay small.
    """
    if np.array_equal(motion, np.eye(4)):
        return mesh
    turn = motion[:3, :3]
    origin = turn @ mesh.origin + motion[:3, 3] if mesh.origin.any() else np.zeros(3)
    shift = np.zeros(3) if mesh.origin.any() else motion[:3, 3]
    return dataclasses.replace(
        mesh,
        points=_turned(mesh.points, turn, shift),
        normals=None
        if mesh.normals is None
        else _turned(mesh.normals, turn, 0 * shift),
        origin=origin,
    )


def _turned(
    rows: Float32[np.ndarray, "P 3"],
    turn: Float[np.ndarray, "3 3"],
    shift: Float[np.ndarray, " 3"],
) -> Float32[np.ndarray, "P 3"]:
    # Per coordinate: a matrix product may round by the number of threads.
    x, y, z = rows.astype(np.float64).T
    moved = [
        turn[i, 0] * x + turn[i, 1] * y + turn[i, 2] * z + shift[i] for i in range(3)
    ]
    return np.stack(moved, axis=1).astype(np.float32)


def checked_mesh(
    points: Float[np.ndarray, "P 3"],
    where: str,
    *,
    normals: Float[np.ndarray, "P 3"] | None = None,
    colors: UInt8[np.ndarray, "P 3"] | None = None,
    faces: Shaped[np.ndarray, "F 3"] | None = None,
    label: Shaped[np.ndarray, " P"] | None = None,
) -> Mesh:
    """Return the mesh of a file's contents.

    Args:
      points: as stored, of any precision.
      where: reader and file, for messages.
      normals: of any length.
      colors: sRGB.
      faces: vertex indices of any integer type.
      label: one per point.

    Raises:
      InputError: without points, for NaN or infinite ones and for face indices out of
        range.
    """
    check_points(points, where)
    origin = choose_origin(points)
    with np.errstate(over="ignore"):
        near = (points - origin if origin.any() else points).astype(np.float32)
    check_points(near, where)  # too large for f32
    if faces is not None and len(faces):
        check_faces(faces, len(points), where)
        faces = faces.astype(np.int32)
    else:
        faces = None
    return Mesh(near, _unit(normals), colors, faces, label, origin=origin)


def _unit(
    normals: Float[np.ndarray, "P 3"] | None,
) -> Float32[np.ndarray, "P 3"] | None:
    """Scale normals to length 1; None where one of them has no direction.

    Point clouds of Gaussian splats store zeros; None lets the user of the scene
    estimate normals instead.
    """
    if normals is None:
        return None
    with np.errstate(over="ignore"):
        normals = normals.astype(np.float32)
    length = np.linalg.norm(normals.astype(np.float64), axis=1)
    if not np.isfinite(length).all() or length.min(initial=1) == 0:
        return None
    if np.abs(length - 1).max(initial=0) <= _UNIT_TOLERANCE:
        return normals
    return (normals / length[:, None]).astype(np.float32)


def byte_colors(
    channels: Shaped[np.ndarray, "P 3"],
) -> UInt8[np.ndarray, "P 3"] | None:
    """Return colours of any number type as sRGB bytes; None where they are none.

    Floats up to 1 are shares of white; 16-bit integers beyond 255 give their high
    byte; all others up to 255 are bytes already.
    """
    if channels.dtype == np.uint8 or channels.dtype == np.int8:
        return channels.astype(np.uint8)
    low, high = channels.min(initial=0), channels.max(initial=0)
    if not (np.isfinite(high) and low >= 0):  # also NaN
        return None
    if channels.dtype.kind == "f" and high <= 1:
        channels = channels.astype(np.float64) * 255
    elif channels.dtype.kind != "f" and 255 < high < 1 << 16:
        channels = channels >> 8
    elif high > 255:
        return None
    return np.rint(channels).astype(np.uint8)
