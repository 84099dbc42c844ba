"""Augmentation: what each transform keeps, and that seeds reproduce."""

import formulas
import numpy as np
import pytest

from sas_jax.distill import augment
from sas_jax.distill.config import NO_AUGMENTATION, AugmentConfig, named_augmentation
from sas_jax.errors import InputError


def cloud(count=400, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform([-2, 1, 0], [3, 4, 2.5], (count, 3)).astype(np.float32)


def generator(seed=3):
    return np.random.default_rng(seed)


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not():
    points = cloud()
    one = augment.augment_points(points, AugmentConfig(), generator())
    two = augment.augment_points(points, AugmentConfig(), generator())
    other = augment.augment_points(points, AugmentConfig(), generator(4))
    assert one.tobytes() == two.tobytes()
    assert np.abs(one - other).max() > 0.01


def test_no_augmentation_changes_nothing():
    points = cloud()
    moved = augment.augment_points(points, NO_AUGMENTATION, generator())
    np.testing.assert_array_equal(moved, points.astype(np.float64))
    cells = np.arange(12).reshape(4, 3)
    signs = augment.random_flips(NO_AUGMENTATION, generator())
    assert augment.flip_cells(cells, signs) is cells
    assert not augment.random_shift(NO_AUGMENTATION, generator()).any()


def test_without_distortion_it_is_a_similarity_within_the_ranges():
    config = AugmentConfig(elastic=())
    points = cloud(20).astype(np.float64)
    pairs = np.linalg.norm(points[:, None] - points[None], axis=-1)
    scales = []
    for seed in range(40):
        moved = augment.augment_points(points, config, generator(seed))
        distances = np.linalg.norm(moved[:, None] - moved[None], axis=-1)
        scale = distances[0, 1] / pairs[0, 1]
        np.testing.assert_allclose(distances, scale * pairs, rtol=1e-12, atol=1e-12)
        scales.append(scale)
        # Tilting by at most pi/64 about x and about y keeps z almost upright.
        up = augment.augment_points(np.eye(3), config, generator(seed))[2] / scale
        assert up[2] > np.cos(np.pi / 64) ** 2 - 1e-9
    assert 0.9 <= min(scales) < 0.93 and 1.07 < max(scales) <= 1.1


def test_rotations_are_right_handed():
    quarter = augment._rotation(2, np.pi / 2)
    np.testing.assert_allclose(quarter @ [1, 0, 0], [0, 1, 0], atol=1e-15)
    for axis in range(3):
        assert np.linalg.det(augment._rotation(axis, 0.3)) == pytest.approx(1)


@pytest.mark.parametrize(("granularity", "magnitude"), AugmentConfig().elastic)
def test_elastic_distortion_equals_the_formula(granularity, magnitude):
    points = cloud(60).astype(np.float64) / (1 if granularity > 0.5 else 4)
    got = augment.elastic_distortion(points, granularity, magnitude, generator())
    shape = (3, *formulas.noise_shape(points, granularity))
    noise = generator().standard_normal(shape, dtype=np.float32)
    wanted = formulas.elastic_distortion(points, granularity, magnitude, noise)
    np.testing.assert_allclose(got, wanted, atol=1e-6)
    assert np.abs(got - points).max() > 0.02


def test_elastic_distortion_is_smooth():
    rng = generator()
    points = cloud(200).astype(np.float64)
    near = points + rng.normal(0, 1e-5, points.shape)
    both = np.concatenate([points, near])
    moved = augment.elastic_distortion(both, 0.2, 0.4, rng) - both
    assert np.abs(moved[:200] - moved[200:]).max() < 2e-4


def test_elastic_distortion_of_nothing_and_of_one_point():
    empty = np.zeros((0, 3))
    assert augment.elastic_distortion(empty, 0.2, 0.4, generator()).shape == (0, 3)
    one = augment.elastic_distortion(np.ones((1, 3)), 0.2, 0.4, generator())
    assert np.isfinite(one).all()


def test_distortion_happens_about_as_often_as_configured():
    config = AugmentConfig(scale=(1, 1), rotation_rad=(0, 0, 0))
    points = cloud(8)
    still = sum(
        np.array_equal(augment.augment_points(points, config, generator(s)), points)
        for s in range(400)
    )
    assert 5 <= still <= 40  # 20 expected


def test_flipping_mirrors_x_and_y_only_and_keeps_the_least_cell():
    cells = np.random.default_rng(0).integers(0, 50, (90, 3)).astype(np.int32)
    cells -= cells.min(axis=0)
    seen = set()
    for seed in range(60):
        signs = augment.random_flips(AugmentConfig(), generator(seed))
        flipped = augment.flip_cells(cells, signs)
        np.testing.assert_array_equal(flipped[:, 2], cells[:, 2])
        kinds = []
        for axis in (0, 1):
            mirrored = cells[:, axis].max() - cells[:, axis]
            kept = np.array_equal(flipped[:, axis], cells[:, axis])
            assert kept or np.array_equal(flipped[:, axis], mirrored)
            kinds.append(kept)
        seen.add(tuple(kinds))
    assert len(seen) == 4


def test_the_shift_covers_its_range():
    rng = generator()
    shifts = np.array([augment.random_shift(AugmentConfig(), rng) for _ in range(500)])
    assert shifts.min() >= 0 and shifts.max() <= 99
    assert shifts.min() < 5 and shifts.max() > 94


def test_named_choices_keep_what_they_promise():
    points, cells = cloud(), np.arange(12).reshape(4, 3)
    full, rigid, shift, none = map(
        named_augmentation, ("full", "rigid", "shift", "none")
    )
    assert full == AugmentConfig() and none == NO_AUGMENTATION
    assert full.elastic and not rigid.elastic
    assert rigid.rotation_rad == full.rotation_rad
    moved = augment.augment_points(points, shift, generator())
    np.testing.assert_array_equal(moved, points.astype(np.float64))
    signs = augment.random_flips(shift, generator())
    assert augment.flip_cells(cells, signs) is cells
    assert augment.random_shift(shift, generator()).any()


def test_aligned_scenes_are_turned_and_mirrored_but_stay_aligned():
    config = named_augmentation("aligned")
    points = cloud(50)
    ways = set()
    for seed in range(200):
        rng = generator(seed)
        moved = augment.augment_points(points, config, rng)
        first, second = moved[:, 0], moved[:, 1]
        swapped = np.array_equal(abs(first), abs(points[:, 1].astype(np.float64)))
        one, two = (1, 0) if swapped else (0, 1)
        np.testing.assert_array_equal(abs(first), abs(points[:, one].astype(float)))
        np.testing.assert_array_equal(abs(second), abs(points[:, two].astype(float)))
        np.testing.assert_array_equal(moved[:, 2], points[:, 2].astype(float))
        cells = np.arange(12).reshape(4, 3)
        flipped = augment.flip_cells(cells, augment.random_flips(config, rng))
        turned = bool(first[0] * points[0, one] < 0)
        ways.add((swapped, turned, *(flipped[0, :2] != cells[0, :2]).tolist()))
    assert len(ways) == 16


def test_impossible_ranges_are_refused():
    with pytest.raises(InputError, match="scale"):
        AugmentConfig(scale=(1.1, 0.9))
    with pytest.raises(InputError, match="max_shift_voxels"):
        AugmentConfig(max_shift_voxels=0)
