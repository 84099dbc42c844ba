"""Rungs: few, growing, never too small."""

import logging

import pytest

from sas_jax.errors import InputError
from sas_jax.sparse.rungs import (
    LADDER,
    Rung,
    RungLadder,
    choose_rung,
    exact_rung,
    padding_waste,
)


def test_lowest_rung_holds_a_small_scene_and_no_level_is_below_512_rows():
    rung = choose_rung((1, 1, 1, 1, 1))
    assert rung == LADDER.rung(0)
    assert rung.capacities[0] == 4096
    assert min(rung.capacities) == 512


def test_empty_scene_has_a_rung():
    assert choose_rung((0,) * 5) == LADDER.rung(0)


def test_rungs_grow_by_about_the_ratio_in_multiples_of_512():
    for i in range(12):
        low, high = LADDER.rung(i).capacities, LADDER.rung(i + 1).capacities
        assert all(cap % 512 == 0 for cap in low)
        assert 1.5 * low[0] - 1024 <= high[0] <= 1.5 * low[0] + 1024


@pytest.mark.parametrize("first", [1, 4096, 4097, 9313, 58113, 400_000])
def test_chosen_rung_is_the_lowest_that_fits(first):
    counts = (first, first // 3, first // 12, first // 40, first // 150)
    rung = choose_rung(counts)
    assert rung.fits(counts)
    rungs = [LADDER.rung(i) for i in range(40)]
    assert not any(r.fits(counts) for r in rungs[: rungs.index(rung)])


def test_overflow_of_a_coarse_level_takes_the_next_rung_and_says_so(caplog):
    counts = (4096, 4096, 4096, 512, 512)
    with caplog.at_level(logging.INFO, logger="sas_jax"):
        rung = choose_rung(counts)
    assert rung.fits(counts)
    assert rung.capacities[0] > 4096
    assert "do not fit" in caplog.text


def test_few_rungs_cover_all_indoor_scenes():
    rungs = {choose_rung((n, n // 3, n // 10, n // 40, n // 140)) for n in
             range(1000, 400_000, 1000)}  # fmt: skip
    assert len(rungs) <= 13


def test_padding_waste_counts_rows_of_all_levels():
    rung = Rung((100, 50, 20, 20, 10))
    assert padding_waste((50, 25, 10, 10, 5), rung) == pytest.approx(0.5)
    assert padding_waste((7, 3, 2, 1, 1), exact_rung((7, 3, 2, 1, 1))) == 0.0


def test_exact_rung_of_nothing_still_has_rows():
    assert exact_rung((0,) * 5).capacities == (1,) * 5


@pytest.mark.parametrize("capacities", [(1, 2, 3), (4, 4, 4, 4, 0)])
def test_impossible_rungs_are_refused(capacities):
    with pytest.raises(InputError, match="positive capacities"):
        Rung(capacities)


@pytest.mark.parametrize("counts", [(1, 1), (2**31, 1, 1, 1, 1)])
def test_impossible_counts_are_refused(counts):
    with pytest.raises(InputError, match="counts"):
        choose_rung(counts)


def test_a_ladder_that_does_not_climb_is_refused():
    with pytest.raises(InputError, match="ratio"):
        RungLadder(ratio=1.0)
