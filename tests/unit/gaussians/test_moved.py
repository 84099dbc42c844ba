"""Moved Gaussians are the ellipsoids and the colours of the moved scene."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from sas_jax.gaussians.harmonics import sh_basis
from sas_jax.gaussians.moved import moved_inputs


def raw(count=40, turned=0.2):
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(count, 56)).astype(np.float32)
    inputs[:, -4:] = [3, 0, 0, 0] + turned * rng.normal(size=(count, 4))
    return inputs


def covariances(inputs):
    turns = Rotation.from_quat(inputs[:, [-3, -2, -1, -4]].astype(np.float64))
    axes = turns.as_matrix() * np.exp(inputs[:, None, -7:-4].astype(np.float64))
    return axes @ axes.transpose(0, 2, 1)


def colours(inputs, directions, first):
    rest = inputs[:, first : first + 45].reshape(-1, 3, 15)
    return np.einsum("dk,gck->gdc", np.asarray(sh_basis(directions, 3))[:, 1:], rest)


QUARTER = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]])
ANYHOW = 1.3 * Rotation.from_rotvec([0.3, -1.1, 2]).as_matrix()
MIRROR = np.diag([-1.0, 1, 1])


@pytest.mark.parametrize("linear", [QUARTER, MIRROR, MIRROR @ ANYHOW, ANYHOW])
def test_ellipsoids_and_colours_move_with_the_scene(linear):
    inputs = raw()
    moved = moved_inputs(inputs, linear)
    want = linear @ covariances(inputs) @ linear.T
    np.testing.assert_allclose(covariances(moved), want, rtol=1e-4, atol=1e-4)
    seen = np.random.default_rng(1).normal(size=(20, 3))
    seen /= np.linalg.norm(seen, axis=1, keepdims=True)
    back = seen @ linear
    back /= np.linalg.norm(back, axis=1, keepdims=True)
    np.testing.assert_allclose(
        colours(moved, seen, 4), colours(inputs, back, 4), atol=1e-4
    )
    np.testing.assert_array_equal(moved[:, :4], inputs[:, :4])
    lengths = [np.linalg.norm(m[:, -4:], axis=1) for m in (moved, inputs)]
    np.testing.assert_allclose(*lengths, rtol=1e-5)
    assert (moved[:, -4] >= 0).all()
    alone = moved_inputs(inputs[:, 1:49], linear)
    np.testing.assert_array_equal(alone, moved[:, 1:49])


def test_axes_keep_the_names_that_training_gives_them():
    """A quarter turn swaps scales; quaternions near the identity stay there."""
    inputs = raw(turned=0.01)
    moved = moved_inputs(inputs, QUARTER)
    np.testing.assert_allclose(moved[:, -7:-4], inputs[:, [-6, -7, -5]])
    np.testing.assert_allclose(moved[:, -4:], inputs[:, -4:], atol=0.1)
    assert moved_inputs(inputs, np.eye(3)) is inputs
