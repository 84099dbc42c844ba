"""Rows that are computed again in the backward pass: the same bits in less memory."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sas_jax.models import layers
from sas_jax.sparse.native import norm as native_norm
from sas_jax.sparse.plan import build_plan
from sas_jax.sparse.remake import Joined, Kept, Normed, as_rows, join

if not native_norm.is_available():
    pytest.skip("the native library is not built", allow_module_level=True)

WIDTH, BLOCKS = 16, 6


class Network(nn.Module):
    """What a U-Net has: norms, a concatenation, shortcut and residual, a last layer."""

    @nn.compact
    def __call__(self, x, kmap):
        def normed(name, x):
            norm = layers.MaskedBatchNorm(name=f"norm_{name}")
            x = layers.SparseConv(WIDTH, 3, name=name)(x, kmap)
            return norm(x, kmap.num_out, train=True, rectify=True)

        skip = normed("stem", x)
        x = join([normed("entry", skip), skip])
        for i in range(BLOCKS):
            x = layers.ResidualBlock(WIDTH, name=f"block{i}")(x, kmap, train=True)
        return layers.SparseConv(4, 1, name="final")(x, kmap.num_out)


def gradients(kmap, x):
    """Return gradients of all parameters and the bytes that the program takes."""
    network = Network()
    shapes = jax.eval_shape(network.init, jax.random.key(0), x, kmap)
    rng = np.random.default_rng(0)
    variables = jax.tree.map(
        lambda leaf: rng.uniform(-0.5, 1, leaf.shape).astype(np.float32), shapes
    )

    def loss(params, stats):
        variables = {"params": params, "batch_stats": stats}
        y, _ = network.apply(variables, x, kmap, mutable=["batch_stats"])
        return jnp.mean(jnp.sin(y))

    operands = (variables["params"], variables["batch_stats"])
    compiled = jax.jit(jax.grad(loss)).lower(*operands).compile()
    return compiled(*operands), compiled.memory_analysis().temp_size_in_bytes


def test_gradients_are_those_of_rows_that_are_kept_and_memory_is_less(monkeypatch):
    rng = np.random.default_rng(1)
    coords = np.unique(rng.integers(0, 20, (6000, 3)), axis=0)
    coords = np.concatenate([np.zeros((len(coords), 1), int), coords], 1)
    plan, _ = build_plan(coords.astype(np.int32))
    kmap = plan.within(0, 3)
    x = jnp.asarray(rng.normal(0, 1, (kmap.capacity_in, 3)), jnp.float32)
    remade, small = gradients(kmap, x)
    monkeypatch.setattr(layers, "Rows", lambda value, _: as_rows(value))
    kept, large = gradients(kmap, x)
    jax.tree.map(np.testing.assert_array_equal, remade, kept)
    assert all(np.asarray(leaf).any() for leaf in jax.tree.leaves(remade))
    # A block keeps what its two convolutions made, and no norms of it: two arrays less
    # for each, but for a few that are computed again when memory is fullest.
    array = 4 * WIDTH * kmap.capacity_in
    assert large - small >= (2 * BLOCKS - 4) * array


def test_recipes_give_what_they_say():
    rng = np.random.default_rng(2)
    x, residual = rng.standard_normal((2, 40, 12)).astype(np.float32)
    gain, bias = rng.standard_normal((2, 12)).astype(np.float32)
    mean, n = x.mean(axis=0), jnp.int32(30)
    made = Normed(x, mean, gain, bias, Kept(residual), n, True)
    rows = made.remake(jnp.zeros(3))
    first = native_norm.normalize(
        *(x, mean, gain, bias, n), residual=residual, rectify=True
    )
    np.testing.assert_array_equal(rows, first)
    assert not np.asarray(rows[30:]).any()
    nested = Normed(x, mean, gain, bias, made, n, False).remake(jnp.zeros(3))
    expected = (x - mean) * gain + bias + np.asarray(first)
    np.testing.assert_allclose(nested[:30], expected[:30], rtol=1e-6, atol=1e-6)
    joined = Joined((made, Kept(x))).remake(jnp.zeros(3))
    np.testing.assert_array_equal(joined, np.concatenate([first, x], axis=1))
