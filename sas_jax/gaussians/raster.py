"""Images of Gaussians: the public operations.

Implementations, by `impl`:
  native: the kernels of this package for CPUs, f32; several times as fast.
  xla: plain JAX, every platform, f32 and f64.
None takes native where it can run and xla elsewhere. One that is asked for by name and
cannot run is an error, never replaced.
"""

import functools
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sas_jax.checks import one_of
from sas_jax.errors import ContractError, InputError
from sas_jax.gaussians import raster_native, raster_xla
from sas_jax.gaussians.projection import (
    Camera,
    Gaussians,
    Projected,
    RenderConfig,
    project,
)
from sas_jax.gaussians.tiles import MOST_PAIRS, count_pairs

Implementation = Literal["native", "xla"]
_FEWEST, _GROWTH = 1024, 1.25
_MANY = 128  # channels


class Rendered(NamedTuple):
    """What a camera sees.

    Attributes:
      image: [H, W, F] sum of w f, and (1 - alpha) background.
      alpha: [H, W] sum of w, in 0..1.
      depth: [H, W] metres, sum of w z, without a background.
    """

    image: Float[Array, "H W F"]
    alpha: Float[Array, "H W"]
    depth: Float[Array, "H W"]

    @property
    def mean_depth(self) -> Float[Array, "H W"]:
        """[H, W] metres, of what is seen; 0 where nothing is."""
        return self.depth / jnp.maximum(self.alpha, 1e-10)


def rasterize(
    projected: Projected,
    features: Float[Array, "G F"],
    *,
    width: int,
    height: int,
    pairs: int | None = None,
    alpha_cap: float = 0.999,
    impl: Implementation | None = None,
) -> tuple[Float[Array, "H W F"], Float[Array, "H W"]]:
    """Blend features of ellipses, nearest first.

    In each pixel with centre p, in order of f32 depth, then of index:
    d = means2d - p; s = (a dx^2 + c dy^2) / 2 + b dx dy with (a, b, c) = conics;
    alpha = min(alpha_cap, opacity exp(-s)); skipped where s < 0 or alpha < 1/255;
    T' = T (1 - alpha), from T = 1; where T' <= 1e-4 the pixel ends without this one;
    w = alpha T; image += w f. (Kerbl et al. 2023, equation 3; gsplat's bounds.)

    Order, cuts and the stop have no gradient, nor has an alpha at its cap; all inputs
    but radii have the others. The transpose with respect to features lifts an image:
    the gradient of sum(image * u) is sum over pixels of w u for each Gaussian.

    Args:
      projected: of `project`; f32 or f64.
      features: of the same dtype, any number of channels.
      width: pixels.
      height: pixels.
      pairs: for xla, capacity for pairs of a Gaussian and a tile of 16 pixels, at
        least `tiles.count_pairs`; static, as are width and height. Where it is too
        small, everything returned is NaN. Native takes as many as there are, whatever
        `pairs` says.
      alpha_cap: see `RenderConfig`.
      impl: see the module.

    Returns:
      [H, W, F] image and [H, W] alpha, the sum of w.

    Raises:
      ContractError: for xla without `pairs`.
      InputError: if the implementation cannot run.

    Deterministic: yes; native also over thread counts.
    """
    impl = choose_impl(impl, projected.means2d.dtype)
    if impl == "xla" and pairs is None:
        raise ContractError(
            "rasterize: pairs, a static capacity, is required by xla, got None. Take "
            "tiles.count_pairs(...), and some more."
        )
    pairs = pairs if impl == "xla" else None
    return _rasterize(projected, features, width, height, pairs, alpha_cap, impl)


@functools.partial(jax.jit, static_argnums=(2, 3, 4, 5, 6))
def _rasterize(
    projected: Projected,
    features: Float[Array, "G F"],
    width: int,
    height: int,
    pairs: int | None,
    alpha_cap: float,
    impl: Implementation,
) -> tuple[Float[Array, "H W F"], Float[Array, "H W"]]:
    if pairs is None:
        return raster_native.rasterize(projected, features, width, height, alpha_cap)
    return raster_xla.rasterize(projected, features, width, height, alpha_cap, pairs)


def choose_impl(impl: str | None, dtype: jnp.dtype) -> Implementation:
    """Return the implementation that will run.

    Raises:
      InputError: if the name is unknown, or names one that cannot run here.
    """
    able = raster_native.is_available() and dtype == raster_native.DTYPE
    if impl is None:
        return "native" if able else "xla"
    one_of("render", "impl", impl, get_args(Implementation))
    if impl == "native" and not able:
        raise InputError(
            "render: impl 'native' requires a CPU, f32 and the native library, got "
            f"{jax.default_backend()!r} and {dtype}. Build it with `make native`, cast "
            "to f32, or use impl='xla'."
        )
    return "native" if impl == "native" else "xla"


def render(
    gaussians: Gaussians,
    features: Float[Array, "G F"],
    camera: Camera,
    *,
    width: int,
    height: int,
    config: RenderConfig = RenderConfig(),  # noqa: B008 (frozen)
    background: Float[Array, " F"] | None = None,
    pairs: int | None = None,
    impl: Implementation | None = None,
) -> Rendered:
    """Project and blend; colours of spherical harmonics are `harmonics.sh_colours`.

    Args:
      gaussians: f32 or f64, which all else must be too.
      features: colours or anything else, any number of channels.
      camera: see there.
      width: pixels.
      height: pixels.
      config: see there.
      background: what is seen where nothing is; zeros where None.
      pairs: see `rasterize`; for xla, None counts them first, which tracing does not
        allow.
      impl: see the module.

    Raises:
      ContractError: for xla without `pairs` under jit, vmap or scan.
      InputError: if the implementation cannot run.
    """
    impl = choose_impl(impl, gaussians.means.dtype)
    if impl == "native":
        pairs = None
    elif pairs is None:
        pairs = pairs_for(gaussians, camera, width, height, config)
    return _render(
        gaussians, features, camera, background, width, height, config, pairs, impl
    )


@functools.partial(jax.jit, static_argnums=(4, 5, 6, 7, 8))
def _render(
    gaussians: Gaussians,
    features: Float[Array, "G F"],
    camera: Camera,
    background: Float[Array, " F"] | None,
    width: int,
    height: int,
    config: RenderConfig,
    pairs: int | None,
    impl: Implementation,
) -> Rendered:
    projected = project(gaussians, camera, width, height, config)

    def blend(columns: Float[Array, "G C"]) -> tuple[Array, Array]:
        size = (width, height, pairs, config.alpha_cap, impl)
        return _rasterize(projected, columns, *size)

    depths = projected.depths[:, None]
    if features.shape[1] < _MANY:
        columns = jnp.concatenate([features, depths], axis=1)
        image, alpha = blend(columns)
        depth, image = image[..., -1], image[..., :-1]
    else:
        # Weights once more cost less than copies of all features and of the image.
        image, alpha = blend(features)
        depth = blend(depths)[0][..., 0]
    if background is not None:
        image = image + (1 - alpha)[..., None] * background[None, None]
    return Rendered(image, alpha, depth)


def pairs_for(
    gaussians: Gaussians, camera: Camera, width: int, height: int, config: RenderConfig
) -> int:
    """Return a capacity for `rasterize` that few views' programs need to differ in.

    Raises:
      ContractError: under jit, vmap or scan, and for 2^30 pairs or more.
    """
    count = _counted(gaussians, camera, width, height, config)
    try:
        needed = int(count)
    except jax.errors.ConcretizationTypeError as error:
        raise ContractError(
            "render: pairs, a static capacity, is required under jit, vmap and scan, "
            "got None. Take pairs_for(...) of the same view, and some more."
        ) from error
    if needed >= MOST_PAIRS:
        raise ContractError(
            f"render: less than {MOST_PAIRS} pairs of Gaussians and tiles are "
            "required, got more. Render smaller images or fewer Gaussians."
        )
    capacity = float(_FEWEST)
    while capacity < needed:
        capacity *= _GROWTH
    return int(capacity)


@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def _counted(
    gaussians: Gaussians, camera: Camera, width: int, height: int, config: RenderConfig
) -> Array:
    return count_pairs(project(gaussians, camera, width, height, config), width, height)
