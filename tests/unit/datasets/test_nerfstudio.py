"""transforms.json: lenses, cameras of frames, clouds, units; what is missing or bad."""

import contextlib
import dataclasses
import json

import numpy as np
import pytest
from colmap_files import tracked_points, write_colmap
from hypothesis import given, settings
from hypothesis import strategies as st
from one_room import INTRINSICS, colors_at, off_surface, pictures, turned
from phone_files import as_nerfstudio, save
from scene_files import write_ply

from sas_jax.datasets.nerfstudio import Nerfstudio
from sas_jax.datasets.registry import scan_at
from sas_jax.errors import InputError
from sas_jax.scenes.cloud import back_project

TABLE = {"fl_x": 40.0, "fl_y": 40.0, "cx": 32.0, "cy": 24.0, "w": 64, "h": 48}


def change(folder, edit):
    file = folder / "transforms.json"
    stated = json.loads(file.read_text())
    edit(stated)
    file.write_text(json.dumps(stated))
    return folder


def check_frames(scene, within_m=0.005):
    for frame in scene.frames():
        points, colors = back_project(frame, 8.0)
        assert off_surface(points).max() < within_m
        off = np.abs(colors.astype(int) - colors_at(points))
        assert np.quantile(off, 0.99) <= 12


def test_frames_may_have_cameras_of_their_own(tmp_path):
    frames = pictures()
    folder, _ = as_nerfstudio(tmp_path / "room", frames, **dict.fromkeys(TABLE))

    def edit(stated):
        for frame in stated["frames"]:
            frame.update(TABLE)
        wide = stated["frames"][0]  # the same image, stated for twice its size
        wide.update({k: 2 * v for k, v in TABLE.items()})

    scene = scan_at(change(folder, edit)).open()
    assert len(list(scene.frames())) == len(frames)
    check_frames(scene)


def test_an_angle_is_camera_enough(tmp_path):
    angle = 2 * np.arctan(64 / 80)
    none = dict.fromkeys(["fl_x", "fl_y", "cx", "cy", "w", "h", "camera_model"])
    folder, _ = as_nerfstudio(tmp_path / "room", camera_angle_x=angle, **none)

    def edit(stated):
        for frame in stated["frames"]:
            frame["file_path"] = "./" + frame["file_path"].removesuffix(".png")

    scene = scan_at(change(folder, edit)).open()
    check_frames(scene)
    np.testing.assert_allclose(next(scene.frames()).intrinsics, INTRINSICS, atol=1e-9)


def test_neither_depth_nor_cloud_is_said(tmp_path):
    folder, _ = as_nerfstudio(tmp_path / "room", depth=False)
    with pytest.raises(InputError, match="depth images, or a mesh or cloud"):
        scan_at(folder).open()


@pytest.mark.parametrize("kind", ["ply", "colmap"])
def test_a_cloud_stands_for_depth(tmp_path, kind):
    frames = pictures()
    xyz, rgb, tracks = tracked_points(frames, INTRINSICS)
    folder, _ = as_nerfstudio(tmp_path / "room", frames, depth=False)
    if kind == "ply":
        write_ply(folder / "sparse_pc.ply", xyz, colors=rgb)
        change(folder, lambda stated: stated.update(ply_file_path="sparse_pc.ply"))
    else:
        applied = turned(0, 90, (0.5, -1, 2))
        there = xyz @ np.linalg.inv(applied)[:3, :3].T + np.linalg.inv(applied)[:3, 3]
        model = folder / "colmap"
        write_colmap(model, frames=frames, points=(there, rgb, tracks))
        rows = applied[:3].tolist()
        change(folder, lambda stated: stated.update(applied_transform=rows))
    scan = scan_at(folder, {"up": "z"})
    assert scan.dataset.name == "nerfstudio"
    scene = scan.open()  # at a height of 1.4 m, metres are taken as they are
    assert off_surface(scene.points).max() < 1e-4
    assert np.abs(scene.colors.astype(int) - colors_at(scene.points)).max() <= 1
    frame = next(scene.frames())
    known = frame.depth_m > 0
    assert known.mean() > 0.9
    off = np.abs(frame.depth_m - frames[0].depth_m)[known]
    assert np.median(off / frames[0].depth_m[known]) < 0.05


def test_a_unit_that_is_given_counts_for_depth_too(tmp_path):
    frames = []
    for frame in pictures():
        frame.pose[:3, 3] *= 4
        frames.append(dataclasses.replace(frame, depth_m=4 * frame.depth_m))
    folder, _ = as_nerfstudio(tmp_path / "room", frames)
    scene = scan_at(folder, {"scale": 0.25}).open()
    assert off_surface(scene.points).max() < 0.02
    check_frames(scene)


def test_a_fisheye_is_told_in_two_ways(tmp_path):
    seen = []
    for name, extra in (("a", {"camera_model": "OPENCV_FISHEYE"}), ("b", {})):
        extra = {**extra, "k1": 0.02, "k2": -0.01, "is_fisheye": not extra}
        folder, _ = as_nerfstudio(tmp_path / name, count_of(2), **extra)
        capture = Nerfstudio().capture(folder)
        seen.append(capture.frames.views[0].camera.distortion)
    assert seen[0] == seen[1] and seen[0].model == "fisheye"
    assert seen[0].coefficients == (0.02, -0.01, 0, 0)
    folder, _ = as_nerfstudio(tmp_path / "c", count_of(2), k1=0.1, p2=0.3, k3=0.2)
    lens = Nerfstudio().capture(folder).frames.views[0].camera.distortion
    assert (lens.model, lens.coefficients) == ("opencv", (0.1, 0, 0, 0.3, 0.2))


def count_of(count):
    return pictures(count=count)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": []}, "a list frames"),
        ({"frames": {"a": 1}}, "a list frames"),
        ({"frames": [{}]}, "file_path"),
        ({"frames": [7]}, "frames with a file_path"),
        ({"frames": [{"file_path": "a.png", "transform_matrix": [1]}]}, "shape"),
        ({"fl_x": None}, "camera_angle_x"),
        ({"fl_x": "wide"}, "frames with a file_path"),
        ({"fl_x": -1.0}, "fl_x -1"),
        ({"cx": float("nan")}, "cx nan"),
        ({"w": 0}, "for"),
        ({"camera_model": "EQUIRECTANGULAR"}, "got EQUIRECTANGULAR"),
        ({"k4": 0.1}, "k4=0.1"),
        ({"k1": float("inf")}, "finite"),
    ],
)
def test_bad_transforms_say_what_is_wrong(tmp_path, changes, message):
    folder, _ = as_nerfstudio(tmp_path / "room", count_of(2), **changes)
    with pytest.raises(InputError, match=message):
        scan_at(folder).open()


def test_what_is_no_json_and_what_is_missing(tmp_path):
    folder, _ = as_nerfstudio(tmp_path / "room", depth=False, ply_file_path="no.ply")
    with pytest.raises(InputError, match=r"no\.ply"):
        scan_at(folder).open()
    (folder / "images").rename(folder / "away")
    with pytest.raises(InputError, match="images that the file names"):
        scan_at(folder).open()
    for text in ("", "[1]", "{", "\0"):
        (folder / "transforms.json").write_text(text)
        with pytest.raises(InputError, match="a JSON object"):
            scan_at(folder).open()


def test_a_missing_depth_image_is_one_bad_frame(tmp_path):
    folder, frames = as_nerfstudio(tmp_path / "room")
    (folder / "depth/frame_00002.png").unlink()
    save(folder / "depth/frame_00003.png", np.zeros((10, 10, 3), np.uint8))
    scene = scan_at(folder).open()
    assert scene.skipped == {"unreadable image": 2}
    assert len(list(scene.frames())) == len(frames) - 2


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner)
    ),
    max_leaves=6,
)
KEYS = [*TABLE, "camera_model", "k1", "frames", "ply_file_path", "applied_transform"]
OF_FRAMES = ["file_path", "transform_matrix", "depth_file_path"]


@settings(max_examples=150, deadline=None)
@given(
    top=st.dictionaries(st.sampled_from(KEYS), JSON, max_size=2),
    one=st.dictionaries(st.sampled_from(OF_FRAMES), JSON, max_size=2),
)
def test_any_json_is_read_or_refused(tmp_path_factory, top, one):
    folder = tmp_path_factory.mktemp("fuzz")
    frame = {"file_path": "a.png", "transform_matrix": np.eye(4).tolist(), **one}
    stated = {**TABLE, "frames": [frame], **top}
    (folder / "transforms.json").write_text(json.dumps(stated))
    with contextlib.suppress(InputError):
        Nerfstudio().open(folder)
