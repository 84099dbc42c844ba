"""Scans spoiled on purpose: read, refused in a line, or frames are skipped."""

import json
import os
import struct
import zlib

import colmap_files
import geometry_files
import numpy as np
import phone_files
import pytest
from one_room import INTRINSICS, pictures
from PIL import Image

from sas_jax.datasets import registry
from sas_jax.errors import InputError
from sas_jax.lifting.config import ExtractConfig
from sas_jax.scenes.frames import natural_key


@pytest.fixture
def posed(tmp_path):
    for i, frame in enumerate(pictures(count=4)):
        for part in ("color", "depth", "pose"):
            (tmp_path / "room" / part).mkdir(parents=True, exist_ok=True)
        Image.fromarray(frame.rgb).save(tmp_path / f"room/color/{i}.png")
        np.save(tmp_path / f"room/depth/{i}.npy", frame.depth_m.astype(np.float32))
        np.savetxt(tmp_path / f"room/pose/{i}.txt", frame.pose)
    np.savetxt(tmp_path / "room/intrinsic.txt", INTRINSICS)
    return tmp_path / "room"


def skipped(path):
    scan = registry.scan_at(path)
    scan.key("views")
    scene = scan.open()
    list(scene.frames())
    return scene.skipped


def png_bomb(width, height):
    def chunk(kind, data):
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")


@pytest.mark.parametrize("file", ["color/1.png", "depth/1.npy", "pose/1.txt"])
@pytest.mark.parametrize("what", ["pipe", "device", "folder", "loop"])
def test_what_is_no_file_is_a_frame_less(posed, file, what):
    place = posed / file
    place.unlink()
    match what:
        case "pipe":
            os.mkfifo(place)
        case "device":
            place.symlink_to("/dev/zero")
        case "folder":
            place.mkdir()
        case "loop":
            place.symlink_to(place)
    assert sum(skipped(posed).values()) == 1


def test_an_intrinsics_pipe_is_refused(posed):
    (posed / "intrinsic.txt").unlink()
    os.mkfifo(posed / "intrinsic.txt")
    with pytest.raises(InputError, match=r"a pipe or a device.*intrinsic\.txt"):
        registry.scan_at(posed).open()


@pytest.mark.parametrize("file", ["color/1.png", "depth/1.npy"])
def test_images_of_far_more_pixels_than_bytes_are_not_decoded(posed, file):
    (posed / file).unlink()
    (posed / file).with_suffix(".png").write_bytes(png_bomb(12_000, 12_000))
    assert sum(skipped(posed).values()) == 1


def test_images_that_are_programs_are_not_run(posed):
    program = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 48\n%%EndComments\n"
    (posed / "color/1.png").write_bytes(program)
    assert skipped(posed) == {"unreadable colour": 1}


def test_depth_without_pixels_is_a_frame_less(posed):
    np.save(posed / "depth/1.npy", np.zeros((0, 64), np.float32))
    assert skipped(posed) == {"unreadable depth": 1}


def test_depth_without_a_reading_is_said(posed):
    for i in range(4):
        np.save(posed / f"depth/{i}.npy", np.zeros((48, 64), np.float32))
    with pytest.raises(InputError, match="for no reading of depth"):
        registry.scan_at(posed).open()


def test_one_portrait_among_landscapes_is_a_frame_less(posed):
    Image.new("RGB", (48, 64)).save(posed / "color/1.png")
    assert skipped(posed) == {"colour of another shape": 1}


def test_a_scale_moves_the_cameras_and_leaves_depth(posed):
    scans = [registry.scan_at(posed, {"scale": scale}) for scale in (None, 3.0)]
    one, three = (next(scan.open().frames()) for scan in scans)
    offset = scans[1].open().origin
    assert np.array_equal(one.depth_m, three.depth_m)
    at, moved = (frame.world_from_camera[:3, 3] for frame in (one, three))
    assert np.allclose(3 * at, moved + offset)


def test_frames_larger_than_memory_are_not_asked_for():
    with pytest.raises(InputError, match="of at most 67108864 pixels"):
        ExtractConfig(image_size_wh=(10**6, 10**6))


def test_names_of_any_length_are_in_order():
    names = ["1" * 5000, "9", "10", "a10", "a9", "010"]
    assert sorted(names, key=natural_key) == [
        *("9", "010", "10", "1" * 5000),
        *("a9", "a10"),
    ]


def changed(path, **changes):
    file = path / "transforms.json"
    stated = json.loads(file.read_text())
    stated["frames"][0] |= changes
    file.write_text(json.dumps(stated))
    return path


@pytest.mark.parametrize(
    "changes",
    [
        {"fl_x": None, "camera_angle_x": 0.0},
        {"file_path": "a" * 3000},
        {"depth_file_path": "a" * 3000},
    ],
)
def test_transforms_that_make_no_sense_are_refused(tmp_path, changes):
    path = changed(phone_files.as_nerfstudio(tmp_path / "room")[0], **changes)
    with pytest.raises(InputError, match="nerfstudio: frames with"):
        registry.scan_at(path).open()


def test_a_focal_length_that_throws_points_anywhere_is_refused(tmp_path):
    path, _ = phone_files.as_nerfstudio(tmp_path / "room", fl_x=1e-308, fl_y=1e-308)
    with pytest.raises(InputError, match="points must lie within"):
        registry.scan_at(path).open()


def test_paths_longer_than_the_system_allows_are_refused(tmp_path):
    with pytest.raises(InputError, match="name too long"):
        registry.scan_at(tmp_path / ("x/" * 3000))
    path, _ = phone_files.as_nerfstudio(
        tmp_path / "room", depth=False, ply_file_path="a" * 3000 + ".ply"
    )
    with pytest.raises(InputError, match="name too long"):
        registry.scan_at(path).key("geometry")


def test_transforms_with_depth_or_a_cloud_count_before_a_colmap_model(tmp_path):
    depth, cloud, bare = (tmp_path / name for name in ("depth", "cloud", "bare"))
    phone_files.as_nerfstudio(depth)
    phone_files.as_nerfstudio(cloud, depth=False, ply_file_path="cloud.ply")
    points, colors, _ = geometry_files.room()
    geometry_files.write_room(cloud / "cloud.ply", points[::50], colors[::50])
    phone_files.as_nerfstudio(bare, depth=False)
    for folder in (depth, cloud, bare):
        colmap_files.write_colmap(folder)
    found = [registry.scan_at(folder).dataset.name for folder in (depth, cloud, bare)]
    assert found == ["nerfstudio", "nerfstudio", "colmap"]
    (depth / "transforms.json").write_text("[")
    assert registry.scan_at(depth).dataset.name == "colmap"
