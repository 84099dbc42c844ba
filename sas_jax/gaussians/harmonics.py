"""Colours that depend on the direction they are seen from: spherical harmonics."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def sh_basis(directions: Float[Array, "G 3"], degree: int) -> Float[Array, "G K"]:
    """Return real spherical harmonics of unit directions, K = (degree + 1)^2.

    Order and signs are those of 3DGS: within a degree l from m = -l to l, with the
    Condon-Shortley phase (degree 1: -y, z, -x). Source: Sloan 2013, "Efficient
    Spherical Harmonic Evaluation", appendix; gsplat's constants.

    Args:
      directions: of length 1.
      degree: 0 to 4.
    """
    x, y, z = directions[:, 0], directions[:, 1], directions[:, 2]
    found = [jnp.full_like(x, 0.2820947917738781)]
    if degree > 0:
        found += [-0.48860251190292 * y, 0.48860251190292 * z, -0.48860251190292 * x]
    # cos and sin of m times the azimuth, times the m-th power of the sine of the polar
    # angle.
    c2, s2 = x * x - y * y, 2 * x * y
    c3, s3 = x * c2 - y * s2, x * s2 + y * c2
    zz = z * z
    p20 = 0.9461746957575601 * zz - 0.3153915652525201
    p30 = z * (1.865881662950577 * zz - 1.119528997770346)
    if degree > 1:
        p21 = -1.092548430592079 * z
        found += [0.5462742152960395 * s2, p21 * y, p20, p21 * x]
        found.append(0.5462742152960395 * c2)
    if degree > 2:
        p31 = -2.285228997322329 * zz + 0.4570457994644658
        p32 = 1.445305721320277 * z
        found += [-0.5900435899266435 * s3, p32 * s2, p31 * y, p30]
        found += [p31 * x, p32 * c2, -0.5900435899266435 * c3]
    if degree > 3:
        c4, s4 = x * c3 - y * s3, x * s3 + y * c3
        p40 = 1.984313483298443 * z * p30 - 1.006230589874905 * p20
        p41 = z * (-4.683325804901025 * zz + 2.007139630671868)
        p42 = 3.31161143515146 * zz - 0.47308734787878
        p43 = -1.770130769779931 * z
        found += [0.6258357354491763 * s4, p43 * s3, p42 * s2, p41 * y, p40]
        found += [p41 * x, p42 * c2, p43 * c3, 0.6258357354491763 * c4]
    return jnp.stack(found, axis=1)


def sh_colours(
    means: Float[Array, "G 3"], sh: Float[Array, "G K 3"], viewmat: Float[Array, "4 4"]
) -> Float[Array, "G 3"]:
    """Return the colours of Gaussians seen from a camera: max(0, 0.5 + sum basis sh).

    Args:
      means: metres.
      sh: of a whole degree, at most 4.
      viewmat: camera from world; its inverse says where the camera is, which the
        transpose of a rounded rotation says less well.
    """
    eye = jnp.linalg.inv(viewmat)[:3, 3]
    to = means - eye[None]
    square = jnp.sum(to * to, axis=1, keepdims=True)
    away = square > 0  # a camera inside a centre sees it from nowhere
    unit = jnp.where(away, to / jnp.sqrt(jnp.where(away, square, 1)), 0)
    degree = round(sh.shape[1] ** 0.5) - 1
    values = jnp.sum(sh_basis(unit, degree)[:, :, None] * sh, axis=1)
    return jnp.maximum(values + 0.5, 0)
