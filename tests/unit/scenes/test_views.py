"""Views become frames: lenses, sizes, turned pixels, separate cameras, rendered depth.

The room is a plane of stripes at 2 m, whose colour at any pixel is known in closed
form.
"""

import errno
import os

import numpy as np
import pytest
from PIL import Image

from sas_jax.errors import InputError
from sas_jax.scenes import rendered_depth
from sas_jax.scenes.color_views import fitted
from sas_jax.scenes.rendered_depth import (
    WithRenderedDepth,
    render_depth,
    surface_of_cloud,
    surface_of_mesh,
)
from sas_jax.scenes.scene import BadFrame, Frame, usable_frames
from sas_jax.scenes.undistort import Distortion
from sas_jax.scenes.views import Camera, View, ViewFrames

MATRIX = np.array([[60.0, 0, 39.5], [0, 60, 29.5], [0, 0, 1]])
WH = (80, 60)
LENSES = [
    Distortion("opencv", (-0.25, 0.1, 0.01, -0.02, -0.02)),
    Distortion("opencv", (0.1, 0.1, 0, 0, 0.02, 0.5, 0.05, 0.01)),
    Distortion("fisheye", (-0.1, -0.01, 0.002)),
]


def colors_at(x, y):
    """Return the colour of the plane at depth 1, for any shape of x and y."""
    values = [128 + 100 * np.sin(3 * x), 128 + 100 * np.cos(2 * y), 60 + 40 * x * y]
    return np.clip(np.stack(values, axis=-1), 0, 255).astype(np.uint8)


def rays(matrix=MATRIX, size_wh=WH):
    v, u = np.indices((size_wh[1], size_wh[0]), float)
    return (u - matrix[0, 2]) / matrix[0, 0], (v - matrix[1, 2]) / matrix[1, 1]


def undistorted_rays(lens):
    """Invert the lens by fixed-point iteration, one pixel after another's guess."""
    x0, y0 = rays()
    x, y = x0.copy(), y0.copy()
    for _ in range(100):
        dx, dy = lens.distorted(x, y)
        x, y = x - (dx - x0), y - (dy - y0)
    return x, y


def source(tmp_path, **view):
    fields = {
        "name": "a", "pose": np.eye(4), "camera": Camera(MATRIX, WH),
        "color": lambda: colors_at(*rays()),
        "depth": lambda: np.full((60, 80), 2, np.float32),
    }  # fmt: skip
    return ViewFrames(tmp_path, (View(**{**fields, **view}),))


@pytest.mark.parametrize("lens", LENSES)
def test_a_lens_is_taken_out_of_colour_and_depth(tmp_path, lens):
    x, y = undistorted_rays(lens)
    camera = Camera(MATRIX, WH, lens)
    depth = (2 + 0.3 * x).astype(np.float32)
    frame = source(
        tmp_path, camera=camera, color=lambda: colors_at(x, y), depth=lambda: depth
    ).read("a")
    inner = (slice(6, -6), slice(6, -6))
    off = np.abs(frame.rgb.astype(int) - colors_at(*rays()))[inner]
    assert off.max() <= 6  # nearest pixels, half of one off
    right = 2 + 0.3 * rays()[0]
    assert np.abs(frame.depth_m - right)[inner].max() < 0.3 / 60
    plain = source(tmp_path, color=lambda: colors_at(x, y)).read("a")
    uncorrected = np.abs(plain.rgb.astype(int) - colors_at(*rays()))[inner]
    assert uncorrected.mean() > 2 * off.mean()


def test_what_a_lens_never_saw_has_no_depth(tmp_path):
    lens = Distortion("opencv", (0.5,))
    frame = source(tmp_path, camera=Camera(MATRIX, WH, lens)).read("a")
    assert frame.depth_m[0, 0] == 0 and frame.depth_m[30, 40] == 2


def test_lenses_of_other_models_are_refused():
    for model, numbers in (("opencv", (np.nan,)), ("fisheye", (0.0,) * 5), ("x", (1,))):
        with pytest.raises(InputError, match="distortion"):
            Distortion(model, numbers)


def test_low_depth_beside_high_colour_keeps_one_geometry(tmp_path):
    big = np.array([[240.0, 0, 159.5], [0, 240, 119.5], [0, 0, 1]])
    frames = source(
        tmp_path, camera=Camera(big, (320, 240)),
        color=lambda: colors_at(*rays(big, (320, 240))),
    )  # fmt: skip
    low = frames.read("a")
    assert low.size_hw == (60, 80)
    off = np.abs(low.rgb.astype(int) - colors_at(*rays(low.intrinsics)))
    assert off.max() <= 6
    high = frames.handed_out(np.eye(4), (320, 240)).read("a")
    np.testing.assert_allclose(high.intrinsics, big)
    assert (high.depth_m == 2).all() and high.size_hw == (240, 320)


@pytest.mark.parametrize("moved_m", [0.0, 0.1])
def test_a_depth_camera_beside_the_colour_camera_sees_the_same_world(tmp_path, moved_m):
    color_from_depth = np.eye(4)
    color_from_depth[0, 3] = moved_m
    small = np.array([[30.0, 0, 19.5], [0, 30, 14.5], [0, 0, 1]])
    pose = np.eye(4)
    pose[:3, 3] = 1, 2, 3
    frame = source(
        tmp_path, pose=pose, depth_camera=Camera(small, (40, 30)),
        depth=lambda: np.full((30, 40), 2, np.float32),
        color_from_depth=color_from_depth,
    ).read("a")  # fmt: skip
    np.testing.assert_allclose(frame.world_from_camera[:3, 3], (1 + moved_m, 2, 3))
    x, y = rays(small, (40, 30))
    seen = frame.depth_m > 0
    off = np.abs(frame.rgb.astype(int) - colors_at(x + moved_m / 2, y))
    assert off[seen].max() <= 12 and seen.mean() > 0.8


@pytest.mark.parametrize("box", [None, (40, 30), (320, 240), (64, 36)])
def test_a_box_of_another_shape_keeps_the_aspect(box):
    assert fitted(box, (1920, 1080)) == {
        None: (1920, 1080), (40, 30): (40, 22), (320, 240): (320, 180),
        (64, 36): (64, 36),
    }[box]  # fmt: skip
    assert fitted((320, 240), (1080, 1920)) == (180, 320)


@pytest.mark.parametrize("quarters", range(4))
def test_sideways_cameras_hand_out_upright_frames(tmp_path, quarters):
    level = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
    roll = np.eye(4)
    roll[:2, :2] = np.round(
        [[np.cos(quarters * np.pi / 2), -np.sin(quarters * np.pi / 2)],
         [np.sin(quarters * np.pi / 2), np.cos(quarters * np.pi / 2)]]
    )  # fmt: skip
    frames = source(tmp_path, pose=level @ roll)
    frame = frames.handed_out(np.eye(4), None).read("a")
    np.testing.assert_allclose(frame.world_from_camera[:3, 1], (0, 0, -1), atol=1e-9)
    assert frame.size_hw == ((60, 80) if quarters % 2 == 0 else (80, 60))
    one, other = (world_of(f) for f in (frames.read("a"), frame))
    np.testing.assert_allclose(one, other, atol=1e-6)


def world_of(frame: Frame):
    """Return where the pixels of a frame lie and what colour they have, sorted."""
    v, u = np.indices(frame.size_hw, float)
    local = np.linalg.solve(frame.intrinsics, [u.ravel(), v.ravel(), np.ones(u.size)])
    local = local * frame.depth_m.ravel()
    world = frame.world_from_camera[:3, :3] @ local + frame.world_from_camera[:3, 3:]
    rows = np.concatenate([world.round(6), frame.rgb.reshape(-1, 3).T])
    return rows[:, np.lexsort(rows)]


@pytest.mark.parametrize("orientation", [6, 8])
@pytest.mark.parametrize("for_shown", [True, False])
def test_exif_goes_with_the_size_that_the_camera_is_for(
    tmp_path, orientation, for_shown
):
    exif = Image.Exif()
    exif[0x112] = orientation
    Image.fromarray(colors_at(*rays())).save(tmp_path / "a.jpg", exif=exif)
    camera = Camera(MATRIX, WH)
    if for_shown:
        camera = Camera(MATRIX[[1, 0, 2]][:, [1, 0, 2]], WH[::-1])
    frame = source(
        tmp_path, camera=camera, color=tmp_path / "a.jpg", depth=None
    ).read("a")  # fmt: skip
    assert frame.size_hw == (80, 60)  # shown upright in any case
    turned = not np.allclose(frame.world_from_camera, np.eye(4))
    assert turned is not for_shown


def test_images_that_a_camera_cannot_be_for_are_skipped(tmp_path):
    for camera in (Camera(MATRIX, (80, 80)), Camera(MATRIX * [[2], [2], [1]])):
        with pytest.raises(BadFrame, match="intrinsics"):
            source(tmp_path, camera=camera).read("a")
    with pytest.raises(BadFrame, match="pose"):
        source(tmp_path, pose=np.full((4, 4), -np.inf)).read("a")
    with pytest.raises(BadFrame, match="colour"):
        source(tmp_path, color=tmp_path / "absent.png").read("a")


def test_a_disk_that_fails_is_no_fault_of_a_frame(tmp_path):
    # The frame would be left out of features that count as finished.
    def failing():
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    frames = source(tmp_path, depth=failing)
    skipped = {}
    with pytest.raises(InputError, match=r"^frame a: files that the system"):
        list(usable_frames(frames, frames.names, skipped))
    assert not skipped


def camera_frame(depth_m=None):
    return Frame("a", colors_at(*rays()), depth_m, MATRIX, np.eye(4))


def test_depth_of_a_mesh_is_that_of_its_nearest_surface():
    wall = np.array([[-9, -9, 4], [9, -9, 4], [9, 9, 4], [-9, 9, 4]], np.float32)
    box = np.array([[-0.3, -0.3, 2], [0.3, -0.3, 2], [0.3, 0.3, 2]], np.float32)
    points = np.concatenate([wall, box])
    faces = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6]], np.int32)
    depth = render_depth(surface_of_mesh(points, faces), camera_frame())
    x, y = rays()
    on_box = (2 * x > -0.28) & (2 * y < 2 * x - 0.03) & (2 * y > -0.28) & (2 * x < 0.28)
    assert np.allclose(depth[on_box], 2, atol=1e-6) and on_box.sum() > 50
    off_box = (np.abs(2 * x) > 0.36) | (np.abs(2 * y) > 0.36)
    assert np.allclose(depth[off_box], 4, atol=1e-5)


def test_a_mesh_of_more_faces_than_samples_is_its_corners(monkeypatch):
    monkeypatch.setattr(rendered_depth, "_MOST_SAMPLES", 20)
    points = np.array([[0, 0, 4], [1, 0, 4], [0, 1, 4]], np.float32)
    faces = np.tile(np.array([[0, 1, 2]], np.int32), (10, 1))
    surface = surface_of_mesh(points, faces)
    assert len(surface.points) == 3 + 3 * len(faces)
    assert 1 <= surface.spacing_m.max() < 2


def test_depth_of_a_cloud_has_no_holes_between_its_points():
    grid = np.mgrid[-2:2:0.04, -2:2:0.04].reshape(2, -1).T
    points = np.column_stack([grid, np.full(len(grid), 2.0)]).astype(np.float32)
    frames = WithRenderedDepth(
        type("Source", (), {"names": ("a",), "read": lambda *_: camera_frame()})(),
        points,
        lambda: surface_of_cloud(points),
    )
    depth = frames.read("a").depth_m
    assert np.allclose(depth, 2)
    behind = camera_frame()
    behind.world_from_camera[:3, 3] = 0, 0, 3
    assert not render_depth(surface_of_cloud(points), behind).any()
    assert surface_of_cloud(points[:1]).spacing_m.shape == (1,)
