"""Meshes and clouds of other formats than PLY."""

import json
import os
import struct

import numpy as np
import pytest
import trimesh
from PIL import Image

from sas_jax.errors import InputError
from sas_jax.scenes.mesh_files import READERS, read_mesh

POINTS = np.float32([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0.5]])
FACES = np.array([[0, 1, 2], [0, 2, 3]])
COLORS = np.uint8([[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 99, 199]])
UTM = np.array([500_000.0, 5_400_000.0, 0])


def obj(path, *, points=POINTS, colors=None, faces="f 1 2 3\nf 1 3 4\n", head=""):
    rows = np.hstack([points, colors / 255]) if colors is not None else points
    text = "".join("v " + " ".join(f"{x:.4f}" for x in row) + "\n" for row in rows)
    path.write_text(head + text + faces)
    return path


def off(path, head="OFF", tail="", colors=None):
    rows = np.hstack([POINTS, colors]) if colors is not None else POINTS
    text = "".join(" ".join(f"{x:g}" for x in row) + "\n" for row in rows)
    faces = f"3 0 1 2{tail}\n3 0 2 3{tail}\n"
    path.write_text(f"{head} # a comment\n\n4 2 0\n{text}{faces}")
    return path


@pytest.mark.parametrize("suffix", [".ply", ".obj", ".glb", ".gltf", ".off", ".OBJ"])
def test_every_format_gives_the_same_mesh(tmp_path, suffix):
    assert suffix.lower() in READERS
    mesh = trimesh.Trimesh(POINTS, FACES, process=False)
    path = tmp_path / f"a{suffix}"
    if suffix == ".gltf":
        for name, data in trimesh.exchange.gltf.export_gltf(mesh.scene()).items():
            (tmp_path / name.replace("model", "a")).write_bytes(data)
    else:
        mesh.export(path, file_type=suffix[1:].lower())
    read = read_mesh(path)
    assert read.points.dtype == np.float32 and read.faces.dtype == np.int32
    np.testing.assert_allclose(read.points, POINTS, atol=1e-6)
    np.testing.assert_array_equal(read.faces, FACES)
    assert read.colors is None and not read.origin.any()


@pytest.mark.parametrize("kind", ["stl", "stl_ascii"])
def test_three_vertices_a_face_stay_apart(tmp_path, kind):
    mesh = trimesh.Trimesh(POINTS, FACES, process=False)
    mesh.export(tmp_path / "a.stl", file_type=kind)
    read = read_mesh(tmp_path / "a.stl")
    np.testing.assert_allclose(read.points, POINTS[FACES].reshape(-1, 3), atol=1e-6)
    np.testing.assert_array_equal(read.faces, np.arange(6).reshape(2, 3))


def test_vertex_colours(tmp_path):
    mesh = trimesh.Trimesh(POINTS, FACES, vertex_colors=COLORS, process=False)
    mesh.export(tmp_path / "a.glb")
    read = read_mesh(obj(tmp_path / "a.obj", colors=COLORS))
    np.testing.assert_allclose(read.colors, COLORS, atol=1)
    np.testing.assert_array_equal(read_mesh(tmp_path / "a.glb").colors, COLORS)
    path = off(tmp_path / "a.off", "COFF", colors=COLORS)
    np.testing.assert_array_equal(read_mesh(path).colors, COLORS)
    shares = np.array([[1, 0, 0], [0, 0.5, 0], [0, 0, 0.2], [1, 1, 1]])
    path = off(tmp_path / "b.off", "COFF", colors=shares)
    expected = [[255, 0, 0], [0, 128, 0], [0, 0, 51], [255, 255, 255]]
    np.testing.assert_array_equal(read_mesh(path).colors, expected)
    assert read_mesh(off(tmp_path / "c.off", tail=" 9 9 9")).colors is None


@pytest.mark.parametrize("suffix", [".obj", ".glb"])
def test_clouds(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    if suffix == ".obj":
        obj(path, colors=COLORS, faces="")
    else:
        trimesh.PointCloud(POINTS, COLORS).export(path)
    read = read_mesh(path)
    np.testing.assert_array_equal(read.points, POINTS)
    np.testing.assert_allclose(read.colors, COLORS, atol=1)
    assert read.faces is None


def test_textures_and_materials_give_colours(tmp_path):
    Image.fromarray(np.full((2, 2, 3), (200, 100, 50), np.uint8)).save(
        tmp_path / "t.png"
    )
    (tmp_path / "a.mtl").write_text(
        "newmtl red\nKd 1 0 0\nnewmtl picture\nmap_Kd t.png\n"
    )
    faces = "vt 0 0\nvt 1 0\nvt 1 1\nusemtl red\nf 1/1 2/2 3/3\n"
    faces += "usemtl picture\nf 1/1 3/2 4/3\n"
    path = obj(tmp_path / "a.obj", faces=faces, head="mtllib a.mtl\n")
    read = read_mesh(path)
    assert len(read.faces) == 2
    by_face = {tuple(np.unique(read.colors[face])) for face in read.faces}
    assert by_face == {(0, 255), (50, 100, 200)}
    np.testing.assert_array_equal(read.colors, read_mesh(path).colors)


@pytest.mark.parametrize("what", ["absent", "pipe", "bomb", "folder"])
def test_textures_that_cannot_be_read_cost_no_point(tmp_path, what):
    texture = tmp_path / "texture.png"
    match what:
        case "pipe":
            os.mkfifo(texture)
        case "bomb":
            Image.new("1", (12_000, 12_000)).save(texture)
        case "folder":
            texture.mkdir()
    (tmp_path / "a.mtl").write_text("newmtl m\nmap_Kd texture.png\n")
    corners = "v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\n"
    text = f"mtllib a.mtl\nusemtl m\n{corners}f 1/1 2/1 3/1\n"
    (tmp_path / "a.obj").write_text(text)
    assert len(read_mesh(tmp_path / "a.obj").points) == 3


def test_a_cloud_in_obj_needs_no_colours(tmp_path):
    (tmp_path / "a.obj").write_text("v 0 0 0\nv 1 0 0\n")
    mesh = read_mesh(tmp_path / "a.obj")
    assert mesh.points.tolist() == [[0, 0, 0], [1, 0, 0]] and mesh.colors is None


def test_polygons_and_counts_from_the_end(tmp_path):
    path = obj(tmp_path / "a.obj", faces="f 1 2 3 4\nf -1 -2 -3\n")
    read = read_mesh(path)
    assert len(read.points) == 4 and len(read.faces) == 3
    assert {tuple(sorted(face)) for face in read.faces} == {
        (0, 1, 2),
        (0, 2, 3),
        (1, 2, 3),
    }


def test_parts_of_a_file_stand_where_the_file_puts_them(tmp_path):
    moved = np.eye(4)
    moved[:3, 3] = 5, 0, 0
    scene = trimesh.Scene()
    mesh = trimesh.Trimesh(POINTS, FACES, process=False)
    scene.add_geometry(mesh, geom_name="m", node_name="here")
    scene.add_geometry(mesh, geom_name="m", node_name="there", transform=moved)
    scene.export(tmp_path / "a.glb")
    read = read_mesh(tmp_path / "a.glb")
    first, second = read.points[:4], read.points[4:]
    if first[0, 0] > 0:
        first, second = second, first
    np.testing.assert_array_equal(first, POINTS)
    np.testing.assert_array_equal(second, POINTS + np.float32([5, 0, 0]))
    np.testing.assert_array_equal(read.faces, [*FACES, *(FACES + 4)])


def test_map_coordinates_keep_their_millimetres(tmp_path):
    read = read_mesh(obj(tmp_path / "a.obj", points=POINTS / 100 + UTM))
    assert read.origin.any()
    exact = POINTS.astype(np.float64) / 100 + UTM
    np.testing.assert_allclose(read.origin + read.points, exact, rtol=0, atol=1e-6)


def glb(json_text, size=None):
    chunk = json_text.encode().ljust(-(-len(json_text) // 4) * 4)
    total = size or 20 + len(chunk)
    head = struct.pack("<4sII", b"glTF", 2, total)
    return head + struct.pack("<I4s", len(chunk), b"JSON") + chunk


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.obj", b""),
        ("a.obj", b"v 0 0\nv x\n"),
        ("a.obj", b"v 0 0 0\nv 1 0 0\nv 1 nan 0\nf 1 2 3\n"),
        ("a.obj", b"v 0 0 0\nv 1 0 0\nv 1 1 0\nf 1 2 9\n"),
        ("a.off", b"OFF\n1000000000000 2 0\n0 0 0\n1 0 0\n"),
        ("a.off", b"nonsense"),
        ("a.stl", b"solid"),
        ("a.stl", bytes(80) + struct.pack("<I", 2**32 - 1) + bytes(50)),
        ("a.glb", b"glTF"),
        ("a.glb", glb(json.dumps({"asset": {"version": "2.0"}}))),
        ("a.glb", glb("{" * 30)),
        ("a.glb", b"ply\n"),
        ("a.ply", b"v 0 0 0\n"),
    ],
)
def test_damaged_files_are_named(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=rf"a\{name[1:]}"):
        read_mesh(tmp_path / name)


def test_missing_files_and_other_formats_are_named(tmp_path):
    for name in ("a.ply", "a.glb", "a.stl", "a.fbx"):
        with pytest.raises(InputError, match=rf"a\{name[1:]}"):
            read_mesh(tmp_path / name)


def test_a_glb_cut_short_is_refused(tmp_path):
    mesh = trimesh.Trimesh(POINTS, FACES, vertex_colors=COLORS, process=False)
    data = mesh.export(file_type="glb")
    for keep in range(0, len(data) - 4, 7):
        (tmp_path / "a.glb").write_bytes(data[:keep])
        with pytest.raises(InputError, match=r"a\.glb"):
            read_mesh(tmp_path / "a.glb")
