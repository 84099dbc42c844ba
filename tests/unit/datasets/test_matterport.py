"""Matterport3D: cameras of a region, OpenGL poses, votes of faces, bad files."""

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sas_jax.datasets import registry
from sas_jax.datasets.matterport import Matterport
from sas_jax.errors import InputError
from sas_jax.scenes.labels import label_set

HOUSE = "17DRP5sb8fy"
# A square of four faces about its middle vertex, 4; below, one vertex with no face.
POINTS = [(0, 0, 0), (4, 0, 0), (4, 4, 0), (0, 4, 0), (2, 2, 2.5), (1, 1, 1)]
FACES = [(0, 1, 4), (1, 2, 4), (2, 3, 4), (3, 0, 4)]


def write_region(path, categories, points=POINTS):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [f"{x} {y} {z} 0 0 1 9 8 7" for x, y, z in points]
    rows += [
        f"3 {a} {b} {c} 7 {k}" for (a, b, c), k in zip(FACES, categories, strict=True)
    ]
    vertex = [f"property float {n}" for n in ("x", "y", "z", "nx", "ny", "nz")]
    vertex += [f"property uchar {n}" for n in ("red", "green", "blue")]
    face = ["list uchar int vertex_indices", "int segment_id", "int category_id"]
    header = ["ply", "format ascii 1.0", f"element vertex {len(points)}", *vertex]
    header += [f"element face {len(FACES)}", *(f"property {n}" for n in face)]
    path.write_text("\n".join([*header, "end_header", *rows, ""]))
    return path


def camera_line(name, pose):
    cells = " ".join(f"{v:.9g}" for v in np.ravel(pose))
    return f"scan {name}_d0_3.png {name}_i0_3.jpg {cells}"


def write_house(root, categories=(1, 1, 1, 1), cameras=None):
    """Write a house; the camera `in` looks straight down from 2 m."""
    folder = root / HOUSE
    mesh = write_region(folder / "region_segmentations" / "region0.ply", categories)
    inside = np.eye(4)
    inside[:3, 3] = 2, 2, 2
    far = np.eye(4)
    far[:3, 3] = 90, 0, 1
    lines = [
        f"n_images 2\nintrinsics_matrix {k} 0 639.5 0 {k} 511.5 0 0 1\n"
        f"{camera_line(name, pose)}"
        for k, name, pose in cameras or ((1000, "in", inside), (900, "far", far))
    ]  # fmt: skip
    conf = folder / "undistorted_camera_parameters" / f"{HOUSE}.conf"
    conf.parent.mkdir(exist_ok=True)
    conf.write_text("\n".join(lines))
    for kind in ("color", "depth"):
        (folder / f"undistorted_{kind}_images").mkdir(exist_ok=True)
    for name in ("in", "far"):
        color = Image.new("RGB", (1280, 1024), (250, 0, 0))
        color.save(folder / f"undistorted_color_images/{name}_i0_3.jpg")
        depth = Image.fromarray(np.full((1024, 1280), 8000, np.uint16))
        depth.save(folder / f"undistorted_depth_images/{name}_d0_3.png")
    return mesh


def test_a_region_has_the_cameras_in_its_box(tmp_path):
    mesh = write_house(tmp_path)
    scan = registry.scan_at(mesh)
    assert (scan.dataset.name, scan.name) == ("matterport", f"{HOUSE}_region0")
    scene = scan.open(image_size_wh=(640, 512))
    (frame,) = scene.frames()
    assert (frame.name, frame.size_hw) == ("in_i0_3", (512, 640))
    assert (frame.depth_m == 2).all() and frame.intrinsics[0, 0] == 500
    # OpenGL looks along -z: down, at the square.
    np.testing.assert_allclose(frame.world_from_camera[:3, 2], (0, 0, -1))
    np.testing.assert_allclose(frame.world_from_camera[:3, 1], (0, -1, 0))
    assert scan.key("views") != scan.key("geometry")


def test_without_a_camera_inside_the_nearest_count(tmp_path):
    pose = np.eye(4)
    pose[2, 3] = 50
    write_house(tmp_path, cameras=[(1000, "in", pose), (900, "far", pose)])
    scene = Matterport().open(write_house(tmp_path, cameras=[(1000, "far", pose)]))
    assert scene.frame_source.names == ("far_i0_3",)


def test_vertices_take_the_category_of_most_faces(tmp_path):
    # Of the data set's own numbering: wall, door, ceiling.
    table = label_set("matterport21").table("matterport")
    assert table[[1, 2, 3]].tolist() == [0, 7, 20]

    def labels(*categories):
        return Matterport().open(write_house(tmp_path, categories)).labels.tolist()

    assert labels(1, 1, 1, 1) == [0, 0, 0, 0, 0, 255]
    # vertex 0 is of faces 0 and 3, vertex 4 of all: draws go to the lower bin
    assert labels(1, 2, 2, 3)[:5] == [0, 0, 7, 7, 7]
    assert labels(-1, 1, 0, 1)[:5] == [255, 255, 255, 255, 255]
    assert labels(1, 1, -1, 1)[4] == 0


@pytest.mark.parametrize("count", [21, 40, 80, 160])
def test_every_category_has_a_class_or_none(tmp_path, count):
    chosen = label_set(f"matterport{count}")
    path = write_house(tmp_path, (1659, 1659, 1659, 1659))
    scene = Matterport().open(path, label_set=chosen)
    assert set(scene.labels.tolist()) <= {255, *range(count)}


@pytest.mark.parametrize("nested", ["", "v1/scans"])
def test_splits_name_houses(tmp_path, nested):
    write_house(tmp_path / nested)
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits" / "test.txt").write_text(HOUSE)
    dataset = registry.of_root(tmp_path)
    assert dataset.name == "matterport"
    (name,) = dataset.scan_names(tmp_path, "test")
    assert dataset.scan_path(tmp_path, name).is_file()
    with pytest.raises(InputError, match="official list's 11"):
        dataset.scan_names(tmp_path, "val")
    (tmp_path / "splits" / "val.txt").write_text("absent")
    with pytest.raises(InputError, match=r"1 of 1 have none.*absent"):
        dataset.scan_names(tmp_path, "val")


def test_bad_files_are_named(tmp_path):
    mesh = write_house(tmp_path, (9999, 1, 1, 1))
    with pytest.raises(InputError, match=r"matterport ids in 0\.\.1659"):
        Matterport().open(mesh)
    conf = next(tmp_path.rglob("*.conf"))
    for text, message in (
        ("", "lines of scans"),
        ("scan a b 1 2", "16 numbers"),
        ("scan a b " + "1 " * 16, "intrinsics_matrix before"),
        ("intrinsics_matrix 1 2", "9 numbers"),
    ):
        conf.write_text(text)
        with pytest.raises(InputError, match=message):
            Matterport().open(mesh, annotations=False)
    conf.unlink()
    with pytest.raises(InputError, match="cameras of the house"):
        Matterport().open(mesh, annotations=False)


def test_a_bad_image_or_pose_costs_its_frame_only(tmp_path):
    pose = np.eye(4)
    pose[:3, 3] = 2, 2, 2
    nan = np.full((4, 4), np.nan)
    mesh = write_house(tmp_path, cameras=[(1000, "in", pose), (900, "far", nan)])
    assert len(list(Matterport().open(mesh).frames())) == 1
    (tmp_path / HOUSE / "undistorted_depth_images/in_d0_3.png").write_bytes(b"")
    scene = Matterport().open(mesh)
    assert not list(scene.frames()) and scene.skipped == {"unreadable image": 1}


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="scan intrisc_mx0123456789.- \n"))
def test_any_cameras_are_read_or_refused(tmp_path_factory, text):
    mesh = write_region(
        tmp_path_factory.mktemp("m") / HOUSE / "region_segmentations/region0.ply",
        (1,) * 4,
    )
    conf = mesh.parent.parent / "undistorted_camera_parameters" / f"{HOUSE}.conf"
    conf.parent.mkdir()
    conf.write_text(text)
    with contextlib.suppress(InputError):
        Matterport().open(mesh)
