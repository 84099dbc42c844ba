"""Plans: levels, tables, order, padding and refusals, against the scalar oracle."""

import jax
import numpy as np
import oracle
import pytest

from sas_jax.errors import InputError
from sas_jax.sparse import kernel_map, tables
from sas_jax.sparse.native import plan as native_plan
from sas_jax.sparse.plan import LEVEL_STRIDES, build_plan, level_counts, pad_rows
from sas_jax.sparse.rungs import LADDER, Rung, exact_rung


def random_voxels(seed, count=150, batches=2, extent=9):
    rng = np.random.default_rng(seed)
    axes = rng.integers(-extent, extent + 1, (count, 3))
    batch = rng.integers(0, batches, (count, 1))
    coords = np.unique(np.concatenate([batch, axes], axis=1), axis=0)
    return rng.permutation(coords).astype(np.int32)


def table_pairs(nbr):
    return {(k, int(i), o) for k, row in enumerate(nbr) for o, i in enumerate(row)
            if i >= 0}  # fmt: skip


@pytest.fixture(params=["numpy", "native"])
def builder(request, monkeypatch):
    """Build tables by either implementation."""
    if request.param == "native" and not native_plan.is_available():
        pytest.skip("the native library is not built")
    native = request.param == "native"
    monkeypatch.setattr(native_plan, "is_available", lambda: native)


def check_against_oracle(plan, coords):
    levels = [oracle.coarsen(coords, stride) for stride in LEVEL_STRIDES]
    for level, expected in zip(plan.levels, levels, strict=True):
        n = int(level.num_valid)
        assert [tuple(c) for c in level.coords[:n].tolist()] == expected
    maps = [(plan.stem, levels[0], levels[0], 5, 1)]
    for level, (stride, voxels) in enumerate(zip(LEVEL_STRIDES, levels, strict=True)):
        maps.append((plan.subm3[level], voxels, voxels, 3, stride))
    for level in range(4):
        stride = LEVEL_STRIDES[level]
        maps.append((plan.down[level], levels[level], levels[level + 1], 2, stride))
    for kmap, coords_in, coords_out, kernel_size, stride in maps:
        expected = set(oracle.pairs(coords_in, coords_out, kernel_size, stride))
        assert table_pairs(kmap.nbr) == expected
        assert table_pairs(kmap.nbr_t) == set(oracle.transpose(expected))
        assert (kmap.num_in, kmap.num_out) == (len(coords_in), len(coords_out))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.usefixtures("builder")
def test_levels_and_tables_are_the_oracles(seed):
    coords = random_voxels(seed)
    plan, _ = build_plan(coords, Rung((512,) * 5))
    check_against_oracle(plan, coords)


@pytest.mark.usefixtures("builder")
def test_one_voxel_without_padding():
    coords = np.array([[3, -7, 5, -1]], np.int32)
    plan, order = build_plan(coords, exact_rung((1,) * 5))
    assert order.tolist() == [0]
    check_against_oracle(plan, coords)


@pytest.mark.usefixtures("builder")
def test_empty_scene_has_a_plan_of_padding():
    plan, order = build_plan(np.zeros((0, 4), np.int32))
    assert order.shape == (0,)
    assert plan.rung == LADDER.rung(0)
    for kmap in (plan.stem, *plan.subm3, *plan.down):
        assert kmap.num_out == 0
        assert (kmap.nbr == -1).all()
        assert (kmap.nbr_t == -1).all()


@pytest.mark.usefixtures("builder")
def test_far_voxels_and_range_ends_do_not_meet():
    far = [[0, -131000, 131000, 0], [0, 131000, -131000, 0], [1, -131000, 131000, 0]]
    coords = np.array(far, np.int32)
    plan, _ = build_plan(coords, exact_rung((3,) * 5))
    check_against_oracle(plan, coords)


def test_order_leads_from_input_rows_to_plan_rows():
    coords = random_voxels(5)
    plan, order = build_plan(coords)
    assert order.dtype == np.int32
    assert np.array_equal(plan.levels[0].coords[: len(coords)], coords[order])


def test_row_order_of_the_input_does_not_change_the_plan():
    coords = random_voxels(6)
    shuffled = np.random.default_rng(0).permutation(coords)
    first, _ = build_plan(coords)
    second, _ = build_plan(shuffled)
    jax.tree.map(np.testing.assert_array_equal, first, second)


def test_duplicates_are_refused_or_the_first_is_kept():
    coords = np.array([[0, 5, 0, 0], [0, 1, 0, 0], [0, 5, 0, 0]], np.int32)
    with pytest.raises(InputError, match="1 repeat"):
        build_plan(coords)
    plan, order = build_plan(coords, duplicates="first")
    assert order.tolist() == [1, 0]
    assert plan.levels[0].num_valid == 2


def test_padding_rows_are_minus_one_and_dtypes_are_int32():
    coords = random_voxels(7)
    plan, _ = build_plan(coords, Rung((600, 500, 400, 300, 200)))
    for kmap in (plan.stem, *plan.subm3, *plan.down):
        assert kmap.nbr.dtype == kmap.nbr_t.dtype == np.int32
        assert (kmap.nbr[:, int(kmap.num_out) :] == -1).all()
        assert (kmap.nbr_t[:, int(kmap.num_in) :] == -1).all()
    assert plan.rung.capacities == (600, 500, 400, 300, 200)


def test_counts_are_known_before_building():
    coords = random_voxels(8)
    counts = level_counts(coords)
    plan, _ = build_plan(coords)
    assert counts == tuple(int(level.num_valid) for level in plan.levels)


def test_a_rung_too_small_at_any_level_is_refused():
    coords = random_voxels(9)
    counts = level_counts(coords)
    for level in range(5):
        small = [n + 10 for n in counts]
        small[level] = counts[level] - 1
        with pytest.raises(InputError, match="capacities of at least"):
            build_plan(coords, Rung(tuple(small)))


def test_plans_of_one_rung_share_one_compiled_program():
    traces = []

    @jax.jit
    def count(plan):
        traces.append(1)
        return plan.levels[0].num_valid + plan.stem.nbr[0, 0]

    for seed in (1, 2):
        count(build_plan(random_voxels(seed), LADDER.rung(0))[0])
    assert len(traces) == 1


def test_transposing_twice_gives_the_map_back():
    plan, _ = build_plan(random_voxels(3), Rung((512, 512, 256, 256, 128)))
    for kmap in (plan.down[0], plan.subm3[1]):
        assert kmap.transpose().capacity_out == kmap.capacity_in
        jax.tree.map(np.testing.assert_array_equal, kmap, kmap.transpose().transpose())


def test_even_kernel_within_a_level_is_not_submanifold():
    with pytest.raises(InputError, match="odd kernel_size"):
        kernel_map.submanifold_map(np.zeros(0, np.uint64), 2, 1, 1)


def test_offsets_run_along_x_first():
    assert tables.kernel_offsets(2)[:3].tolist() == [[0, 0, 0], [1, 0, 0], [0, 1, 0]]
    assert tables.kernel_offsets(3)[0].tolist() == [-1, -1, -1]
    assert tables.kernel_offsets(3)[13].tolist() == [0, 0, 0]


def test_pad_rows_adds_zero_rows_and_never_drops_any():
    rows = np.ones((2, 3), np.float32)
    assert pad_rows(rows, 4).tolist() == [[1] * 3, [1] * 3, [0] * 3, [0] * 3]
    with pytest.raises(InputError, match="at most 1 rows"):
        pad_rows(rows, 1)
