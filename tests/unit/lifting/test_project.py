import formulas
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sas_jax.errors import InputError
from sas_jax.lifting.config import LiftConfig
from sas_jax.lifting.project import project
from sas_jax.scenes.scene import Frame


def make_frame(depth=None, pose=None, width=64, height=48, focal=40.0):
    intrinsics = np.array(
        [[focal, 0, (width - 1) / 2], [0, focal * 1.1, (height - 1) / 2], [0, 0, 1]]
    )
    rgb = np.zeros((height, width, 3), np.uint8)
    if depth is not None:
        depth = np.broadcast_to(np.float32(depth), (height, width)).copy()
    return Frame("0", rgb, depth, intrinsics, np.eye(4) if pose is None else pose)


def random_pose(rng):
    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    pose = np.eye(4)
    pose[:3, :3] = q * np.sign(np.linalg.det(q))
    pose[:3, 3] = rng.normal(size=3)
    return pose


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from(["paper", "official"]),
    st.sampled_from([None, 0.02]),
    st.integers(0, 12),
    st.booleans(),
)
def test_equals_the_formula(seed, compat, share, border, has_depth):
    rng = np.random.default_rng(seed)
    depth = rng.uniform(0.5, 3, (48, 64)) * (rng.random((48, 64)) > 0.2)
    frame = make_frame(depth if has_depth else None, random_pose(rng))
    local = rng.uniform([-2, -2, -1], [2, 2, 3], (300, 3))
    pose = frame.world_from_camera
    points = (local @ pose[:3, :3].T + pose[:3, 3]).astype(np.float32)
    threshold = LiftConfig(share, compat=compat).threshold
    pixel, visible = project(points, frame, threshold=threshold, border_px=border)
    expected = formulas.projection(
        points, frame.intrinsics, pose, frame.depth_m, frame.size_hw,
        share=share or formulas.OCCLUSION[compat], border=border, compat=compat,
    )  # fmt: skip
    np.testing.assert_array_equal(visible, [e is not None for e in expected])
    np.testing.assert_array_equal(pixel, [e or (0, 0) for e in expected])
    assert pixel.dtype == np.int32


def test_some_points_are_visible_in_such_a_frame():
    rng = np.random.default_rng(3)
    frame = make_frame(1.5)
    points = rng.uniform([-1, -1, 1], [1, 1, 2], (300, 3)).astype(np.float32)
    visible = project(points, frame)[1]
    assert 20 < visible.sum() < 280


def test_the_axis_hits_the_centre_and_row_comes_first():
    frame = make_frame(2.0, width=65, height=49)
    pixel, visible = project(np.array([[0, 0, 2], [0.5, 0, 2]], np.float32), frame)
    np.testing.assert_array_equal(pixel, [[24, 32], [24, 42]])
    assert visible.all()


def test_occlusion_threshold_is_relative_to_the_measured_depth():
    z = np.array([1.59, 1.61, 2.0, 2.39, 2.41])
    points = np.stack([0 * z, 0 * z, z], axis=1).astype(np.float32)
    visible = project(points, make_frame(2.0), threshold=0.2)[1]
    np.testing.assert_array_equal(visible, [False, True, True, True, False])


def test_behind_the_camera_without_reading_and_at_its_centre():
    points = np.array([[0, 0, -2], [0, 0, 0], [0, 0, 2]], np.float32)
    np.testing.assert_array_equal(project(points, make_frame(2.0))[1], [0, 0, 1])
    np.testing.assert_array_equal(project(points, make_frame(0.0))[1], [0, 0, 0])
    np.testing.assert_array_equal(project(points, make_frame(None))[1], [0, 0, 1])


def test_grazing_points_do_not_overflow():
    points = np.array([[1e3, -1e3, 1e-30], [1, 1, 1e-9]], np.float32)
    pixel, visible = project(points, make_frame(None))
    assert not visible.any() and not pixel.any()


def test_border_is_cut_on_all_sides():
    frame = make_frame(None, width=41, height=31, focal=10.0)
    rows, columns = np.mgrid[0:31, 0:41]
    x, y = (columns - 20) / 10, (rows - 15) / 11
    points = np.stack([x, y, np.ones_like(x)], -1).reshape(-1, 3).astype(np.float32)
    visible = project(points, frame, border_px=10)[1].reshape(31, 41)
    expected = np.zeros((31, 41), bool)
    expected[10:21, 10:31] = True
    np.testing.assert_array_equal(visible, expected)


def test_bad_parameters():
    points = np.zeros((1, 3), np.float32)
    for bad in ({"threshold": 0.0}, {"threshold": float("nan")}, {"border_px": -1}):
        with pytest.raises(InputError, match="threshold must be > 0"):
            project(points, make_frame(2.0), **bad)
