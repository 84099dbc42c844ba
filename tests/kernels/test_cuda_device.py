"""The CUDA kernels on a GPU against the XLA implementation.

Run with `JAX_PLATFORMS=cuda python -m pytest -m cuda`; skipped everywhere else.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sas_jax.sparse.conv import pointwise, sparse_conv
from sas_jax.sparse.native import conv as native
from sas_jax.sparse.native import cuda as native_cuda
from sas_jax.sparse.plan import build_plan

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(
        jax.default_backend() != "gpu",
        reason="no NVIDIA GPU is JAX's default (run with JAX_PLATFORMS=cuda)",
    ),
]

# tf32 keeps 11 significant bits of both factors of every product.
ERROR = {"f32": 1e-5, "tf32": 2e-3}
MATMUL = {"f32": None, "tf32": "tensorfloat32"}


@pytest.fixture(autouse=True)
def library():
    if not native.is_available():
        pytest.fail("the CUDA library is not built: python setup.py build_native")


@functools.cache
def plan(count=9000):
    axes = np.random.default_rng(0).integers(-18, 18, (count, 3))
    coords = np.unique(np.concatenate([np.zeros((count, 1), int), axes], 1), axis=0)
    return build_plan(coords.astype(np.int32))[0]


def kernel_map(which):
    return {
        "stem": plan().stem,
        "block": plan().subm3[0],
        "deep": plan().subm3[3],
        "down": plan().down[0],
        "up": plan().down[0].transpose(),
    }[which]


def operands(kmap, c_in, c_out):
    """Draw features with NaN in padding rows, weights and a cotangent likewise."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((kmap.capacity_in, c_in)).astype(np.float32)
    w = rng.standard_normal((len(kmap.nbr), c_in, c_out)).astype(np.float32)
    dy = rng.standard_normal((kmap.capacity_out, c_out)).astype(np.float32)
    x[int(kmap.num_in) :], dy[int(kmap.num_out) :] = np.nan, np.nan
    return x, w, dy


@functools.partial(jax.jit, static_argnames="impl")
def value_and_gradients(x, w, dy, kmap, impl):
    y, pull = jax.vjp(lambda x, w: sparse_conv(x, w, kmap, impl=impl), x, w)
    return y, *pull(dy)


def assert_close(actual, expected, precision):
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert np.isfinite(actual).all()
    scale = np.abs(expected).max(initial=1e-30)
    assert np.abs(actual - expected).max(initial=0.0) <= ERROR[precision] * scale


@pytest.mark.parametrize("precision", ERROR)
@pytest.mark.parametrize("which", ["stem", "block", "deep", "down", "up"])
@pytest.mark.parametrize(
    ("c_in", "c_out"), [(3, 32), (5, 7), (32, 96), (96, 64), (200, 33)]
)
def test_value_and_gradients_equal_xla(which, c_in, c_out, precision):
    kmap = kernel_map(which)
    if which == "stem" and c_in > 32:
        pytest.skip("no network has so wide a first layer")
    rows = operands(kmap, c_in, c_out)
    with jax.default_matmul_precision(MATMUL[precision]):
        assert native_cuda.precision() == precision
        results = value_and_gradients(*rows, kmap, "native")
    expected = value_and_gradients(*rows, kmap, "xla")
    for got, wanted in zip(results, expected, strict=True):
        assert_close(got, wanted, precision)
    assert not np.asarray(results[0])[int(kmap.num_out) :].any()
    assert not np.asarray(results[1])[int(kmap.num_in) :].any()


@pytest.mark.parametrize("precision", ERROR)
@pytest.mark.parametrize("c_in", [3, 96])
def test_pointwise_equals_xla(c_in, precision):
    rng = np.random.default_rng(2)
    x = rng.standard_normal((9000, c_in)).astype(np.float32)
    w = rng.standard_normal((c_in, 40)).astype(np.float32)
    x[8500:] = np.nan

    def run(impl):
        loss = lambda x, w: pointwise(x, w, jnp.int32(8500), impl=impl)  # noqa: E731
        y, pull = jax.vjp(jax.jit(loss), x, w)
        return y, *pull(jnp.ones_like(y).at[8500:].set(jnp.nan))

    with jax.default_matmul_precision(MATMUL[precision]):
        results = run("native")
    for got, wanted in zip(results, run("xla"), strict=True):
        assert_close(got, wanted, precision)


@pytest.mark.parametrize("precision", ERROR)
def test_runs_and_capacities_agree_bitwise(precision):
    kmap = kernel_map("block")
    rows = operands(kmap, 32, 48)
    with jax.default_matmul_precision(MATMUL[precision]):
        first = value_and_gradients(*rows, kmap, "native")
        for _ in range(3):
            again = value_and_gradients(*rows, kmap, "native")
            for a, b in zip(first, again, strict=True):
                np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("num_out", [0, 1])
def test_few_voxels(num_out):
    coords = np.zeros((num_out, 4), np.int32)
    kmap = build_plan(coords)[0].subm3[0]
    x, w, dy = operands(kmap, 16, 16)
    y, dx, dw = value_and_gradients(x, w, dy, kmap, "native")
    assert not np.asarray(y)[num_out:].any() and not np.asarray(dx)[num_out:].any()
    expected = value_and_gradients(x, w, dy, kmap, "xla")
    assert_close(y, expected[0], "f32")
    assert_close(dw, expected[2], "f32")
