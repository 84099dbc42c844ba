"""Seeds lie on the scan, have its colours, and are as many as wanted."""

import logging

import numpy as np
import pytest

from sas_jax.errors import InputError
from sas_jax.gaussians.seed import seed_splats, thinned
from sas_jax.gaussians.splats import C0
from sas_jax.gaussians.training_config import SeedConfig


def test_seeds_are_round_coloured_and_as_wide_as_their_neighbours_are_far():
    axis = np.arange(4, dtype=np.float32)
    points = np.stack(np.meshgrid(axis, axis, [0.0]), -1).reshape(-1, 3)
    colors = np.arange(48, dtype=np.uint8).reshape(16, 3) * 5
    found = seed_splats(
        points.astype(np.float32), colors, SeedConfig(100, seed_opacity=0.3)
    )
    np.testing.assert_array_equal(found.means, points.astype(np.float32))
    np.testing.assert_allclose(C0 * found.sh[:, 0] + 0.5, colors / 255, atol=1e-6)
    assert found.degree == 1 and not found.sh[:, 1:].any()
    np.testing.assert_array_equal(found.opacities, np.float32(0.3))
    np.testing.assert_array_equal(found.rotations, np.tile([1, 0, 0, 0], (16, 1)))
    corner, inner = found.scales[0], found.scales[5]
    np.testing.assert_allclose(corner, (1 + 1 + 2**0.5) / 3, rtol=1e-6)
    np.testing.assert_allclose(inner, 1, rtol=1e-6)


def test_a_dense_scan_is_thinned_to_means_of_voxels():
    rng = np.random.default_rng(0)
    points = rng.uniform([-3, 0, 100], [3, 5, 102], (5000, 3)).astype(np.float32)
    colors = rng.integers(0, 256, (5000, 3)).astype(np.uint8)
    found = seed_splats(points, colors, SeedConfig(800))
    assert 700 < len(found) <= 800
    # A voxel's mean is inside its box, and all points are in some voxel.
    means, values = thinned(points, points.astype(np.float64), 800)
    np.testing.assert_allclose(means, values, atol=1e-4)
    assert len(means) == len(found)
    distance = np.linalg.norm(points[:, None] - means[None], axis=2).min(axis=1)
    assert distance.max() < 1.0
    again = seed_splats(points, colors, SeedConfig(800))
    np.testing.assert_array_equal(again.sh, found.sh)


def test_points_on_one_another_give_gaussians_that_can_be_seen():
    found = seed_splats(np.ones((5, 3), np.float32), None, SeedConfig(100))
    assert (found.scales > 0).all()
    assert len(thinned(np.ones((5, 3), np.float32), np.ones((5, 1)), 2)[0]) == 1


def test_a_scan_without_colours_begins_as_grey(caplog):
    points = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
    with caplog.at_level(logging.WARNING):
        found = seed_splats(points, None)
    assert "no colours" in caplog.text
    np.testing.assert_allclose(C0 * found.sh[:, 0] + 0.5, 128 / 255, atol=1e-6)


def test_one_point_is_no_scan():
    with pytest.raises(InputError, match="2 points or more"):
        seed_splats(np.zeros((1, 3), np.float32), None)


@pytest.mark.parametrize(
    "wrong", [{"seeds": 1}, {"seed_opacity": 0}, {"sh_degree": 4}, {"sh_degree": -1}]
)
def test_settings_out_of_range_are_named(wrong):
    with pytest.raises(InputError, match="Change --"):
        SeedConfig(**wrong)
