"""Polycam, Stray Scanner, Record3D: turned sensors, meshes, videos, bad recordings."""

import contextlib
import io
import json
import pickle
import sys
import types
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from one_room import (
    colors_at,
    matrix,
    off_surface,
    picture,
    pictures,
    turned,
    walk,
)
from phone_files import (
    Y_UP,
    as_polycam,
    as_record3d,
    as_stray,
    record3d_members,
    save,
    write_video,
)

from sas_jax.datasets.record3d import Record3D
from sas_jax.datasets.registry import scan_at
from sas_jax.errors import InputError
from sas_jax.scenes.cloud import back_project
from sas_jax.scenes.rendered_depth import WithRenderedDepth
from sas_jax.scenes.video import read_video_frame

ZLIB = types.SimpleNamespace(decompress=zlib.decompress, error=zlib.error)


@pytest.fixture
def lzfse(monkeypatch):
    monkeypatch.setitem(sys.modules, "lzfse", ZLIB)


def check_frames(scene, within_m=0.005, levels=12):
    for frame in scene.frames():
        points, colors = back_project(frame, 8.0)
        assert off_surface(points).max() < within_m
        off = np.abs(colors.astype(int) - colors_at(points))
        assert np.quantile(off, 0.98) <= levels


def test_images_of_a_sensor_that_lies_are_handed_out_standing(tmp_path):
    """A phone held upright: the sensor's columns run down the scene."""
    frames = [picture(pose @ turned(2, -90)) for pose in walk()]
    folder, _ = as_stray(tmp_path / "room", frames)
    scene = scan_at(folder).open()
    for frame, lying in zip(scene.frames(), frames, strict=True):
        assert frame.size_hw == (64, 48)
        assert frame.world_from_camera[2, 1] < -0.9  # down is down
        assert off_surface(back_project(frame, 8.0)[0]).max() < 0.005
        np.testing.assert_allclose(
            frame.world_from_camera[:3, 3], lying.pose[:3, 3], atol=1e-9
        )
    check_frames(scene)
    assert off_surface(scene.points).max() < 0.02


# Polycam


def write_glb(folder, aligned=None):
    """Write the room's walls as a mesh, in axes of its own."""
    import trimesh

    room = trimesh.creation.box(bounds=[[-2, -1.5, 0], [2, 1.5, 2.4]])
    for _ in range(4):
        room = room.subdivide()
    room.invert()
    motion = Y_UP if aligned is None else aligned @ Y_UP
    colors = colors_at(room.vertices)
    room.apply_transform(motion)
    room.visual.vertex_colors = colors
    room.export(folder / "raw.glb")
    if aligned is not None:
        info = {"alignmentTransform": aligned.T.ravel().tolist(), "faces": 3}
        (folder / "mesh_info.json").write_text(json.dumps(info))


@pytest.mark.parametrize("aligned", [None, turned(1, 35, (0.4, 2.0, -1))])
def test_the_mesh_counts_where_there_is_no_depth(tmp_path, aligned):
    folder, frames = as_polycam(tmp_path / "room")
    (folder / "keyframes/depth").rename(tmp_path / "depth")
    with pytest.raises(InputError, match="depth images, or a mesh or cloud"):
        scan_at(folder).open()
    write_glb(folder, aligned)
    scan = scan_at(folder)
    scene, key = scan.open(), scan.key("geometry")
    assert isinstance(scene.frame_source, WithRenderedDepth)
    assert scene.faces is not None and off_surface(scene.points).max() < 1e-4
    check_frames(scene, within_m=0.08, levels=16)
    for frame, expected in zip(scene.frames(), frames, strict=True):
        near = np.abs(frame.depth_m - expected.depth_m)
        assert np.median(near) < 0.02
    (folder / "mesh_info.json").write_text("{}")
    assert scan.key("geometry") != key
    (folder / "mesh_info.json").write_text('{"alignmentTransform": [1, 2]}')
    with pytest.raises(InputError, match="16 numbers of a motion"):
        scan.open()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "invalid pose"),
        ("[]", "invalid pose"),
        ('{"fx": 40, "fy": 40, "cx": 31, "cy": 23}', "invalid pose"),
        (None, "invalid pose"),
        ("camera", "unreadable image"),
        ("nan", "invalid pose"),
    ],
)
def test_a_bad_camera_of_polycam_is_one_bad_frame(tmp_path, text, reason):
    folder, frames = as_polycam(tmp_path / "room")
    file = sorted((folder / "keyframes/corrected_cameras").iterdir())[2]
    stated = json.loads(file.read_text())
    if text in ("camera", "nan"):
        stated.update({"fx": 0.0} if text == "camera" else {"t_11": float("nan")})
        text = json.dumps(stated)
    file.unlink() if text is None else file.write_text(text)
    scene = scan_at(folder).open()
    assert scene.skipped == {reason: 1}
    assert len(list(scene.frames())) == len(frames) - 1


def test_polycam_without_images_says_so(tmp_path):
    folder, _ = as_polycam(tmp_path / "room")
    (folder / "keyframes/corrected_images").rename(tmp_path / "away")
    with pytest.raises(InputError, match="images are required"):
        scan_at(folder).open()


# Stray Scanner


def test_frames_of_a_video_in_any_order(tmp_path):
    pytest.importorskip("av")
    images = [frame.rgb for frame in pictures(count=40)]
    path = tmp_path / "rgb.mp4"
    write_video(path, images)
    order = [*range(3), 37, 38, 5, 39, 0, *range(10, 16), 30, 12]
    for number in order:
        off = np.abs(read_video_frame(path, number).astype(int) - images[number])
        assert np.median(off) <= 2 and np.quantile(off, 0.95) <= 12
    with pytest.raises(InputError, match="frame 40 is required, got 40 frames"):
        read_video_frame(path, 40)


def test_a_recording_with_video_gives_the_room(tmp_path):
    pytest.importorskip("av")
    color = matrix(160, 160, 127.5, 95.5)  # a large image compresses less visibly
    large = pictures(color, (256, 192))
    folder, frames = as_stray(tmp_path / "room", images=False)
    write_video(folder / "rgb.mp4", [frame.rgb for frame in large])
    rows = [", ".join(map(str, row)) for row in color]
    (folder / "camera_matrix.csv").write_text("\n".join(rows))
    scene = scan_at(folder).open()
    assert len(list(scene.frames())) == len(frames)
    check_frames(scene)
    source = pickle.loads(pickle.dumps(scene.frame_source))
    np.testing.assert_array_equal(
        source.read("000003").rgb, scene.frame_source.read("000003").rgb
    )


@pytest.mark.parametrize("data", [b"", b"\0" * 400, b"cut"])
def test_a_damaged_video_makes_bad_frames(tmp_path, data):
    pytest.importorskip("av")
    folder, _ = as_stray(tmp_path / "room", images=False)
    path = folder / "rgb.mp4"
    write_video(path, [frame.rgb for frame in pictures()])
    path.write_bytes(path.read_bytes()[:-300] if data == b"cut" else data)
    with pytest.raises(InputError, match="unreadable image"):
        scan_at(folder).open()


def test_the_package_that_decodes_is_named(tmp_path, monkeypatch, caplog):
    folder, _ = as_stray(tmp_path / "room", images=False)
    (folder / "rgb.mp4").write_bytes(b"video")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match="unreadable image"):
        scan_at(folder).open()
    assert "package av" in caplog.text and "phones" in caplog.text


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("odometry", "", "got none for 8 images"),
        ("odometry", "timestamp, frame, x, y\n1, 2, 3, 4", "rows of frame"),
        ("odometry", "1, 2, 3", "rows of frame"),
        ("odometry", "0, 0, 0, 0, 0, 0, one", "rows of frame"),
        ("camera_matrix", "1, 2", "intrinsics"),
        ("camera_matrix", "0, 0, 3\n0, 0, 4\n0, 0, 1", "intrinsics"),
    ],
)
def test_bad_tables_of_stray_say_what_they_lack(tmp_path, name, text, message):
    folder, _ = as_stray(tmp_path / "room")
    (folder / f"{name}.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        scan_at(folder).open()


def test_lost_rows_and_images_of_stray(tmp_path):
    folder, frames = as_stray(tmp_path / "room")
    lines = (folder / "odometry.csv").read_text().splitlines()
    lines[4] = lines[4].split(",")[0] + ", 000003, nan, 0, 0, 0, 0, 0, 0"
    (folder / "odometry.csv").write_text("\n".join(lines))
    (folder / "depth/000005.png").unlink()
    (folder / "rgb/000006.jpg").unlink()
    save(folder / "confidence/000007.png", np.zeros((5, 5), np.uint8))
    scene = scan_at(folder).open()
    assert scene.skipped == {"invalid pose": 1, "unreadable image": 1}
    assert len(list(scene.frames())) == len(frames) - 4


# Record3D


def unpacked(folder, members):
    for name, data in members.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def test_an_unpacked_recording_is_the_same(tmp_path, lzfse):
    packed, frames = as_record3d(tmp_path / "a" / "room", zlib.compress)
    folder = unpacked(tmp_path / "b/room", record3d_members(frames, zlib.compress))
    one, two = scan_at(packed).open(), scan_at(folder).open()
    assert one.name == two.name == "room"
    np.testing.assert_array_equal(one.points, two.points)
    source = pickle.loads(pickle.dumps(one.frame_source))
    np.testing.assert_array_equal(source.read("3").rgb, two.frame_source.read("3").rgb)


def test_the_real_package_decompresses(tmp_path):
    package = pytest.importorskip("lzfse")
    path, _ = as_record3d(tmp_path / "room", package.compress)
    scene = scan_at(path).open()
    assert scene.skipped == {}
    check_frames(scene)


def test_old_recordings_have_no_size_of_depth(tmp_path, lzfse):
    """They stand, and are three quarters as wide as high."""
    k = matrix(40, 40, 23.5, 31.5)
    frames = [picture(pose, k, (48, 64)) for pose in walk()]
    members = record3d_members(frames, zlib.compress)
    stated = json.loads(members["metadata"])
    stated |= {"w": 96, "h": 128, "K": [80, 0, 0, 0, 80, 0, 47.5, 63.5, 1]}
    for key in ("dw", "dh", "perFrameIntrinsicCoeffs"):
        del stated[key]
    members["metadata"] = json.dumps(stated).encode()
    scene = scan_at(unpacked(tmp_path / "room", members)).open()
    check_frames(scene)
    stated["K"] = np.reshape(stated["K"], (3, 3)).T.ravel().tolist()  # by rows
    members["metadata"] = json.dumps(stated).encode()
    check_frames(scan_at(unpacked(tmp_path / "rows", members)).open())


def test_the_package_that_decompresses_is_named(tmp_path, monkeypatch, caplog):
    path, _ = as_record3d(tmp_path / "room", zlib.compress)
    for name in ("lzfse", "liblzfse"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match="unreadable image"):
        scan_at(path).open()
    assert "package lzfse" in caplog.text and "phones" in caplog.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"poses": [[1, 2]]}, "poses of seven numbers"),
        ({"poses": []}, "got 0 poses"),
        ({"poses": None}, "poses of seven"),
        ({"w": 0}, "images of"),
        ({"w": "wide"}, "metadata with w"),
        ({"perFrameIntrinsicCoeffs": None, "K": [1, 2]}, "metadata with w"),
        ({"perFrameIntrinsicCoeffs": [[1]] * 8}, "metadata with w"),
        ({"perFrameIntrinsicCoeffs": [[1, 1, 1, 1]]}, "metadata with w"),
        ({"perFrameIntrinsicCoeffs": None, "K": [0.0] * 9}, "intrinsics"),
        ({"dw": 65}, "unreadable image"),
    ],
)
def test_bad_metadata_of_record3d(tmp_path, lzfse, changes, message):
    members = record3d_members(pictures(), zlib.compress)
    stated = json.loads(members["metadata"]) | changes
    members["metadata"] = json.dumps(stated).encode()
    with pytest.raises(InputError, match=message):
        scan_at(unpacked(tmp_path / "room", members)).open()


def test_lost_and_damaged_members_are_bad_frames(tmp_path, lzfse):
    frames = pictures()
    members = record3d_members(frames, zlib.compress)
    members["rgbd/1.depth"] = b"noise"
    members["rgbd/2.jpg"] = members["rgbd/2.jpg"][:100]
    members["rgbd/3.conf"] = zlib.compress(b"1")
    del members["rgbd/4.depth"]
    path = tmp_path / "room.r3d"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    scene = scan_at(path).open()
    assert scene.skipped == {"unreadable image": 3}
    assert len(list(scene.frames())) == len(frames) - 4


def test_an_archive_that_claims_too_much_is_refused(tmp_path):
    path = tmp_path / "room.r3d"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("metadata", bytes(300 << 20))
    with pytest.raises(InputError, match="314572800 bytes"):
        scan_at(path).open()


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_archive_is_read_or_refused(tmp_path_factory, data):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, member in record3d_members(pictures(count=1), zlib.compress).items():
            archive.writestr(name, member)
    raw = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        # Heads and tails hold the structure.
        at = data.draw(st.integers(0, 400) | st.integers(len(raw) - 400, len(raw) - 1))
        raw[at] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("fuzz") / "room.r3d"
    path.write_bytes(raw[: data.draw(st.sampled_from([len(raw), len(raw) // 2]))])
    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(InputError):
        patch.setitem(sys.modules, "lzfse", ZLIB)
        Record3D().open(path)
