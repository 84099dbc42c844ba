"""Rungs: few, in proportion to voxels, never too small."""

import numpy as np
import pytest
from sample_points import surface_points, sweep_points

from sas_jax.errors import InputError
from sas_jax.sparse.plan import level_counts
from sas_jax.sparse.rungs import (
    LADDER,
    Rung,
    RungLadder,
    choose_rung,
    exact_rung,
    padding_waste,
)


def scattered(rng, count):
    return np.unique(rng.integers(0, 20_000, (count, 3)), axis=0)


def voxels(points, size):
    return np.unique(np.floor(points / size).astype(np.int32), axis=0)


def clouds(kind):
    rng = np.random.default_rng(0)
    if kind == "rooms":
        grids = ((0.02, 0.017), (0.02, 0.04), (0.05, 0.04), (0.1, 0.04))
        return [
            voxels(surface_points(rng, spacing), size)
            for size, spacing in grids
            for _ in range(3)
        ]
    if kind == "sweeps":
        sizes = (0.05, 0.05, 0.05, 0.1, 0.1, 0.2)
        return [voxels(sweep_points(rng), size) for size in sizes]
    return [scattered(rng, n) for n in (600, 1000, 2000, 5000, 10_000, 30_000, 80_000)]


@pytest.mark.parametrize("kind", ["rooms", "sweeps", "scattered"])
def test_rows_are_at_most_1_3_times_the_voxels_on_average(kind):
    factors = []
    for axes in clouds(kind):
        counts = level_counts(np.pad(axes, ((0, 0), (1, 0))).astype(np.int32))
        rung = choose_rung(counts)
        assert rung.fits(counts)
        factors.append(sum(rung.capacities) / sum(counts))
    assert np.mean(factors) <= 1.3 and max(factors) <= 1.6, factors


def test_levels_get_rows_for_their_own_voxels_alone():
    dense = choose_rung((30_000, 9_000, 2_400, 600, 150)).capacities
    lonely = choose_rung((30_000, 9_000, 2_400, 600, 600)).capacities
    assert dense[:4] == lonely[:4] and dense[4] < lonely[4] <= 4 * 600


def test_scenes_of_one_kind_share_few_rungs():
    rng = np.random.default_rng(0)

    def room():
        counts = [np.exp(rng.uniform(np.log(30_000), np.log(56_000)))]
        for share in (0.69, 0.285, 0.245, 0.235):
            counts.append(counts[-1] * share * np.exp(rng.normal(0, 0.05)))
        return tuple(int(n) for n in counts)

    assert len({choose_rung(room()) for _ in range(400)}) <= 10
    # All of ScanNet, from a bathroom to a hall.
    halls = range(20_000, 400_000, 1000)
    rungs = {choose_rung((n, n // 3, n // 11, n // 42, n // 160)) for n in halls}
    assert len(rungs) <= 25


@pytest.mark.parametrize("rows", [1, 511, 512, 513, 9313, 58_113, 400_000, 2_000_000])
def test_the_chosen_rung_is_the_least_that_fits(rows):
    counts = (rows, rows // 3, rows // 12, rows // 40, rows // 150)
    capacities = choose_rung(counts).capacities
    assert Rung(capacities).fits(counts)
    steps = [LADDER.rows(i) for i in range(60)]
    assert capacities[0] == min(step for step in steps if step >= counts[0])
    shares = [-(-capacities[0] * share // 64) * 64 for share in LADDER.shares]
    for n, capacity in zip(counts[1:], capacities[1:], strict=True):
        assert capacity == min(share for share in shares if share >= n)


def test_empty_and_small_scenes_take_the_lowest_rung():
    assert choose_rung((0,) * 5) == choose_rung((1,) * 5)
    assert choose_rung((0,) * 5).capacities == (512, 64, 64, 64, 64)


@pytest.mark.parametrize("levels", [1, 2, 4, 7])
def test_rungs_have_as_many_levels_as_the_counts(levels):
    assert len(choose_rung((900, 400, 300, 90, 20, 7, 3)[:levels]).capacities) == levels


def test_levels_climb_in_multiples_of_64_by_about_the_ratio():
    for i in range(30):
        low, high = LADDER.rows(i), LADDER.rows(i + 1)
        assert low % 64 == 0 and 1.25 * low - 128 <= high <= 1.25 * low + 128


def test_padding_waste_counts_rows_of_all_levels():
    rung = Rung((100, 50, 20, 20, 10))
    assert padding_waste((50, 25, 10, 10, 5), rung) == pytest.approx(0.5)
    assert padding_waste((7, 3, 2, 1, 1), exact_rung((7, 3, 2, 1, 1))) == 0.0


def test_exact_rung_of_nothing_still_has_rows():
    assert exact_rung((0,) * 5).capacities == (1,) * 5


@pytest.mark.parametrize("capacities", [(), (4, 4, 4, 4, 0)])
def test_impossible_rungs_are_refused(capacities):
    with pytest.raises(InputError, match="positive capacities"):
        Rung(capacities)


@pytest.mark.parametrize("counts", [(), (1, 2), (2**31, 1, 1, 1, 1)])
def test_impossible_counts_are_refused(counts):
    with pytest.raises(InputError, match="counts"):
        choose_rung(counts)


def test_a_ladder_that_does_not_climb_is_refused():
    with pytest.raises(InputError, match="ratio"):
        RungLadder(ratio=1.0)
    with pytest.raises(InputError, match="fall from 1"):
        RungLadder(shares=(0.5, 0.25))
