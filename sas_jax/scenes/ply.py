"""PLY files: vertices with optional normals, colours and labels, and triangles."""

import dataclasses
import pathlib

import numpy as np
import plyfile
from jaxtyping import Float32, Int32, Shaped, UInt8

from sas_jax.errors import InputError
from sas_jax.scenes.scene import check_faces, check_points


@dataclasses.dataclass(frozen=True)
class PlyMesh:
    """Contents of a PLY file; what the file lacks is None.

    Attributes:
      points: [P, 3] f32, finite.
      normals: [P, 3] f32 unit, or None; also where a stored one is zero or not finite.
      colors: [P, 3] u8 or None.
      faces: [F, 3] i32 or None; polygons are cut into fans.
      label: [P] vertex property `label` in its own number type, or None.
    """

    points: Float32[np.ndarray, "P 3"]
    normals: Float32[np.ndarray, "P 3"] | None
    colors: UInt8[np.ndarray, "P 3"] | None
    faces: Int32[np.ndarray, "F 3"] | None
    label: Shaped[np.ndarray, " P"] | None


# Telling the parser that faces are triangles makes it 500 times faster; a file with
# other polygons then fails to parse and is read again without that.
_TRIANGLES = {"face": {"vertex_indices": 3, "vertex_index": 3}}
# What plyfile raises on damaged files, besides OSError: a MemoryError or OverflowError
# for an absurd number of rows, and the others for headers that make no sense.
_DAMAGED = (
    plyfile.PlyParseError,
    ArithmeticError,
    EOFError,
    LookupError,
    MemoryError,
    TypeError,
    ValueError,
)
# Normals this close to unit length are left as they are.
_UNIT_TOLERANCE = 1e-3


def _parse(path: pathlib.Path) -> plyfile.PlyData:
    try:
        return plyfile.PlyData.read(path, known_list_len=_TRIANGLES)
    except _DAMAGED:
        return plyfile.PlyData.read(path, mmap=False)


def _read(path: pathlib.Path) -> plyfile.PlyData:
    try:
        return _parse(path)
    except FileNotFoundError as error:
        raise InputError(
            f"ply: the file must exist, got none ({path}). Check the scene's folder."
        ) from error
    except (*_DAMAGED, OSError) as error:
        raise InputError(
            "ply: a complete PLY file is required, got "
            f"{str(error) or type(error).__name__} ({path}). "
            "Copy or export the file again."
        ) from error


def _columns(
    vertex: np.ndarray, names: tuple[str, ...], dtype: type
) -> Shaped[np.ndarray, "P C"] | None:
    """Return properties side by side; None unless all are there and are numbers."""
    if not all(_is_number(vertex, name) for name in names):
        return None
    # Too large for the type becomes infinite, which the checks then find.
    with np.errstate(over="ignore", invalid="ignore"):
        return np.stack([vertex[name] for name in names], axis=1).astype(dtype)


def _is_number(vertex: np.ndarray, name: str) -> bool:
    fields = vertex.dtype.fields or {}
    return name in fields and fields[name][0].kind in "iuf"


def _unit(
    normals: Float32[np.ndarray, "P 3"] | None,
) -> Float32[np.ndarray, "P 3"] | None:
    """Scale normals to length 1; None where one of them has no direction.

    Point clouds of Gaussian splats store zeros; None lets the user of the scene
    estimate normals instead.
    """
    if normals is None:
        return None
    length = np.linalg.norm(normals.astype(np.float64), axis=1)
    if not np.isfinite(length).all() or length.min(initial=1) == 0:
        return None
    if np.abs(length - 1).max(initial=0) <= _UNIT_TOLERANCE:
        return normals
    return (normals / length[:, None]).astype(np.float32)


def _triangles(polygons: np.ndarray) -> Int32[np.ndarray, "F 3"]:
    """Copy triangles; cut polygons (an object array of index lists) into fans."""
    if polygons.dtype != object:
        return polygons.astype(np.int32)
    sizes = np.array([len(polygon) for polygon in polygons], np.intp)
    if (sizes == 3).all():
        return np.stack(list(polygons)).astype(np.int32)
    fans = [
        (polygon[0], polygon[i], polygon[i + 1])
        for polygon in polygons
        for i in range(1, len(polygon) - 1)
    ]
    return np.array(fans, np.int32).reshape(-1, 3)


def _faces(data: plyfile.PlyData) -> Int32[np.ndarray, "F 3"] | None:
    if "face" not in data or len(data["face"].data) == 0:
        return None
    face = data["face"].data
    for name in ("vertex_indices", "vertex_index"):
        if name in face.dtype.names:
            return _triangles(face[name])
    return None


def read_ply(path: pathlib.Path) -> PlyMesh:
    """Read a mesh or a point cloud.

    Args:
      path: PLY file, ASCII or binary; vertex properties x y z are required; nx ny nz,
        red green blue and label are taken where present. Normals are scaled to unit
        length; one without a direction makes all of them absent.

    Raises:
      InputError: for a missing, empty or truncated file, one without vertices, NaN
        coordinates, or face indices out of range; the file is named.
    """
    data = _read(path)
    vertex = data["vertex"].data if "vertex" in data else np.zeros(0, [("-", "f4")])
    points = _columns(vertex, ("x", "y", "z"), np.float32)
    if points is None:
        raise InputError(
            f"ply: vertices with x, y, z are required, got none ({path}). "
            "Is this a point cloud or a mesh?"
        )
    check_points(points, f"ply ({path})")
    faces = _faces(data)
    if faces is not None:
        check_faces(faces, len(points), f"ply ({path})")
    return PlyMesh(
        points=points,
        normals=_unit(_columns(vertex, ("nx", "ny", "nz"), np.float32)),
        colors=_columns(vertex, ("red", "green", "blue"), np.uint8),
        faces=faces,
        label=np.array(vertex["label"]) if _is_number(vertex, "label") else None,
    )
