"""Gaussians as a camera sees them: ellipses with a depth, differentiable in JAX.

Zwicker et al. 2001, "EWA Splatting", as 3-D Gaussian Splatting and gsplat take it: the
camera's map is linear around each centre, and pixels blur by a Gaussian of their own.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, Int32

from sas_jax.checks import in_range
from sas_jax.gaussians.splats import Splats

SIGMAS = 3.33
"""Half an ellipse's box in standard deviations; beyond, alpha is less than 1/255."""
_LARGEST_RADIUS = 2.0**30
_product = functools.partial(jnp.einsum, precision="highest")


@dataclasses.dataclass(frozen=True)
class RenderConfig:
    """What implementations of the same formulas disagree about.

    Attributes:
      alpha_cap: largest opacity of a Gaussian in a pixel: 0.999 (gsplat up to 1.5),
        0.99 (gsplat 1.6, original 3DGS).
      near_m: metres; Gaussians whose centre is nearer are left out.
      far_m: metres; likewise farther.
      blur_px2: variance that pixels add to an ellipse.
      antialiased: whether that is made up for by less opacity (Yu et al. 2024,
        Mip-Splatting, equation 11 in two dimensions).
      least_compensation: bound of that factor: 0, or 0.005 (gsplat 1.6).
    """

    alpha_cap: float = 0.999
    near_m: float = 0.01
    far_m: float = 1e10
    blur_px2: float = 0.3
    antialiased: bool = False
    least_compensation: float = 0.0

    def __post_init__(self) -> None:
        # Nothing more opaque passes the stop; gradients divide by what is let through.
        in_range("render", "alpha_cap", self.alpha_cap, 0, 0.9999, above=True)
        in_range("render", "near_m", self.near_m, 0, above=True)
        in_range("render", "far_m", self.far_m, self.near_m, above=True)
        in_range("render", "blur_px2", self.blur_px2, 0, above=True)
        in_range("render", "least_compensation", self.least_compensation, 0, 1)


class Gaussians(NamedTuple):
    """Parameters that have gradients, all of one dtype, f32 or f64.

    Attributes:
      means: [G, 3] metres.
      scales: [G, 3] metres, linear.
      rotations: [G, 4] quaternions (w, x, y, z) of any length but zero.
      opacities: [G] in 0..1.
    """

    means: Float[Array, "G 3"]
    scales: Float[Array, "G 3"]
    rotations: Float[Array, "G 4"]
    opacities: Float[Array, " G"]


class Camera(NamedTuple):
    """A pinhole camera in gsplat's convention; see `camera_of`.

    Attributes:
      viewmat: [4, 4] camera from world, rigid; x right, y down, z forward.
      intrinsics: [3, 3] pixels; the centre of pixel (i, j) is (j + 0.5, i + 0.5).
    """

    viewmat: Float[Array, "4 4"]
    intrinsics: Float[Array, "3 3"]


class Projected(NamedTuple):
    """Ellipses in the image; all zero for Gaussians that are not seen.

    Attributes:
      means2d: [G, 2] pixels, x and y.
      depths: [G] metres along the optical axis.
      conics: [G, 3] xx, xy, yy of the inverse covariance, 1 / pixels^2.
      opacities: [G] after compensation.
      radii: [G, 2] i32 half the box, pixels; 0 says that a Gaussian is not seen.
    """

    means2d: Float[Array, "G 2"]
    depths: Float[Array, " G"]
    conics: Float[Array, "G 3"]
    opacities: Float[Array, " G"]
    radii: Int32[Array, "G 2"]


def gaussians_of(splats: Splats) -> Gaussians:
    """Return the parameters of a file's Gaussians as f32 arrays of JAX."""
    return Gaussians(*(jnp.asarray(getattr(splats, n)) for n in Gaussians._fields))


def camera_of(
    intrinsics: Float[np.ndarray, "3 3"], world_from_camera: Float[np.ndarray, "4 4"]
) -> tuple[Float64[np.ndarray, "4 4"], Float64[np.ndarray, "3 3"]]:
    """Return the fields of `Camera` of a frame, f64.

    Args:
      intrinsics: where whole numbers are centres of pixels, as in `Frame`.
      world_from_camera: rigid.
    """
    moved = np.array(intrinsics, np.float64)
    moved[:2, 2] += 0.5
    return np.linalg.inv(np.asarray(world_from_camera, np.float64)), moved


def rotation_matrices(quaternions: Float[Array, "G 4"]) -> Float[Array, "G 3 3"]:
    """Return the matrices of quaternions (w, x, y, z) of any length but zero."""
    length = jnp.sqrt(jnp.sum(quaternions * quaternions, axis=1, keepdims=True))
    w, x, y, z = (quaternions / length).T
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return jnp.stack([jnp.stack(row, axis=1) for row in rows], axis=1)


@functools.partial(jax.jit, static_argnames=("width", "height", "config"))
def project(
    gaussians: Gaussians,
    camera: Camera,
    width: int,
    height: int,
    config: RenderConfig,
) -> Projected:
    """Project Gaussians into an image.

    Box, near and far have no gradient; the bound of the Jacobian has. Where
    compensation is 0 (a Gaussian that is flat in two ways), its gradient is 0 too.

    Args:
      gaussians: their dtype is that of the result.
      camera: of the same dtype.
      width: pixels.
      height: pixels.
      config: see there.
    """
    view, k = camera
    turned = _product("ij,gj->gi", view[:3, :3], gaussians.means) + view[None, :3, 3]
    in_front = (turned[:, 2] > config.near_m) & (turned[:, 2] < config.far_m)
    x, y = turned[:, 0], turned[:, 1]
    z = jnp.where(in_front, turned[:, 2], 1)
    rows = _rows(gaussians, view, k, (x / z, y / z, z), width, height)
    conics, box, gain = _ellipse(*rows, config)
    means2d = jnp.stack([k[0, 0] * x / z + k[0, 2], k[1, 1] * y / z + k[1, 2]], axis=1)
    size = jnp.array([[width, height]], means2d.dtype)
    inside = (means2d + box > 0) & (means2d - box < size)
    seen = in_front & jnp.all(inside & (box > 0), axis=1)
    opacities = gaussians.opacities * gain
    return Projected(
        jnp.where(seen[:, None], means2d, 0),
        jnp.where(seen, z, 0),
        jnp.where(seen[:, None], conics, 0),
        jnp.where(seen, opacities, 0),
        jnp.where(seen[:, None], box, 0).astype(jnp.int32),
    )


def _rows(
    gaussians: Gaussians,
    view: Float[Array, "4 4"],
    k: Float[Array, "3 3"],
    ray: tuple[Float[Array, " G"], Float[Array, " G"], Float[Array, " G"]],
    width: int,
    height: int,
) -> tuple[Float[Array, "G 3"], Float[Array, "G 3"]]:
    """Return the two rows of J W R S; the covariance in the image is its square.

    J is taken no farther than 15 % of the image outside of it, where the linear map
    means nothing.
    """
    x, y, z = ray
    fx, fy, cx, cy = k[0, 0], k[1, 1], k[0, 2], k[1, 2]
    reach_x, reach_y = 0.15 * width / fx, 0.15 * height / fy
    x = jnp.clip(x, -(cx / fx + reach_x), (width - cx) / fx + reach_x)
    y = jnp.clip(y, -(cy / fy + reach_y), (height - cy) / fy + reach_y)
    axes = _product("ij,gjk->gik", view[:3, :3], rotation_matrices(gaussians.rotations))
    axes = axes * gaussians.scales[:, None, :]
    z = z[:, None]
    row_x = fx / z * (axes[:, 0] - x[:, None] * axes[:, 2])
    row_y = fy / z * (axes[:, 1] - y[:, None] * axes[:, 2])
    return row_x, row_y


def _ellipse(
    row_x: Float[Array, "G 3"], row_y: Float[Array, "G 3"], config: RenderConfig
) -> tuple[Float[Array, "G 3"], Float[Array, "G 2"], Float[Array, " G"]]:
    """Return conics, half boxes in whole pixels, and what compensates opacities.

    The determinant before blur is the squared length of the rows' cross product: no
    difference of large numbers, never negative.
    """
    blur = config.blur_px2
    xx, yy = jnp.sum(row_x * row_x, axis=1), jnp.sum(row_y * row_y, axis=1)
    xy = jnp.sum(row_x * row_y, axis=1)
    cross = jnp.cross(row_x, row_y)
    sharp = jnp.sum(cross * cross, axis=1)
    blurred = sharp + blur * (xx + yy) + blur * blur
    conics = jnp.stack([yy + blur, -xy, xx + blur], axis=1) / blurred[:, None]
    variances = jnp.stack([xx + blur, yy + blur], axis=1)
    box = jnp.minimum(jnp.ceil(SIGMAS * jnp.sqrt(variances)), _LARGEST_RADIUS)
    if not config.antialiased:
        return conics, box, jnp.ones_like(xx)
    share = sharp / blurred
    least = config.least_compensation**2
    above = share > least
    root = jnp.sqrt(jnp.where(above, share, 1))
    return conics, box, jnp.where(above, root, config.least_compensation)
