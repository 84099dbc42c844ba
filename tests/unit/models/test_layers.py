"""Layers: batch norm over valid rows on one and several devices, residual block."""

import functools

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest

from sas_jax.models.layers import MaskedBatchNorm, ResidualBlock, SparseConv
from sas_jax.sparse.native import conv as native
from sas_jax.sparse.plan import build_plan
from sas_jax.sparse.rungs import exact_rung

EPS = 1e-5
both = pytest.mark.parametrize(
    "impl",
    [
        "xla",
        pytest.param(
            "native",
            marks=pytest.mark.skipif(
                not native.is_available(), reason="the native library is not built"
            ),
        ),
    ],
)


def poisoned(rows, capacity):
    padded = np.full((capacity, rows.shape[1]), np.nan, np.float32)
    padded[: len(rows)] = rows
    return jnp.asarray(padded)


@functools.partial(jax.jit, static_argnames=("train", "axis_name", "impl"))
def norm(x, num_valid, stats=None, *, train=True, scale=1.0, bias=0.0, axis_name=None,
         impl="xla"):  # fmt: skip
    """Return output and running statistics of one application."""
    width = x.shape[-1]
    stats = stats or {"mean": jnp.zeros(width), "var": jnp.ones(width)}
    params = {"scale": jnp.full(width, scale), "bias": jnp.full(width, bias)}
    variables = {"params": params, "batch_stats": stats}
    n = jnp.asarray(num_valid, jnp.int32)
    layer = MaskedBatchNorm(axis_name=axis_name, impl=impl)
    out, moved = layer.apply(variables, x, n, train=train, mutable=["batch_stats"])
    return out.value, moved["batch_stats"]


@both
@pytest.mark.parametrize("count", [2, 512, 513, 1500])
def test_training_uses_valid_rows_only(count, impl):
    rows = np.random.default_rng(count).normal(3, 2, (count, 5)).astype(np.float32)
    out, stats = norm(poisoned(rows, 1600), count, scale=1.5, bias=-0.25, impl=impl)
    exact = rows.astype(np.float64)
    mean, var = exact.mean(0), exact.var(0)
    expected = (exact - mean) / np.sqrt(var + EPS) * 1.5 - 0.25
    np.testing.assert_allclose(out[:count], expected, atol=2e-6)
    assert not np.asarray(out[count:]).any()
    np.testing.assert_allclose(stats["mean"], 0.1 * mean, rtol=1e-5)
    unbiased = exact.var(0, ddof=1)
    np.testing.assert_allclose(stats["var"], 0.9 + 0.1 * unbiased, rtol=1e-5)


@both
def test_a_large_mean_does_not_cancel_the_variance(impl):
    rows = np.random.default_rng(0).normal(1000, 0.1, (4096, 3)).astype(np.float32)
    _, stats = norm(poisoned(rows, 4608), 4096, impl=impl)
    expected = 0.9 + 0.1 * rows.astype(np.float64).var(0, ddof=1)
    np.testing.assert_allclose(stats["var"], expected, rtol=1e-5)


@both
def test_capacity_of_a_rung_does_not_change_a_bit(impl):
    rows = np.random.default_rng(1).normal(3, 2, (700, 8)).astype(np.float32)

    def loss(x):
        out, stats = norm(x, 700, impl=impl)
        return (jnp.sin(out)).sum(), (out[:700], stats)

    results = []
    for capacity in (1024, 1536, 5120):
        x = poisoned(rows, capacity)
        gradient, (out, stats) = jax.jit(jax.grad(loss, has_aux=True))(x)
        results.append((gradient[:700], out, stats))
    for other in results[1:]:
        jax.tree.map(np.testing.assert_array_equal, results[0], other)


@both
def test_evaluation_uses_running_statistics_and_keeps_them(impl):
    x = poisoned(np.array([[1.0, 4.0], [3.0, 8.0]], np.float32), 3)
    stats = {"mean": jnp.asarray([1.0, 2.0]), "var": jnp.asarray([4.0, 9.0])}
    out, kept = norm(x, 2, stats, train=False, impl=impl)
    np.testing.assert_allclose(out, [[0, 2 / 3], [1, 2], [0, 0]], atol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, kept, stats)


@both
def test_one_voxel_and_none_stay_finite(impl):
    one, stats = norm(jnp.asarray([[5.0], [jnp.nan]]), 1, impl=impl)
    assert one.tolist() == [[0.0], [0.0]]
    np.testing.assert_allclose(stats["mean"], [0.5])
    np.testing.assert_allclose(stats["var"], [0.9])
    none, stats = norm(jnp.full((2, 1), jnp.nan), 0, impl=impl)
    assert none.tolist() == [[0.0], [0.0]]
    assert (stats["mean"].tolist(), stats["var"].tolist()) == ([0.0], [1.0])


def test_devices_weigh_by_their_voxels():
    # 8 voxels of value 1 and 2 of value 3: the mean is 1.4, the mean of means 2.
    x = jnp.stack([jnp.full((8, 1), 1.0), jnp.full((8, 1), 3.0)])
    counts = jnp.asarray([8, 2], jnp.int32)

    def one_device(x, n):
        return norm(x, n, axis_name="device")

    out, stats = jax.vmap(one_device, axis_name="device")(x, counts)
    np.testing.assert_allclose(stats["mean"], [[0.14], [0.14]], rtol=1e-6)
    pooled = norm(jnp.asarray([[1.0]] * 8 + [[3.0]] * 2), 10)
    np.testing.assert_allclose(stats["var"][0], pooled[1]["var"], rtol=1e-6)
    np.testing.assert_allclose(out[0], pooled[0][:8], rtol=1e-5)
    np.testing.assert_allclose(out[1, :2], pooled[0][8:], rtol=1e-5)


def test_gradients_through_shared_statistics_are_those_of_one_device():
    rows = np.random.default_rng(0).normal(3, 2, (10, 2)).astype(np.float32)
    counts = jnp.asarray([7, 3], jnp.int32)
    x = jnp.stack([poisoned(rows[:7], 8), poisoned(rows[7:], 8)])

    def loss(x, n, axis_name):
        return jnp.sin(norm(x, n, axis_name=axis_name)[0]).sum()

    split = jax.vmap(lambda x, n: jax.grad(loss)(x, n, "device"), axis_name="device")
    got = split(x, counts)
    expected = jax.grad(loss)(jnp.asarray(rows), 10, None)
    np.testing.assert_allclose(got[0, :7], expected[:7], atol=1e-6)
    np.testing.assert_allclose(got[1, :3], expected[7:], atol=1e-6)


def test_half_precision_statistics_are_float32():
    rows = np.random.default_rng(0).normal(0, 1, (3000, 2)).astype(np.float32)
    x = jnp.asarray(rows).astype(jnp.bfloat16)
    out, stats = norm(x, 3000)
    assert out.dtype == jnp.bfloat16
    assert stats["mean"].dtype == jnp.float32
    expected = 0.1 * np.asarray(x, np.float64).mean(0)
    np.testing.assert_allclose(stats["mean"], expected, atol=1e-6)


def test_batch_norm_gradient_is_the_finite_difference():
    rows = np.random.default_rng(0).normal(3, 2, (6, 2))
    with jax.enable_x64(True):
        x = jnp.asarray(np.concatenate([rows, np.zeros((2, 2))]))
        jax.test_util.check_grads(
            lambda x: jnp.sin(norm(x, 6)[0]), (x,), order=1, modes=["rev"]
        )


@both
@pytest.mark.parametrize("train", [True, False])
def test_residual_and_relu_follow_the_norm(train, impl):
    rng = np.random.default_rng(0)
    x, residual = (poisoned(rng.normal(0, 1, (5, 3)), 7) for _ in range(2))
    variables = MaskedBatchNorm().init(jax.random.key(0), x, np.int32(5), train=False)

    def apply(**after):
        layer = MaskedBatchNorm(impl=impl)
        return layer.apply(variables, x, jnp.asarray(5, jnp.int32), train=train,
                           mutable=["batch_stats"], **after)[0].value  # fmt: skip

    together = jax.jit(lambda: apply(residual=residual, rectify=True))()
    apart = np.maximum(jax.jit(apply)() + np.nan_to_num(residual), 0)
    np.testing.assert_allclose(together[:5], apart[:5], atol=1e-6)
    assert not np.asarray(together[5:]).any()


@pytest.fixture(scope="module")
def plan():
    axes = np.random.default_rng(0).integers(-3, 3, (60, 3))
    coords = np.unique(np.concatenate([np.zeros((60, 1), int), axes], 1), axis=0)
    return build_plan(coords.astype(np.int32), exact_rung((64,) * 5))[0]


def random_block(width, plan):
    """Return a block, its input, its variables and its jitted evaluation."""
    block = ResidualBlock(width, "xla")
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, (64, 4)).astype(np.float32)
    init = functools.partial(block.init, train=False)
    shapes = jax.eval_shape(init, jax.random.key(0), x, plan.within(0, 3))
    variables = jax.tree.map(
        lambda leaf: rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32), shapes
    )

    @jax.jit
    def evaluate(v):
        return block.apply(v, x, plan.within(0, 3), train=False).value

    return block, x, variables, evaluate


def unit_norm(variables, name):
    """Make evaluation of a norm divide by sqrt(1 + eps) and nothing else."""
    for kind, leaf, value in [
        ("params", "scale", 1), ("params", "bias", 0),
        ("batch_stats", "mean", 0), ("batch_stats", "var", 1),
    ]:  # fmt: skip
        variables[kind][name][leaf][:] = value


def zero_norm(variables, name):
    """Make a norm return zeros."""
    variables["params"][name]["scale"][:] = 0
    variables["params"][name]["bias"][:] = 0


def test_residual_block_with_zero_norms_is_the_rectified_input(plan):
    _, x, variables, evaluate = random_block(4, plan)
    assert "shortcut" not in variables["params"]
    zero_norm(variables, "norm2")
    n = int(plan.levels[0].num_valid)
    np.testing.assert_array_equal(evaluate(variables)[:n], np.maximum(x[:n], 0))


def test_residual_block_changes_width_through_a_shortcut(plan):
    _, x, variables, evaluate = random_block(6, plan)
    assert variables["params"]["shortcut"]["kernel"].shape == (4, 6)
    zero_norm(variables, "norm2")
    unit_norm(variables, "shortcut_norm")
    n = int(plan.levels[0].num_valid)
    kernel = variables["params"]["shortcut"]["kernel"]
    through = x[:n] @ kernel / np.sqrt(1 + EPS)
    out = evaluate(variables)[:n]
    np.testing.assert_allclose(out, np.maximum(through, 0), rtol=1e-5, atol=1e-6)


def test_padding_rows_of_a_training_block_carry_nothing(plan):
    n = int(plan.levels[0].num_valid)
    block, _, variables, _ = random_block(3, plan)
    rows = np.random.default_rng(0).normal(0, 1, (n, 4)).astype(np.float32)

    @jax.jit
    def gradients(params, x, poison):
        def loss(params, x):
            out, _ = block.apply({**variables, "params": params}, x, plan.within(0, 3),
                                 train=True, mutable=["batch_stats"])  # fmt: skip
            return out.value

        out, pull = jax.vjp(loss, params, x)
        # Cotangents of padding rows must not change anything either.
        return out, pull(jnp.sin(out).at[n:].set(poison))

    poisoned_run = gradients(variables["params"], poisoned(rows, 64), np.nan)
    clean = gradients(variables["params"], jnp.nan_to_num(poisoned(rows, 64)), 0.0)
    jax.tree.map(np.testing.assert_array_equal, poisoned_run, clean)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(poisoned_run))
    assert not np.asarray(poisoned_run[0][n:]).any()
    assert not np.asarray(poisoned_run[1][1][n:]).any()


def test_sparse_conv_layer_keeps_its_kernel_in_the_original_layout(plan):
    x = jnp.ones((64, 2))
    layer = SparseConv(5, 3, "xla")
    shapes = jax.eval_shape(layer.init, jax.random.key(0), x, plan.within(0, 3))
    assert shapes["params"]["kernel"].shape == (27, 2, 5)
    layer = SparseConv(5, 1, "xla")
    count = plan.levels[0].num_valid
    shapes = jax.eval_shape(layer.init, jax.random.key(0), x, count)
    assert shapes["params"]["kernel"].shape == (2, 5)


def test_a_native_bfloat16_block_is_the_float32_one_within_its_precision(plan):
    if not native.is_available():
        pytest.skip("the native library is not built")
    _, x, variables, _ = random_block(8, plan)
    x = jnp.asarray(x, jnp.bfloat16)
    block = ResidualBlock(8, "native")

    @jax.jit
    def gradients(params, x):
        def loss(params, x):
            out, _ = block.apply({**variables, "params": params}, x, plan.within(0, 3),
                                 train=True, mutable=["batch_stats"])  # fmt: skip
            return jnp.mean(jnp.sin(out.value.astype(jnp.float32))), out.value

        return jax.grad(loss, argnums=(0, 1), has_aux=True)(params, x)

    (dparams, dx), out = gradients(variables["params"], x)
    (dparams32, _), out32 = gradients(variables["params"], x.astype(jnp.float32))
    assert out.dtype == dx.dtype == jnp.bfloat16
    assert {a.dtype for a in jax.tree.leaves(dparams)} == {jnp.dtype(jnp.float32)}
    # Five roundings in a row, each off by 2^-9, of values of the size of the largest.
    tolerance = 5 * 2.0**-9 * float(jnp.abs(out32).max())
    np.testing.assert_allclose(out.astype(jnp.float32), out32, atol=tolerance)
    for got, wanted in zip(*map(jax.tree.leaves, (dparams, dparams32)), strict=True):
        # A value near zero may be rectified in one and not in the other.
        assert jnp.linalg.norm(got - wanted) <= 0.1 * jnp.linalg.norm(wanted)
