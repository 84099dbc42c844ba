"""PSNR, SSIM and the loss against slow formulas, gradients against differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sas_jax.errors import ContractError, InputError
from sas_jax.gaussians.metrics import matched, photometric_loss, psnr, ssim

HEIGHT, WIDTH = 14, 17


@pytest.fixture(autouse=True)
def f64():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 1, (HEIGHT, WIDTH, 3))
    return np.clip(truth + rng.normal(0, 0.2, truth.shape), 0, 1), truth


def slow_ssim(image, truth):
    """Wang et al. 2004, equation 13, window by window, from weighted moments."""
    at = np.arange(11) - 5
    window = np.exp(-(at[:, None] ** 2 + at[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    found = []
    for row in range(image.shape[0] - 10):
        for column in range(image.shape[1] - 10):
            for channel in range(image.shape[2]):
                x = image[row : row + 11, column : column + 11, channel]
                y = truth[row : row + 11, column : column + 11, channel]
                mx, my = (window * x).sum(), (window * y).sum()
                vx, vy = (window * (x - mx) ** 2).sum(), (window * (y - my) ** 2).sum()
                both = (window * (x - mx) * (y - my)).sum()
                found.append(
                    (2 * mx * my + 1e-4)
                    * (2 * both + 9e-4)
                    / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4))
                )
    return np.mean(found)


def test_ssim_is_that_of_every_window(images):
    assert float(ssim(*images)) == pytest.approx(slow_ssim(*images), abs=1e-12)
    assert float(ssim(images[1], images[1])) == pytest.approx(1, abs=1e-12)


def test_ssim_in_f32_is_near(images):
    single = ssim(*(jnp.asarray(image, jnp.float32) for image in images))
    assert float(single) == pytest.approx(slow_ssim(*images), abs=2e-5)


def test_psnr_is_of_the_mean_square(images):
    error = np.mean((images[0] - images[1]) ** 2)
    assert float(psnr(*images)) == pytest.approx(10 * np.log10(1 / error), abs=1e-12)
    assert float(psnr(images[1], images[1])) == np.inf


@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_the_loss_and_its_gradient(images, share):
    image, truth = images
    loss = float(photometric_loss(image, truth, share))
    absolute = np.abs(image - truth).mean()
    wanted = (1 - share) * absolute + share * (1 - slow_ssim(image, truth))
    assert loss == pytest.approx(wanted, abs=1e-12)
    grad = np.asarray(jax.grad(photometric_loss)(jnp.asarray(image), truth, share))
    for place in ((0, 0, 0), (7, 8, 1), (13, 16, 2), (2, 15, 0)):
        moved = [image.copy(), image.copy()]
        for sign, other in zip((1, -1), moved, strict=True):
            other[place] += sign * 1e-6
        up, down = (float(photometric_loss(m, truth, share)) for m in moved)
        assert grad[place] == pytest.approx((up - down) / 2e-6, abs=1e-8)


def test_images_smaller_than_a_window_are_refused():
    with pytest.raises(ContractError, match="11 pixels"):
        ssim(jnp.zeros((10, 40, 3)), jnp.zeros((10, 40, 3)))


def test_matching_takes_exposure_out_and_no_more():
    rng = np.random.default_rng(1)
    image = rng.uniform(0.2, 0.8, (HEIGHT, WIDTH, 3))
    truth = image * [0.9, 1.1, 1.0] + [0.05, -0.02, 0]
    np.testing.assert_allclose(matched(image, truth), truth, atol=1e-12)
    # An error of one half is that half's own: the other one knows nothing of it.
    worse = image.copy()
    worse[:, : WIDTH // 2] *= 0.5
    left = matched(worse, image)[:, : WIDTH // 2]
    np.testing.assert_allclose(left, worse[:, : WIDTH // 2], atol=1e-12)


def test_matching_of_an_even_image_moves_its_mean():
    image, truth = np.full((12, 12, 3), 0.25), np.full((12, 12, 3), 0.5)
    np.testing.assert_allclose(matched(image, truth), truth)
    with pytest.raises(InputError, match="2 columns"):
        matched(image[:, :1], truth[:, :1])
