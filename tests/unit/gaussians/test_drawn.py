"""Covariances follow a scene that was turned, moved and scaled."""

import numpy as np
from scipy.spatial.transform import Rotation

from sas_jax.gaussians.drawn import covariances_at
from sas_jax.gaussians.splats import checked_splats


def test_covariances_are_those_of_the_turned_axes():
    rng = np.random.default_rng(0)
    means = rng.standard_normal((20, 3))
    scales = rng.uniform(0.1, 2, (20, 3))
    turns = Rotation.random(20, random_state=1)
    x, y, z, w = turns.as_quat().T
    splats = checked_splats(
        means,
        scales,
        np.stack([w, x, y, z], 1),
        np.ones(20),
        np.zeros((20, 1, 3)),
        "test",
    )
    turn = 2.5 * Rotation.from_euler("xz", [90, 30], degrees=True).as_matrix()
    found = covariances_at(splats, (means @ turn.T + 7).astype(np.float32))
    for g in range(20):
        axes = turn @ turns[g].as_matrix()
        truth = axes @ np.diag(scales[g] ** 2) @ axes.T
        np.testing.assert_allclose(found[g], truth, rtol=1e-3, atol=1e-3)
