"""PLY files and images by themselves."""

import numpy as np
import pytest
from scene_files import write_ply

from sas_jax.errors import InputError
from sas_jax.scenes import images, scannet
from sas_jax.scenes.ply import read_ply


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
        scannet.open_scene(tmp_path / "nowhere")
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
