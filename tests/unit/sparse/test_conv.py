"""The public convolution: gradients, choice of implementation, lowering, refusals."""

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest

from sas_jax.errors import ContractError, InputError
from sas_jax.sparse.conv import choose_impl, pointwise, sparse_conv
from sas_jax.sparse.native import conv as native
from sas_jax.sparse.plan import build_plan
from sas_jax.sparse.rungs import Rung
from sas_jax.sparse.xla import conv as xla

RUNG = Rung((48, 32, 16, 8, 8))


def small_plan(count=30):
    axes = np.random.default_rng(0).integers(-2, 2, (count, 3))
    coords = np.unique(np.concatenate([np.zeros((count, 1), int), axes], 1), axis=0)
    return build_plan(coords.astype(np.int32), RUNG)[0]


def operands(kmap, width=(4, 3), dtype=jnp.float32):
    keys = jax.random.split(jax.random.key(1))
    offsets = kmap.nbr.shape[0]
    return (
        jax.random.normal(keys[0], (kmap.capacity_in, width[0]), dtype),
        jax.random.normal(keys[1], (offsets, *width), dtype),
    )


@pytest.mark.parametrize("which", ["stem", "block", "down", "up"])
def test_gradients_are_finite_differences(which):
    plan = small_plan()
    kmap = {
        "stem": plan.within(0, 5),
        "block": plan.within(1, 3),
        "down": plan.down(0, 2),
        "up": plan.down(0, 2).transpose(),
    }[which]
    with jax.enable_x64(True):
        x, w = operands(kmap, dtype=jnp.float64)
        jax.test_util.check_grads(
            jax.jit(lambda x, w: jnp.sin(sparse_conv(x, w, kmap, impl="xla"))),
            (x, w), order=1, modes=["rev"], atol=1e-6, rtol=1e-6,
        )  # fmt: skip


def test_pointwise_gradients_are_finite_differences():
    with jax.enable_x64(True):
        x = jax.random.normal(jax.random.key(0), (7, 4), jnp.float64)
        w = jax.random.normal(jax.random.key(1), (4, 3), jnp.float64)
        n = jnp.asarray(5, jnp.int32)
        jax.test_util.check_grads(
            jax.jit(lambda x, w: jnp.sin(pointwise(x, w, n))),
            (x, w), order=1, modes=["rev"], atol=1e-6, rtol=1e-6,
        )  # fmt: skip


@pytest.mark.parametrize("impl", ["xla", "native"])
def test_pointwise_ignores_padding_both_ways(impl):
    if impl == "native" and not native.is_available():
        pytest.skip("the native library is not built")
    x = jnp.ones((6, 2)).at[4:].set(jnp.nan)
    w = jnp.asarray([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    n = jnp.asarray(4, jnp.int32)
    y, pull = jax.vjp(lambda x, w: pointwise(x, w, n, impl=impl), x, w)
    assert y.tolist() == [[5.0, 7.0, 9.0]] * 4 + [[0.0] * 3] * 2
    dx, dw = pull(jnp.ones((6, 3)).at[4:].set(jnp.nan))
    assert dx.tolist() == [[6.0, 15.0]] * 4 + [[0.0] * 2] * 2
    assert dw.tolist() == [[4.0] * 3] * 2


def test_xla_lowers_for_cpu_cuda_and_tpu_without_custom_calls():
    plan = small_plan()
    x, w = operands(plan.within(0, 3))

    def value_and_gradients(x, w, kmap):
        out, pull = jax.vjp(lambda x, w: sparse_conv(x, w, kmap, impl="xla"), x, w)
        return out, pull(out)

    platforms = ("cpu", "cuda", "tpu")
    exported = jax.export.export(jax.jit(value_and_gradients), platforms=platforms)
    program = exported(x, w, plan.within(0, 3))
    assert program.platforms == platforms
    text = program.mlir_module()
    assert "stablehlo.dot_general" in text
    assert "stablehlo.custom_call" not in text
    assert "stablehlo.scatter" not in text


def test_half_precision_is_summed_in_float32():
    kmap = small_plan().within(0, 5)
    x, w = operands(kmap)
    half, double = jnp.bfloat16, jnp.float32
    low = sparse_conv(x.astype(half), w.astype(half), kmap, impl="xla")
    high = sparse_conv(x.astype(half).astype(double), w.astype(half).astype(double),
                       kmap, impl="xla")  # fmt: skip
    assert low.dtype == half
    # Only the result is rounded: 8 bits of mantissa.
    np.testing.assert_allclose(low.astype(double), high, rtol=2.0**-8)


@pytest.mark.parametrize("impl", ["xla", "native"])
def test_half_precision_rows_take_float32_weights_as_they_are(impl):
    if impl == "native" and not native.is_available():
        pytest.skip("the native library is not built")
    kmap = small_plan().within(0, 5)
    x, w = operands(kmap)
    x = x.astype(jnp.bfloat16)

    def conv(x, w):
        return sparse_conv(x, w, kmap, impl=impl)

    low, pull = jax.vjp(conv, x, w)
    high, pull_high = jax.vjp(conv, x.astype(jnp.float32), w)
    np.testing.assert_allclose(low.astype(jnp.float32), high, rtol=2.0**-8)
    cotangent = low.astype(jnp.float32)
    dx, dw = pull(low)
    dx_high, dw_high = pull_high(cotangent)
    assert (dx.dtype, dw.dtype) == (jnp.bfloat16, jnp.float32)
    np.testing.assert_allclose(dx.astype(jnp.float32), dx_high, rtol=2.0**-8)
    np.testing.assert_allclose(dw, dw_high, rtol=1e-5, atol=1e-5)
    y = pointwise(x, w[0], kmap.num_in, impl=impl)
    assert y.dtype == jnp.bfloat16


def test_default_is_native_where_it_is_and_xla_elsewhere(monkeypatch):
    monkeypatch.setattr(native, "is_available", lambda: True)
    assert choose_impl(None, jnp.dtype(jnp.float32)) == "native"
    assert choose_impl(None, jnp.dtype(jnp.bfloat16)) == "native"
    assert choose_impl(None, jnp.dtype(jnp.float16)) == "xla"
    monkeypatch.setattr(native, "is_available", lambda: False)
    assert choose_impl(None, jnp.dtype(jnp.float32)) == "xla"


def test_an_absent_implementation_is_never_replaced(monkeypatch):
    kmap = small_plan().within(0, 5)
    x, w = operands(kmap)
    monkeypatch.setattr(native, "is_available", lambda: False)
    with pytest.raises(InputError, match="make native"):
        sparse_conv(x, w, kmap, impl="native")
    with pytest.raises(InputError, match="make native"):
        pointwise(x, w[0], kmap.num_out, impl="native")
    with pytest.raises(InputError, match="'cuda'"):
        sparse_conv(x, w, kmap, impl="cuda")


def test_native_refuses_other_types(monkeypatch):
    monkeypatch.setattr(native, "is_available", lambda: True)
    assert choose_impl("native", jnp.dtype(jnp.bfloat16)) == "native"
    with pytest.raises(InputError, match="float32 or bfloat16, got float16"):
        choose_impl("native", jnp.dtype(jnp.float16))


def test_calling_again_does_not_compile_again():
    plan = small_plan()
    x, w = operands(plan.within(0, 3))
    conv = jax.jit(lambda x, w, kmap: xla.conv(x, w, kmap))
    conv(x, w, plan.within(0, 3))
    conv(2 * x, w, small_plan(20).within(0, 3))
    assert conv._cache_size() == 1


def test_wrong_operands_are_refused_with_the_requirement():
    kmap = small_plan().down(0, 2)
    x, w = operands(kmap)
    for wrong, message in [
        ((x[:-1], w), "48 rows"),
        ((x, w[0]), r"\[K, C_in, C_out\]"),
        ((x, w[:4]), r"8 offsets \(2\^3\)"),
        ((x, w[:, :3]), "C_in = 4"),
        ((x, w.astype(jnp.bfloat16)), "of one type"),
        ((x.astype(jnp.float16), w.astype(jnp.bfloat16)), "of one type"),
        ((x.astype(jnp.int32), w.astype(jnp.int32)), "floating"),
    ]:
        with pytest.raises(ContractError, match=message):
            sparse_conv(*wrong, kmap)
    with pytest.raises(ContractError, match=r"weights \[4, C_out\]"):
        pointwise(x, w[0, :3], kmap.num_in)
