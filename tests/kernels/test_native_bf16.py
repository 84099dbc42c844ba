"""Products of bfloat16 by bfloat16: bits of an oracle, and the same bits always."""

import dataclasses

import bf16_oracle
import jax
import jax.numpy as jnp
import native_calls as calls
import numpy as np
import pytest

from sas_jax import native_library
from sas_jax.errors import InputError
from sas_jax.sparse.conv import pointwise, require_bf16, sparse_conv
from sas_jax.sparse.plan import build_plan

if native_library.load() is None:
    pytest.skip("the native library is not built", allow_module_level=True)
if not calls.has_bf16_products():
    pytest.skip("this processor does not multiply bfloat16", allow_module_level=True)

BF16_PRODUCTS = "bfloat16"
"""What JAX calls them."""


@pytest.fixture(autouse=True)
def best_isa():
    """Leave the process on its best instruction set after every test."""
    yield
    assert calls.set_isa("auto")


def make_case(*args, **options):
    """Return a case of bits, NaN where nothing may be read."""
    case, _ = calls.narrow(calls.make_case(*args, **options))
    return dataclasses.replace(case, w=calls.to_bf16(case.w))


def wide(case):
    parts = {name: calls.from_bf16(getattr(case, name)) for name in ("x", "w", "dy")}
    return dataclasses.replace(case, **parts)


def cancel(case):
    """Return a case whose channels cancel, so that results are what rounding left."""
    half = case.x.shape[1] // 2
    # Far apart in size, so that sums do not fit a float.
    powers = np.random.default_rng(0).integers(0, 24, case.x.shape)
    case.x = calls.to_bf16(np.ldexp(calls.from_bf16(case.x), powers))
    turned = np.roll(case.x[:, :half], 1, axis=1) ^ 0x8000
    case.x[:, half : 2 * half] = np.where(turned & 0x7FFF > 0x7F80, 0x7FC0, turned)
    case.w[:, half : 2 * half] = np.roll(case.w[:, :half], 1, axis=1)
    return case


@pytest.mark.parametrize(
    ("c_in", "c_out", "num_offsets", "num_out"),
    [
        (1, 5, 1, 13),
        (1, 17, 8, 1),
        (2, 33, 3, 2),
        (3, 32, 27, 4),
        (5, 70, 2, 5),
        (7, 49, 3, 9),
        (16, 16, 2, 30),
        (9, 130, 1, 8),
        (4, 3, 8, 0),
    ],
)
def test_every_bit_is_the_oracles(c_in, c_out, num_offsets, num_out):
    case = make_case(c_in, num_offsets, c_in, c_out, num_out)
    got = calls.forward(case)
    np.testing.assert_array_equal(got, bf16_oracle.forward(case))
    assert not got[num_out:].any()


@pytest.mark.parametrize("c_in", [12, 13, 24])
def test_rounding_and_order_are_the_oracles(c_in):
    # What is left where everything cancels is rounding alone, in all of its bits.
    case = cancel(make_case(20, 1, c_in, 33, 6, density=1.0))
    got, expected = calls.forward(case), bf16_oracle.forward(case)
    np.testing.assert_array_equal(got, expected)
    exact = calls.oracle_forward(wide(case))[: case.num_out]
    assert np.mean(calls.from_bf16(expected)[: case.num_out] != exact) > 0.5


def test_denormal_values_count_as_zero():
    case = make_case(21, 1, 2, 48, 40, density=1.0)
    exponents = np.random.default_rng(0).integers(0, 4, case.x.shape)
    small = (case.x & 0x807F) | (exponents << 7).astype(np.uint16)
    case.x[: case.num_out + 3] = small[: case.num_out + 3]
    got = calls.forward(case)
    np.testing.assert_array_equal(got & 0x7FFF, bf16_oracle.forward(case) & 0x7FFF)
    assert np.mean(got[: case.num_out] & 0x7FFF == 0) > 0.1


def test_what_lies_behind_an_odd_last_channel_is_never_read_into_a_sum():
    case = make_case(22, 1, 3, 20, 6, density=1.0)
    case.nbr[0, :6] = np.arange(6)[::-1] + 1
    case.x[[0, 7]] = 0x7FC0  # beside rows that are read
    got = calls.forward(case)
    np.testing.assert_array_equal(got, bf16_oracle.forward(case))


def test_nan_and_infinity_of_valid_rows_are_kept():
    case = make_case(23, 1, 1, 2, 3, density=1.0)
    case.nbr[0, :3] = np.arange(3)
    case.w[0, 0] = calls.to_bf16(np.array([1.0, np.nan]))
    case.x[:3, 0] = calls.to_bf16(np.array([np.inf, -np.inf, np.nan]))
    y = calls.from_bf16(calls.forward(case))[:3]
    np.testing.assert_array_equal(y[:, 0], [np.inf, -np.inf, np.nan])
    assert np.isnan(y[:, 1]).all()


CHANNELS = (1, 3, 16, 31, 32, 48, 64, 96, 128, 200, 256)


@pytest.mark.parametrize("c_in", CHANNELS)
def test_large_cases_are_within_the_bound_of_their_sums(c_in):
    c_out = CHANNELS[(CHANNELS.index(c_in) * 4 + 5) % len(CHANNELS)]
    for num_offsets, num_out in ((1, 500), (27, 130), (8, 3000), (125, 13)):
        case = make_case(c_in, num_offsets, c_in, c_out, num_out, density=0.3)
        y = calls.from_bf16(calls.forward(case, threads=2)).astype(np.float64)
        exact = calls.oracle_forward(wide(case))
        absolute = calls.oracle_forward(wide(case), absolute=True)
        sums = (c_in + num_offsets + 2) * calls.UNIT * absolute
        bound = (1 + 2.0**-8) * sums + 2.0**-8 * np.abs(exact)
        assert (np.abs(y - exact) <= bound).all()


@pytest.mark.parametrize("num_rows", [0, 1, 13, 700])
def test_no_table_pairs_equal_rows(num_rows):
    case = make_case(2, 1, 25, 40, num_rows)
    rows = np.arange(case.capacity)
    identity = np.where(rows < num_rows, rows, -1)[None].astype(np.int32)
    dense, tabled = (dataclasses.replace(case, nbr=nbr) for nbr in (None, identity))
    np.testing.assert_array_equal(calls.forward(dense), calls.forward(tabled))


@pytest.mark.parametrize(("c_in", "c_out"), [(20, 3), (21, 32), (33, 200)])
def test_transposed_weights_and_reversed_offsets_equal_arranged_weights(c_in, c_out):
    case = make_case(4, 27, c_in, c_out, 200)
    turned = np.ascontiguousarray(case.w[::-1].swapaxes(1, 2))
    both = calls.TRANSPOSE_WEIGHTS | calls.REVERSE_OFFSETS
    np.testing.assert_array_equal(
        calls.forward(case), calls.forward(case, w=turned, flags=both)
    )


@pytest.mark.parametrize(
    ("num_out", "c_in"), [(13, 20), (700, 21), (20_000, 20), (40, 256)]
)
def test_threads_and_capacity_do_not_change_a_bit(num_out, c_in):
    case = make_case(5, 8, c_in, 70, num_out, density=0.3)
    extra = calls.widen(wide(case), 5000)
    padded = dataclasses.replace(
        case, nbr=extra.nbr, dy=np.pad(case.dy, ((0, 5000), (0, 0)), mode="edge")
    )
    expected = calls.forward(case)
    for threads in (1, 2, 4):
        for other in (case, padded):
            y = calls.forward(other, threads=threads)
            np.testing.assert_array_equal(y[: case.capacity], expected)
            assert not y[case.capacity :].any()


def small_map():
    coords = np.argwhere(np.random.default_rng(0).random((6, 6, 6)) < 0.4)
    coords = np.pad(coords, ((0, 0), (1, 0))).astype(np.int32)
    plan, _ = build_plan(coords)
    return plan.within(0, 3)


def operands(kmap, c_in=5, c_out=7):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((kmap.capacity_in, c_in))
    w = rng.standard_normal((kmap.nbr.shape[0], c_in, c_out))
    return jnp.asarray(x, jnp.bfloat16), jnp.asarray(w, jnp.float32)


def bits(array):
    return np.asarray(array).view(np.uint16)


def test_jax_asks_for_them_by_its_own_setting_and_for_bfloat16_rows_alone():
    kmap = small_map()
    x, w = operands(kmap)

    def both(x):
        one = pointwise(x, w[0].astype(x.dtype), kmap.num_in)
        return sparse_conv(x, w.astype(x.dtype), kmap), one

    table = np.asarray(kmap.nbr)
    case = calls.Case(bits(x), bits(w.astype(jnp.bfloat16)), np.zeros(
        (table.shape[1], 7), np.uint16), table, int(kmap.num_out))  # fmt: skip
    widened = dataclasses.replace(case, w=calls.from_bf16(case.w))
    single = dataclasses.replace(case, w=case.w[:1], nbr=None)
    exact = jax.jit(both)(x.astype(jnp.float32))
    with jax.default_matmul_precision(BF16_PRODUCTS):
        got, one = jax.jit(both)(x)
        np.testing.assert_array_equal(bits(got), calls.forward(case))
        np.testing.assert_array_equal(bits(one), calls.forward(single))
        # Rows of float32 are as without the setting.
        for asked, alone in zip(jax.jit(both)(x.astype(jnp.float32)), exact,
                                strict=True):  # fmt: skip
            np.testing.assert_array_equal(asked, alone)
    got, _ = jax.jit(both)(x)
    np.testing.assert_array_equal(bits(got), calls.forward(widened))


def test_the_input_gradient_is_the_same_products_over_the_mirrored_table():
    kmap = small_map()
    x, w = operands(kmap)
    dy = operands(kmap, c_in=7)[0]
    with jax.default_matmul_precision(BF16_PRODUCTS):
        dx, dw = jax.vjp(lambda x, w: sparse_conv(x, w, kmap), x, w)[1](dy)
    turned = bits(w.astype(jnp.bfloat16)[::-1].swapaxes(1, 2))
    case = calls.Case(bits(dy), np.ascontiguousarray(turned), bits(x), np.asarray(
        kmap.nbr), int(kmap.num_in))  # fmt: skip
    np.testing.assert_array_equal(bits(dx), calls.forward(case))
    assert dw.dtype == jnp.float32


def test_a_processor_without_them_is_told_apart_and_nothing_is_widened():
    kmap = small_map()
    x, w = operands(kmap)
    require_bf16("here", None)
    assert calls.set_isa("avx2")
    assert not calls.has_bf16_products()
    with pytest.raises(InputError, match=r"here: .*AVX512_BF16.* Compute in f32"):
        require_bf16("here", None)
    with pytest.raises(InputError, match="native kernels are required"):
        require_bf16("here", "xla")
    with (
        jax.default_matmul_precision(BF16_PRODUCTS),
        pytest.raises(InputError, match=r"sparse_conv: .*AVX512_BF16"),
    ):
        sparse_conv(x, w, kmap)
    sparse_conv(x, w, kmap)  # not asked for


def test_a_program_compiled_for_them_says_that_they_are_gone():
    kmap = small_map()
    x, w = operands(kmap)
    with jax.default_matmul_precision(BF16_PRODUCTS):
        run = jax.jit(lambda x, w: sparse_conv(x, w, kmap))
        run(x, w).block_until_ready()
        assert calls.set_isa("avx2")
        # Of JAX's ways to call a program, the fast one raises the former.
        refused = ValueError, jax.errors.JaxRuntimeError
        with pytest.raises(refused, match="need AVX512_BF16"):
            run(x, w).block_until_ready()
