"""A scan in, proposals out: cells, colours, segments, one program for each rung."""

import dataclasses

import numpy as np
import pytest

from sas_jax.errors import ContractError, InputError
from sas_jax.instances.mask3d.config import Mask3DConfig
from sas_jax.instances.mask3d.initial import draw
from sas_jax.instances.mask3d.predict import Predictor, first_cells
from sas_jax.models.config import UNetSizes

TINY = Mask3DConfig(
    num_classes=4,
    num_queries=6,
    width=16,
    heads=2,
    hidden=8,
    num_decoders=1,
    hlevels=(0, 3),
    backbone=UNetSizes((1,) * 8, (8,) * 8, 8),
)


def scan(seed=0, count=900):
    rng = np.random.default_rng(seed)
    points = rng.random((count, 3)) * (0.9, 0.7, 0.05) - 0.4
    colors = rng.integers(0, 256, (count, 3)).astype(np.uint8)
    segments = 10 * np.floor(points[:, 0] / 0.2).astype(int) - 7
    return points.astype(np.float32), colors, segments


@pytest.fixture(scope="module")
def predictor():
    return Predictor(TINY, draw(TINY, 0))


def test_cells_are_numbered_by_their_first_points():
    points = np.array(
        [[0.05, 0, 0], [-0.001, 0, 0], [0.051, 0.001, 0], [0, 0, 0], [-0.02, 0, 0]]
    )
    cells = first_cells(points, 0.02)
    assert cells.coords.tolist() == [[2, 0, 0], [-1, 0, 0], [0, 0, 0]]
    assert cells.first_point.tolist() == [0, 1, 3]
    assert cells.inverse.tolist() == [0, 1, 0, 2, 1]


def test_points_on_a_face_fall_as_in_their_own_precision():
    edge = np.float64(0.06)  # 3 * 0.02 exactly in neither precision
    both = [first_cells(np.full((1, 3), edge).astype(t), 0.02) for t in "df"]
    for cells, kind in zip(both, (np.float64, np.float32), strict=True):
        assert (cells.coords == np.floor(kind(edge) / kind(0.02))).all()


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1e6])
def test_positions_that_no_cell_can_hold_are_refused(wrong):
    points, *_ = scan()
    points[3, 1] = wrong
    with pytest.raises(InputError, match="finite points"):
        first_cells(points, 0.02)


@pytest.mark.parametrize("segmented", [True, False])
def test_proposals_of_a_scan_become_instances(predictor, segmented):
    points, colors, segments = scan()
    found = predictor.propose(points, colors, segments if segmented else None)
    rows = found.rows
    count = len(rows.coords)
    assert found.class_logits.shape == (6, 4)
    assert found.mask_logits.shape == (
        len(np.unique(segments)) if segmented else count,
        6,
    )
    assert (
        np.isfinite(found.mask_logits).all() and np.isfinite(found.class_logits).all()
    )
    first = np.array([np.flatnonzero(rows.voxel == v)[0] for v in range(count)])
    np.testing.assert_array_equal(rows.coords, points[first])
    if segmented:
        ids = np.unique(segments)
        np.testing.assert_array_equal(ids[rows.row], segments[first])
        np.testing.assert_array_equal(ids[rows.superpoints], segments)
    instances = found.instances()
    assert instances.num_points == len(points)
    assert (np.diff(instances.scores) <= 0).all()


def test_scans_of_one_rung_share_a_program(predictor):
    for seed in (0, 1):
        predictor.propose(*scan(seed)[:2])
    before = len(predictor._programs)
    predictor.propose(*scan(2)[:2])
    assert len(predictor._programs) == before


def test_the_order_of_points_decides_where_queries_begin_and_nothing_else(predictor):
    points, colors, _ = scan()
    one = first_cells(points, 0.02)
    # Voxels in the same order, points within them in any: nothing changes.
    later = np.setdiff1d(np.arange(len(points)), one.first_point)
    order = np.r_[one.first_point, np.random.default_rng(5).permutation(later)]
    a = predictor.propose(points, colors)
    b = predictor.propose(points[order], colors[order])
    np.testing.assert_array_equal(a.mask_logits, b.mask_logits)
    np.testing.assert_array_equal(a.rows.voxel[order], b.rows.voxel)


def test_colours_are_normalised_as_trained(predictor):
    got = predictor.normalized(np.array([[0, 128, 255]], np.uint8))
    mean, std = np.array(TINY.color_mean), np.array(TINY.color_std)
    np.testing.assert_allclose(got, [(np.array([0, 128 / 255, 1]) - mean) / std], 1e-6)
    plain = dataclasses.replace(TINY, color_mean=(0, 0, 0), color_std=(1, 1, 1))
    got = Predictor(plain, {}).normalized(np.array([[0, 51, 255]], np.uint8))
    np.testing.assert_allclose(got, [[0, 0.2, 1]], 1e-6)


def test_wrong_arrays_are_refused(predictor):
    points, colors, segments = scan()
    with pytest.raises(InputError, match="with points"):
        predictor.propose(points[:0], colors[:0])
    with pytest.raises(ContractError, match="u8 colours"):
        predictor.propose(points, colors / 255)
    with pytest.raises(ContractError, match="a segment of each"):
        predictor.propose(points, colors, segments[1:])
