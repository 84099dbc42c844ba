"""What images say, lifted onto Gaussians: the transpose of rendering, or at centres.

"blend": F_g = sum over views and pixels of w f / sum of w, with the blend weights w of
`raster.rasterize`; its transpose gives both sums. "centre": as Semantic Gaussians (Guo
et al. 2024), the mean of what is seen at the pixel of the centre, in the views in which
it lies inside a border and at the rendered depth.
"""

import dataclasses
import functools
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, Shaped

from sas_jax.artefacts.features import Features, rows_of_points
from sas_jax.artefacts.space import TextSpace
from sas_jax.checks import in_range, one_of
from sas_jax.errors import ContractError
from sas_jax.gaussians.projection import Camera, Gaussians, RenderConfig, project
from sas_jax.gaussians.raster import choose_impl, pairs_for, rasterize, render
from sas_jax.lifting.lift import VOID, FeatureImage, MaskFeatures, grid_cells

Way = Literal["blend", "center"]
_MASKS = 16


@dataclasses.dataclass(frozen=True)
class SplatLiftConfig:
    """Settings.

    Attributes:
      way: see the module.
      render: how Gaussians are blended.
      border_px: "center": centres nearer to the image's edge are left out.
      depth_m: "center": how far from the rendered depth a centre may be.
    """

    way: Way = "blend"
    render: RenderConfig = RenderConfig()  # noqa: RUF009 (frozen)
    border_px: int = 10
    depth_m: float = 0.05

    def __post_init__(self) -> None:
        one_of("splats", "lift", self.way, get_args(Way))
        in_range("splats", "border_px", self.border_px, 0)
        in_range("splats", "depth_m", self.depth_m, 0, above=True)


class SplatLifter:
    """Sums over views, one after the other; memory does not grow with their number."""

    def __init__(
        self,
        gaussians: Gaussians,
        channels: int,
        config: SplatLiftConfig | None = None,
    ):
        """Begin with nothing seen.

        Args:
          gaussians: G of them, f32 or f64, which images must be too.
          channels: C of the images.
          config: see there.
        """
        self._gaussians, self._config = gaussians, config or SplatLiftConfig()
        self._sums = np.zeros((len(gaussians.means), channels + 1), np.float64)
        self._views = np.zeros(len(gaussians.means), np.int32)

    def add(
        self,
        camera: Camera,
        image: FeatureImage,
        size_hw: tuple[int, int] | None = None,
    ) -> None:
        """Add a view.

        Args:
          camera: of the image.
          image: features of its pixels, or of a coarser grid: a pixel then takes the
            cell that its centre lies in. Where no mask is, nothing is said.
          size_hw: height and width in pixels that `camera` is for; None: the grid's.

        Raises:
          ContractError: for another number of channels.
        """
        codebook: np.ndarray | None = None
        if isinstance(image, MaskFeatures):
            codebook, channels = image.codebook, image.codebook.shape[1]
        else:
            channels = image.shape[2]
        if channels != self._sums.shape[1] - 1:
            raise ContractError(
                f"splats: an image of {self._sums.shape[1] - 1} channels is required, "
                f"got {channels}. Begin another lifter for other features."
            )
        columns = _columns(image, size_hw).astype(self._gaussians.means.dtype)
        sums = _blended if self._config.way == "blend" else _at_centers
        found = np.asarray(sums(self._gaussians, camera, columns, self._config))
        # What a camera sees of a scene is little.
        seen = np.flatnonzero(found.any(axis=1))
        found = found[seen].astype(np.float64)
        if codebook is not None:
            shares = found[:, : len(codebook)]
            total = shares.sum(axis=1, keepdims=True)
            found = np.append(shares @ codebook, total, axis=1)
        self._sums[seen] += found
        self._views[seen] += found[:, -1] > 0

    @property
    def weights(self) -> Float64[np.ndarray, " G"]:
        """[G] sum of blend weights, or number of views that saw the centre."""
        return self._sums[:, -1]

    def features(self, space: TextSpace) -> Features:
        """Return the features of the Gaussians that were seen.

        Args:
          space: of the images' channels.

        Returns:
          A row for each, f32, in order; `counts` are views.
        """
        seen = np.flatnonzero(self.weights > 0)
        means = self._sums[seen, :-1] / self.weights[seen, None]
        row = rows_of_points(seen, len(self._sums))
        return Features(means.astype(np.float32), row, self._views[seen], space)


def _columns(
    image: FeatureImage, size_hw: tuple[int, int] | None
) -> Float[Array, "H W K"]:
    """Return what is summed: channels and a one, or a one in the column of the mask.

    A feature of a mask need not be carried through the renderer: its pixels are
    counted, and the sums are multiplied with the codebook.
    """
    if isinstance(image, MaskFeatures):
        # Few widths, few programs.
        width = -(-max(len(image.codebook), 1) // _MASKS) * _MASKS
        index = _enlarged(image.index, size_hw)
        inside = (index != VOID)[..., None]
        return jnp.asarray(inside & (index[..., None] == np.arange(width)))
    pixels = jnp.asarray(_enlarged(image, size_hw))
    return jnp.concatenate([pixels, jnp.ones_like(pixels[..., :1])], axis=2)


def _enlarged(
    grid: Shaped[np.ndarray, "h w *C"], size_hw: tuple[int, int] | None
) -> Shaped[np.ndarray, "H W *C"]:
    """Return what each pixel of an image takes from a grid."""
    if size_hw in (None, grid.shape[:2]):
        return grid
    longest = np.arange(max(size_hw))[:, None].repeat(2, axis=1)
    cells = grid_cells(longest, size_hw, grid.shape[:2])
    rows, columns = (cells[:size, i] for i, size in enumerate(size_hw))
    return grid[rows[:, None], columns[None]]


def _blended(
    gaussians: Gaussians,
    camera: Camera,
    columns: Float[Array, "H W C"],
    config: SplatLiftConfig,
) -> Float[Array, "G C"]:
    height, width = columns.shape[:2]
    pairs = None
    if choose_impl(None, gaussians.means.dtype) == "xla":
        pairs = pairs_for(gaussians, camera, width, height, config.render)
    return _transposed(gaussians, camera, columns, config.render, pairs)


@functools.partial(jax.jit, static_argnums=(3, 4))
def _transposed(
    gaussians: Gaussians,
    camera: Camera,
    columns: Float[Array, "H W C"],
    config: RenderConfig,
    pairs: int | None,
) -> Float[Array, "G C"]:
    height, width, channels = columns.shape
    projected = project(gaussians, camera, width, height, config)

    def image_of(features: Float[Array, "G C"]) -> Float[Array, "H W C"]:
        return rasterize(
            projected,
            features,
            width=width,
            height=height,
            pairs=pairs,
            alpha_cap=config.alpha_cap,
        )[0]

    none = jnp.zeros((len(gaussians.means), channels), columns.dtype)
    return jax.vjp(image_of, none)[1](columns)[0]


def _at_centers(
    gaussians: Gaussians,
    camera: Camera,
    columns: Float[Array, "H W C"],
    config: SplatLiftConfig,
) -> Float[Array, "G C"]:
    height, width = columns.shape[:2]
    none = jnp.zeros((len(gaussians.means), 0), columns.dtype)
    seen = render(
        gaussians, none, camera, width=width, height=height, config=config.render
    )
    projected = project(gaussians, camera, width, height, config.render)
    # Pixel centres lie at halves.
    column, row = jnp.floor(projected.means2d).astype(jnp.int32).T
    border = config.border_px
    inside = (column >= border) & (column < width - border)
    inside &= (row >= border) & (row < height - border)
    inside &= projected.depths > config.render.near_m
    place = jnp.where(inside, row, 0), jnp.where(inside, column, 0)
    apart = jnp.abs(seen.mean_depth[place] - projected.depths)
    inside &= apart <= config.depth_m
    return jnp.where(inside[:, None], columns[place], jnp.zeros_like(columns[place]))
