"""Coloured point clouds and meshes for any viewer."""

import pathlib
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int, UInt8

from sas_jax.artefacts.files import atomic_path
from sas_jax.scenes.ply_write import write_binary_ply


def write_cloud(
    path: str | pathlib.Path,
    points: Float[np.ndarray, "P 3"],
    colors: UInt8[np.ndarray, "P 3"],
    *,
    faces: Int[np.ndarray, "F 3"] | None = None,
    scalars: Mapping[str, Float[np.ndarray, "P"]] | None = None,
) -> None:
    """Write a binary PLY with vertex colours, optional faces and scalar fields.

    Args:
      path: target; written atomically.
      points: metres.
      colors: sRGB.
      faces: vertex indices; without them the file is a point cloud.
      scalars: name -> one value per point, e.g. a query's relevancy, as float32.
    """
    scalars = dict(scalars or {})
    dtype = [(axis, "f4") for axis in "xyz"]
    dtype += [(channel, "u1") for channel in ("red", "green", "blue")]
    dtype += [(name, "f4") for name in scalars]
    vertices = np.empty(len(points), dtype)
    for column, axis in enumerate("xyz"):
        vertices[axis] = points[:, column]
    for column, channel in enumerate(("red", "green", "blue")):
        vertices[channel] = colors[:, column]
    for name, values in scalars.items():
        vertices[name] = values
    with atomic_path(path) as temporary:
        write_binary_ply(temporary, vertices, faces)
