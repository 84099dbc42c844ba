"""The native convolution against a float64 oracle, and its promises of bit equality."""

import dataclasses

import native_calls as calls
import numpy as np
import pytest

from sas_jax import native_library

if native_library.load() is None:
    pytest.skip("the native library is not built", allow_module_level=True)

CHANNELS = (1, 3, 5, 16, 32, 48, 64, 96, 128, 200, 256)
OFFSETS = (1, 8, 27, 125)
ROWS = (0, 1, 2, 13, 500)


@pytest.fixture(autouse=True)
def best_isa():
    """Leave the process on its best instruction set after every test."""
    yield
    assert calls.set_isa("auto")


def check_all(case, threads=2):
    calls.check_forward(case, calls.forward(case, threads=threads))
    calls.check_weight_grad(case, calls.weight_grad(case, threads=threads))


@pytest.mark.parametrize("num_offsets", OFFSETS)
@pytest.mark.parametrize("c_in", CHANNELS)
def test_matches_the_oracle(c_in, num_offsets):
    # Output channels run through all sizes as well, in another order.
    c_out = CHANNELS[(CHANNELS.index(c_in) * 4 + 5) % len(CHANNELS)]
    for num_out in ROWS:
        density = min(0.5, 2000 / (num_offsets * max(num_out, 1)))
        check_all(
            calls.make_case(c_in, num_offsets, c_in, c_out, num_out, density=density)
        )


@pytest.mark.parametrize("c_out", CHANNELS)
def test_matches_the_oracle_over_output_channels(c_out):
    check_all(calls.make_case(c_out, 27, 32, c_out, 300))


@pytest.mark.parametrize("isa", calls.ISAS)
@pytest.mark.parametrize(("c_in", "c_out"), [(3, 32), (32, 96), (96, 64), (256, 5)])
def test_matches_the_oracle_on_long_inputs(isa, c_in, c_out):
    if not calls.set_isa(isa):
        pytest.skip(f"this processor has no {isa}")
    check_all(calls.make_case(1, 8, c_in, c_out, 5000, density=0.3))


@pytest.mark.parametrize("num_rows", [0, 1, 13, 700])
def test_no_table_pairs_equal_rows(num_rows):
    case = calls.make_case(2, 1, 24, 40, num_rows)
    identity = np.where(
        np.arange(case.capacity) < num_rows, np.arange(case.capacity), -1
    )
    tabled = dataclasses.replace(case, nbr=identity[None].astype(np.int32))
    dense = dataclasses.replace(case, nbr=None)
    check_all(dense)
    # A table of the identity adds to zero where the other one stores: -0 is the same.
    np.testing.assert_array_equal(calls.forward(dense), calls.forward(tabled))
    np.testing.assert_array_equal(calls.weight_grad(dense), calls.weight_grad(tabled))


def test_offset_without_pairs_has_zero_gradient():
    case = calls.make_case(3, 8, 16, 16, 50)
    case.nbr[3] = -1
    check_all(case)
    assert not calls.weight_grad(case)[3].any()


@pytest.mark.parametrize("c_out", [3, 32, 200])
def test_transposed_weights_and_reversed_offsets_equal_arranged_weights(c_out):
    case = calls.make_case(4, 27, 20, c_out, 200)
    turned = np.ascontiguousarray(case.w[::-1].swapaxes(1, 2))
    both = calls.TRANSPOSE_WEIGHTS | calls.REVERSE_OFFSETS
    np.testing.assert_array_equal(
        calls.forward(case), calls.forward(case, w=turned, flags=both)
    )


# 20,000 rows make three slabs of the weight gradient; 13 rows make one short tile.
@pytest.mark.parametrize("num_out", [13, 700, 20_000])
def test_threads_and_capacity_do_not_change_a_bit(num_out):
    case = calls.make_case(5, 8, 20, 70, num_out, density=0.3)
    wide = calls.widen(case, 5000)
    for threads in (2, 4):
        for other in (case, wide):
            y = calls.forward(other, threads=threads)
            np.testing.assert_array_equal(y[: case.capacity], calls.forward(case))
            assert not y[case.capacity :].any()
            dw = calls.weight_grad(other, threads=threads)
            np.testing.assert_array_equal(dw, calls.weight_grad(case))


@pytest.mark.parametrize(("c_in", "c_out"), [(3, 32), (32, 48), (96, 96), (40, 200)])
def test_instruction_sets_with_fused_arithmetic_agree_bitwise(c_in, c_out):
    case = calls.make_case(6, 27, c_in, c_out, 1500, density=0.3)
    results = []
    for isa in ("avx2", "avx512"):
        if not calls.set_isa(isa):
            pytest.skip(f"this processor has no {isa}")
        results.append((calls.forward(case), calls.weight_grad(case)))
    for avx2, avx512 in zip(*results, strict=True):
        np.testing.assert_array_equal(avx2, avx512)


@pytest.mark.parametrize("isa", calls.ISAS)
@pytest.mark.parametrize("num_out", [0, 13, 700, 9000])
@pytest.mark.parametrize(("c_in", "c_out"), [(3, 32), (32, 5), (96, 96), (40, 200)])
def test_bfloat16_rows_are_the_float_kernels_with_one_rounding(
    isa, num_out, c_in, c_out
):
    if not calls.set_isa(isa):
        pytest.skip(f"this processor has no {isa}")
    case = calls.make_case(10, 27, c_in, c_out, num_out, density=0.2)
    bits, wide = calls.narrow(case)
    for threads in (1, 3):
        y = calls.forward(bits, threads=threads)
        np.testing.assert_array_equal(y, calls.to_bf16(calls.forward(wide)))
        dw = calls.weight_grad(bits, threads=threads)
        np.testing.assert_array_equal(dw, calls.weight_grad(wide))


def test_bfloat16_matches_the_oracle_within_half_a_unit():
    case = calls.make_case(11, 27, 64, 48, 400)
    bits, wide = calls.narrow(case)
    y = calls.from_bf16(calls.forward(bits)).astype(np.float64)
    exact = calls.oracle_forward(wide)
    # Rounding to 8 significant bits is off by at most 2^-9 of the value above the
    # power of two below, on top of what a float32 sum is off by.
    terms = case.w.shape[1] + len(case.w) + 1
    sums = terms * calls.UNIT * calls.oracle_forward(wide, absolute=True)
    bound = (1 + 2.0**-8) * sums + 2.0**-8 * np.abs(exact)
    assert (np.abs(y - exact) <= bound).all()
    assert np.abs(y - exact).max() > 2.0**-10 * np.abs(exact).max()


def test_bfloat16_keeps_nan_and_infinity_of_valid_rows():
    case = calls.make_case(12, 1, 1, 2, 3, density=1.0)
    case.nbr[0, :3] = np.arange(3)
    # This NaN, rounded like a number, would become -0.
    case.w[0, 0] = [1, np.array(0x7FFFFFFF, np.uint32).view(np.float32)]
    case.x[:3, 0] = [np.inf, -np.inf, np.nan]
    bits, _ = calls.narrow(case)
    y = calls.from_bf16(calls.forward(bits))[:3]
    np.testing.assert_array_equal(y[:, 0], [np.inf, -np.inf, np.nan])
    assert np.isnan(y[:, 1]).all()


def _zeros(case):
    return np.zeros((case.capacity, case.w.shape[2]), np.float32)


def _shifted_offset(case):
    return calls.forward(dataclasses.replace(case, w=np.roll(case.w, 1, axis=0)))


def _swapped_axes(case):
    return calls.forward(dataclasses.replace(case, w=case.w.swapaxes(1, 2).copy()))


def _neighbouring_row(case):
    nbr = np.where(case.nbr > 0, case.nbr - 1, case.nbr)
    return calls.forward(dataclasses.replace(case, nbr=nbr.astype(np.int32)))


def _one_pair_less(case):
    nbr = case.nbr.copy()
    nbr[tuple(np.argwhere(nbr >= 0)[-1])] = -1
    return calls.forward(dataclasses.replace(case, nbr=nbr))


@pytest.mark.parametrize(
    "mutant",
    [_zeros, _shifted_offset, _swapped_axes, _neighbouring_row, _one_pair_less],
)
def test_checks_catch_a_wrong_forward(mutant):
    case = calls.make_case(7, 27, 32, 32, 400)
    calls.check_forward(case, calls.forward(case))
    with pytest.raises(AssertionError):
        calls.check_forward(case, mutant(case))


def test_checks_catch_a_wrong_weight_gradient():
    case = calls.make_case(8, 27, 32, 32, 400)
    dw = calls.weight_grad(case)
    calls.check_weight_grad(case, dw)
    for wrong in (np.zeros_like(dw), np.roll(dw, 1, axis=0), dw.swapaxes(1, 2)):
        with pytest.raises(AssertionError):
            calls.check_weight_grad(case, wrong)


def test_checks_catch_nan_and_dirty_padding():
    case = calls.make_case(9, 8, 16, 16, 40)
    y = calls.forward(case)
    for row, value in ((0, np.nan), (case.num_out, 1.0), (case.num_out, np.nan)):
        wrong = y.copy()
        wrong[row, 0] = value
        with pytest.raises(AssertionError):
            calls.check_forward(case, wrong)
