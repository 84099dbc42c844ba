"""How well Gaussians render images that they were not trained on."""

import dataclasses
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32

from sas_jax.gaussians.harmonics import sh_colours
from sas_jax.gaussians.metrics import matched, psnr, ssim
from sas_jax.gaussians.projection import gaussians_of
from sas_jax.gaussians.raster import render
from sas_jax.gaussians.splats import Splats
from sas_jax.gaussians.views import View


@dataclasses.dataclass(frozen=True)
class Score:
    """Means over images.

    Attributes:
      frames: number of images.
      psnr: dB.
      matched_psnr: dB, after `metrics.matched`.
      ssim: at most 1.
    """

    frames: int
    psnr: float
    matched_psnr: float
    ssim: float


def render_view(splats: Splats, view: View) -> Float32[np.ndarray, "H W 3"]:
    """Return what the camera of a view sees, in 0..1, on black."""
    gaussians, (width, height) = gaussians_of(splats), view.size_wh
    colours = sh_colours(gaussians.means, jnp.asarray(splats.sh), view.camera.viewmat)
    seen = render(
        gaussians,
        colours,
        view.camera,
        width=width,
        height=height,
    )
    return np.clip(np.asarray(seen.image), 0, 1)


def score(splats: Splats, views: Sequence[View]) -> Score:
    """Render views and compare them with their images.

    Args:
      splats: trained.
      views: held out, at least one.
    """
    rows = []
    for view in views:
        seen = render_view(splats, view)
        truth = view.image.astype(np.float32) / 255
        alike = matched(seen, truth).astype(np.float32)
        pairs = ((psnr, seen), (psnr, alike), (ssim, seen))
        rows.append(
            [float(of(jnp.asarray(image), jnp.asarray(truth))) for of, image in pairs]
        )
    return Score(len(views), *np.mean(rows, axis=0).tolist())
