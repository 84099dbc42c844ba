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
      normals: [P, 3] f32 or None.
      colors: [P, 3] u8 or None.
      faces: [F, 3] i32 or None; polygons are cut into fans.
      label: [P] vertex property `label` in its own dtype, or None.
    """

    points: Float32[np.ndarray, "P 3"]
    normals: Float32[np.ndarray, "P 3"] | None
    colors: UInt8[np.ndarray, "P 3"] | None
    faces: Int32[np.ndarray, "F 3"] | None
    label: Shaped[np.ndarray, " P"] | None


# Telling the parser that faces are triangles makes it 500 times faster; a file with
# other polygons then fails to parse and is read again without that.
_TRIANGLES = {"face": {"vertex_indices": 3, "vertex_index": 3}}


def _parse(path: pathlib.Path) -> plyfile.PlyData:
    try:
        return plyfile.PlyData.read(path, known_list_len=_TRIANGLES)
    except (plyfile.PlyParseError, ValueError):
        return plyfile.PlyData.read(path, mmap=False)


def _read(path: pathlib.Path) -> plyfile.PlyData:
    try:
        return _parse(path)
    except FileNotFoundError as error:
        raise InputError(
            f"ply: the file must exist, got none ({path}). Check the scene's folder."
        ) from error
    except (plyfile.PlyParseError, ValueError, OSError, EOFError) as error:
        raise InputError(
            f"ply: a complete PLY file is required, got {error} ({path}). "
            "Copy or export the file again."
        ) from error


def _columns(
    vertex: np.ndarray, names: tuple[str, ...], dtype: type
) -> Shaped[np.ndarray, "P C"] | None:
    if not set(names) <= set(vertex.dtype.names):
        return None
    return np.stack([vertex[name] for name in names], axis=1).astype(dtype)


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
        red green blue and label are taken where present.

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
        normals=_columns(vertex, ("nx", "ny", "nz"), np.float32),
        colors=_columns(vertex, ("red", "green", "blue"), np.uint8),
        faces=faces,
        label=np.array(vertex["label"]) if "label" in vertex.dtype.names else None,
    )
