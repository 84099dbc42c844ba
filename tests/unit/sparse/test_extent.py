"""Points in another unit than metres are told from scans that are large or sparse."""

import logging

import numpy as np
import pytest
from sample_points import surface_points, sweep_points

from sas_jax.errors import InputError
from sas_jax.sparse.extent import check_extent

UNITS = {"millimetres": 1e-3, "centimetres": 1e-2, "inches": 0.0254}


def room(spacing_m=0.04):
    return surface_points(np.random.default_rng(0), spacing_m)


@pytest.mark.parametrize("spacing_m", [0.02, 0.04])
@pytest.mark.parametrize("voxel_size_m", [0.02, 0.1])
@pytest.mark.parametrize("name", UNITS)
def test_the_unit_of_a_room_is_named(name, voxel_size_m, spacing_m):
    points = (room(spacing_m) / UNITS[name]).astype(np.float32)
    with pytest.raises(InputError) as refused:
        check_extent(points, voxel_size_m, "scene a")
    message = str(refused.value)
    assert message.startswith("scene a: points in metres are required")
    assert f"look like {name}: multiply them by {UNITS[name]:g} " in message
    assert "--voxel_size_m=" in message


def test_a_stray_point_does_not_change_the_unit():
    points = np.concatenate([room() / 1e-3, [[9e6, 0, 0]]])
    with pytest.raises(InputError, match="millimetres"):
        check_extent(points, 0.02, "scene a")


@pytest.mark.parametrize("voxel_size_m", [0.02, 0.05, 0.5])
def test_what_may_be_metres_passes_without_a_word(voxel_size_m, caplog):
    rng = np.random.default_rng(0)
    stray = np.concatenate([room(), [[1e5, 0, 0]]])
    clouds = [room(), stray, sweep_points(rng), 30 * room(0.01), room()[:0]]
    clouds += [np.full((200, 3), np.nan), rng.uniform(0, 90, (1000, 3))]
    with caplog.at_level(logging.WARNING):
        for points in clouds:
            check_extent(points, voxel_size_m, "scene a")
    assert not caplog.text


@pytest.mark.parametrize("edge", [200, 3000])
def test_points_that_fill_space_are_no_scan_but_said(edge, caplog):
    points = np.random.default_rng(0).uniform(0, edge, (5000, 3))
    with caplog.at_level(logging.WARNING):
        check_extent(points, 0.02, "scene a")
    assert "scene a: 5000 points" in caplog.text and "--voxel_size_m" in caplog.text


def test_a_landscape_with_voxels_of_its_own_size_passes(caplog):
    points = 1000 * room()
    with caplog.at_level(logging.WARNING):
        check_extent(points, 30.0, "scene a")
    assert not caplog.text
