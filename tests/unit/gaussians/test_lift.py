"""Lifting is the weighted mean by blend weights, or what centres see, view by view."""

import gaussian_oracle
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sas_jax.artefacts.space import TextSpace
from sas_jax.errors import ContractError, InputError
from sas_jax.gaussians.lift import SplatLiftConfig, SplatLifter
from sas_jax.gaussians.projection import Camera, Gaussians
from sas_jax.lifting.lift import MaskFeatures

WIDTH, HEIGHT, NUMBER, CHANNELS = 37, 21, 24, 3
SPACE = TextSpace("letters", "random:0", CHANNELS)


@pytest.fixture(autouse=True)
def f64():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def scene():
    rng = np.random.default_rng(0)
    means = rng.uniform([-1.5, -1, 1], [1.5, 1, 4], (NUMBER, 3))
    scales = np.exp(rng.uniform(-3, -1, (NUMBER, 3)))
    rotations = rng.normal(size=(NUMBER, 4))
    opacities = rng.uniform(0.2, 1, NUMBER)
    means[0, 2] = -3  # behind the camera
    return means, scales, rotations, opacities


def views(count=2):
    """View matrix, intrinsics and a random image of each."""
    rng = np.random.default_rng(1)
    for number in range(count):
        view = np.eye(4)
        view[0, 3] = 0.2 * number
        k = np.array([[30.0, 0, 17.5], [0, 28.0, 11.5], [0, 0, 1]])
        yield view, k, rng.normal(size=(HEIGHT, WIDTH, CHANNELS))


def lifted(scene, config):
    gaussians = Gaussians(*map(jnp.asarray, scene))
    lifter = SplatLifter(gaussians, CHANNELS, config)
    for view, k, image in views():
        lifter.add(Camera(jnp.asarray(view), jnp.asarray(k)), image)
    return lifter


def compare(lifter, total, weights, counts):
    features = lifter.features(SPACE)
    seen = np.flatnonzero(weights > 0)
    assert 0 < len(seen) < NUMBER
    np.testing.assert_array_equal(features.point_index, seen)
    np.testing.assert_allclose(lifter.weights, weights, rtol=1e-9, atol=1e-12)
    means = total[seen] / weights[seen, None]
    np.testing.assert_allclose(features.feat, means, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(features.counts, counts[seen])


def test_blended_features_are_means_by_the_weights_of_a_slow_renderer(scene):
    total, weights = np.zeros((NUMBER, CHANNELS)), np.zeros(NUMBER)
    counts = np.zeros(NUMBER, int)
    for view, k, image in views():
        one_each = gaussian_oracle.render(
            (*scene, np.eye(NUMBER)), view, k, WIDTH, HEIGHT
        )[0]
        total += np.einsum("hwg,hwc->gc", one_each, image)
        weights += one_each.sum((0, 1))
        counts += one_each.sum((0, 1)) > 0
    compare(lifted(scene, SplatLiftConfig()), total, weights, counts)


def test_centres_take_the_pixel_that_they_are_seen_in(scene):
    config = SplatLiftConfig("center", border_px=3, depth_m=0.4)
    total, weights = np.zeros((NUMBER, CHANNELS)), np.zeros(NUMBER)
    for view, k, image in views():
        _, alpha, depth = gaussian_oracle.render(
            (*scene, np.zeros((NUMBER, 1))), view, k, WIDTH, HEIGHT
        )
        for g, mean in enumerate(scene[0]):
            x, y, z = view[:3, :3] @ mean + view[:3, 3]
            if z < 0.01:
                continue
            column = int(np.floor(30.0 * x / z + 17.5))
            row = int(np.floor(28.0 * y / z + 11.5))
            if not (3 <= column < WIDTH - 3 and 3 <= row < HEIGHT - 3):
                continue
            if abs(depth[row, column] / alpha[row, column] - z) <= 0.4:
                total[g] += image[row, column]
                weights[g] += 1
    compare(lifted(scene, config), total, weights, weights.astype(int))


def test_masks_on_a_coarse_grid_are_their_features_in_every_pixel(scene):
    """Void pixels say nothing: they are left out of both sums."""
    rng = np.random.default_rng(2)
    codebook = rng.normal(size=(17, CHANNELS))  # more than a block of columns
    index = rng.integers(-1, 17, (7, 12))
    view, k, _ = next(views())
    camera = Camera(jnp.asarray(view), jnp.asarray(k))
    lifter = SplatLifter(Gaussians(*map(jnp.asarray, scene)), CHANNELS)
    lifter.add(camera, MaskFeatures(codebook, index), (HEIGHT, WIDTH))
    one_each = gaussian_oracle.render((*scene, np.eye(NUMBER)), view, k, WIDTH, HEIGHT)[
        0
    ]
    total, weights = np.zeros((NUMBER, CHANNELS)), np.zeros(NUMBER)
    for row in range(HEIGHT):
        for column in range(WIDTH):
            y, x = int((row + 0.5) * 7 / HEIGHT), int((column + 0.5) * 12 / WIDTH)
            if (mask := index[y, x]) >= 0:
                total += one_each[row, column][:, None] * codebook[mask]
                weights += one_each[row, column]
    compare(lifter, total, weights, (weights > 0).astype(int))


def test_what_does_not_fit_is_refused(scene):
    lifter = SplatLifter(Gaussians(*map(jnp.asarray, scene)), CHANNELS)
    view, k, image = next(views())
    with pytest.raises(ContractError, match="an image of 3 channels"):
        lifter.add(Camera(jnp.asarray(view), jnp.asarray(k)), image[..., :2])
    with pytest.raises(InputError, match="lift"):
        SplatLiftConfig("pixels")
    assert len(lifter.features(SPACE).feat) == 0
