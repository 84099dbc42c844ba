"""What refinement changes of Gaussians, and what it leaves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sas_jax.gaussians.projection import rotation_matrices
from sas_jax.gaussians.refine import refine, split_one
from sas_jax.gaussians.score import render_view
from sas_jax.gaussians.splats import C0, Splats
from sas_jax.gaussians.training_step import first_state, splats_of
from sas_jax.gaussians.views import View

NUMBER = 40
INTRINSICS = np.array([[60.0, 0, 32], [0, 60, 24], [0, 0, 1]], np.float32)
VIEW = View("a", np.zeros((48, 64, 3), np.uint8), np.eye(4, dtype=np.float32),
            INTRINSICS)  # fmt: skip


def splats(opacities=None, number=NUMBER, seed=0):
    rng = np.random.default_rng(seed)
    rotations = rng.normal(size=(number, 4))
    rotations /= np.linalg.norm(rotations, axis=1, keepdims=True)
    opacities = rng.uniform(0.1, 0.9, number) if opacities is None else opacities
    return Splats(
        rng.uniform([-1, -0.8, 2], [1, 0.8, 4], (number, 3)).astype(np.float32),
        rng.uniform(0.05, 0.3, (number, 3)).astype(np.float32),
        rotations.astype(np.float32),
        np.asarray(opacities, np.float32),
        rng.normal(0, 0.5, (number, 4, 3)).astype(np.float32),
    )


def covariances(found):
    turned = np.asarray(rotation_matrices(jnp.asarray(found.rotations)), np.float64)
    axes = turned * found.scales[:, None]
    return axes @ axes.transpose(0, 2, 1)


def test_two_parts_have_the_centre_and_the_covariance_of_the_one():
    state = first_state(splats(), 1)
    parts = [
        splats_of(state._replace(parameters=state.parameters._replace(splats=part)))
        for part in split_one(state.parameters.splats)
    ]
    whole = splats_of(state)
    centre = (parts[0].means.astype(np.float64) + parts[1].means) / 2
    np.testing.assert_allclose(centre, whole.means, atol=1e-6)
    away = parts[0].means - centre
    both = covariances(parts[0]) + away[:, :, None] * away[:, None, :]
    np.testing.assert_allclose(both, covariances(whole), atol=1e-6)
    assert (np.linalg.norm(away, axis=1) > 0.02).all()
    np.testing.assert_array_equal(parts[0].sh, whole.sh)


@pytest.mark.parametrize("opacity", [0.1, 0.5, 0.95])
def test_a_split_keeps_the_picture_of_a_gaussian(opacity):
    one = Splats(
        np.array([[0, 0, 3]], np.float32),
        np.array([[0.3, 0.1, 0.1]], np.float32),
        np.array([[1, 0, 0, 0]], np.float32),
        np.array([opacity], np.float32),
        np.full((1, 1, 3), 0.5 / C0, np.float32),  # white
    )
    state = first_state(one, 1)
    state = state._replace(pulls=jnp.ones(1), seen=jnp.ones(1, jnp.int32))
    after, told = refine(state, split_share=1, prune_opacity=0)
    assert told.split == 1 and len(splats_of(after)) == 2
    before, now = (render_view(splats_of(s), VIEW)[..., 0] for s in (state, after))
    # Beside what is cut: two parts end at 1/255 each, where one did.
    assert 0 < np.abs(now - before).max() < 0.2 * opacity + 2 / 255
    assert now.sum() == pytest.approx(before.sum(), rel=0.03)


def test_what_no_renderer_shows_is_pruned_without_a_trace():
    opacities = np.random.default_rng(1).uniform(0.1, 0.9, NUMBER)
    opacities[::4] = 1 / 256
    state = first_state(splats(opacities), 1)
    after, told = refine(state, split_share=0, prune_opacity=1 / 255)
    assert told == (0, NUMBER // 4)
    before, now = (render_view(splats_of(s), VIEW) for s in (state, after))
    np.testing.assert_allclose(now, before, atol=1e-6)  # sums of other blocks


def test_those_pulled_hardest_are_split_and_lose_their_moments():
    state = first_state(splats(), 3)
    rng = np.random.default_rng(2)
    moments = jax.tree.map(
        lambda v: jnp.asarray(rng.normal(size=v.shape), v.dtype), state.parameters
    )
    pulls, seen = np.arange(NUMBER, dtype=np.float32), np.ones(NUMBER, np.int32)
    pulls[7], seen[30] = 100, 100  # 30: a large sum, but of many steps
    pulls[30] = 39
    state = state._replace(
        adam=state.adam._replace(mu=moments, nu=moments),
        pulls=jnp.asarray(pulls),
        seen=jnp.asarray(seen),
    )
    after, told = refine(state, split_share=0.1, prune_opacity=0)
    chosen = [7, 37, 38, 39]
    assert told == (4, 0)
    others = np.setdiff1d(np.arange(NUMBER), chosen)
    for old, new in zip(
        jax.tree.leaves((state.parameters.splats, state.adam.mu.splats)),
        jax.tree.leaves((after.parameters.splats, after.adam.mu.splats)),
        strict=True,
    ):
        assert len(new) == NUMBER + 4
        np.testing.assert_array_equal(new[others], old[others])
    for moment in jax.tree.leaves((after.adam.mu.splats, after.adam.nu.splats)):
        assert not np.asarray(moment[jnp.asarray(chosen)]).any()
        assert not np.asarray(moment[NUMBER:]).any()
    np.testing.assert_array_equal(after.adam.mu.gains, state.adam.mu.gains)
    assert not np.asarray(after.pulls).any() and not np.asarray(after.seen).any()


def test_those_that_nothing_pulls_are_not_split_and_some_always_stay():
    state = first_state(splats(np.full(NUMBER, 0.01)), 1)
    after, told = refine(state, split_share=1, prune_opacity=0.5)
    assert told == (0, 0) and len(splats_of(after)) == NUMBER
