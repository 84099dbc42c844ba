"""Binary PLY files of vertices and triangles."""

import pathlib

import numpy as np
import plyfile
from jaxtyping import Int, Shaped


def write_binary_ply(
    path: str | pathlib.Path,
    vertex: Shaped[np.ndarray, " P"],
    faces: Int[np.ndarray, "F 3"] | None = None,
) -> None:
    """Write little-endian vertices and triangles.

    plyfile writes the header, and would write the faces one by one: 2 s for a room.

    Args:
      path: target.
      vertex: structured array, one field per vertex property.
      faces: vertex indices; None leaves the element out.
    """
    vertex = vertex.astype(vertex.dtype.newbyteorder("<"))
    elements, data = [plyfile.PlyElement.describe(vertex, "vertex")], [vertex]
    if faces is not None:
        rows = np.empty(len(faces), [("vertex_indices", "<i4", (3,))])
        elements.append(plyfile.PlyElement.describe(rows, "face"))
        counted = np.empty(len(faces), [("count", "u1"), ("index", "<i4", (3,))])
        counted["count"], counted["index"] = 3, faces
        data.append(counted)
    header = plyfile.PlyData(elements, byte_order="<").header
    with open(path, "wb") as file:
        file.write(header.encode("ascii") + b"\n")
        for rows in data:
            file.write(rows.tobytes())
