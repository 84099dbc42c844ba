"""Coarse meshes get points; others, and those that would be too large, keep theirs."""

import numpy as np
import pytest

from sas_jax.scenes.mesh import Mesh
from sas_jax.scenes.split_edges import refined

SQUARE = np.float32([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
FACES = np.array([[0, 1, 2], [0, 2, 3]], np.int32)


def area(mesh):
    a, b, c = (mesh.points[corner].astype(float) for corner in mesh.faces.T)
    return np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2


def test_a_wall_of_two_triangles_is_full_of_points():
    mesh, edge = refined(Mesh(SQUARE, faces=FACES), 0.1)
    assert edge == 0.1 and len(mesh.points) > 150
    np.testing.assert_array_equal(mesh.points[:4], SQUARE)
    assert area(mesh) == pytest.approx(1) and mesh.colors is None
    cells = np.unique((mesh.points[:, :2] * 0.999 / 0.1).astype(int), axis=0)
    assert len(cells) == 100  # no gap as wide as an edge


def test_fine_meshes_clouds_and_what_has_no_area_stay():
    fine, _ = refined(Mesh(SQUARE, faces=FACES), 0.1)
    flat = Mesh(SQUARE * np.float32([1, 0, 0]), faces=FACES)
    nearest = np.linalg.norm(fine.points[1:], axis=1).argmin() + 1
    hole = Mesh(  # filled with one long, thin triangle
        np.concatenate([fine.points, np.float32([[0, 0, 3]])]),
        faces=np.concatenate([fine.faces, [[0, nearest, len(fine.points)]]]).astype(
            np.int32
        ),
    )
    for mesh in (fine, flat, Mesh(SQUARE), hole):
        assert refined(mesh, 0.1) == (mesh, 0.0)


def test_large_meshes_are_cut_less_finely():
    mesh, edge = refined(Mesh(SQUARE * np.float32(1e6), faces=FACES), 0.1)
    assert edge > 100 and 1e5 < len(mesh.points) < 1e7
