"""The native rasteriser against a slow renderer and against the twin's gradients."""

import functools

import gaussian_oracle
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sas_jax.errors import ContractError, InputError
from sas_jax.gaussians import raster, raster_native, raster_xla
from sas_jax.gaussians.projection import Projected

if not raster_native.is_available():
    pytest.skip("the native library is not built", allow_module_level=True)

CUT, STOP = 1 / 255, 1e-4


def ellipses(seed, number, width, height, size=3.0):
    """Projected Gaussians of f32: ties of depth, opaque stacks, needles, cut ones."""
    rng = np.random.default_rng(seed)
    means = rng.uniform(-0.1, 1.1, (number, 2)) * [width, height]
    axes = np.exp(rng.normal(0, 0.8, (number, 2))) * size
    turn = rng.uniform(0, np.pi, number)
    rows = np.stack([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    rows = rows.transpose(2, 0, 1)
    covariance = np.einsum("gki,gk,gkj->gij", rows, axes**2, rows) + 0.3 * np.eye(2)
    inverse = np.linalg.inv(covariance)
    conics = np.stack([inverse[:, 0, 0], inverse[:, 0, 1], inverse[:, 1, 1]], 1)
    radii = np.ceil(3.33 * np.sqrt(covariance[:, [0, 1], [0, 1]]))
    opacities = rng.choice([0.004, 0.3, 0.8, 1], number)
    depths = rng.integers(1, 2 + number // 3, number)
    radii[rng.random(number) < 0.05] = 0
    parts = (means, depths, conics, opacities)
    return Projected(*(np.float32(part) for part in parts), np.int32(radii))


def blended(projected, features, width, height, cap):
    """Image and alpha in f64, ellipse by ellipse over all pixels."""
    rows, columns = np.mgrid[:height, :width] + 0.5
    image = np.zeros((height, width, features.shape[1]))
    left, ended = np.ones((height, width)), np.zeros((height, width), bool)
    close = np.full((height, width), np.inf)  # the closest decision
    parts = [np.asarray(part, np.float64) for part in projected]
    for g in np.lexsort((np.arange(len(features)), projected.depths)):
        mean, _, (a, b, c), opacity, radius = (part[g] for part in parts)
        if radius[0] <= 0:
            continue
        dx, dy = mean[0] - columns, mean[1] - rows
        power = (a * dx**2 + c * dy**2) / 2 + b * dx * dy
        raw = opacity * np.exp(-power)
        alpha = np.minimum(raw, cap)
        close = np.where(ended, close, np.minimum(close, np.abs(raw / CUT - 1)))
        alpha[(alpha < CUT) | ended] = 0
        after = left * (1 - alpha)
        passes = np.where(alpha > 0, np.abs(after / STOP - 1), np.inf)
        close = np.minimum(close, passes)
        ended |= after <= STOP
        alpha[ended] = 0
        image += (left * alpha)[..., None] * features[g]
        left *= 1 - alpha
    return image, 1 - left, close > 1e-4


native = functools.partial(raster.rasterize, impl="native")


@pytest.mark.parametrize(
    ("number", "width", "height", "channels", "cap"),
    [
        (0, 20, 10, 3, 0.999),
        (1, 1, 1, 1, 0.999),
        (200, 32, 16, 3, 0.99),
        (300, 37, 21, 20, 0.999),
        (900, 15, 50, 5, 0.9),
        (120, 64, 48, 0, 0.999),
        (150, 33, 17, 131, 0.999),
    ],
)
def test_images_are_a_slow_renderers(number, width, height, channels, cap):
    projected = ellipses(number, number, width, height)
    rng = np.random.default_rng(1)
    features = rng.normal(size=(number, channels)).astype(np.float32)
    size = {"width": width, "height": height, "alpha_cap": cap}
    image, alpha = native(projected, features, **size)
    assert image.shape == (height, width, channels) and image.dtype == np.float32
    want, want_alpha, sure = blended(projected, features, width, height, cap)
    assert np.mean(sure) > 0.9
    np.testing.assert_allclose(image[sure], want[sure], rtol=0, atol=5e-6)
    np.testing.assert_allclose(alpha[sure], want_alpha[sure], rtol=0, atol=1e-6)


def test_stops_and_ties_are_in_the_scene_above():
    projected = ellipses(900, 900, 15, 50)
    features = np.ones((900, 1), np.float32)
    _, alpha, _ = blended(projected, features, 15, 50, 0.9)
    assert np.mean(alpha > 0.9989) > 0.5  # the stop
    assert len(np.unique(projected.depths)) < 310


@pytest.mark.parametrize("radius", [1, 4, 30])
def test_one_on_the_corner_of_four_tiles(radius):
    conics = np.float32([[1 / radius**2, 0, 1 / radius**2]])
    box = np.int32([[4 * radius, 4 * radius]])
    one = Projected(
        np.float32([[16, 16]]), *np.float32([[2], [0]]), np.float32([1]), box
    )
    one = one._replace(conics=conics)
    image, alpha = native(one, np.float32([[2]]), width=32, height=32)
    want, want_alpha, _ = blended(one, np.float32([[2]]), 32, 32, 0.999)
    np.testing.assert_allclose(image, want, atol=1e-6)
    np.testing.assert_allclose(alpha, want_alpha, atol=1e-6)
    np.testing.assert_allclose(alpha, alpha[::-1, ::-1], atol=1e-6)


def gradients(module, projected, features, cotangents, dtype, wanted="mcof"):
    """Of means, conics, opacities and features, as far as they are asked for."""
    height, width = cotangents[1].shape
    cast = [jnp.asarray(np.asarray(part, dtype)) for part in (*projected[:4], features)]
    means, depths, conics, opacities, features = cast
    at = {"m": means, "c": conics, "o": opacities, "f": features}

    @jax.jit
    def run(chosen, cotangents):
        def outputs(chosen):
            now = at | chosen
            shape = Projected(now["m"], depths, now["c"], now["o"], projected.radii)
            if module is raster_native:
                return module.rasterize(shape, now["f"], width, height, 0.999)
            return module.rasterize(shape, now["f"], width, height, 0.999, 4096)

        return jax.vjp(outputs, chosen)[1](cotangents)[0]

    return run({key: at[key] for key in wanted}, tuple(map(dtype, cotangents)))


@pytest.mark.parametrize(("seed", "channels"), [(3, 0), (5, 19)])
def test_gradients_are_the_twins_in_f64(seed, channels):
    width, height, number = 37, 21, 160
    projected = ellipses(seed, number, width, height, 2.0)
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(number, channels)).astype(np.float32)
    image, alpha, sure = blended(projected, features, width, height, 0.999)
    # A pixel at a cut or a stop may be decided otherwise.
    weight = sure.astype(np.float32)
    cotangents = (
        rng.normal(size=image.shape).astype(np.float32) * weight[..., None],
        rng.normal(size=alpha.shape).astype(np.float32) * weight,
    )
    got = gradients(raster_native, projected, features, cotangents, np.float32)
    with jax.enable_x64(True):
        want = gradients(raster_xla, projected, features, cotangents, np.float64)
    for key, theirs in want.items():
        theirs = np.asarray(theirs)
        difference = np.linalg.norm(np.asarray(got[key], np.float64) - theirs)
        assert difference <= 1e-5 * np.linalg.norm(theirs), key
    # Asked for alone they are the same bits.
    for wanted in ("f", "mco"):
        some = gradients(
            raster_native, projected, features, cotangents, np.float32, wanted
        )
        for key in wanted:
            np.testing.assert_array_equal(some[key], got[key])


def test_caps_and_what_is_unseen_have_no_gradient():
    """The first is at the cap, the second behind the stop, the third has no box."""
    means = np.full((4, 2), 0.5, np.float32)
    conics = np.float32([[1e-6, 0, 1e-6]] * 4)
    radii = np.int32([[9, 9], [9, 9], [0, 0], [9, 9]])
    depths, opacities = np.float32([1, 3, 2, 2.5]), np.float32([1, 0.5, 0.5, 0.85])
    stack = Projected(means, depths, conics, opacities, radii)
    ones = (np.ones((1, 1, 1), np.float32), np.ones((1, 1), np.float32))
    features = np.float32([[1], [2], [3], [4]])
    got = gradients(raster_native, stack, features, ones, np.float32)
    assert got["o"][0] == 0 and not got["m"][0].any()
    assert got["o"][1] == 0 and got["f"][1] == 0
    assert got["f"][2] == 0 and got["f"][3] > 0


def test_vmap_and_jit_take_any_number_of_pairs():
    projected = [ellipses(seed, 80, 20, 30) for seed in (7, 8)]
    features = np.random.default_rng(2).normal(size=(2, 80, 3)).astype(np.float32)
    one = functools.partial(native, width=20, height=30)
    stacked = jax.tree.map(lambda *parts: np.stack(parts), *projected)
    images, alphas = jax.jit(jax.vmap(one))(stacked, features)
    for place, shapes in enumerate(projected):
        image, alpha = one(shapes, features[place], pairs=1)  # not read
        np.testing.assert_array_equal(images[place], image)
        np.testing.assert_array_equal(alphas[place], alpha)


def test_broken_numbers_stay_where_they_are():
    projected = ellipses(9, 60, 30, 20)
    features = np.ones((60, 2), np.float32)
    clean, _ = native(projected, features, width=30, height=20)
    for name, value in (("opacities", np.nan), ("conics", np.nan), ("conics", 0)):
        part = getattr(projected, name).copy()
        part[5] = value
        image, alpha = native(
            projected._replace(**{name: part}), features, width=30, height=20
        )
        assert np.isfinite(image).all() and np.isfinite(alpha).all(), name
    assert np.isfinite(clean).all()


def test_what_cannot_run_is_refused():
    projected = ellipses(1, 5, 20, 20)
    features = np.ones((5, 1), np.float32)
    size = {"width": 20, "height": 20}
    with pytest.raises(InputError, match="impl"):
        raster.rasterize(projected, features, **size, impl="cuda")
    with pytest.raises(ContractError, match="pairs"):
        raster.rasterize(projected, features, **size, impl="xla")
    with jax.enable_x64(True):
        wide = projected._replace(means2d=jnp.zeros((5, 2), jnp.float64))
        assert raster.choose_impl(None, wide.means2d.dtype) == "xla"
        with pytest.raises(InputError, match="f32"):
            native(wide, features, **size)


def test_whole_scenes_are_the_oracles():
    """From parameters on, with ties of depth, stops, flat and huge Gaussians."""
    rng = np.random.default_rng(0)
    number, width, height = 90, 37, 21
    means = rng.uniform([-2, -1.5, 0.5], [2, 1.5, 5], (number, 3))
    means[:6] = [0.2, 0.1, 2]
    scales = np.exp(rng.uniform(-4, -0.5, (number, 3)))
    means[7], scales[7] = (40, 0, 5), 20
    scales[8] = 0
    rotations = rng.normal(size=(number, 4))
    opacities = rng.uniform(0, 1, number)
    features = rng.normal(size=(number, 3))
    scene = [np.float32(p) for p in (means, scales, rotations, opacities, features)]
    view, k = np.eye(4), np.array([[30.0, 0, 17.5], [0, 28.0, 11.5], [0, 0, 1]])
    wide = [np.float64(part) for part in scene]
    want, want_alpha, want_depth = gaussian_oracle.render(wide, view, k, width, height)
    got = raster.render(
        raster.Gaussians(*scene[:4]),
        scene[4],
        raster.Camera(np.float32(view), np.float32(k)),
        width=width,
        height=height,
        impl="native",
    )
    np.testing.assert_allclose(got.image, want, rtol=0, atol=1e-5)
    np.testing.assert_allclose(got.alpha, want_alpha, rtol=0, atol=1e-5)
    np.testing.assert_allclose(got.depth, want_depth, rtol=0, atol=5e-5)
