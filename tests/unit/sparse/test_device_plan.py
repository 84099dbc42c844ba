"""Plans built under jit are those of the host, bit for bit, or say why not."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sas_jax.errors import ContractError, InputError
from sas_jax.sparse import device_plan, plan
from sas_jax.sparse import keys as voxel_keys
from sas_jax.sparse.native import neighbours as native_neighbours
from sas_jax.sparse.native import plan as native_plan
from sas_jax.sparse.plan_spec import MINKUNET, Kernel, PlanSpec
from sas_jax.sparse.rungs import Rung, exact_rung
from sas_jax.sparse.xla import neighbours as xla_neighbours

RUNG = Rung((512, 448, 420, 400, 384))
CAPACITY = 450
build = jax.jit(device_plan.build_plan, static_argnames=("rung", "spec"))


def random_voxels(seed, count=400, batches=3, extent=12):
    rng = np.random.default_rng(seed)
    axes = rng.integers(-extent, extent + 1, (count, 3))
    batch = rng.integers(0, batches, (count, 1))
    coords = np.unique(np.concatenate([batch, axes], axis=1), axis=0)
    return rng.permutation(coords).astype(np.int32)


def padded(coords, capacity=CAPACITY):
    """Fill up with rows that would be voxels, or no key at all, if they were read."""
    rows = np.tile(np.array([[0, 1, 2, 3], [-7, 2**31 - 1, -(2**31), 5]], np.int32),
                   (capacity, 1))[:capacity]  # fmt: skip
    rows[: len(coords)] = coords
    return rows


def check_equal(coords, rung=RUNG, capacity=CAPACITY, spec=MINKUNET):
    expected, order = plan.build_plan(coords, rung, spec=spec, duplicates="first")
    rows = padded(coords, capacity)
    built = build(rows, np.int32(len(coords)), rung=rung, spec=spec)
    device_plan.check(built, repeated_ok=True)
    assert jax.tree.structure(built.plan) == jax.tree.structure(expected)
    for got, wanted in zip(*map(jax.tree.leaves, (built.plan, expected)), strict=True):
        assert got.dtype == wanted.dtype
        np.testing.assert_array_equal(got, wanted)
    assert built.order.dtype == jnp.int32
    np.testing.assert_array_equal(built.order[: len(order)], order)
    assert (built.order[len(order) :] == -1).all()
    return built


@pytest.fixture(params=["numpy", "native"])
def builder(request, monkeypatch):
    """Compare with either implementation of the host."""
    native = request.param == "native"
    if native and not native_plan.is_available():
        pytest.skip("the native library is not built")
    monkeypatch.setattr(native_plan, "is_available", lambda: native)


@pytest.mark.usefixtures("builder")
@pytest.mark.parametrize("seed", range(4))
def test_random_scenes_give_the_plan_of_the_host(seed):
    check_equal(random_voxels(seed, extent=(3, 6, 12, 40)[seed]))


@pytest.mark.usefixtures("builder")
@pytest.mark.parametrize(
    "spec",
    [
        PlanSpec(
            within=((Kernel(3),),) * 3, down=((Kernel(3), Kernel(1)),) * 2, steps=(4, 2)
        ),
        PlanSpec(
            within=((Kernel(4), Kernel(3, 2)), (), (Kernel(2, 3),)),
            down=((Kernel(3, 2),), (Kernel(2),)),
            steps=(2, 2),
        ),
    ],
)
def test_other_networks_give_the_plan_of_the_host(spec):
    rung = Rung(RUNG.capacities[: spec.num_levels])
    check_equal(random_voxels(2), rung, spec=spec)
    check_equal(np.zeros((0, 4), np.int32), rung, spec=spec)


@pytest.mark.usefixtures("builder")
@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_voxels(count):
    check_equal(np.array([[2, -7, 5, -1], [2, -7, 5, 0]], np.int32)[:count])


def test_ends_of_the_range_do_not_meet():
    low, high, batch = voxel_keys.MIN_COORD, voxel_keys.MAX_COORD, voxel_keys.MAX_BATCH
    rows = [[b, x, y, z] for b in (0, 1, batch - 1, batch) for x in (low, high)
            for y in (low, high) for z in (low, high)]  # fmt: skip
    check_equal(np.array(rows, np.int32))


def test_steps_across_the_words_of_a_key():
    # y and z around 0 and multiples of 2^14 carry from the low word into the high one.
    steps = np.arange(-2, 3)
    z, y = np.meshgrid(steps, steps)
    rows = [np.stack([y * 0, y * 0 + 5, y + base, z], -1).reshape(-1, 4)
            for base in (0, 1 << 14, -(1 << 14), 3 << 14)]  # fmt: skip
    check_equal(np.concatenate(rows).astype(np.int32))


def test_exact_capacities_and_a_full_input():
    coords = random_voxels(5, 80)
    rung = exact_rung(plan.level_counts(coords))
    check_equal(coords, rung, capacity=len(coords))


def test_the_first_of_repeated_voxels_is_kept_and_reported():
    coords = random_voxels(6, 50)
    built = check_equal(np.concatenate([coords, coords[::-1][:7]]))
    assert built.num_repeated == 7
    with pytest.raises(InputError, match="7 that repeat"):
        device_plan.check(built)


@pytest.mark.parametrize("level", [0, 3])
def test_an_overflow_is_a_flag_and_an_empty_plan(level):
    coords = random_voxels(7)
    counts = plan.level_counts(coords)
    small = [n + 10 for n in counts]
    small[level] = counts[level] - 1
    rung = Rung(tuple(small))
    built = build(padded(coords), np.int32(len(coords)), rung=rung)
    assert built.overflowed[level]
    assert not built.overflowed[:level].any()
    with pytest.raises(InputError, match=rf"at levels \[{level}"):
        device_plan.check(built)
    empty, _ = plan.build_plan(np.zeros((0, 4), np.int32), rung)
    jax.tree.map(np.testing.assert_array_equal, built.plan, empty)
    assert (built.order == -1).all()


@pytest.mark.parametrize(
    ("column", "value"),
    [
        (0, -1),
        (0, voxel_keys.MAX_BATCH + 1),
        (1, voxel_keys.MIN_COORD - 1),
        (3, voxel_keys.MAX_COORD + 1),
        (2, 2**31 - 1),
    ],
)
def test_a_coordinate_that_no_key_holds_is_a_flag(column, value):
    coords = random_voxels(8, 30)
    coords[11, column] = value
    built = build(padded(coords), np.int32(len(coords)), rung=RUNG)
    with pytest.raises(InputError, match="within what a key"):
        device_plan.check(built)
    assert built.plan.levels[0].num_valid == 0


def test_more_voxels_than_rows_are_a_flag():
    built = build(padded(random_voxels(9)), np.int32(CAPACITY + 1), rung=RUNG)
    assert built.out_of_range


def test_numbers_of_voxels_share_one_program():
    traces = []

    @jax.jit
    def count(coords, num_voxels):
        traces.append(1)
        return device_plan.build_plan(coords, num_voxels, RUNG).num_repeated

    for seed, rows in ((1, 300), (2, 20)):
        coords = random_voxels(seed, rows)
        count(padded(coords), np.int32(len(coords)))
    assert len(traces) == 1


def test_it_lowers_for_cpu_cuda_and_tpu_without_64_bit_integers():
    function = jax.jit(functools.partial(device_plan.build_plan, rung=RUNG))
    shapes = (jax.ShapeDtypeStruct((CAPACITY, 4), jnp.int32),
              jax.ShapeDtypeStruct((), jnp.int32))  # fmt: skip
    platforms = ("cpu", "cuda", "tpu")
    exported = jax.export.export(function, platforms=platforms)(*shapes)
    assert exported.platforms == platforms
    text = exported.mlir_module()
    assert "stablehlo.sort" in text
    assert "stablehlo.scatter" not in text
    assert "custom_call" not in text
    assert "xui64" not in text


def test_a_rung_of_other_levels_is_refused():
    with pytest.raises(ContractError, match="capacities of 5 levels"):
        device_plan.build_plan(jnp.zeros((3, 4), jnp.int32), np.int32(3), Rung((8, 8)))


def test_other_arrays_are_refused():
    for coords in (np.zeros((3, 3), np.int32), np.zeros((3, 4), np.float32)):
        with pytest.raises(InputError, match=r"int32 coords \[N, 4\]"):
            device_plan.build_plan(jnp.asarray(coords), np.int32(3), RUNG)


@pytest.fixture
def on_device(monkeypatch):
    """Place plans as on a GPU, with the search of plain XLA."""
    monkeypatch.setattr(native_neighbours, "is_available", lambda: True)
    monkeypatch.setattr(native_neighbours, "search", xla_neighbours.search)


@pytest.mark.usefixtures("on_device")
@pytest.mark.parametrize("count", [0, 1, 400])
@pytest.mark.parametrize("rung", [None, RUNG])
def test_a_plan_is_placed_where_the_search_is(count, rung):
    coords = random_voxels(7, 400)[:count]
    expected, order = plan.build_plan(coords, rung)
    placed, placed_order = device_plan.place_plan(coords, rung)
    np.testing.assert_array_equal(placed_order[: len(order)], order)
    assert jax.tree.structure(placed) == jax.tree.structure(expected)
    for got, wanted in zip(*map(jax.tree.leaves, (placed, expected)), strict=True):
        assert isinstance(got, jax.Array)
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.usefixtures("on_device")
def test_what_the_host_refuses_is_refused_where_the_plan_is_placed():
    coords = random_voxels(7, 30)
    with pytest.raises(InputError, match="distinct voxels"):
        device_plan.place_plan(np.concatenate([coords, coords[:1]]))
    with pytest.raises(InputError, match="voxel coordinates in"):
        device_plan.place_plan(coords + np.int32([0, 1 << 18, 0, 0]))
    with pytest.raises(InputError, match="rung of at least"):
        device_plan.place_plan(coords, Rung((8, 8, 8, 8, 8)))
    with pytest.raises(InputError, match="higher rung"):
        device_plan.place_plan(coords, Rung((64, 1, 1, 1, 1)))


def test_without_a_kernel_the_host_builds_the_plan():
    placed, _ = device_plan.place_plan(random_voxels(7, 30))
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(placed))
