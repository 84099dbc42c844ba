"""Images of Gaussians by the kernels themselves: threads, instruction sets, passes."""

import ctypes

import native_calls as calls
import numpy as np
import pytest

from sas_jax import native_library

if native_library.load() is None:
    pytest.skip("the native library is not built", allow_module_level=True)

WIDTH, HEIGHT, NUMBER = 83, 70, 3000


@pytest.fixture(params=list(calls.ISAS))
def isa(request):
    if not calls.set_isa(request.param):
        pytest.skip(f"this processor has no {request.param}")
    yield request.param
    calls.set_isa("auto")


def scene(channels):
    """Ellipses of all sizes with ties of depth, features and gradients of pixels."""
    rng = np.random.default_rng(channels)
    means = rng.uniform(-10, 90, (NUMBER, 2))
    sigmas = np.exp(rng.normal(0.7, 1, (NUMBER, 2)))
    lean = rng.uniform(-0.9, 0.9, NUMBER)
    conics = np.stack(
        [1 / sigmas[:, 0] ** 2, lean / sigmas.prod(1), 1 / sigmas[:, 1] ** 2]
    )
    radii = np.ceil(3.4 * sigmas / np.sqrt(1 - lean**2)[:, None])
    depths = rng.integers(1, 500, NUMBER)
    opacities = rng.uniform(0, 1, NUMBER) ** 2
    shapes = [np.float32(p) for p in (means, depths, conics.T.copy(), opacities)]
    rest = (
        (NUMBER, channels),
        (HEIGHT, WIDTH, channels),
        (HEIGHT, WIDTH),
    )
    return [*shapes, np.int32(radii)], [np.float32(rng.normal(size=s)) for s in rest]


def run(name, shapes, channels, inputs, results, threads):
    outputs = [np.full(shape, np.nan, np.float32) for shape in results]
    sizes = map(ctypes.c_int64, (NUMBER, WIDTH, HEIGHT, channels))
    status = getattr(native_library.require(), name)(
        *map(calls.pointer, shapes),
        *sizes,
        ctypes.c_float(0.999),
        *map(calls.pointer, (*inputs, *outputs)),
        threads,
    )
    assert status == 0
    return outputs


def everything(channels, threads):
    """Image, alpha, and gradients by both ways; all that is not written stays NaN."""
    shapes, (features, dimage, dalpha) = scene(channels)
    image = run(
        *("sas_gauss_forward", shapes, channels, [features]),
        *([dimage.shape, dalpha.shape], threads),
    )
    alone = run(
        *("sas_gauss_feature_grad", shapes, channels, [dimage]),
        *([features.shape], threads),
    )
    both = run(
        *("sas_gauss_ellipse_grad", shapes, channels, [features, dimage, dalpha]),
        *([features.shape, (NUMBER, 2), (NUMBER, 3), (NUMBER,)], threads),
    )
    np.testing.assert_array_equal(alone[0], both[0])
    return image + both


@pytest.mark.parametrize("channels", [4, 33])
def test_threads_change_no_bit(isa, channels):
    want = everything(channels, 1)
    assert all(np.isfinite(part).all() for part in want)
    assert 0.5 < np.mean(want[1] > 0.999) < 1  # some pixels stop, some do not
    for threads in (2, 3):
        for got, part in zip(everything(channels, threads), want, strict=True):
            np.testing.assert_array_equal(got, part)


def test_instruction_sets_agree(isa):
    calls.set_isa("generic")
    want = everything(4, 1)
    calls.set_isa(isa)
    for got, part in zip(everything(4, 1), want, strict=True):
        # A pixel on a cut may fall on either side of it.
        scale = np.abs(part).max()
        assert np.mean(np.abs(got - part) > 1e-4 * scale) < 1e-3


def test_many_channels_take_several_passes():
    """More sums than are held at once are made in parts: the same numbers."""
    rng = np.random.default_rng(0)
    number, width, height, channels = 3000, 2, 1600, 320  # 100 rows of tiles for each
    ones = np.ones((number, 2), np.float32)
    shapes = [
        *(ones * [1, 800], np.arange(number), ones[:, :1] * [1e-7, 0, 1e-7]),
        np.full(number, 0.5),
    ]
    shapes = [*(np.float32(p) for p in shapes), np.full((number, 2), 9000, np.int32)]
    images = rng.normal(size=(height, width, channels)).astype(np.float32)
    few = np.ascontiguousarray(images[..., ::40])
    found = []
    for image in (images, few):
        outputs = [np.full((number, image.shape[2]), np.nan, np.float32)]
        sizes = (number, width, height, image.shape[2])
        status = native_library.require().sas_gauss_feature_grad(
            *map(calls.pointer, shapes),
            *map(ctypes.c_int64, sizes),
            ctypes.c_float(0.999),
            *map(calls.pointer, (image, *outputs)),
            1,
        )
        assert status == 0
        found += outputs
    np.testing.assert_array_equal(found[0][:, ::40], found[1])
    assert found[1].any(axis=1).sum() == 13  # then pixels end
