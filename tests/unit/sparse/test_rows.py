"""Channels beside each other, in any type."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sas_jax.sparse.rows import beside


@pytest.mark.parametrize("kind", [jnp.float32, jnp.bfloat16])
def test_channels_stand_beside_each_other_and_gradients_part(kind):
    rows = jax.random.normal(jax.random.key(0), (3, 6, 5), kind)
    left, right = rows[0], rows[1, :, :2]
    both, pull = jax.vjp(beside, left, right)
    np.testing.assert_array_equal(both, np.concatenate([left, right], axis=1))
    d_left, d_right = pull(both)
    assert both.dtype == d_left.dtype == d_right.dtype == kind
    np.testing.assert_array_equal(d_left, left)
    np.testing.assert_array_equal(d_right, right)


def test_bfloat16_is_never_widened():
    rows = jnp.zeros((8, 4), jnp.bfloat16)
    compiled = jax.jit(beside).lower(rows, rows).compile()
    assert "f32" not in compiled.as_text()
