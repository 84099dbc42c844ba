"""Images of Gaussians against a slow renderer, and gradients against differences."""

import functools

import gaussian_oracle
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sas_jax.errors import ContractError, InputError
from sas_jax.gaussians.harmonics import sh_colours
from sas_jax.gaussians.projection import (
    Camera,
    Gaussians,
    RenderConfig,
    camera_of,
    project,
)
from sas_jax.gaussians.raster import pairs_for, rasterize, render
from sas_jax.gaussians.tiles import MOST_PAIRS, count_pairs

WIDTH, HEIGHT, PAIRS = 37, 21, 1024
NUMBER = 90


@pytest.fixture(autouse=True)
def f64():
    with jax.enable_x64(True):
        yield


def scene(seed=0):
    """Gaussians around a camera along z; ties, a stack, flat and huge ones."""
    rng = np.random.default_rng(seed)
    means = rng.uniform([-2, -1.5, -1], [2, 1.5, 5], (NUMBER, 3))
    scales = np.exp(rng.uniform(-4, -0.5, (NUMBER, 3)))
    rotations = rng.normal(size=(NUMBER, 4)) * 3
    opacities = rng.uniform(0, 1, NUMBER)
    features = rng.normal(size=(NUMBER, 4))
    means[:6] = [0.2, 0.1, 2]  # one depth: the index decides
    scales[:6] = 0.2
    means[6:24, :2] *= 0.1  # a stack that is opaque, in front of others
    opacities[6:24] = rng.choice([0.97, 1], 18)
    scales[6:24] = 0.3
    scales[30] = 0  # a point
    scales[31, 0] = 0  # a disk
    means[32], scales[32] = (40, 0, 5), 20  # huge, its centre far outside
    opacities[33] = 1 / 300  # never seen
    means[34, 2] = 0.011
    return means, scales, rotations, opacities, features


def camera(tilt=0.1):
    turned = np.eye(4)
    angle = tilt * np.random.default_rng(1).normal(size=4) + [1, 0, 0, 0]
    turned[:3, :3] = gaussian_oracle.turn(angle)
    turned[:3, 3] = 0.1, -0.2, 0.3
    return turned, np.array([[30.0, 0, 17.5], [0, 28.0, 11.5], [0, 0, 1]])


def arrays(parts, dtype=np.float64):
    return [jnp.asarray(part.astype(dtype)) for part in parts]


def rendered(parts, view, dtype=np.float64, pairs=PAIRS, **settings):
    means, scales, rotations, opacities, features = arrays(parts, dtype)
    return render(
        Gaussians(means, scales, rotations, opacities),
        features,
        Camera(*arrays(view, dtype)),
        width=WIDTH,
        height=HEIGHT,
        config=RenderConfig(**settings),
        pairs=pairs,
    )


@pytest.mark.parametrize(
    ("tilt", "settings"),
    [(0, {}), (0.1, {"antialiased": True}), (0.1, {"alpha_cap": 0.9})],
)
def test_images_are_the_oracles(tilt, settings):
    parts, view = scene(), camera(tilt)  # one without tilt keeps ties of depth
    got = rendered(parts, view, **settings)
    names = {"alpha_cap": "cap"}
    settings = {names.get(k, k): v for k, v in settings.items()}
    image, alpha, depth = gaussian_oracle.render(
        parts, *view, WIDTH, HEIGHT, **settings
    )
    np.testing.assert_allclose(got.image, image, rtol=0, atol=1e-12)
    np.testing.assert_allclose(got.alpha, alpha, rtol=0, atol=1e-12)
    np.testing.assert_allclose(got.depth, depth, rtol=0, atol=1e-11)
    assert 0.999 < alpha.max() < 1 - gaussian_oracle.STOP  # some pixels stop


def smooth_scene():
    """Without what has no derivative: caps, flat ones, centres at the bounds."""
    parts = scene(3)
    means, scales, _, opacities, _ = parts
    scales[:] = np.maximum(scales, 0.02)
    scales[32] = 1
    means[:6] += np.arange(6)[:, None] / 10
    opacities[:] = np.clip(opacities, 0.05, 0.6)
    means[:, 2] = np.maximum(means[:, 2], 0.5)
    return [part[:40] for part in parts]


def test_gradients_are_differences():
    """Along random directions, of each parameter; a step crosses no 1/255 cut."""
    view = Camera(*arrays(camera()))
    config = RenderConfig(antialiased=True)
    rng = np.random.default_rng(5)
    v = jnp.asarray(rng.normal(size=(HEIGHT, WIDTH, 4)))
    va = jnp.asarray(rng.normal(size=(2, HEIGHT, WIDTH)))

    @jax.jit
    def loss(means, scales, rotations, opacities, sh):
        gaussians = Gaussians(means, scales, rotations, opacities)
        colours = sh_colours(means, sh, view.viewmat)
        features = jnp.concatenate([colours, opacities[:, None]], axis=1)
        seen = render(
            gaussians,
            features,
            view,
            width=WIDTH,
            height=HEIGHT,
            config=config,
            pairs=PAIRS,
        )
        depths = jnp.sum(seen.alpha * va[0]) + jnp.sum(seen.depth * va[1])
        return jnp.sum(seen.image * v) + depths

    means, scales, rotations, opacities, _ = smooth_scene()
    sh = rng.normal(0, 0.1, (40, 16, 3))
    at = arrays((means, scales, rotations, opacities, sh))
    grads = jax.jit(jax.grad(loss, argnums=range(5)))(*at)
    for place, grad in enumerate(grads):
        assert np.isfinite(grad).all()
        errors = []
        for seed in range(7):
            rng = np.random.default_rng(seed)
            direction = jnp.asarray(rng.normal(size=grad.shape))
            step = 1e-6
            both = []
            for sign in (step, -step):
                moved = list(at)
                moved[place] = moved[place] + sign * direction
                both.append(float(loss(*moved)))
            want = (both[0] - both[1]) / (2 * step)
            got = float(jnp.sum(grad * direction))
            errors.append(abs(got - want) / (1e-3 + abs(want)))
        # A cut that one direction crosses spoils it, and not most.
        assert np.median(errors) < 1e-5, (place, errors)


def test_gradients_are_finite_where_formulas_have_corners():
    parts, view = scene(), camera()
    parts[0][35] = np.linalg.inv(view[0])[:3, 3]  # at the camera

    def loss(parts):
        gaussians = Gaussians(*parts[:4])
        config = RenderConfig(antialiased=True)
        seen = render(
            gaussians,
            parts[4],
            Camera(*arrays(view)),
            width=WIDTH,
            height=HEIGHT,
            config=config,
            pairs=PAIRS,
        )
        colours = sh_colours(parts[0], jnp.ones((NUMBER, 9, 3)), arrays(view)[0])
        return jnp.sum(seen.image) + jnp.sum(seen.mean_depth) + jnp.sum(colours)

    grads = jax.jit(jax.grad(loss))(arrays(parts))
    assert all(np.isfinite(grad).all() for grad in grads)
    assert not np.asarray(grads[3])[parts[0][:, 2] < -0.5].any()  # behind the camera


def test_nothing_in_view():
    parts, view = scene(), camera()
    parts[0][:, 2] = -5
    seen = rendered(parts, view)
    assert not np.asarray(seen.image).any() and not np.asarray(seen.mean_depth).any()


def test_too_few_pairs_are_seen():
    parts, view = scene(), camera()
    seen = rendered(parts, view, pairs=20)
    assert np.isnan(seen.image).all() and np.isnan(seen.alpha).all()


def test_pairs_are_counted():
    parts, view = scene(), camera()
    counted = rendered(parts, view, pairs=None)
    np.testing.assert_array_equal(counted.image, rendered(parts, view).image)
    gaussians = Gaussians(*arrays(parts[:4]))
    one = functools.partial(
        pairs_for, width=WIDTH, height=HEIGHT, config=RenderConfig()
    )
    assert one(gaussians, Camera(*arrays(view))) == 1024
    with pytest.raises(ContractError, match="static capacity"):
        jax.jit(lambda g: one(g, Camera(*arrays(view))))(gaussians)


def test_more_pairs_than_whole_numbers_hold():
    projected = project(
        Gaussians(*arrays(scene()[:4])),
        Camera(*arrays(camera())),
        37,
        21,
        RenderConfig(),
    )
    huge = jax.tree.map(lambda a: jnp.repeat(a[:1], 4000, axis=0), projected)
    huge = huge._replace(radii=jnp.full((4000, 2), 1 << 20, jnp.int32))
    assert count_pairs(huge, 20000, 20000) == MOST_PAIRS


def test_background_shows_through():
    parts, view = scene(), camera()
    means, scales, rotations, opacities, features = arrays(parts)
    grey = jnp.asarray([0.5, 0, 1, 2.0])
    seen = render(
        Gaussians(means, scales, rotations, opacities),
        features,
        Camera(*arrays(view)),
        width=WIDTH,
        height=HEIGHT,
        background=grey,
        pairs=PAIRS,
    )
    bare = rendered(parts, view)
    np.testing.assert_array_equal(seen.depth, bare.depth)
    want = bare.image + (1 - bare.alpha)[..., None] * grey[None, None]
    np.testing.assert_allclose(seen.image, want, rtol=0, atol=1e-15)


def test_frames_have_whole_numbered_pixel_centres():
    """A point in the middle of pixel (7, 3) of a frame is rendered there."""
    intrinsics = np.array([[30.0, 0, 17], [0, 30.0, 11], [0, 0, 1]])
    world_from_camera = np.eye(4)
    world_from_camera[:3, 3] = 1, 2, 3
    view = Camera(*arrays(camera_of(intrinsics, world_from_camera)))
    ray = np.linalg.inv(intrinsics) @ [7, 3, 1]
    means = jnp.asarray((world_from_camera[:3, 3] + 2 * ray)[None])
    one = Gaussians(
        means, jnp.full((1, 3), 1e-3), jnp.eye(4)[:1], jnp.ones(1, means.dtype)
    )
    projected = project(one, view, WIDTH, HEIGHT, RenderConfig())
    np.testing.assert_allclose(projected.means2d[0], [7.5, 3.5])
    _, alpha = rasterize(
        projected, jnp.ones((1, 1)), width=WIDTH, height=HEIGHT, pairs=64
    )
    assert np.unravel_index(np.argmax(alpha), alpha.shape) == (3, 7)


def test_settings_are_checked():
    with pytest.raises(InputError, match="alpha_cap"):
        RenderConfig(alpha_cap=0)
    with pytest.raises(InputError, match="near_m"):
        RenderConfig(near_m=-1)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_lowers_for_other_devices(platform):
    """No operation is missing; f32, forward and backward."""
    with jax.enable_x64(False):
        parts, view = arrays(scene(), np.float32), arrays(camera(), np.float32)

        def loss(parts, view):
            seen = render(
                Gaussians(*parts[:4]),
                parts[4],
                Camera(*view),
                width=WIDTH,
                height=HEIGHT,
                pairs=PAIRS,
                impl="xla",
            )
            return jnp.sum(seen.image) + jnp.sum(seen.depth)

        traced = jax.jit(jax.grad(loss)).trace(parts, view)
        assert traced.lower(lowering_platforms=(platform,)).as_text()
