"""A mesh in the world of scenes: turned so that z is up, scaled to metres."""

import dataclasses

import numpy as np
from jaxtyping import Float, Float32, Float64

from sas_jax.scenes.mesh import Mesh
from sas_jax.scenes.origin import choose_origin
from sas_jax.scenes.positions import blocks


def placed(mesh: Mesh, turn: Float[np.ndarray, "3 3"], scale: float) -> Mesh:
    """Return a mesh in other axes and another unit.

    Args:
      mesh: as it was read.
      turn: rotation.
      scale: new units per old unit.

    Returns:
      Points of `scale * turn @ (origin + point)`, rounded to f32 once, relative to an
      origin where f32 needs one; the mesh itself where nothing is to be done.
    """
    if scale == 1 and (turn == np.eye(3)).all():
        return mesh
    offset = scale * (turn @ mesh.origin)
    few = mesh.points[:: max(1, len(mesh.points) // 10_000)]
    origin = choose_origin(_moved(few, scale * turn, offset))
    points = np.empty_like(mesh.points)
    for rows in blocks(len(points), "turning"):
        points[rows] = _moved(mesh.points[rows], scale * turn, offset - origin)
    normals = mesh.normals
    if normals is not None:
        normals = _moved(normals, turn, np.zeros(3)).astype(np.float32)
    return dataclasses.replace(mesh, points=points, normals=normals, origin=origin)


def _moved(
    rows: Float32[np.ndarray, "N 3"],
    matrix: Float[np.ndarray, "3 3"],
    offset: Float[np.ndarray, " 3"],
) -> Float64[np.ndarray, "N 3"]:
    # Per coordinate: a matrix product may round by the number of threads.
    x, y, z = rows.astype(np.float64).T
    turned = [a * x + b * y + c * z for a, b, c in matrix]
    return np.stack(turned, axis=1) + offset
