"""The logic of the CUDA kernels, run on the CPU, against the float64 oracle."""

import dataclasses
import functools
import itertools
import shutil

import cuda_emulator
import native_calls as calls
import numpy as np
import pytest
from cuda_emulator import (
    CHANNEL_STEP,
    FORWARD_TILES,
    GRAD_TILES,
    PRECISIONS,
    SCHEDULES,
    Emulator,
    tensor_shapes,
)

if cuda_emulator.compiler() is None:
    pytest.skip("no C++ compiler builds the emulator", allow_module_level=True)


@pytest.fixture(scope="module")
def emulator(root, tmp_path_factory):
    target = tmp_path_factory.mktemp("emulator") / "emulator.so"
    library = cuda_emulator.build(root / "kernels", target)
    return functools.partial(Emulator, library)


def fit(channels, precision):
    """Return as many channels as the kernels of a precision take, or a few more."""
    step = CHANNEL_STEP[precision]
    return -(-channels // step) * step


def tiles(table):
    return [(precision, tile) for precision in PRECISIONS for tile in table[precision]]


@pytest.mark.parametrize(("precision", "tile"), tiles(FORWARD_TILES))
@pytest.mark.parametrize(
    ("num_offsets", "c_in", "c_out"),
    [(1, 8, 4), (8, 5, 7), (3, 32, 96), (27, 13, 33), (40, 36, 100)],
)
def test_forward_matches_the_oracle(
    emulator, num_offsets, c_in, c_out, precision, tile
):
    run, c_in = emulator(precision, tile), fit(c_in, precision)
    for num_out in (0, 1, 2, 150):
        density = min(0.5, 60 / (num_offsets * max(num_out, 1)))
        sizes = (num_offsets, c_in, c_out, num_out)
        case = calls.make_case(c_in, *sizes, density=density)
        run.check_forward(case, run.forward(case))


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
@pytest.mark.parametrize(
    ("num_offsets", "c_in", "c_out", "num_out", "density"),
    [
        (1, 8, 4, 1, 1.0),  # less than a tile, a step and a stage
        (3, 200, 104, 70, 0.5),  # several steps of every length, the last not full
        (5, 32, 40, 150, 0.01),  # tiles that lack some offsets
        (40, 36, 100, 150, 0.05),  # more offsets than are listed at a time
    ],
)
def test_every_shape_on_tensor_cores_gives_the_same_bits(
    emulator, num_offsets, c_in, c_out, num_out, density, precision
):
    sizes = (num_offsets, fit(c_in, precision), c_out, num_out)
    case = calls.make_case(7, *sizes, density=density)
    first = emulator(precision)
    expected = first.forward(case)
    first.check_forward(case, expected)
    shapes = tensor_shapes(first.library, precision)
    assert {shape[4] for shape in shapes} == {4, 8}
    assert {shape[:2] for shape in shapes} == set(FORWARD_TILES[precision])
    for shape, schedule in zip(shapes, itertools.cycle(SCHEDULES)):
        run = emulator(precision, shape, schedule)
        np.testing.assert_array_equal(run.forward(case), expected, str(shape))


@pytest.mark.parametrize(("precision", "tile"), tiles(GRAD_TILES))
@pytest.mark.parametrize(
    ("num_offsets", "c_in", "c_out"),
    [(1, 8, 4), (8, 5, 7), (3, 32, 96), (27, 13, 33), (4, 100, 110)],
)
def test_weight_gradient_matches_the_oracle(
    emulator, num_offsets, c_in, c_out, precision, tile
):
    run = emulator(precision, tile)
    c_in, c_out = fit(c_in, precision), fit(c_out, precision)
    for num_out in (0, 1, 2, 70):
        density = min(0.5, 60 / (num_offsets * max(num_out, 1)))
        sizes = (num_offsets, c_in, c_out, num_out)
        case = calls.make_case(c_in, *sizes, density=density)
        run.check_weight_grad(case, run.weight_grad(case))


@pytest.mark.parametrize("precision", ["f32", "tf32"])
@pytest.mark.parametrize("c_in", [1, 3, 4])
@pytest.mark.parametrize(("num_offsets", "c_out"), [(1, 5), (27, 32), (125, 40)])
def test_few_channels_match_the_oracle(emulator, num_offsets, c_in, c_out, precision):
    run = emulator(precision)
    for num_out in (0, 1, 45):
        case = calls.make_case(1, num_offsets, c_in, c_out, num_out, density=0.2)
        run.check(case)
        turned = np.ascontiguousarray(case.w[::-1].swapaxes(1, 2))
        both = calls.TRANSPOSE_WEIGHTS | calls.REVERSE_OFFSETS
        np.testing.assert_array_equal(
            run.forward(case), run.forward(case, w=turned, flags=both)
        )


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_no_schedule_of_threads_and_copies_changes_a_bit(emulator, schedule, precision):
    # Two windows of pairs, several steps per offset, a stage reused several times.
    case = calls.make_case(2, 4, 72, 40, 2100, density=0.1)
    usual, other = emulator(precision), emulator(precision, schedule=schedule)
    other.check(case)
    np.testing.assert_array_equal(usual.forward(case), other.forward(case))
    np.testing.assert_array_equal(usual.weight_grad(case), other.weight_grad(case))


@pytest.mark.parametrize(("precision", "tile"), tiles(FORWARD_TILES))
@pytest.mark.parametrize(("c_in", "c_out"), [(20, 36), (7, 50)])
def test_input_gradient_is_the_transposed_convolution(
    emulator, c_in, c_out, precision, tile
):
    c_out = fit(c_out, precision)
    case = calls.make_case(3, 8, c_in, c_out, 90)
    transposed = np.full((8, len(case.x)), -1, np.int32)
    for k, o in np.argwhere(case.nbr >= 0):
        transposed[k, case.nbr[k, o]] = o
    backward = calls.Case(
        x=case.dy,
        w=np.ascontiguousarray(case.w.swapaxes(1, 2)),
        dy=np.full((len(case.x), c_in), np.nan, np.float32),
        nbr=transposed,
        num_out=93,
    )
    run = emulator(precision, tile)
    dx = run.forward(backward, w=case.w, flags=calls.TRANSPOSE_WEIGHTS)
    run.check_forward(backward, dx)
    np.testing.assert_array_equal(dx, run.forward(backward))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_reversed_offsets_equal_reversed_weights(emulator, precision):
    case = calls.make_case(4, 27, 24, 24, 80, density=0.2)
    run = emulator(precision)
    turned = np.ascontiguousarray(case.w[::-1])
    np.testing.assert_array_equal(
        run.forward(case), run.forward(case, w=turned, flags=calls.REVERSE_OFFSETS)
    )


@pytest.mark.parametrize("precision", PRECISIONS)
def test_order_of_rows_changes_speed_but_no_bit(emulator, precision):
    case = calls.make_case(5, 8, 24, 40, 150)
    run = emulator(precision)
    order = np.random.default_rng(0).permutation(case.capacity).astype(np.int32)
    np.testing.assert_array_equal(run.forward(case), run.forward(case, order=order))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("num_rows", [0, 1, 13, 140])
def test_no_table_pairs_equal_rows(emulator, num_rows, precision):
    case = calls.make_case(6, 1, 24, 40, num_rows)
    dense = dataclasses.replace(case, nbr=None)
    emulator(precision).check(dense)


def test_no_table_pairs_equal_rows_of_few_channels(emulator):
    case = calls.make_case(6, 1, 3, 40, 140)
    emulator().check(dataclasses.replace(case, nbr=None))


def test_without_offsets_everything_is_zero(emulator):
    case = calls.make_case(6, 0, 8, 8, 20)
    for precision in PRECISIONS:
        for schedule in SCHEDULES:
            assert not emulator(precision, schedule=schedule).forward(case).any()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_capacity_does_not_change_a_bit(emulator, precision):
    # 4200 valid rows are two slabs, whatever the capacity has room for.
    case = calls.make_case(7, 2, 8, 8, 4200, density=0.1)
    wide = calls.widen(case, 5000)
    run = emulator(precision)
    np.testing.assert_array_equal(run.weight_grad(case), run.weight_grad(wide))
    run.check_weight_grad(wide, run.weight_grad(wide))
    y = run.forward(wide)
    np.testing.assert_array_equal(y[: case.capacity], run.forward(case))
    assert not y[case.capacity :].any()


def test_one_slab_of_several_that_the_capacity_allows(emulator):
    case = calls.widen(calls.make_case(8, 2, 8, 8, 50), 9000)
    emulator().check(case)


@pytest.mark.parametrize(
    ("precision", "c_in"), [("f32", 3), ("f32", 8), ("tf32", 8), ("bf16", 8)]
)
def test_padding_stays_zero_where_weights_are_not_finite(emulator, c_in, precision):
    case = calls.make_case(9, 3, c_in, 8, 20)
    case.w[:] = np.inf
    with np.errstate(invalid="ignore"):
        assert not emulator(precision).forward(case)[20:].any()


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("num_out", [-3, 40])
def test_impossible_number_of_rows_stays_inside_the_arrays(
    emulator, num_out, precision
):
    case = calls.make_case(10, 3, 8, 8, 20)
    case.num_out = num_out
    case.dy[20:] = 0.0
    emulator(precision).forward(case)
    emulator(precision).weight_grad(case)


@pytest.mark.parametrize("tile", FORWARD_TILES["f32"])
def test_rows_that_are_not_aligned_are_copied_by_4_bytes(emulator, tile):
    case = calls.make_case(11, 3, 12, 20, 30)
    for name in ("x", "w", "dy"):
        array = getattr(case, name)
        moved = np.zeros(array.size + 1, np.float32)[1:].reshape(array.shape)
        moved[:] = array
        assert moved.ctypes.data % 16 == 4
        setattr(case, name, moved)
    emulator(tile=tile).check(case)


# What a slip in the index arithmetic or in the synchronisation looks like.
MUTANTS = {
    "rows of A": ("tensor_product.h", "Lane() % 16, chunk + Lane() / 16",
                  "Lane() / 2, chunk + Lane() % 2"),
    "fragment of B": ("tensor_product.h", "chunk + Lane() / 8 % 2", "chunk"),
    "tiles of a warp": ("tensor_product.h", "tiles >> (first_row_ / 16)", "tiles"),
    "transposed fragment": ("tensor_product.h", "Lane() % 8 + Lane() / 16 * 8, row /",
                            "Lane() % 16, row /"),
    "terms of tf32": ("tensor_product.h", "term + member + e / 2 * 4", "term + member"),
    "columns of sums": ("tensor_product.h", "8 * j + Lane() % 4 * 2, sums_",
                        "8 * j + Lane() % 4, sums_"),
    "width of rows": ("tensor_panel.h", "&& chunk * kElements < width", ""),
    "exact product": ("product.h", "a_part[i][e / 2].v[t]", "a_part[i][e % 2].v[t]"),
    "missing wait": (
        "panel.h", "WaitForCopies<kStages - 2>();", "WaitForCopies<kStages - 1>();"
    ),
    "stage in use": ("panel.h", "step + kStages - 1;", "step + kStages;"),
    "padding of rows": ("forward_tile.h", "in < 0 ? -1 :", "in < 0 ? 0 :"),
    "padding of tensors": ("tensor_forward.h", "in < 0 ? -1 :", "in < 0 ? 0 :"),
    "rows of the next step": ("tensor_forward.h", "LookUp(load.listed)", "LookUp(0)"),
    "tiles of the next step": ("tensor_forward.h", "tiles = list.active_tiles[use",
                               "tiles = list.active_tiles[0 * use"),
    "batch of the table": (
        "offset_list.h", "first + i / kRows", "first + begin / kRows"
    ),
    "present tiles": ("offset_list.h", "(present >> 16) != 0 ? 2u", "false ? 2u"),
    "misaligned": ("panel.h", "(kDepthMajor ? 8 : 4)", "(kDepthMajor ? 8 : 5)"),
    "missing barrier": (
        "weight_grad_tile.h", "SyncThreads();\n    return total;", "return total;"
    ),
    "order of pairs": ("weight_grad_tile.h", "before = total;", "before = 0;"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_checks_catch_a_wrong_kernel(root, tmp_path, name):
    file, right, wrong = MUTANTS[name]
    kernels = tmp_path / "kernels"
    shutil.copytree(root / "kernels", kernels)
    source = kernels / "cuda" / file
    text = source.read_text()
    assert text.count(right) == 1
    source.write_text(text.replace(right, wrong))
    library = cuda_emulator.build(kernels, tmp_path / "mutant.so")
    # Dense enough that every tile has something, with tiles that lack some offsets.
    cases = [
        calls.make_case(seed, 4, 72, 40, 200, density=density)
        for seed, density in ((12, 0.4), (13, 0.01))
    ]
    # Enough offsets that a thread reads several entries of the table.
    cases.append(calls.make_case(14, 9, 24, 40, 70, density=0.3))
    with pytest.raises(AssertionError):
        for precision, schedule in itertools.product(PRECISIONS, SCHEDULES):
            for case in cases:
                Emulator(library, precision, schedule=schedule).check(case)
