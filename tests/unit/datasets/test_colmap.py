"""COLMAP's models: lenses, tracks, units and up that nothing tells, bad files."""

import contextlib
import dataclasses
import struct
import tracemalloc

import numpy as np
import pytest
from colmap_files import tracked_points, write_colmap, write_images
from hypothesis import given, settings
from hypothesis import strategies as st
from one_room import (
    INTRINSICS,
    colors_at,
    off_surface,
    picture,
    pictures,
    turned,
    walk,
)
from scene_files import write_ply

from sas_jax.datasets.colmap import Colmap
from sas_jax.datasets.colmap_model import read_images, read_points
from sas_jax.datasets.registry import scan_at
from sas_jax.errors import InputError
from sas_jax.lifting.project import project
from sas_jax.scenes.undistort import Distortion

# COLMAP's place of INTRINSICS' centre: half a pixel further.
LENSES = {
    "SIMPLE_PINHOLE": (0, [40, 32, 24], None),
    "SIMPLE_RADIAL": (2, [40, 32, 24, 0.05], ("opencv", (0.05,))),
    "RADIAL": (3, [40, 32, 24, -0.05, 0.01], ("opencv", (-0.05, 0.01))),
    "OPENCV": (
        4,
        [40, 40, 32, 24, 0.04, 0.01, 0.01, -0.01],
        ("opencv", (0.04, 0.01, 0.01, -0.01)),
    ),
    "FULL_OPENCV": (
        6,
        [40, 40, 32, 24, 0.04, 0.01, 0.01, -0.01, 0.01, 0.02, 0.01, 0.01],
        ("opencv", (0.04, 0.01, 0.01, -0.01, 0.01, 0.02, 0.01, 0.01)),
    ),
    "OPENCV_FISHEYE": (
        5,
        [40, 40, 32, 24, 0.02, -0.01, 0.001, 0.001],
        ("fisheye", (0.02, -0.01, 0.001, 0.001)),
    ),
    "SIMPLE_RADIAL_FISHEYE": (8, [40, 32, 24, 0.02], ("fisheye", (0.02,))),
    "RADIAL_FISHEYE": (9, [40, 32, 24, 0.02, -0.01], ("fisheye", (0.02, -0.01))),
}


def through(lens, frame):
    """Return a picture as a lens shows it: of every pixel, where its ray comes from."""
    v, u = np.indices(frame.depth_m.shape).astype(float)
    x, y = (u - INTRINSICS[0, 2]) / 40, (v - INTRINSICS[1, 2]) / 40
    a, b = x.copy(), y.copy()
    for _ in range(60):  # a fixed point of the lens is its inverse
        da, db = lens.distorted(a, b)
        a, b = a + (x - da), b + (y - db)
    rays = np.stack([a, b, np.ones_like(a)], -1) @ frame.pose[:3, :3].T
    low, high, at = np.array([-2, -1.5, 0]), np.array([2, 1.5, 2.4]), frame.pose[:3, 3]
    depth = np.min(np.where(rays > 0, high - at, low - at) / rays, axis=-1)
    rgb = colors_at(at + rays * depth[..., None])
    return dataclasses.replace(frame, rgb=rgb, depth_m=depth)


@pytest.mark.parametrize("name", LENSES)
@pytest.mark.parametrize("binary", [False, True])
def test_lenses_are_taken_out(tmp_path, name, binary):
    number, values, lens = LENSES[name]
    straight = pictures()
    frames = straight
    if lens is not None:
        frames = [through(Distortion(*lens), frame) for frame in straight]
    points = tracked_points(straight, INTRINSICS, step=8)
    folder = tmp_path / "room"
    write_colmap(folder, binary, (number, name, values), frames, points=points)
    scene = scan_at(folder, {"up": "z", "scale": 1.0}).open()
    for frame, expected in zip(scene.frames(), straight, strict=True):
        np.testing.assert_allclose(frame.intrinsics, INTRINSICS, atol=1e-9)
        np.testing.assert_allclose(frame.world_from_camera, expected.pose, atol=1e-9)
        known = frame.rgb.any(axis=-1)
        off = np.abs(frame.rgb.astype(int) - expected.rgb)[known]
        assert known.mean() > 0.85
        assert np.percentile(off, 98) <= (0 if lens is None else 8)


def test_what_an_image_was_matched_to_is_seen_by_it(tmp_path):
    xyz, rgb, tracks = tracked_points(pictures(), INTRINSICS, step=9)
    # Stray points before the cameras hide others, which were matched all the same.
    stray = np.tile([[0.0, 0.6, 1.2]], (40, 1)) + np.random.default_rng(0).normal(
        0, 0.1, (40, 3)
    )
    xyz = np.concatenate([xyz, stray])
    rgb = np.concatenate([rgb, np.zeros((40, 3), np.uint8)])
    points = xyz, rgb, [*tracks, *[[]] * 40]
    folder = write_colmap(tmp_path / "room", points=points)
    scene = scan_at(folder, {"up": "z", "scale": 1.0}).open()
    np.testing.assert_allclose(scene.points, xyz, atol=1e-6)
    np.testing.assert_array_equal(scene.colors, rgb)
    for i, frame in enumerate(scene.frames()):
        _, visible = project(scene.points, frame, border_px=0)
        matched = np.array([any(image == i + 1 for image, _ in t) for t in points[2]])
        assert matched.sum() > 30 and visible[matched].mean() > 0.98
        hidden = scene.frame_source.source.read(frame.name)
        assert hidden.depth_m is None


@pytest.mark.parametrize("scale", [0.13, 1.0, 50.0])
def test_up_and_unit_are_told_by_cameras_and_floor(tmp_path, caplog, scale):
    world = turned(0, 100, (3, -2, 1)) @ turned(2, 40)
    frames = [picture(pose @ turned(0, -15)) for pose in walk()]
    folder = write_colmap(tmp_path / "room", frames=frames, world=world, scale=scale)
    scene = scan_at(folder).open()
    assert "--scale=" in caplog.text
    # Cameras are at 1.2 to 1.55 m, the floor at 0: metres are taken as they are.
    expected = 1.0 if scale == 1 else 1.4 / 1.375
    height = np.ptp(tracked_points(frames, INTRINSICS)[0][:, 2])
    assert np.ptp(scene.points[:, 2]) == pytest.approx(height * expected, rel=0.03)
    heights = [frame.world_from_camera[2, 3] for frame in scene.frames()]
    floor = scene.points[:, 2].min()
    assert np.median(heights) - floor == pytest.approx(1.375 * expected, rel=0.03)
    scene = scan_at(folder, {"scale": 1 / scale}).open()
    assert np.ptp(scene.points[:, 2]) == pytest.approx(height, rel=0.02)


@pytest.mark.parametrize("place", ["sparse/0", "sparse", ""])
def test_the_model_may_lie_in_three_places(tmp_path, place):
    folder = write_colmap(tmp_path / "room", place=place)
    scan = scan_at(folder)
    assert scan.dataset.name == "colmap"
    assert scan.open().frame_source.names == tuple(f"{i}.png" for i in range(8))


def test_the_folder_of_the_model_itself_finds_its_images(tmp_path):
    write_colmap(tmp_path / "room")
    assert len(list(scan_at(tmp_path / "room/sparse/0").open().frames())) == 8


def test_the_largest_of_several_models_counts(tmp_path):
    folder = write_colmap(tmp_path / "room", place="sparse/1")
    write_colmap(tmp_path / "other", frames=pictures(count=3))
    (tmp_path / "other/sparse/0").rename(folder / "sparse/0")
    assert len(list(scan_at(folder).open().frames())) == 8


@pytest.mark.parametrize("place", [".", "dense", "dense/0"])
def test_a_dense_mesh_is_better_than_sparse_points(tmp_path, place):
    folder = write_colmap(tmp_path / "room")
    (folder / place).mkdir(parents=True, exist_ok=True)
    corners = np.array([[-2, 1.5, 0], [2, 1.5, 0], [2, 1.5, 2.4], [-2, 1.5, 2.4]])
    mesh = folder / place / "meshed-poisson.ply"
    write_ply(mesh, corners, faces=[[0, 1, 2], [0, 2, 3]])
    scan = scan_at(folder, {"up": "z", "scale": 1.0})
    scene, key = scan.open(), scan.key("geometry")
    assert scene.faces is not None and len(scene.points) == 4
    frame = next(scene.frames())
    assert (frame.depth_m > 0).any()
    mesh.unlink()
    assert scan.key("geometry") != key and len(scan.open().points) > 1000


def test_missing_images_are_skipped_unless_all_are(tmp_path):
    folder = write_colmap(tmp_path / "room")
    (folder / "images/3.png").unlink()
    scene = scan_at(folder).open()
    assert len(list(scene.frames())) == 7
    assert scene.skipped == {"unreadable image": 1}
    (folder / "images").rename(folder / "elsewhere")
    with pytest.raises(InputError, match=r"the images of the model.*none of 8"):
        scan_at(folder).open()


def test_images_made_smaller_later_fit(tmp_path):
    folder = write_colmap(tmp_path / "room")
    frames = [dataclasses.replace(f, rgb=f.rgb[::2, ::2]) for f in pictures()]
    write_images(folder / "images", frames)
    assert next(scan_at(folder).open().frames()).intrinsics[0, 0] == 20


def test_a_pose_that_is_none_is_one_bad_frame(tmp_path):
    folder = write_colmap(tmp_path / "room", binary=False)
    path = folder / "sparse/0/images.txt"
    lines = path.read_text().split("\n")
    lines[1] = " ".join(["1", *["nan"] * 4, *lines[1].split()[5:]])
    lines[3] = " ".join(["2", *["0"] * 4, *lines[3].split()[5:]])
    path.write_text("\n".join(lines))
    scene = scan_at(folder).open()
    assert len(list(scene.frames())) == 6 and scene.skipped == {"invalid pose": 2}


@pytest.mark.parametrize(
    ("part", "text", "message"),
    [
        ("cameras", "5 THIN_PRISM_FISHEYE 64 48 1 2 3", "image_undistorter"),
        ("cameras", "5 WHATEVER 64 48 1 2 3", "got WHATEVER"),
        ("cameras", "5 PINHOLE 64 48 40 40 32", "a whole cameras.txt"),
        ("cameras", "5 PINHOLE 64 48 -40 40 32 24", "positive focal"),
        ("cameras", "5 PINHOLE 64 48 nan 40 32 24", "positive focal"),
        ("cameras", "5 PINHOLE 0 48 40 40 32 24", "positive focal"),
        ("cameras", "6 PINHOLE 64 48 40 40 32 24", "a camera for every image"),
        ("cameras", "5 PINHOLE 64", "a whole cameras.txt"),
        ("images", "1 1 0 0 0 0 0", "a whole images.txt"),
        ("images", "# nothing", "got no names"),
        ("points3D", "1 0 0", "a whole points3D.txt"),
        ("points3D", "1 0 0 nan 9 9 9 0.5", "finite"),
        ("points3D", "1 0 0 0 9 9 999 0.5", "a whole points3D.txt"),
        ("points3D", "# nothing", "P >= 1"),
    ],
)
def test_bad_text_says_what_is_wrong(tmp_path, part, text, message):
    folder = write_colmap(tmp_path / "room", binary=False)
    (folder / f"sparse/0/{part}.txt").write_text(text + "\n")
    with pytest.raises(InputError, match=message):
        scan_at(folder).open()


@pytest.mark.parametrize("part", ["cameras", "images", "points3D"])
def test_a_file_cut_off_anywhere_is_refused(tmp_path, part):
    folder = write_colmap(tmp_path / "room", frames=pictures(count=2))
    path = folder / f"sparse/0/{part}.bin"
    data = path.read_bytes()
    for size in {0, 4, 8, 20, len(data) // 2, len(data) - 1}:
        path.write_bytes(data[:size])
        with pytest.raises(InputError, match=f"a whole {part}.bin"):
            Colmap().open(folder)


def test_stray_points_are_left_out_and_counted(tmp_path, caplog):
    xyz, rgb, tracks = tracked_points(pictures(), INTRINSICS, step=9)
    xyz, rgb = np.insert(xyz, 3, [1e5, 2, 3], axis=0), np.insert(rgb, 3, 9, axis=0)
    tracks.insert(3, [(1, 0), (2, 0)])
    folder = write_colmap(tmp_path / "room", points=(xyz, rgb, tracks))
    scene = scan_at(folder, {"up": "z", "scale": 1.0}).open()
    assert f"1 of {len(xyz)} points" in caplog.text
    np.testing.assert_allclose(scene.points, np.delete(xyz, 3, axis=0), atol=1e-6)
    frame = next(scene.frames())
    _, visible = project(scene.points, frame, border_px=0)
    matched = [any(image == 1 for image, _ in t) for t in tracks[:3] + tracks[4:]]
    assert visible[matched].mean() > 0.98


def test_a_model_without_points_says_so(tmp_path):
    folder = write_colmap(tmp_path / "room", frames=pictures(count=2))
    (folder / "sparse/0/points3D.bin").write_bytes(struct.pack("<Q", 0))
    with pytest.raises(InputError, match="P >= 1"):
        Colmap().open(folder)


def read(folder):
    read_images(folder)
    read_points(folder)


@pytest.mark.parametrize("part", ["cameras", "images", "points3D"])
def test_counts_beyond_the_file_are_refused_and_cost_nothing(tmp_path, part):
    folder = write_colmap(tmp_path / "room", frames=pictures(count=2)) / "sparse/0"
    path = folder / f"{part}.bin"
    path.write_bytes(struct.pack("<Q", 1 << 62) + path.read_bytes()[8:])
    tracemalloc.start()
    with pytest.raises(InputError, match=f"a whole {part}.bin"):
        read(folder)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_bytes_are_read_or_refused(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("fuzz")
    write_colmap(
        folder,
        frames=pictures(count=2),
        points=(np.zeros((3, 3)), np.zeros((3, 3), np.uint8), [[(1, 0)], [], [(2, 1)]]),
        place="",
    )
    path = (
        folder / f"{data.draw(st.sampled_from(['cameras', 'images', 'points3D']))}.bin"
    )
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(raw)
    with contextlib.suppress(InputError):
        read(folder)


@settings(max_examples=60, deadline=None)
@given(part=st.sampled_from(["cameras", "images", "points3D"]), text=st.text())
def test_any_text_is_read_or_refused(tmp_path_factory, part, text):
    folder = tmp_path_factory.mktemp("fuzz")
    for name in ("cameras", "images", "points3D"):
        (folder / f"{name}.txt").write_text(text if name == part else "", "utf-8")
    with contextlib.suppress(InputError):
        read(folder)


def test_points_lie_on_the_room(tmp_path):
    scene = scan_at(write_colmap(tmp_path / "room"), {"up": "z", "scale": 1.0}).open()
    assert off_surface(scene.points).max() < 1e-5
    assert np.abs(scene.colors.astype(int) - colors_at(scene.points)).max() <= 1
