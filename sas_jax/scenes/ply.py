"""PLY files: vertices with optional normals, colours and labels, and triangles."""

import dataclasses
import logging
import pathlib

import numpy as np
from jaxtyping import Int32, Int64, Shaped, UInt8

from sas_jax.errors import InputError
from sas_jax.scenes.mesh import Mesh, byte_colors, checked_mesh
from sas_jax.scenes.ply_elements import Columns, Lists, read_elements

_POSITION = ("x", "y", "z")
_NORMAL = ("nx", "ny", "nz")
_SPLAT_COLOR = ("f_dc_0", "f_dc_1", "f_dc_2")
_SPHERE = 0.28209479177387814  # the constant spherical harmonic
_COLORS = (
    ("red", "green", "blue"),
    ("diffuse_red", "diffuse_green", "diffuse_blue"),
    ("r", "g", "b"),
)
_INDICES = ("vertex_indices", "vertex_index")
# Opacity is no property of a scan.
_SILENT = ("alpha", "a", "diffuse_alpha")
_NAMED = 8


def read_ply(path: pathlib.Path, face_label: tuple[str, ...] = ()) -> Mesh:
    """Read a mesh or a point cloud.

    Args:
      path: PLY file, ASCII or binary; vertex properties x y z are required; nx ny nz,
        colours and label are taken where present, as are faces and triangle strips.
        Colours may be red green blue, r g b or diffuse_red ...; bytes, 16 bits, or
        floats up to 1. Normals are scaled to unit length; one without a direction
        makes all of them absent. What else the file holds is named in a warning.
      face_label: names of an integer property of faces that is the mesh's
        `face_label`; with some, nothing else of faces is warned of.

    Raises:
      InputError: for a missing, empty or truncated file, one without vertices, NaN
        coordinates, or face indices out of range; the file is named.
    """
    try:
        elements = read_elements(path)
        of_face = _take_face_label(elements, face_label, path)
        faces = _take_faces(elements)
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(
            f"ply: the file must exist, got none ({path}). Check the scene's folder."
        ) from error
    except (OSError, ValueError, MemoryError) as error:
        raise InputError(
            "ply: a complete PLY file is required, got "
            f"{str(error) or type(error).__name__} ({path}). "
            "Copy or export the file again."
        ) from error
    mesh = _mesh(elements, faces, path)
    return dataclasses.replace(mesh, face_label=of_face) if face_label else mesh


def _mesh(
    elements: dict[str, Columns],
    faces: Int64[np.ndarray, "F 3"] | None,
    path: pathlib.Path,
) -> Mesh:
    """Take what is known out of the elements, and name what remains."""
    vertex = elements.get("vertex", {})
    points = _take(vertex, _POSITION)
    if points is None:
        got = [f"{name} ({' '.join(columns)})" for name, columns in elements.items()]
        raise InputError(
            "ply: vertices with x, y, z are required, got "
            f"{', '.join(got) or 'no elements'} ({path}). "
            "Is this a point cloud or a mesh?"
        )
    normals = _take(vertex, _NORMAL)
    colors = _take_colors(vertex)
    label = _take(vertex, ("label",))
    for name in _SILENT:
        vertex.pop(name, None)
    _tell(elements, path)
    return checked_mesh(
        points,
        f"ply ({path})",
        normals=normals,
        colors=colors,
        faces=faces,
        label=None if label is None else label[:, 0],
    )


def _take(columns: Columns, names: tuple[str, ...]) -> Shaped[np.ndarray, "P C"] | None:
    """Remove properties, side by side; None unless all are there and are numbers."""
    found = []
    for name in names:
        column = columns.get(name)
        if not isinstance(column, np.ndarray):
            return None
        found.append(column)
    for name in names:
        del columns[name]
    return np.stack(found, axis=1)


def _take_colors(vertex: Columns) -> UInt8[np.ndarray, "P 3"] | None:
    for names in _COLORS:
        stored = {name: vertex[name] for name in names if name in vertex}
        channels = _take(stored, names)
        colors = None if channels is None else byte_colors(channels)
        if colors is not None:
            for name in names:
                del vertex[name]
            return colors
    return _take_splat_colors(vertex)


def _take_splat_colors(vertex: Columns) -> UInt8[np.ndarray, "P 3"] | None:
    """Return the colours that Gaussians have from all sides, of a file of 3DGS."""
    constant = _take(vertex, _SPLAT_COLOR)
    if constant is None:
        return None
    with np.errstate(invalid="ignore"):
        shares = np.nan_to_num(0.5 + _SPHERE * constant.astype(np.float64), nan=0.5)
    return np.round(255 * np.clip(shares, 0, 1)).astype(np.uint8)


def _take_faces(elements: dict[str, Columns]) -> Int64[np.ndarray, "F 3"] | None:
    found = []
    for element, cut in (("face", _fans), ("tristrips", _strips)):
        columns = elements.get(element, {})
        for name in _INDICES:
            lists = columns.get(name)
            if isinstance(lists, Lists):
                del columns[name]
                found.append(cut(_whole(lists.values), lists.counts))
                break
    return np.concatenate(found) if found else None


def _take_face_label(
    elements: dict[str, Columns], names: tuple[str, ...], path: pathlib.Path
) -> Int32[np.ndarray, " F"] | None:
    """Return an integer property of polygons, for each of their triangles."""
    face = elements.get("face", {})
    lists = next((v for n, v in face.items() if n in _INDICES), None)
    if not names or not isinstance(lists, Lists):
        return None
    label = next((face[name] for name in names if name in face), None)
    if not isinstance(label, np.ndarray) or label.dtype.kind not in "iu":
        raise InputError(
            f"ply: an integer property {names[0]} of faces is required, got "
            f"{', '.join(face)} ({path}). Take the mesh that comes with the data set."
        )
    elements["face"] = {n: v for n, v in face.items() if n in _INDICES}
    return np.repeat(label, np.maximum(lists.counts - 2, 0)).astype(np.int32)


def _whole(indices: Shaped[np.ndarray, " V"]) -> Int64[np.ndarray, " V"]:
    """Return indices as integers; ValueError for fractions and what is too large."""
    with np.errstate(invalid="ignore"):
        whole = indices.astype(np.int64)
    if not np.array_equal(whole, indices):
        raise ValueError("face indices that are no whole numbers")
    return whole


def _fans(
    indices: Int64[np.ndarray, " V"], counts: Int64[np.ndarray, " N"]
) -> Int64[np.ndarray, "F 3"]:
    """Cut polygons into the triangles at their first corner, in order."""
    if (counts == 3).all():
        return indices.reshape(-1, 3)
    triangles = np.maximum(counts - 2, 0)
    first = np.repeat(np.cumsum(counts) - counts, triangles)
    before = np.repeat(np.cumsum(triangles) - triangles, triangles)
    second = first + 1 + np.arange(len(first)) - before
    return np.stack([indices[first], indices[second], indices[second + 1]], axis=1)


def _strips(
    indices: Int64[np.ndarray, " V"], counts: Int64[np.ndarray, " N"]
) -> Int64[np.ndarray, "F 3"]:
    """Cut strips into triangles; -1 ends a strip, and every second one is turned.

    Triangles with a repeated corner only lead from one part of a strip to another.
    """
    indices = np.insert(indices, np.cumsum(counts), -1)
    place = np.arange(len(indices))
    since = place - np.maximum.accumulate(np.where(indices == -1, place, -1))
    corners = np.stack([indices[:-2], indices[1:-1], indices[2:]], axis=1)
    turned = since[:-2] % 2 == 0  # the first corner of a strip is 1
    corners[turned, :2] = corners[turned, 1::-1]
    a, b, c = corners.T
    return corners[(corners != -1).all(axis=1) & (a != b) & (b != c) & (c != a)]


def _tell(elements: dict[str, Columns], path: pathlib.Path) -> None:
    """Warn of properties that hold something and are not read."""
    left = []
    for element, columns in elements.items():
        names = [
            name
            for name, column in columns.items()
            if len(column.counts if isinstance(column, Lists) else column)
        ]
        if len(names) > _NAMED:
            names[_NAMED:] = [f"and {len(names) - _NAMED} more"]
        if names:
            left.append(f"{element} {', '.join(names)}")
    if left:
        logging.warning("ply: not read: %s (%s)", "; ".join(left), path)
