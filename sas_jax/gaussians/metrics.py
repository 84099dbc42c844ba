"""How alike two images are: PSNR, SSIM, and the loss that Gaussians are trained on."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64

from sas_jax.errors import ContractError, InputError

WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2


def _window() -> tuple[float, ...]:
    weights = np.exp(-0.5 * ((np.arange(WINDOW) - WINDOW // 2) / _SIGMA) ** 2)
    return tuple((weights / weights.sum()).tolist())


_WEIGHTS = _window()


def psnr(image: Float[Array, "H W C"], truth: Float[Array, "H W C"]) -> Array:
    """Return the peak signal-to-noise ratio of an image in 0..1, dB; [] of its dtype.

    It is infinite for equal images.
    """
    return -10 * jnp.log10(jnp.mean(jnp.square(image - truth)))


def ssim(image: Float[Array, "H W C"], truth: Float[Array, "H W C"]) -> Array:
    """Return the structural similarity of images in 0..1, at most 1; [] of their dtype.

    Wang et al. 2004, "Image Quality Assessment", equation 13: Gaussian windows of 11
    pixels and sigma 1.5, constants 0.01^2 and 0.03^2, the mean over colours and over
    all windows that lie inside of the image.

    Raises:
      ContractError: for images smaller than a window.
    """
    if min(image.shape[:2]) < WINDOW:
        raise ContractError(
            f"ssim: images of {WINDOW} pixels or more are required, got "
            f"{image.shape[1]} x {image.shape[0]}. Take larger ones."
        )
    a, b = jnp.moveaxis(image, 2, 0), jnp.moveaxis(truth, 2, 0)
    means = _windowed(jnp.stack([a, b, a * a, b * b, a * b]))
    mean_a, mean_b, square_a, square_b, product = means
    both, squares = mean_a * mean_b, mean_a * mean_a + mean_b * mean_b
    covariance, variances = product - both, square_a + square_b - squares
    structure = (2 * both + _C1) * (2 * covariance + _C2)
    return jnp.mean(structure / ((squares + _C1) * (variances + _C2)))


def photometric_loss(
    image: Float[Array, "H W C"], truth: Float[Array, "H W C"], dssim_share: float
) -> Array:
    """Return (1 - share) mean |difference| + share (1 - SSIM); [] of their dtype.

    Kerbl et al. 2023, equation 7, with what their code takes for D-SSIM: 1 - SSIM, not
    half of it.
    """
    absolute = jnp.mean(jnp.abs(image - truth))
    return (1 - dssim_share) * absolute + dssim_share * (1 - ssim(image, truth))


@jax.custom_vjp
def _windowed(images: Float[Array, "*N H W"]) -> Float[Array, "*N h w"]:
    """Return weighted means over all windows, h = H - 10.

    The transpose of a symmetric window is the window itself, on a wider image. JAX's
    own transpose of shifts pads once a shift, which takes eight times as long.
    """
    rows, columns = (size - WINDOW + 1 for size in images.shape[-2:])
    parts = (w * images[..., i : i + rows, :] for i, w in enumerate(_WEIGHTS))
    found = functools.reduce(jnp.add, parts)
    parts = (w * found[..., i : i + columns] for i, w in enumerate(_WEIGHTS))
    return functools.reduce(jnp.add, parts)


def _windowed_backward(_: None, grad: Array) -> tuple[Array]:
    edge = (WINDOW - 1, WINDOW - 1)
    wide = [(0, 0)] * (grad.ndim - 2) + [edge, edge]
    return (_windowed(jnp.pad(grad, wide)),)


_windowed.defvjp(lambda images: (_windowed(images), None), _windowed_backward)


def matched(
    image: Float[np.ndarray, "H W C"], truth: Float[np.ndarray, "H W C"]
) -> Float64[np.ndarray, "H W C"]:
    """Return an image with the gain and offset of each colour taken from the truth.

    Cameras choose exposure and white balance anew in every frame, which no scene can
    know. Each half of the columns takes them from the other half (least squares), so
    nothing of a pixel's own error is fitted away (the protocol of Martin-Brualla et
    al. 2021, "NeRF in the Wild", section 4.1, for both halves).

    Raises:
      InputError: for images of one column.
    """
    columns = image.shape[1]
    if columns < 2:
        raise InputError(
            f"match: images of 2 columns or more are required, got {columns}. Take "
            "larger ones."
        )
    halves = slice(0, columns // 2), slice(columns // 2, columns)
    found = np.empty(image.shape, np.float64)
    for own, other in (halves, halves[::-1]):
        for channel in range(image.shape[2]):
            x = image[:, other, channel].astype(np.float64).ravel()
            y = truth[:, other, channel].astype(np.float64).ravel()
            variance = np.mean((x - x.mean()) ** 2)
            product = np.mean((x - x.mean()) * (y - y.mean()))
            gain = product / variance if variance > 0 else 1.0
            offset = y.mean() - gain * x.mean()
            found[:, own, channel] = gain * image[:, own, channel] + offset
    return np.clip(found, 0, 1)
