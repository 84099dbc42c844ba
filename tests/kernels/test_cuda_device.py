"""The CUDA kernels on a GPU against a float64 oracle, the smallest shapes first.

Run with `JAX_PLATFORMS=cuda python -m pytest -m cuda`; skipped everywhere else. Nothing
expected is computed by XLA, whose float32 products may be tf32 on a GPU.
"""

import functools

import jax
import jax.numpy as jnp
import native_calls as calls
import numpy as np
import pytest

from sas_jax.sparse import device_plan
from sas_jax.sparse.conv import pointwise, sparse_conv
from sas_jax.sparse.native import conv as native
from sas_jax.sparse.native import cuda as native_cuda
from sas_jax.sparse.native import neighbours as native_neighbours
from sas_jax.sparse.plan import build_plan

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(
        jax.default_backend() != "gpu",
        reason="no NVIDIA GPU is JAX's default (run with JAX_PLATFORMS=cuda)",
    ),
]

# JAX's precision of products, type of the rows, and the largest relative errors of a
# product of two factors and of a stored row: tf32 keeps 11 significant bits of both
# factors, bfloat16 8 bits of the weights (rows have no more) and of results.
PRECISIONS = {
    "f32": (None, jnp.float32, 0.0, 0.0),
    "tf32": ("tensorfloat32", jnp.float32, 2 * 2.0**-11 + 2.0**-22, 0.0),
    "bf16": (None, jnp.bfloat16, 2.0**-8, 2.0**-8),
}
SMALL, LARGE = 40, 9000


@pytest.fixture(autouse=True)
def library():
    if not native.is_available():
        pytest.fail("the CUDA library is not built: python setup.py build_native")


@functools.cache
def plan(count):
    edge = 2 if count == SMALL else 18
    axes = np.random.default_rng(0).integers(-edge, edge, (count, 3))
    coords = np.unique(np.concatenate([np.zeros((count, 1), int), axes], 1), axis=0)
    return build_plan(coords.astype(np.int32))[0]


def kernel_map(which, count=LARGE):
    return {
        "stem": plan(count).within(0, 5),
        "block": plan(count).within(0, 3),
        "deep": plan(count).within(3, 3),
        "down": plan(count).down(0, 2),
        "up": plan(count).down(0, 2).transpose(),
    }[which]


def operands(kmap, c_in, c_out, dtype=jnp.float32):
    """Draw features with NaN in padding rows, weights and a cotangent likewise."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((kmap.capacity_in, c_in)).astype(np.float32)
    w = rng.standard_normal((len(kmap.nbr), c_in, c_out)).astype(np.float32)
    dy = rng.standard_normal((kmap.capacity_out, c_out)).astype(np.float32)
    x[int(kmap.num_in) :], dy[int(kmap.num_out) :] = np.nan, np.nan
    return x.astype(dtype), w, dy.astype(dtype)


@jax.jit
def value_and_gradients(x, w, dy, kmap):
    y, pull = jax.vjp(lambda x, w: sparse_conv(x, w, kmap, impl="native"), x, w)
    return y, *pull(dy)


def check(case, results, transposed, num_in, precision):
    """Compare value and both gradients with the oracle, within the worst case."""
    x, w, dy = (np.asarray(a, np.float32) for a in (case.x, case.w, case.dy))
    forward = calls.Case(x, w, dy, case.nbr, case.num_out)
    back = calls.Case(dy, w.swapaxes(1, 2), x, transposed, num_in)
    _, c_in, c_out = w.shape
    truths = (
        (calls.oracle_forward, forward, len(w) * c_in),
        (calls.oracle_forward, back, len(w) * c_out),
        (calls.oracle_weight_grad, forward, case.num_out),
    )
    _, _, of_product, of_result = PRECISIONS[precision]
    for index, (result, truth) in enumerate(zip(results, truths, strict=True)):
        oracle, sides, num_terms = truth
        expected, absolute = oracle(sides), oracle(sides, absolute=True)
        # Rows and their cotangent are stored narrow; gradients of weights are not, and
        # their factors, all of them rows, lose nothing in bfloat16.
        stored = of_result if index < 2 else 0.0
        product = of_product if precision != "bf16" or index < 2 else 0.0
        bound = (product + (num_terms + 1) * 2.0**-23) * absolute
        bound += stored * (np.abs(expected) + bound) + 1e-30
        got = np.asarray(result, np.float64)
        assert np.isfinite(got).all()
        worst = np.max(np.abs(got - expected) / bound, initial=0.0)
        assert worst <= 1.0, f"result {index}: {worst:.3g} times the bound"


@pytest.mark.parametrize("num_out", [0, 1])
def test_few_voxels(num_out):
    kmap = build_plan(np.zeros((num_out, 4), np.int32))[0].within(0, 3)
    x, w, dy = operands(kmap, 16, 16)
    results = value_and_gradients(x, w, dy, kmap)
    case = calls.Case(x, w, dy, kmap.nbr, num_out)
    check(case, results, kmap.nbr_t, num_out, "f32")
    assert not any(np.asarray(rows)[num_out:].any() for rows in results[:2])


CHANNELS = [(3, 32), (5, 7), (32, 32), (32, 96), (96, 64), (128, 128), (200, 33)]
WHICH = ["block", "down", "up", "deep", "stem"]
CASES = [
    *((SMALL, which, *CHANNELS[1]) for which in WHICH),
    *((SMALL, which, *CHANNELS[2]) for which in WHICH),
    *((LARGE, which, *c) for c in CHANNELS for which in WHICH),
]
# No network has so wide a first layer.
CASES = [case for case in CASES if case[1] != "stem" or case[2] <= 32]


@pytest.mark.parametrize(("count", "which", "c_in", "c_out"), CASES)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_value_and_gradients_are_the_oracles(count, which, c_in, c_out, precision):
    kmap = kernel_map(which, count)
    matmul, dtype, _, _ = PRECISIONS[precision]
    x, w, dy = operands(kmap, c_in, c_out, dtype)
    with jax.default_matmul_precision(matmul):
        if precision != "bf16":
            assert native_cuda.precision() == precision
        results = value_and_gradients(x, w, dy, kmap)
    num_in, num_out = int(kmap.num_in), int(kmap.num_out)
    case = calls.Case(x, w, dy, np.asarray(kmap.nbr), num_out)
    check(case, results, np.asarray(kmap.nbr_t), num_in, precision)
    assert not np.asarray(results[0], np.float32)[num_out:].any()
    assert not np.asarray(results[1], np.float32)[num_in:].any()


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("rows", "c_in"), [(70, 3), (70, 96), (9000, 3), (9000, 96)])
def test_pointwise_is_the_oracles(rows, c_in, precision):
    matmul, dtype, _, _ = PRECISIONS[precision]
    rng = np.random.default_rng(2)
    x = rng.standard_normal((rows, c_in)).astype(np.float32)
    w = rng.standard_normal((c_in, 40)).astype(np.float32)
    dy = rng.standard_normal((rows, 40)).astype(np.float32)
    valid = rows - rows // 10
    x[valid:], dy[valid:] = np.nan, np.nan
    x, dy = x.astype(dtype), dy.astype(dtype)

    @jax.jit
    def run(x, w, dy):
        product = functools.partial(
            pointwise, num_valid=jnp.int32(valid), impl="native"
        )
        y, pull = jax.vjp(product, x, w)
        return y, *pull(dy)

    with jax.default_matmul_precision(matmul):
        y, dx, dw = run(x, w, dy)
    case = calls.Case(x, w[None], dy, None, valid)
    check(case, (y, dx, dw[None]), None, valid, precision)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_runs_agree_bitwise(precision):
    matmul, dtype, _, _ = PRECISIONS[precision]
    kmap = kernel_map("block")
    rows = operands(kmap, 32, 48, dtype)
    with jax.default_matmul_precision(matmul):
        first = value_and_gradients(*rows, kmap)
        for _ in range(3):
            again = value_and_gradients(*rows, kmap)
            for a, b in zip(first, again, strict=True):
                np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("count", [1, SMALL, LARGE])
def test_plans_of_the_device_are_the_hosts(count):
    rng = np.random.default_rng(3)
    axes = rng.integers(-30, 30, (count, 3))
    batch = rng.integers(0, 3, (count, 1))
    coords = np.unique(np.concatenate([batch, axes], 1), axis=0)
    coords = rng.permutation(coords).astype(np.int32)
    expected, order = build_plan(coords)
    assert native_neighbours.is_available()
    placed, placed_order = device_plan.place_plan(coords)
    np.testing.assert_array_equal(placed_order[: len(order)], order)
    for got, wanted in zip(*map(jax.tree.leaves, (placed, expected)), strict=True):
        assert isinstance(got, jax.Array)
        np.testing.assert_array_equal(got, wanted)
