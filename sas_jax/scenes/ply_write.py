"""The one writer of PLY files: coloured clouds and meshes for any viewer."""

import pathlib
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int, Shaped, UInt8

from sas_jax.artefacts.files import atomic_path
from sas_jax.scenes.ply_header import TYPE_NAMES

_ROWS_AT_ONCE = 2048


def write_ply(
    path: str | pathlib.Path,
    points: Float[np.ndarray, "P 3"],
    *,
    colors: UInt8[np.ndarray, "P 3"] | None = None,
    faces: Int[np.ndarray, "F 3"] | None = None,
    properties: Mapping[str, Shaped[np.ndarray, " P"]] | None = None,
    origin: Float[np.ndarray, " 3"] | None = None,
) -> None:
    """Write a little-endian binary PLY; equal input gives equal bytes.

    Args:
      path: target; written atomically.
      points: metres; stored as f32.
      colors: sRGB.
      faces: vertex indices; without them the file is a point cloud.
      properties: name -> one number per point, stored in its own type: a label, or a
        query's relevancy.
      origin: added to the points (see `Scene.origin`), which are then stored as f64
        unless it is zero.

    Raises:
      InputError: when the disk is full or not writable, naming the file.
      KeyError: for a number type that PLY does not know.
    """
    if origin is not None and np.any(origin):
        points = points.astype(np.float64) + origin
    else:
        points = points.astype(np.float32)
    columns = dict(zip("xyz", points.T, strict=True))
    if colors is not None:
        columns |= zip(("red", "green", "blue"), colors.T, strict=True)
    columns |= properties or {}
    rows = [_rows(len(points), columns)]
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(points)}"]
    lines += [
        f"property {TYPE_NAMES[column.dtype.str[1:]][0]} {name}"
        for name, column in columns.items()
    ]
    if faces is not None:
        rows.append(_face_rows(faces))
        lines += [
            f"element face {len(faces)}",
            "property list uchar int vertex_indices",
        ]
    lines += ["end_header", ""]
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        file.write("\n".join(lines).encode("ascii"))
        for part in rows:
            file.write(part.tobytes())


def _rows(
    num_rows: int, columns: Mapping[str, Shaped[np.ndarray, " P"]]
) -> Shaped[np.ndarray, " P"]:
    fields = [(name, c.dtype.newbyteorder("<")) for name, c in columns.items()]
    rows = np.empty(num_rows, fields)
    # Block by block: a row may be longer than a line of the cache.
    for first in range(0, num_rows, _ROWS_AT_ONCE):
        block = slice(first, first + _ROWS_AT_ONCE)
        for name, column in columns.items():
            rows[name][block] = column[block]
    return rows


def _face_rows(faces: Int[np.ndarray, "F 3"]) -> Shaped[np.ndarray, " F"]:
    rows = np.empty(len(faces), [("count", "u1"), ("index", "<i4", (3,))])
    rows["count"], rows["index"] = 3, faces
    return rows
