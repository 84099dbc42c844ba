"""Meshes of the rooms: closed, outward, and textured in the promised units."""

import numpy as np
import pytest

from sas_jax.rooms.geometry.lofts import (
    cylinder,
    ellipsoid,
    lathe,
    loft,
    prism,
    ring,
    tube,
)
from sas_jax.rooms.geometry.mesh import (
    PICTURE,
    TEXTURE_NAMES,
    TILES,
    WOOD,
    Material,
    concat,
    tilt,
    transform,
)
from sas_jax.rooms.geometry.shapes import box, cloth, quad, sheet

RED = Material((0.8, 0.1, 0.1))
SQUARE = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)


def volume(mesh):
    """Divergence theorem, one triangle at a time."""
    total = 0.0
    for face in mesh.faces:
        a, b, c = mesh.vertices[face].astype(float)
        total += a @ np.cross(b, c) / 6.0
    return total


def is_closed(mesh):
    """Every directed edge is used once, and once in the other direction."""
    edges = [(int(f[i]), int(f[(i + 1) % 3])) for f in mesh.faces for i in range(3)]
    return len(set(edges)) == len(edges) and {(b, a) for a, b in edges} == set(edges)


TORUS = np.stack(
    [ring((0, 0, z), (r, r), segments=64) for r, z in ((2, 0), (2, 1), (1, 1), (1, 0))]
)
SHEET = np.stack(
    np.broadcast_arrays(
        np.linspace(0, 2, 9)[None, :], 0.0, np.linspace(0, 3, 4)[:, None]
    ),
    -1,
)
SOLIDS = {
    "box": (box((0, 0, 0), (1, 2, 3), RED), 6.0),
    "cylinder": (cylinder((1, 1, 1), 1, 2, RED, segments=64), 2 * np.pi),
    "frustum": (
        cylinder((0, 0, 0), 2, 3, RED, top_radius=1, segments=64),
        7 * np.pi,
    ),
    "tube": (tube((1, 0, 2), (2, 2, 4), 0.1, RED, segments=64), 0.03 * np.pi),
    "level tube": (tube((0, 0, 1), (0, -3, 1), 0.1, RED, segments=64), 0.03 * np.pi),
    "ellipsoid": (ellipsoid((1, 2, 3), (1, 2, 3), RED, segments=64), 8 * np.pi),
    "bowl": (
        lathe([(1, 0), (1, 1), (0.9, 1), (0.9, 0.1)], RED, segments=64),
        np.pi * (1 - 0.81 * 0.9),
    ),
    "torus": (loft(TORUS, RED, looped=True), 3 * np.pi),
    "prism x": (prism(SQUARE, 0, 2, RED, axis="x"), 2.0),
    "prism y": (prism(SQUARE, 0, 2, RED, axis="y"), 2.0),
    "prism z": (prism(SQUARE, 0, 2, RED), 2.0),
    "sheet": (sheet(SHEET, RED, thickness_m=0.01), 0.06),
    "cloth": (cloth(2, 2, RED, folds=6, amplitude_m=0.05), 0.024),
}


@pytest.mark.parametrize("name", SOLIDS)
def test_solids_are_closed_and_face_outward(name):
    mesh, expected = SOLIDS[name]
    assert is_closed(mesh)
    assert volume(mesh) == pytest.approx(expected, rel=0.01)
    assert mesh.areas().min() > 1e-8
    assert mesh.vertices.dtype == np.float32
    assert mesh.faces.dtype == np.int32
    assert mesh.uv.shape == (mesh.num_faces, 3, 2)
    assert np.isfinite(mesh.uv).all()


def test_normals_are_unit_and_outward():
    mesh = box((-1, -1, -1), (1, 1, 1), RED)
    center = mesh.vertices[mesh.faces].mean(1)
    np.testing.assert_allclose(np.linalg.norm(mesh.normals(), axis=1), 1, atol=1e-6)
    assert (np.einsum("ij,ij->i", mesh.normals(), center) > 0).all()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_texture_period_is_in_metres_on_every_side(axis):
    mesh = box((1, 2, 3), (2, 4, 6), Material((1, 1, 1), TILES, 0.5))
    faces = np.flatnonzero(np.abs(mesh.normals()[:, axis]) > 0.5)
    corners = mesh.vertices[mesh.faces[faces]]
    edge_m = np.linalg.norm(corners - np.roll(corners, 1, 1), axis=2)
    edge_uv = np.linalg.norm(mesh.uv[faces] - np.roll(mesh.uv[faces], 1, 1), axis=2)
    np.testing.assert_allclose(edge_uv, edge_m / 0.5, rtol=1e-5)


@pytest.mark.parametrize("size", [(3, 1, 1), (1, 3, 1), (1, 1, 3)])
def test_wood_grain_follows_the_longer_side(size):
    mesh = box((0, 0, 0), size, Material((0.5, 0.3, 0.2), WOOD, 1.0))
    long = np.abs(mesh.normals()[:, int(np.argmax(size))]) < 0.5
    assert np.ptp(mesh.uv[long][..., 0], axis=1) == pytest.approx(3.0)
    assert np.ptp(mesh.uv[long][..., 1], axis=1) == pytest.approx(1.0)


def test_picture_spans_its_rectangle_upright():
    corners = np.array([[1, 0, 1], [0, 0, 1], [0, 0, 3], [1, 0, 3]], float)
    mesh = quad(corners, Material((1, 1, 1), PICTURE, 0.1))
    assert mesh.uv.min() == 0.0
    assert mesh.uv.max() == 1.0
    top = mesh.vertices[mesh.faces][..., 2] == 3.0
    assert (mesh.uv[..., 1][top] == 1.0).all()
    np.testing.assert_allclose(mesh.normals(), [[0, 1, 0]] * 2, atol=1e-6)


def test_transform_scales_then_turns_then_moves():
    mesh = box((1, 0, 0), (2, 1, 1), RED)
    moved = transform(mesh, scale=2.0, rotate_z=np.pi / 2, translate=(0, 0, 5))
    np.testing.assert_allclose(moved.bounds(), [[-2, 2, 5], [0, 4, 7]], atol=1e-6)
    assert volume(moved) == pytest.approx(8.0)
    np.testing.assert_array_equal(moved.uv, mesh.uv)


def test_tilt_turns_about_the_pivot():
    mesh = tilt(box((0, 0, 0), (1, 1, 1), RED), "x", np.pi / 2, (0, 0, 1))
    np.testing.assert_allclose(mesh.bounds(), [[0, 0, 1], [1, 1, 2]], atol=1e-6)


def test_concat_keeps_each_part():
    parts = [box((0, 0, 0), (1, 1, 1), RED), cylinder((3, 0, 0), 1, 1, RED)]
    both = concat(parts)
    assert volume(both) == pytest.approx(sum(volume(part) for part in parts))
    assert both.num_faces == sum(part.num_faces for part in parts)
    np.testing.assert_array_equal(both.seed, np.zeros(both.num_faces, np.int32))


def test_every_texture_id_has_a_name():
    assert TEXTURE_NAMES[PICTURE] == "picture"
    assert len(set(TEXTURE_NAMES)) == len(TEXTURE_NAMES) == 16
