"""Coloured clouds as PCD, which the Point Cloud Library and Open3D read."""

import os

import numpy as np
from jaxtyping import Float, UInt8

from sas_jax.artefacts.files import atomic_path


def write_pcd(
    path: str | os.PathLike,
    points: Float[np.ndarray, "P 3"],
    colors: UInt8[np.ndarray, "P 3"],
) -> None:
    """Write a binary PCD of version 0.7 atomically.

    Args:
      path: ends in `.pcd`.
      points: metres; stored as f32.
      colors: sRGB, packed as 0x00RRGGBB in the bits of a float, as is the custom.

    Raises:
      InputError: when the disk is full or not writable, naming the file.
    """
    rows = np.empty(len(points), [("xyz", "<f4", 3), ("rgb", "<u4")])
    rows["xyz"] = points
    red, green, blue = colors.T.astype(np.uint32)
    rows["rgb"] = red << 16 | green << 8 | blue
    header = [
        *("# .PCD v0.7", "VERSION 0.7", "FIELDS x y z rgb", "SIZE 4 4 4 4"),
        *("TYPE F F F F", "COUNT 1 1 1 1", f"WIDTH {len(points)}", "HEIGHT 1"),
        *("VIEWPOINT 0 0 0 1 0 0 0", f"POINTS {len(points)}", "DATA binary", ""),
    ]
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        file.write("\n".join(header).encode("ascii"))
        file.write(rows.tobytes())
