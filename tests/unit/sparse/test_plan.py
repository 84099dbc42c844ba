"""Plans: levels, tables, order, padding and refusals, against the scalar oracle."""

import jax
import numpy as np
import oracle
import pytest

from sas_jax import memory
from sas_jax.errors import ContractError, InputError
from sas_jax.sparse import kernel_map, tables
from sas_jax.sparse import keys as voxel_keys
from sas_jax.sparse.native import plan as native_plan
from sas_jax.sparse.plan import (
    abstract_plan,
    build_plan,
    level_counts,
    pad_rows,
    plan_bytes,
)
from sas_jax.sparse.plan_spec import MINKUNET, Kernel, PlanSpec, unet_spec
from sas_jax.sparse.rungs import Rung, choose_rung, exact_rung


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


def kernel_maps(plan):
    return [kmap for maps in (*plan.inside, *plan.downward) for kmap in maps]


# Beside the MinkUNets': the encoder of a ResNet with 3^3 strided convolutions and 1^3
# shortcuts, strides 1, 4, 8, 16; and a shallow network of dilated and even kernels.
SPECS = {
    "minkunet": MINKUNET,
    "one level": unet_spec(1, blocks=(1, 3, 5)),
    "resnet": PlanSpec(
        within=((Kernel(3),),) * 4, down=((Kernel(3), Kernel(1)),) * 3, steps=(4, 2, 2)
    ),
    "dilated": PlanSpec(
        within=(
            (Kernel(2), Kernel(3, 2), Kernel(2, 3)),
            (),
            (Kernel(5), Kernel(3, 3), Kernel(4)),
        ),
        down=((Kernel(2), Kernel(3, 2)), (Kernel(2, 2),)),
        steps=(2, 2),
    ),
}


def check_against_oracle(plan, coords, spec=MINKUNET):
    levels = [oracle.coarsen(coords, stride) for stride in spec.strides]
    for level, expected in zip(plan.levels, levels, strict=True):
        n = int(level.num_valid)
        assert [tuple(c) for c in level.coords[:n].tolist()] == expected
    maps = []
    for level, (stride, voxels) in enumerate(zip(spec.strides, levels, strict=True)):
        for kernel in spec.within[level]:
            kmap = plan.within(level, kernel.size, kernel.dilation)
            assert kmap.stride == 1
            maps.append((kmap, kernel, voxels, voxels, stride))
        for kernel in spec.down[level] if level + 1 < len(levels) else ():
            kmap = plan.down(level, kernel.size, kernel.dilation)
            assert kmap.stride == spec.steps[level]
            maps.append((kmap, kernel, voxels, levels[level + 1], stride))
    assert len(maps) == len(kernel_maps(plan))
    for kmap, kernel, coords_in, coords_out, stride in maps:
        expected = set(
            oracle.pairs(coords_in, coords_out, kernel.size, stride * kernel.dilation)
        )
        assert (kmap.kernel_size, kmap.dilation) == (kernel.size, kernel.dilation)
        assert table_pairs(kmap.nbr) == expected
        assert table_pairs(kmap.nbr_t) == set(oracle.transpose(expected))
        assert (kmap.num_in, kmap.num_out) == (len(coords_in), len(coords_out))


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.usefixtures("builder")
def test_a_network_gets_the_levels_and_kernels_it_asks_for(name):
    coords, spec = random_voxels(4, extent=11), SPECS[name]
    plan, _ = build_plan(coords, spec=spec)
    assert plan.rung == choose_rung(level_counts(coords, spec))
    check_against_oracle(plan, coords, spec)


@pytest.mark.parametrize("name", SPECS)
def test_a_plan_takes_the_memory_that_is_said_beforehand(name):
    coords, spec = random_voxels(4), SPECS[name]
    plan, _ = build_plan(coords, spec=spec)
    shapes = abstract_plan(spec, plan.rung)
    assert jax.tree.structure(shapes) == jax.tree.structure(plan)
    for shape, array in zip(*map(jax.tree.leaves, (shapes, plan)), strict=True):
        assert (shape.shape, shape.dtype) == (array.shape, array.dtype)
    taken = sum(array.nbytes for array in jax.tree.leaves(plan))
    assert taken == plan_bytes(spec, plan.rung)


def test_a_plan_that_does_not_fit_the_memory_is_refused(monkeypatch):
    coords = random_voxels(4)
    needed = plan_bytes(MINKUNET, choose_rung(level_counts(coords)))
    monkeypatch.setattr(memory, "available_bytes", lambda: needed)
    build_plan(coords)
    monkeypatch.setattr(memory, "available_bytes", lambda: needed - 1)
    with pytest.raises(InputError, match=r"required for the plan .*voxel_size_m"):
        build_plan(coords)


def test_a_kernel_that_was_not_asked_for_is_named():
    plan, _ = build_plan(random_voxels(4), spec=unet_spec(2))
    for find in (plan.within, plan.down):
        with pytest.raises(ContractError, match=r"Kernel\(size=7, dilation=2\).*spec="):
            find(0, 7, 2)
        with pytest.raises(ContractError, match="required"):
            find(-1, 3)


@pytest.mark.parametrize(
    ("message", "make"),
    [
        ("kernels of L", lambda: PlanSpec(((),), ((),), ())),
        ("kernels of L", lambda: PlanSpec((), (), ())),
        ("steps of 2, 4", lambda: PlanSpec(((), ()), ((),), (3,))),
        ("distinct", lambda: unet_spec(2, stem=(3,))),
        ("at least 1", lambda: unet_spec(2, down=(0,))),
        ("reach at most 64", lambda: unet_spec(5, blocks=(Kernel(5, 3),))),
        ("reach at most 64", lambda: unet_spec(8)),
    ],
)
def test_specifications_that_no_plan_can_meet_are_refused(message, make):
    with pytest.raises(ContractError, match=message):
        make()


@pytest.mark.usefixtures("builder")
def test_the_farthest_kernels_do_not_leave_their_axis():
    low, high = voxel_keys.MIN_COORD, voxel_keys.MAX_COORD
    corners = [(low, low, low), (low, low, high), (low, high, low), (high, high, high)]
    coords = np.array([(0, *c) for c in corners] + [(1, low, low, low)], np.int32)
    spec = unet_spec(7, blocks=(2, 3))
    plan, _ = build_plan(coords, spec=spec)
    check_against_oracle(plan, coords, spec)


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
    assert plan.rung == choose_rung((0,) * 5)
    for kmap in kernel_maps(plan):
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
    for kmap in kernel_maps(plan):
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
        return plan.levels[0].num_valid + plan.within(0, 5).nbr[0, 0]

    for seed in (1, 2):
        count(build_plan(random_voxels(seed))[0])
    assert len(traces) == 1


def test_transposing_twice_gives_the_map_back():
    plan, _ = build_plan(random_voxels(3), Rung((512, 512, 256, 256, 128)))
    for kmap in (plan.down(0, 2), plan.within(1, 3)):
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
