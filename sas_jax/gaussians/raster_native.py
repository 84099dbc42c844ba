"""The rasteriser by the native kernels, f32, as XLA custom calls with gradients.

One call makes the image, one the gradient of the features alone (which lifts images),
one that of the ellipses, and of the features beside. Each lists anew what touches which
tile: lists have no static size, and cost little beside what they are used for.
"""

import functools
from typing import Any

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
    values = tuple(operand.value for operand in operands)
    # Which gradients are asked for, as structure: residuals must be arrays.
    of_ellipses = any(operand.perturbed for operand in operands[:-1])
    wanted = {"ellipses": None} if of_ellipses else {}
    wanted |= {"features": None} if operands[-1].perturbed else {}
    return _rasterize(width, height, alpha_cap, *values), (values, wanted)


def _rasterize_backward(width, height, alpha_cap, saved, cotangents):
    operands, wanted = saved
    dimage, dalpha = (_array(cotangent) for cotangent in cotangents)
    *ellipses, features = operands
    means2d, _, conics, opacities, _ = ellipses
    if "ellipses" not in wanted:
        (dfeatures,) = native_call.call(
            "sas_gauss_feature_grad",
            (features.shape,),
            *(*ellipses, dimage),
            alpha_cap=alpha_cap,
        )
        return *[None] * 5, dfeatures
    rows = len(features) if "features" in wanted else 0
    dfeatures, dmeans2d, dconics, dopacities = native_call.call(
        "sas_gauss_ellipse_grad",
        ((rows, features.shape[1]), means2d.shape, conics.shape, opacities.shape),
        *(*operands, dimage, dalpha),
        alpha_cap=alpha_cap,
    )
    of_ellipses = (dmeans2d, None, dconics, dopacities, None)
    return *of_ellipses, dfeatures if "features" in wanted else None


_rasterize.defvjp(_rasterize_forward, _rasterize_backward, symbolic_zeros=True)


def _array(cotangent: Any) -> Array:
    """Return zeros for a cotangent that is known to be zero."""
    if isinstance(cotangent, jax.custom_derivatives.SymbolicZero):
        return jnp.zeros(cotangent.shape, cotangent.dtype)
    return cotangent
