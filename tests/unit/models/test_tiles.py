"""Tiles of a large scene give what the whole scene would, or say what is missing."""

import dataclasses
import logging

import numpy as np
import pytest
from fresh_student import init_student
from text_spaces import space

from sas_jax import memory
from sas_jax.errors import InputError
from sas_jax.models import tiles
from sas_jax.models.config import ARCHITECTURES, StudentConfig
from sas_jax.models.student import Predictor, Student
from sas_jax.sparse.native import conv as native
from sas_jax.sparse.plan_spec import unet_spec
from sas_jax.sparse.rungs import Rung, choose_rung

CONFIG = StudentConfig("MinkUNet14S", out_dim=5)
RADIUS = CONFIG.receptive_radius


@pytest.fixture(scope="module")
def predictor():
    student = Student(
        CONFIG, init_student(CONFIG, 0), 0.02, None, space(CONFIG.out_dim), (), 0
    )
    return Predictor(student)


def corridor(length=1100, seed=0):
    """The walls of a corridor along x, with a floor, and something in it."""
    rng = np.random.default_rng(seed)
    x = np.repeat(np.arange(length), 6)
    y, z = rng.choice([0, 23], len(x)), rng.integers(0, 9, len(x))
    walls = np.stack([x, y, z], axis=1)
    floor = np.stack([x, rng.integers(0, 24, len(x)), 0 * x], axis=1)
    things = rng.integers((0, 0, 0), (length, 24, 9), (length, 3))
    every = np.concatenate([walls, floor, things])
    return np.unique(every, axis=0).astype(np.int32)


def same(one, two):
    """Bits with native kernels; XLA's depend on the number of rows."""
    tolerance = 0 if native.is_available() else 1e-5
    return (np.abs(one - two) <= tolerance).all(axis=1)


def whole(predictor, coords):
    return tiles.features(predictor, coords, None)


def scarce(predictor, coords, share):
    """Memory for a share of what the rows take, and for what is there in any case."""
    fixed = predictor.program_bytes(choose_rung((0,) * predictor.spec.num_levels))
    rows = predictor.program_bytes(tiles._rung(predictor, [coords])) - fixed
    return int((fixed + share * rows + 20 * len(coords)) / tiles._SHARE)


def test_tiles_that_overlap_by_the_receptive_radius_give_the_whole(predictor, caplog):
    coords = corridor()
    expected = whole(predictor, coords)
    free = scarce(predictor, coords, 0.6)
    with caplog.at_level(logging.WARNING):
        got = tiles.features(predictor, coords, free)
    assert "all that the network sees" in caplog.text
    assert same(got, expected).all()
    assert np.abs(expected).max() > 0.01


def test_with_less_overlap_what_is_far_from_the_seams_is_the_same(predictor, caplog):
    coords = corridor()
    expected = whole(predictor, coords)
    seams, overlap = [], 32
    parts = tiles.cut(coords, len(coords) // 2, overlap, 16)
    got = np.empty_like(expected)
    for part in parts:
        inside = part.seen[part.inside]
        rung = tiles._rung(predictor, [coords[part.seen]])
        got[inside] = predictor.run(coords[part.seen], rung)[part.inside]
        seams.append(coords[inside, 0].min())
    away = np.abs(coords[:, :1] - np.array(seams[1:])[None]).min(axis=1)
    equal = same(got, expected)
    assert len(parts) > 1 and equal[away > RADIUS - overlap].all()
    assert not equal[away < 10].all()


def test_less_memory_takes_less_overlap_and_says_so(predictor, caplog):
    coords = corridor(600)
    free = scarce(predictor, coords, 0.4)
    with caplog.at_level(logging.WARNING):
        got = tiles.features(predictor, coords, free)
    assert "of a seam see less" in caplog.text and np.isfinite(got).all()


def test_what_not_even_tiles_can_hold_is_refused_with_its_size(predictor):
    coords = corridor(300)
    for free in (scarce(predictor, coords, 0.05), 100_000):
        with pytest.raises(InputError, match=r"required for features of .*--voxel"):
            tiles.features(predictor, coords, free)


def test_points_get_the_features_of_tiles_when_memory_is_scarce(predictor, monkeypatch):
    coords = corridor()
    points = (coords + 0.5) * np.float32(0.02)
    expected = predictor.features(points)
    free = scarce(predictor, coords, 0.6)
    monkeypatch.setattr(memory, "device_bytes", lambda device: free)
    got = predictor.features(points)
    assert same(got.feat, expected.feat).all()
    np.testing.assert_array_equal(got.row, expected.row)


def test_points_in_millimetres_are_refused(predictor):
    x, y = np.meshgrid(np.arange(0, 4000, 30), np.arange(0, 3000, 30))
    points = np.stack([x, y, 0 * x], axis=-1).reshape(-1, 3).astype(np.float32)
    with pytest.raises(InputError, match="look like millimetres"):
        predictor.features(points)


def test_a_scene_without_points_has_no_features(predictor):
    assert predictor.features(np.zeros((0, 3), np.float32)).feat.shape == (0, 5)


def test_a_feature_sees_as_far_as_the_radius_says_and_no_farther(predictor):
    rung = Rung((512, 512, 512, 512, 512))
    farthest = 0
    for start in range(0, 16, 5):
        line = np.stack([start + np.arange(300)] + [np.zeros(300, int)] * 2, axis=1)
        line = line.astype(np.int32)
        full, shorter = (predictor.run(rows, rung) for rows in (line, line[1:]))
        changed = np.flatnonzero((full[1:] != shorter).any(axis=1)) + 1
        assert changed.max() <= RADIUS
        full, shorter = (predictor.run(rows, rung) for rows in (line, line[:-1]))
        changed = np.flatnonzero((full[:-1] != shorter).any(axis=1))
        assert 299 - changed.min() <= RADIUS
        farthest = max(farthest, 299 - changed.min())
    assert farthest > RADIUS - 16


def test_radii_of_the_family():
    radius = {arch: StudentConfig(arch).receptive_radius for arch in ARCHITECTURES}
    assert radius["MinkUNet14A"] == radius["MinkUNet14S"] == 107
    assert radius["MinkUNet18A"] == 197 and radius["MinkUNet34C"] == 365


@pytest.mark.parametrize("overlap", [0, 16, 48])
@pytest.mark.parametrize("multiple", [4, 16])
def test_every_voxel_is_inside_one_tile_that_sees_its_surroundings(multiple, overlap):
    coords = np.unique(np.random.default_rng(0).integers(0, 300, (2000, 3)), axis=0)
    coords = coords[(coords[:, 2] < 40) | (coords[:, 0] > 250)].astype(np.int32)
    parts = tiles.cut(coords, 250, overlap, multiple)
    inside = np.concatenate([part.seen[part.inside] for part in parts])
    assert len(parts) > 1
    assert sorted(inside) == list(range(len(coords)))
    for part in parts:
        assert len(part.seen) <= 250 and (np.diff(part.seen) > 0).all()
        mine = coords[part.seen[part.inside]]
        # A voxel within the overlap of the tile's own ones, on every axis, is seen.
        near = (coords >= mine.min(axis=0) - overlap) & (
            coords <= mine.max(axis=0) + overlap
        )
        assert np.isin(np.flatnonzero(near.all(axis=1)), part.seen).all()


def test_boxes_end_where_the_coarsest_voxels_do():
    coords = corridor(200)
    for part in tiles.cut(coords, 1500, 0, 16):
        low, high = (f(coords[part.seen], axis=0)[0] for f in (np.min, np.max))
        assert low % 16 == 0 and (high % 16 == 15 or high == 199)


def test_a_crowded_voxel_cannot_be_cut():
    coords = np.stack(np.meshgrid(*[np.arange(16)] * 3), -1).reshape(-1, 3)
    assert tiles.cut(coords.astype(np.int32), 4095, 0, 16) is None
    assert len(tiles.cut(coords.astype(np.int32), 4096, 0, 16)) == 1
    assert tiles.cut(coords[:0].astype(np.int32), 5, 0, 16) == []


@dataclasses.dataclass
class Counting:
    """A network that takes 1000 bytes a row and sees 40 voxels."""

    radius: int = 40
    width: int = 1
    spec: object = dataclasses.field(default_factory=lambda: unet_spec(3))
    runs: list = dataclasses.field(default_factory=list)

    def program_bytes(self, rung):
        return 1000 * sum(rung.capacities)

    def run(self, coords, rung):
        assert rung.fits([len(coords), 0, 0])
        self.runs.append((len(coords), rung))
        return coords[:, :1].astype(np.float32)


def test_all_tiles_share_one_program_that_fits():
    network, coords = Counting(), corridor(3000)
    free = scarce(network, coords, 0.25)
    got = tiles.features(network, coords, free)
    np.testing.assert_array_equal(got[:, 0], coords[:, 0])
    assert len(network.runs) > 3 and len({rung for _, rung in network.runs}) == 1
    assert network.program_bytes(network.runs[0][1]) < free
