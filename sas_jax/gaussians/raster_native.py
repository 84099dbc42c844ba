"""The rasteriser by the native kernels, f32, as XLA custom calls with gradients.

One call makes the image, one the gradient of the features, one that of all else; XLA
leaves out those whose result nobody reads. Each lists what touches which tile anew:
lists have no static size, and cost a few per cent of what they are used for.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sas_jax import native_call
from sas_jax.gaussians.projection import Projected

DTYPE = jnp.dtype(jnp.float32)


def is_available() -> bool:
    """Say whether the kernels can run on JAX's default platform."""
    return native_call.is_available("sas_gauss_forward")


def rasterize(
    projected: Projected,
    features: Float[Array, "G F"],
    width: int,
    height: int,
    alpha_cap: float,
) -> tuple[Float[Array, "H W F"], Float[Array, "H W"]]:
    """See `raster.rasterize`."""
    operands = (
        *(projected.means2d, projected.depths, projected.conics),
        *(projected.opacities, projected.radii, features),
    )
    return _rasterize(width, height, alpha_cap, *native_call.vary_alike(*operands))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _rasterize(width, height, alpha_cap, *operands):
    channels = operands[-1].shape[1]
    shapes = ((height, width, channels), (height, width))
    call = native_call.call
    image, alpha = call("sas_gauss_forward", shapes, *operands, alpha_cap=alpha_cap)
    return image, alpha


def _rasterize_forward(width, height, alpha_cap, *operands):
    return _rasterize(width, height, alpha_cap, *operands), operands


def _rasterize_backward(width, height, alpha_cap, operands, cotangents):
    *ellipses, features = operands
    means2d, _, conics, opacities, _ = ellipses
    dimage, dalpha = cotangents
    (dfeatures,) = native_call.call(
        "sas_gauss_feature_grad",
        (features.shape,),
        *(*ellipses, dimage),
        alpha_cap=alpha_cap,
    )
    dmeans2d, dconics, dopacities = native_call.call(
        "sas_gauss_ellipse_grad",
        (means2d.shape, conics.shape, opacities.shape),
        *(*operands, dimage, dalpha),
        alpha_cap=alpha_cap,
    )
    return dmeans2d, None, dconics, dopacities, None, dfeatures


_rasterize.defvjp(_rasterize_forward, _rasterize_backward)
