"""The native normalisation against float64 formulas, derived by hand."""

import jax
import jax.numpy as jnp
import native_calls as calls
import numpy as np
import pytest

from sas_jax import native_call, native_library
from sas_jax.sparse.native import norm as native_norm

if native_library.load() is None:
    pytest.skip("the native library is not built", allow_module_level=True)


@pytest.fixture(autouse=True)
def best_isa():
    """Leave the process on its best instruction set after every test."""
    yield
    assert calls.set_isa("auto")


def make_rows(seed, num_valid, channels, *, padding=7, offset=0.0):
    """Return x, residual and a cotangent with NaN in padding rows, scale and bias."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((3, num_valid + padding, channels)).astype(np.float32)
    rows[0] += np.float32(offset)
    rows[:, num_valid:] = np.nan
    vectors = rng.uniform(0.5, 1.5, (2, channels)).astype(np.float32)
    return (*rows, *vectors)


def oracle(x, residual, dy, scale, bias, num_valid, *, eps, rectify, use_residual):
    """Return y and the gradients of x, scale, bias and residual, in float64."""
    x, residual, dy = (a[:num_valid].astype(np.float64) for a in (x, residual, dy))
    mean, var = x.mean(axis=0), x.var(axis=0)
    normal = (x - mean) / np.sqrt(var + eps)
    y = normal * scale + bias + (residual if use_residual else 0.0)
    gated = np.where(y > 0, dy, 0.0) if rectify else dy
    y = np.maximum(y, 0.0) if rectify else y
    dnormal = gated * scale
    dx = dnormal - dnormal.mean(axis=0) - normal * (dnormal * normal).mean(axis=0)
    dx /= np.sqrt(var + eps)
    return y, dx, (gated * normal).sum(axis=0), gated.sum(axis=0), gated


def run(rows, num_valid, rectify, use_residual):
    x, residual, dy, scale, bias = rows

    def layer(x, scale, bias, residual):
        return native_norm.batch_norm(
            x,
            scale,
            bias,
            np.int32(num_valid),
            rectify=rectify,
            residual=residual if use_residual else None,
        )

    (y, *stats), back = jax.vjp(jax.jit(layer), x, scale, bias, residual)
    still = [jnp.zeros_like(s) for s in stats]
    return (y, *back((jnp.asarray(dy), *still))), stats


@pytest.mark.parametrize("rectify", [False, True])
@pytest.mark.parametrize("use_residual", [False, True])
@pytest.mark.parametrize(
    ("num_valid", "channels"), [(2, 1), (13, 3), (700, 48), (3000, 96)]
)
def test_batch_norm_and_gradients(num_valid, channels, use_residual, rectify):
    rows = make_rows(num_valid, num_valid, channels)
    (y, dx, dscale, dbias, dresidual), _ = run(rows, num_valid, rectify, use_residual)
    settings = {"eps": 1e-5, "rectify": rectify, "use_residual": use_residual}
    expected = oracle(*rows, num_valid, **settings)
    # Values are of order one; vectors are sums of num_valid of them.
    vector = 1e-6 * num_valid**0.5 * 10
    for got, wanted, bound in (
        (y, expected[0], 1e-5),
        (dx, expected[1], 3e-5),
        (dscale, expected[2], vector),
        (dbias, expected[3], vector),
        (dresidual, expected[4] if use_residual else 0.0 * expected[4], 1e-6),
    ):
        got = np.asarray(got)
        if got.ndim == 2:
            assert not got[num_valid:].any()
            got = got[:num_valid]
        np.testing.assert_allclose(got, wanted, rtol=0, atol=bound * 3)


@pytest.mark.parametrize("channels", [1, 3, 8, 13, 96])
def test_gates_say_where_the_output_is_positive(channels):
    x, residual, _, gain, bias = make_rows(5, 700, channels)
    x[3, 0], residual[4] = np.nan, 0.0
    gain[-1] = bias[-1] = 0.0  # outputs that are exactly zero
    capacity, n = len(x), np.int32(700)
    operands = (x, np.zeros_like(gain), gain, bias, residual, n, n)
    shapes = (x.shape, (capacity, -(-channels // 8)))
    y, gate = native_call.call(
        *("sas_normalize", shapes, *operands),
        dtype=(jnp.float32, jnp.uint8),
        rectify=True,
    )
    bits = np.unpackbits(gate, axis=1, count=channels, bitorder="little")
    np.testing.assert_array_equal(bits[:700], np.asarray(y)[:700] > 0)
    assert not np.asarray(y)[700:].any()


def test_gates_of_another_size_are_refused():
    x, residual, _, gain, bias = make_rows(6, 5, 9)
    n = np.int32(5)
    operands = (x, gain, gain, bias, residual, n, n)
    with pytest.raises(jax.errors.JaxRuntimeError, match="a bit for every value"):
        native_call.call(
            *("sas_normalize", (x.shape, (len(x), 1)), *operands),
            dtype=(jnp.float32, jnp.uint8),
            rectify=True,
        )


def test_statistics_survive_a_large_mean():
    rows = make_rows(0, 5000, 8, offset=1000.0)
    _, (count, mean, squares) = run(rows, 5000, False, False)
    x = rows[0][:5000].astype(np.float64)
    assert count == 5000
    np.testing.assert_allclose(mean, x.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(squares / 5000, x.var(axis=0), rtol=1e-4)


@pytest.mark.parametrize("num_valid", [0, 1])
def test_too_few_rows_stay_finite(num_valid):
    rows = make_rows(1, num_valid, 4)
    results, stats = run(rows, num_valid, True, True)
    for value in (*results, *stats):
        assert np.isfinite(np.asarray(value)).all()


def test_nan_of_a_voxel_is_not_hidden_by_the_relu():
    rows = make_rows(2, 20, 4)
    rows[0][3, 2] = np.nan
    (y, *_), _ = run(rows, 20, True, False)
    assert np.isnan(np.asarray(y)[:20, 2]).all()


def test_capacity_does_not_change_a_bit():
    short, long = (make_rows(3, 900, 24, padding=p) for p in (1, 3000))
    long = [np.array(a) for a in long]
    for few, many in zip(short[:3], long[:3], strict=True):
        many[:900] = few[:900]
    long[3:] = short[3:]
    for a, b in zip(
        run(short, 900, True, True)[0], run(long, 900, True, True)[0], strict=True
    ):
        rows = 900 if a.ndim == 2 else len(a)
        np.testing.assert_array_equal(a[:rows], b[:rows])


def test_fixed_statistics_and_gradients():
    x, residual, dy, gain, bias = make_rows(4, 60, 12)
    mean = np.linspace(-1, 1, 12, dtype=np.float32)
    valid = np.arange(len(x)) < 60

    def native(x, mean, gain, bias, residual):
        n = np.int32(60)
        return native_norm.normalize(
            x, mean, gain, bias, n, residual=residual, rectify=True
        )

    def plain(x, mean, gain, bias, residual):
        y = (x - mean[None]) * gain[None] + bias[None] + residual
        return jnp.where(valid[:, None], jax.nn.relu(y), 0.0)

    clean = [np.nan_to_num(a) for a in (x, residual, dy)]
    y, back = jax.vjp(jax.jit(native), x, mean, gain, bias, residual)
    y2, back2 = jax.vjp(plain, clean[0], mean, gain, bias, clean[1])
    np.testing.assert_allclose(y, y2, atol=1e-6)
    results = zip(back(jnp.asarray(dy)), back2(jnp.asarray(clean[2])), strict=True)
    for got, wanted in results:
        np.testing.assert_allclose(got, wanted, atol=2e-5)


@pytest.mark.parametrize("isa", ["generic", "auto"])
@pytest.mark.parametrize("rectify", [False, True])
@pytest.mark.parametrize("use_residual", [False, True])
def test_bfloat16_rows_give_the_float32_results_rounded_once(
    rectify, use_residual, isa
):
    assert calls.set_isa(isa)
    *rows, scale, bias = make_rows(20, 300, 27)
    narrow = [jnp.asarray(a, jnp.bfloat16) for a in rows]
    wide = [a.astype(jnp.float32) for a in narrow]
    options = (300, rectify, use_residual)
    results, stats = run((*narrow, scale, bias), *options)
    expected, expected_stats = run((*wide, scale, bias), *options)
    types = [str(a.dtype) for a in results]
    assert types == ["bfloat16", "bfloat16", "float32", "float32", "bfloat16"]
    for got, wanted in zip((*results, *stats), (*expected, *expected_stats),
                           strict=True):  # fmt: skip
        np.testing.assert_array_equal(got, wanted.astype(got.dtype))


@pytest.mark.parametrize("isa", ["generic", "auto"])
@pytest.mark.parametrize("rectify", [False, True])
def test_values_at_the_end_of_bfloat16s_range_are_rounded_alike(rectify, isa):
    assert calls.set_isa(isa)
    *_, x, scale, bias = make_rows(21, 40, 19)
    x[:6, 0] = [np.inf, -np.inf, np.nan, 1e-39, -3e38, 3.39e38]
    x = jnp.asarray(x, jnp.bfloat16)
    scale[0], bias[0] = 1.0, 0.0

    def normalize(x):
        mean = jnp.zeros(19)
        return native_norm.normalize(x, mean, scale, bias, 40, rectify=rectify)

    got = np.asarray(normalize(x)).view(np.uint16)
    wide = np.asarray(normalize(x.astype(jnp.float32)))
    np.testing.assert_array_equal(got, calls.to_bf16(wide))
    assert np.isnan(wide[2, 0]) and np.isinf(wide[0, 0])
