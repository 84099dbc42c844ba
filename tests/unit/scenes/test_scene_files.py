"""PLY files and images by themselves."""

import numpy as np
import pytest
from scene_files import write_frame, write_ply

from sas_jax.datasets import scannet
from sas_jax.datasets.scannet import ScanNet
from sas_jax.errors import InputError
from sas_jax.scenes import images
from sas_jax.scenes.ply import read_ply
from sas_jax.scenes.ply_write import write_ply as write_properties
from sas_jax.scenes.scene import Scene
from sas_jax.superpoints.segment import segment_points
from sas_jax.superpoints.stage import segment_scene


def test_intrinsics_follow_the_size():
    half = images.scale_intrinsics(scannet.OFFICIAL_INTRINSICS, (640, 480), (320, 240))
    expected = [[288.9353025, 0, 159.5], [0, 288.9353025, 119.5], [0, 0, 1]]
    np.testing.assert_allclose(half, expected, atol=1e-12)


def test_nearest_takes_the_pixel_under_the_centre():
    image = np.arange(12).reshape(2, 6)
    np.testing.assert_array_equal(images.resize_nearest(image, (2, 1)), [[7, 10]])
    np.testing.assert_array_equal(images.resize_nearest(image, (6, 2)), image)
    up = images.resize_nearest(image[:1, :2], (4, 2))
    np.testing.assert_array_equal(up, [[0, 0, 1, 1]] * 2)


def test_area_interpolation_averages():
    image = np.zeros((2, 2, 3), np.uint8)
    image[0] = 200
    np.testing.assert_array_equal(
        images.resize_color(image, (1, 1), "area"), [[[100] * 3]]
    )


def test_missing_mesh_and_scene_without_vertices(tmp_path):
    with pytest.raises(InputError, match=r"must exist.*nowhere_vh_clean_2\.ply"):
        ScanNet().open(tmp_path / "nowhere")
    write_ply(tmp_path / "empty.ply", np.zeros((0, 3)))
    with pytest.raises(InputError, match=r"empty\.ply.*P >= 1"):
        read_ply(tmp_path / "empty.ply")


def test_nan_points_and_wild_faces_are_refused(tmp_path):
    points = np.zeros((4, 3), np.float32)
    points[2, 1] = np.nan
    write_ply(tmp_path / "a.ply", points)
    with pytest.raises(InputError, match=r"a\.ply.*1 with NaN.*row 2"):
        read_ply(tmp_path / "a.ply")
    write_ply(tmp_path / "b.ply", np.zeros((4, 3)), [[0, 1, 4]])
    with pytest.raises(InputError, match=r"b\.ply.*0\.\.3, got 0\.\.4"):
        read_ply(tmp_path / "b.ply")


def test_quads_become_two_triangles(tmp_path):
    header = (
        "ply\nformat ascii 1.0\nelement vertex 5\nproperty float x\nproperty float y\n"
        "property float z\nelement face 2\nproperty list uchar int vertex_index\n"
        "end_header\n"
    )
    rows = "0 0 0\n1 0 0\n1 1 0\n0 1 0\n0 2 0\n4 0 1 2 3\n3 2 3 4\n"
    (tmp_path / "quads.ply").write_text(header + rows)
    mesh = read_ply(tmp_path / "quads.ply")
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2], [0, 2, 3], [2, 3, 4]])


def write_cloud(path, points, normals):
    properties = dict(zip(("nx", "ny", "nz"), normals.T, strict=True))
    write_properties(path, points, properties=properties)
    return read_ply(path)


@pytest.fixture
def cloud():
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 1, (300, 3)).astype(np.float32)
    points[:150, 2], points[150:, 0] = 0, 0
    normals = np.repeat(np.float32([[0, 0, 1], [1, 0, 0]]), 150, axis=0)
    return points, normals


def test_unit_normals_are_kept_to_the_bit(tmp_path, cloud):
    points, normals = cloud
    normals = normals * np.float32(1.0005)
    mesh = write_cloud(tmp_path / "a.ply", points, normals)
    np.testing.assert_array_equal(mesh.normals, normals)


def test_normals_of_any_length_give_the_superpoints_of_unit_ones(tmp_path, cloud):
    points, normals = cloud
    lengths = np.random.default_rng(1).uniform(0.1, 8, (300, 1)).astype(np.float32)
    mesh = write_cloud(tmp_path / "a.ply", points, normals * lengths)
    np.testing.assert_allclose(mesh.normals, normals, atol=1e-6)
    np.testing.assert_array_equal(
        segment_points(mesh.points, mesh.normals), segment_points(points, normals)
    )
    tiny = write_cloud(tmp_path / "b.ply", points, normals * np.float32(1e-30))
    np.testing.assert_allclose(tiny.normals, normals, atol=1e-6)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
@pytest.mark.parametrize("rows", [slice(None), slice(7, 8)])
def test_normals_without_direction_are_absent(tmp_path, cloud, value, rows):
    points, normals = cloud
    normals[rows] = value
    mesh = write_cloud(tmp_path / "a.ply", points, normals)
    assert mesh.normals is None
    scene = Scene("s", mesh.points, mesh.normals, faces=mesh.faces)
    np.testing.assert_array_equal(segment_scene(scene), segment_points(points))


def ascii_ply(path, vertex_header, row, count=4):
    path.write_text(
        f"ply\nformat ascii 1.0\nelement vertex {count}\n{vertex_header}end_header\n"
        + row * 4
    )


XYZ = "property float x\nproperty float y\nproperty float z\n"


@pytest.mark.parametrize("count", [10**12, 10**25, -1])
@pytest.mark.parametrize("encoding", ["ascii", "binary_little_endian"])
def test_absurd_vertex_count_names_the_file(tmp_path, count, encoding):
    path = tmp_path / "a.ply"
    ascii_ply(path, XYZ, "0 0 0\n", count)
    path.write_text(path.read_text().replace("ascii", encoding))
    with pytest.raises(InputError, match=r"complete PLY.*a\.ply"):
        read_ply(path)


def test_lists_in_place_of_numbers(tmp_path):
    path = tmp_path / "a.ply"
    ascii_ply(path, XYZ.replace("float x", "list uchar float x"), "1 0 0 0\n")
    with pytest.raises(InputError, match=r"x, y, z are required.*a\.ply"):
        read_ply(path)
    ascii_ply(path, "", "\n")
    with pytest.raises(InputError, match=r"x, y, z are required.*a\.ply"):
        read_ply(path)
    names = ("nx", "ny", "nz", "red", "green", "blue", "label")
    lists = "".join(f"property list uchar int {name}\n" for name in names)
    ascii_ply(path, XYZ + lists, "0 0 0" + " 1 5" * 7 + "\n")
    mesh = read_ply(path)
    assert mesh.normals is None and mesh.colors is None and mesh.label is None


@pytest.mark.filterwarnings("error")
def test_points_too_large_for_f32_are_refused(tmp_path):
    ascii_ply(tmp_path / "a.ply", XYZ.replace("float", "double"), "0 1e300 0\n")
    with pytest.raises(InputError, match=r"a\.ply.*4 with NaN or infinity"):
        read_ply(tmp_path / "a.ply")


def test_image_size_is_read_from_the_header(tmp_path):
    write_frame(tmp_path, 0, np.eye(4), size_wh=(64, 48))
    path = tmp_path / "color" / "0.jpg"
    path.write_bytes(path.read_bytes()[:700])  # no pixels
    assert images.image_size_wh(path) == (64, 48)
    path.write_bytes(b"")
    with pytest.raises(InputError, match=r"readable image.*0\.jpg"):
        images.image_size_wh(path)
