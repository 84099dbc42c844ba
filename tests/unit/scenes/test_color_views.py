"""Colour that is turned, or of another shape than depth, against colour that is not."""

import shutil

import numpy as np
import pytest
from PIL import Image
from scene_files import (
    INTRINSICS,
    exif,
    open_capture,
    scan_of,
    write_frame,
    write_scannet,
)

from sas_jax.datasets.scannet import ScanNet
from sas_jax.errors import InputError
from sas_jax.lifting.project import project
from sas_jax.scenes.color_views import (
    ColorCamera,
    color_of_depth,
    turned_frame,
    turned_pose,
)
from sas_jax.scenes.frames import FolderFrames
from sas_jax.scenes.scene import BadFrame, Frame

POSE = np.array([[0.0, 0, 1, 5], [-1, 0, 0, 6], [0, -1, 0, 7], [0, 0, 0, 1]])
# Clockwise turns that undo what a stored picture was turned by.
BACK = {6: 1, 3: 2, 8: 3}


def store_turned(path, orientation):
    """Store pixels turned, with the EXIF mark that turns them back."""
    pixels = np.array(Image.open(path))
    stored = np.rot90(pixels, BACK[orientation])
    path = path.with_suffix(".png")
    Image.fromarray(stored).save(path, exif=exif(orientation))


def to_png(folder):
    for path in sorted((folder / "color").glob("*.jpg")):
        Image.open(path).save(path.with_suffix(".png"))
        path.unlink()


def assert_same(frame, expected):
    np.testing.assert_array_equal(frame.rgb, expected.rgb)
    np.testing.assert_allclose(frame.intrinsics, expected.intrinsics, atol=1e-12)
    np.testing.assert_array_equal(frame.world_from_camera, expected.world_from_camera)
    if expected.depth_m is not None:
        np.testing.assert_array_equal(frame.depth_m, expected.depth_m)


@pytest.mark.parametrize("depth", [True, False])
@pytest.mark.parametrize("orientation", BACK)
@pytest.mark.parametrize("size_wh", [None, (32, 24)])
def test_turned_pixels_are_those_of_the_upright_image(
    tmp_path, orientation, depth, size_wh
):
    folder = write_scannet(tmp_path)
    to_png(folder)
    if not depth:
        shutil.rmtree(folder / "depth")
    expected = list(ScanNet().open(folder, image_size_wh=size_wh).frames())
    for path in (folder / "color").iterdir():
        store_turned(path, orientation)
    frames = list(ScanNet().open(folder, image_size_wh=size_wh).frames())
    assert len(frames) == 3
    for frame, wanted in zip(frames, expected, strict=True):
        assert_same(frame, wanted)


def phone_capture(tmp_path, orientation, *, depth=True, stated=False):
    """Depth, poses and intrinsics are the sensor's; EXIF turns colour only."""
    folder = write_scannet(tmp_path)
    to_png(folder)
    for path in (folder / "color").iterdir():
        Image.open(path).save(path, exif=exif(orientation))
    if not depth:
        shutil.rmtree(folder / "depth")
    if stated:
        text = "colorWidth = 64\ncolorHeight = 48\n"
        (folder / "scene0000_00.txt").write_text(text)
    return folder


@pytest.mark.parametrize(("depth", "stated"), [(True, 0), (False, 0), (False, 1)])
@pytest.mark.parametrize("orientation", [6, 8])
def test_the_camera_turns_with_pixels_that_fit_it_as_stored(
    tmp_path, orientation, depth, stated
):
    folder = phone_capture(tmp_path, orientation, depth=depth, stated=stated)
    scene = ScanNet().open(folder, image_size_wh=(32, 24))
    frame = next(scene.frames())
    assert frame.rgb.shape == (32, 24, 3)
    # What asks for poses alone sees the upright camera.
    pose = scene.frame_source.read_pose(frame.name)
    np.testing.assert_array_equal(pose, frame.world_from_camera)
    for path in (folder / "color").iterdir():
        Image.open(path).save(path, exif=exif(1))
    plain = next(ScanNet().open(folder, image_size_wh=(32, 24)).frames())
    np.testing.assert_array_equal(frame.rgb, np.rot90(plain.rgb, -BACK[orientation]))
    # The same points have the same colours and depths.
    points = (
        plain.world_from_camera[:3, :3]
        @ np.random.default_rng(0).uniform([-1, -1, 1.9], [1, 1, 2.1], (500, 3)).T
    )
    points = points.T + plain.world_from_camera[:3, 3]
    colors = []
    for each in (frame, plain):
        pixel, visible = project(points, each, border_px=1)
        assert visible.sum() > 200
        colors.append((visible, each.rgb[pixel[:, 0], pixel[:, 1]][visible]))
    np.testing.assert_array_equal(colors[0][0], colors[1][0])
    np.testing.assert_array_equal(colors[0][1], colors[1][1])


def test_mirrored_pixels_of_the_sensor_stay_as_stored(tmp_path):
    folder = phone_capture(tmp_path, 5)
    frame = next(ScanNet().open(folder, image_size_wh=None).frames())
    assert frame.rgb.shape == (48, 64, 3)
    np.testing.assert_array_equal(frame.intrinsics, INTRINSICS)


def test_portrait_frames_keep_their_shape(tmp_path):
    folder = write_scannet(
        tmp_path,
        size_wh=(48, 64),
        intrinsics=[[40.0, 0, 23.5], [0, 40, 31.5], [0, 0, 1]],
    )
    frame = next(ScanNet().open(folder, image_size_wh=(32, 24)).frames())
    assert frame.rgb.shape == (32, 24, 3) and frame.depth_m.shape == (32, 24)
    assert frame.intrinsics[0, 0] == frame.intrinsics[1, 1] == 20


@pytest.mark.parametrize("clockwise", [1, 2, 3])
def test_a_turned_frame_sees_the_same_points_at_turned_pixels(clockwise):
    rng = np.random.default_rng(0)
    depth = rng.uniform(1, 3, (48, 64)).astype(np.float32)
    rgb = rng.integers(0, 256, (48, 64, 3)).astype(np.uint8)
    matrix = np.array([[40.0, 0, 30], [0, 44, 20], [0, 0, 1]])
    frame = Frame("f", rgb, depth, matrix, POSE)
    turned = turned_frame(frame, clockwise)
    assert np.linalg.det(turned.world_from_camera[:3, :3]) == pytest.approx(1)
    v, u = np.mgrid[2:46, 2:62].reshape(2, -1)
    z = depth[v, u].astype(float)
    local = np.stack([(u - 30) / 40 * z, (v - 20) / 44 * z, z, np.ones_like(z)])
    points = (POSE @ local)[:3].T
    for each, border in ((frame, 2), (turned, 2)):
        pixel, visible = project(points, each, border_px=border)
        assert visible.all()
        at = tuple(pixel.T)
        np.testing.assert_array_equal(each.rgb[at], rgb[v, u])
        np.testing.assert_array_equal(each.depth_m[at], depth[v, u])
    up = -turned_pose(POSE, 1)[:3, 1]  # the upright edge was the stored image's left
    np.testing.assert_array_equal(up, -POSE[:3, 0])


WIDE = {"size_wh": (96, 54), "depth_wh": (64, 48)}
WIDE_INTRINSICS = np.array([[30.0, 0, 47.5], [0, 30, 26.5], [0, 0, 1]])


def capture(folder, intrinsics=INTRINSICS, **frame):
    pose = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
    for i in range(3):
        write_frame(folder, i, pose, **frame)
    np.savetxt(folder / "intrinsic.txt", intrinsics)
    return folder


def test_colour_of_another_shape_is_refused(tmp_path):
    folder = capture(tmp_path / "c", **WIDE)
    message = r"64 x 48 \(within 2 %\); got 96 x 54 .*intrinsic_color\.txt"
    with pytest.raises(InputError, match=message) as error:
        open_capture(folder)
    assert not isinstance(error.value, BadFrame)
    np.savetxt(folder / "intrinsic_color.txt", WIDE_INTRINSICS * [[4], [4], [1]])
    with pytest.raises(InputError, match=r"about 381 x 213; got 96 x 54"):
        open_capture(folder)


@pytest.mark.parametrize(
    ("size_wh", "fits"),
    [((129, 97), 1), ((130, 96), 1), ((131, 96), 0), ((128, 99), 0)],
)
def test_two_percent_of_the_shape_are_allowed(tmp_path, size_wh, fits):
    folder = capture(tmp_path / "c", size_wh=size_wh, depth_wh=(64, 48))
    if fits:
        assert open_capture(folder).points.shape[1] == 3
        return
    with pytest.raises(InputError, match="within 2 %"):
        open_capture(folder)


def test_one_frame_of_another_shape_is_skipped(tmp_path):
    folder = capture(tmp_path / "c")
    Image.new("RGB", (96, 54)).save(folder / "color" / "1.jpg")
    scene = open_capture(folder)
    assert scene.skipped == {"colour of another shape": 1}


def ramp(width, height):
    """Return an image whose pixel (u, v) is (2 u, 4 v, 7)."""
    v, u = np.mgrid[:height, :width]
    return np.stack([2 * u, 4 * v, np.full_like(u, 7)], 2).astype(np.uint8)


def test_both_intrinsics_bring_colour_to_depth(tmp_path, caplog):
    folder = capture(tmp_path / "c", **WIDE)
    for path in list((folder / "color").iterdir()):
        Image.fromarray(ramp(96, 54)).save(path.with_suffix(".png"))
        path.unlink()
    np.savetxt(folder / "intrinsic_color.txt", WIDE_INTRINSICS)
    frame = next(open_capture(folder).frames())
    assert [r.message for r in caplog.records if "color_from_depth" in r.message]
    v, u = np.mgrid[:48, :64]
    column = np.rint((u - 31.5) / 40 * 30 + 47.5)
    row = np.rint((v - 23.5) / 40 * 30 + 26.5)
    np.testing.assert_array_equal(
        frame.rgb, np.stack([2 * column, 4 * row, np.full_like(row, 7)], 2)
    )
    np.testing.assert_array_equal(frame.depth_m, 2)
    np.testing.assert_array_equal(frame.intrinsics, INTRINSICS)
    # Colour camera 0.2 m to the right: what it sees lies 0.2 * 30 / 2 pixels left.
    moved = np.eye(4)
    moved[0, 3] = -0.2
    np.savetxt(folder / "color_from_depth.txt", moved)
    caplog.clear()
    frame = next(open_capture(folder).frames())
    assert not [r for r in caplog.records if "color_from_depth" in r.message]
    np.testing.assert_array_equal(frame.rgb[..., 0], 2 * (column - 3))
    moved[0, 0] = 2
    np.savetxt(folder / "color_from_depth.txt", moved)
    with pytest.raises(InputError, match=r"color_from_depth\.txt") as error:
        open_capture(folder)
    assert not isinstance(error.value, BadFrame)


def test_what_colour_does_not_show_has_no_depth():
    depth = np.full((48, 64), 2, np.float32)
    depth[20, 28:36] = 0
    camera = ColorCamera(np.array([[80.0, 0, 20], [0, 80, 20], [0, 0, 1]]), np.eye(4))
    rgb, seen = color_of_depth(ramp(41, 41), camera, depth, INTRINSICS, "nearest")
    # At half the size, to the depth's resolution: 20 pixels around the axis.
    inside = (seen > 0) | (rgb[..., 2] > 0)
    assert inside.any(axis=0).sum() in (20, 21) and inside.any(axis=1).sum() in (20, 21)
    assert (rgb[~inside] == 0).all() and not seen[20, 28:36].any()
    assert rgb[20, 30].any()  # looked up along the ray
    behind = np.diag([-1.0, 1, -1, 1])
    turned = ColorCamera(camera.intrinsics, behind)
    rgb, seen = color_of_depth(ramp(41, 41), turned, depth, INTRINSICS, "nearest")
    assert not rgb.any() and not seen.any()


@pytest.mark.parametrize("suffix", [".PNG", ".Png", ".tif", ".tiff"])
def test_depth_of_other_suffixes_is_found_and_counts(tmp_path, suffix):
    folder = write_scannet(tmp_path)
    expected = list(ScanNet().open(folder).frames())
    key = scan_of(folder).key("views")
    for path in list((folder / "depth").iterdir()):
        image = Image.open(path)
        path.unlink()
        image.save(path.with_suffix(suffix))
    scene = ScanNet().open(folder)
    for frame, wanted in zip(scene.frames(), expected, strict=True):
        assert_same(frame, wanted)
    changed = scan_of(folder).key("views")
    assert changed != key
    path.with_suffix(suffix).write_bytes(b"")
    assert scan_of(folder).key("views") != changed
    assert len(list(scene.frames())) == 2 and scene.skipped == {"unreadable depth": 1}


def test_a_source_without_a_colour_camera_still_says_what_is_wrong(tmp_path):
    folder = capture(tmp_path / "c", **WIDE)
    files = {"0": folder / "color" / "0.jpg"}
    source = FolderFrames(folder, files, INTRINSICS)
    with pytest.raises(InputError, match="within 2 %"):
        source.read("0")
