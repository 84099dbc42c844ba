"""`.sens` files: codecs, two cameras, lost frames; cut off anywhere, absurd lengths."""

import dataclasses
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from one_room import INTRINSICS, colors_at, matrix, off_surface, picture, walk
from sens_files import sens_bytes

from sas_jax.datasets.registry import of_root, scan_at
from sas_jax.datasets.sens import Sens, sens_frames
from sas_jax.errors import InputError
from sas_jax.scenes.cloud import back_project
from sas_jax.scenes.scene import BadFrame


def write(folder, name="room.sens", **options):
    folder.mkdir(exist_ok=True, parents=True)
    path = folder / name
    path.write_bytes(sens_bytes(**options))
    return path


def check_frames(source, within_m=0.002, levels=4):
    for name in source.names:
        frame = source.read(name)
        points, colors = back_project(frame, 8.0)
        assert off_surface(points).max() < within_m
        off = np.abs(colors.astype(int) - colors_at(points))
        assert np.percentile(off, 99) <= levels


@pytest.mark.parametrize("color", [0, 1, 2])
@pytest.mark.parametrize("depth", [0, 1])
def test_all_codecs_give_the_room(tmp_path, color, depth):
    source = sens_frames(write(tmp_path, codecs=(color, depth)))
    assert source.names == tuple("01234567")
    check_frames(source)
    again = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(again.read("3").rgb, source.read("3").rgb)


def test_depth_of_another_camera_sees_the_same_colours(tmp_path):
    moved = np.eye(4)
    moved[:3, 3] = 0.06, 0.02, 0
    color_k = matrix(70, 70, 63.5, 47.5)
    frames = []
    for pose in walk(4):
        color = picture(pose, color_k, (128, 96))
        depth_m = picture(pose @ moved).depth_m
        frames.append(dataclasses.replace(color, depth_m=depth_m))
    file = write(
        tmp_path,
        frames=frames,
        intrinsics=(color_k, INTRINSICS),
        extrinsics=(np.zeros((4, 4)), moved),
        sizes=((128, 96), (64, 48)),
    )
    source = sens_frames(file)
    assert source.read("0").size_hw == (48, 64)
    check_frames(source, levels=10)


def test_a_file_and_a_folder_of_one_are_scans(tmp_path):
    file = write(tmp_path / "all" / "scene0000_00", "scene0000_00.sens")
    other = write(tmp_path / "all", "b.sens")
    assert scan_at(file).name == scan_at(file.parent).name == "scene0000_00"
    root = of_root(tmp_path / "all")
    assert root.name == "sens"
    names = root.scan_names(tmp_path / "all", "train")
    assert names == ["b", "scene0000_00"]
    assert root.scan_path(tmp_path / "all", "b") == other
    scene = scan_at(other).open()
    assert scene.name == "b" and len(scene.points) > 1000
    key = scan_at(other).key("geometry")
    write(tmp_path / "all", "b.sens", depth_scale=500.0)
    assert scan_at(other).key("geometry") != key
    write(tmp_path / "all" / "scene0000_00", "c.sens")
    assert not Sens().is_scan(file.parent)
    with pytest.raises(InputError, match="none or several"):
        Sens().open(file.parent)


def test_lost_and_damaged_frames_are_skipped(tmp_path):
    frames = [picture(pose) for pose in walk(4)]
    frames[1] = dataclasses.replace(frames[1], pose=np.full((4, 4), -np.inf))
    good = sens_bytes(frames)
    start = good.index(b"\xff\xd8")  # of the first JPEG
    path = tmp_path / "a.sens"
    path.write_bytes(good[:start] + bytes(4) + good[start + 4 :])
    source = sens_frames(path)
    reasons = []
    for name in ("0", "1"):
        with pytest.raises(BadFrame) as error:
            source.read(name)
        reasons.append(error.value.reason)
    assert reasons == ["unreadable image", "invalid pose"]
    source.read("2")


def raw_images(frame):
    raw = np.rint(frame.depth_m * 1000).astype("<u2").tobytes()
    return frame.rgb.tobytes(), raw


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda color, depth: (color[:-1], depth), "raw colour for 64 x 48"),
        (lambda color, depth: (color, depth[:-1]), "other than 6144 bytes"),
        (lambda color, depth: (color, depth + b"  "), "other than 6144 bytes"),
        (lambda color, depth: (color, bytes(1 << 20)), "1048576 bytes for 3072 pixels"),
        (lambda color, depth: (b"", depth), "raw colour"),
    ],
)
def test_images_of_another_length_are_bad_frames(tmp_path, change, message):
    frames = [picture(pose) for pose in walk(2)]
    images = [change(*raw_images(frame)) for frame in frames]
    path = write(tmp_path, frames=frames, codecs=(0, 0), images=images)
    with pytest.raises(BadFrame, match=message):
        sens_frames(path).read("1")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"version": 3}, "version 4 is required, got 3"),
        ({"codecs": (2, 2), "images": [(b"", b"")] * 8}, "occi_ushort"),
        ({"codecs": (7, 1), "images": [(b"", b"")] * 8}, "got 7 and 1"),
        ({"sizes": ((0, 48), (64, 48))}, "colour 0 x 48"),
        ({"sizes": ((64, 48), (1 << 20, 1 << 20))}, "depth 1048576 x 1048576"),
        ({"depth_scale": float("nan"), "images": [(b"", b"")] * 8}, "units per metre"),
        ({"count": 9}, "ends within frame 8 of 9"),
        ({"count": 1 << 62}, "ends within frame"),
        ({"intrinsics": (np.zeros((3, 3)), INTRINSICS)}, "positive focal lengths"),
        ({"extrinsics": (np.eye(4), 2 * np.eye(4))}, "rigid extrinsic"),
    ],
)
def test_bad_heads_say_what_is_wrong(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        sens_frames(write(tmp_path, **options))


def test_a_file_cut_off_anywhere_is_refused(tmp_path):
    data = sens_bytes([picture(pose) for pose in walk(2)])
    path = tmp_path / "cut.sens"
    for size in [0, 3, 11, 20, 100, 300, 331, 340, len(data) // 2, len(data) - 9]:
        path.write_bytes(data[:size])
        with pytest.raises(InputError, match="it ends within"):
            sens_frames(path)


def test_a_length_beyond_the_file_is_refused_unread(tmp_path):
    frames = [picture(pose) for pose in walk(2)]
    data = bytearray(sens_bytes(frames, codecs=(0, 0), images=[(b"", b"")] * 2))
    lengths = len(data) - 8 - 2 * 96 + 64 + 16
    data[lengths : lengths + 8] = (1 << 40).to_bytes(8, "little")
    path = tmp_path / "long.sens"
    path.write_bytes(data)
    with pytest.raises(InputError, match="ends within frame 0 of 2"):
        sens_frames(path)


GOOD = sens_bytes([picture(pose) for pose in walk(2)])


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.binary(max_size=9))),
    st.lists(st.tuples(st.integers(0, 700), st.binary(max_size=9))),
)
def test_any_bytes_are_read_or_refused(tmp_path_factory, anywhere, at_heads):
    data = bytearray(GOOD)
    for place, value in [*anywhere, *at_heads]:
        data[place : place + len(value)] = value
    path = tmp_path_factory.mktemp("fuzz") / "f.sens"
    path.write_bytes(data)
    try:
        source = sens_frames(path)
    except InputError:
        return
    for name in source.names:
        try:
            frame = source.read(name)
        except BadFrame:
            continue
        assert frame.rgb.size < 1 << 27
