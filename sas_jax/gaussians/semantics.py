"""Label maps of Gaussians with features, and their scores against labelled images.

Two readings. "classes": each Gaussian is of every class in a share, the softmax of its
products with the texts; shares are rendered, the largest names a pixel (Semantic
Gaussians, Guo et al. 2024). "features": features are rendered, and the text nearest to
a pixel's names it. Channels are classes or dimensions; one renderer serves both.

Pixels where nothing with a feature is seen have no class and count as missed; the
original gives them the first one. There is one confusion over all frames and scenes,
and means are over the classes in the truth: `evaluation.confusion`.
"""

from collections.abc import Iterable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Float32, Int, Int32, Int64

from sas_jax.artefacts.features import Features
from sas_jax.artefacts.space import TextFeatures
from sas_jax.checks import in_range
from sas_jax.errors import ContractError
from sas_jax.evaluation.confusion import IGNORE, NO_PREDICTION, count
from sas_jax.evaluation.semantic import text_scores
from sas_jax.gaussians.projection import Camera, Gaussians, RenderConfig
from sas_jax.gaussians.raster import render

LEAST_OPACITY = 0.1
"""Gaussians below are not scored as points, as OpenGaussian (Wu et al. 2024) does."""


def class_shares(
    features: Features, texts: TextFeatures, temperature: float = 1.0
) -> Float32[np.ndarray, "G K"]:
    """Return the softmax over texts of each Gaussian's cosines, zeros without feature.

    Args:
      features: of the Gaussians, of any level.
      texts: of the classes.
      temperature: that cosines are divided by; 1 as in the original.

    Raises:
      InputError: for two text spaces, and a temperature that is not > 0.
    """
    in_range("semantics", "temperature", temperature, 0, above=True)
    cosines = text_scores(features, texts)
    table = cosines.table() / temperature
    table = np.exp(table - table.max(axis=1, keepdims=True, initial=-np.inf))
    table /= table.sum(axis=1, keepdims=True)
    none = np.zeros((1, cosines.num_texts), np.float32)
    return np.append(table, none, axis=0)[cosines.row]


def true_shares(
    labels: Int[np.ndarray, " G"], num_classes: int
) -> Float32[np.ndarray, "G K"]:
    """Return shares of Gaussians whose class is known: what features can reach at best.

    Args:
      labels: of each Gaussian; those outside of 0..K-1 have no class.
      num_classes: K.
    """
    known = (labels >= 0) & (labels < num_classes)
    return (known[:, None] & (labels[:, None] == np.arange(num_classes))).astype(
        np.float32
    )


class LabelMaps:
    """Names the pixels of any camera."""

    def __init__(
        self,
        gaussians: Gaussians,
        values: Float[np.ndarray, "G F"],
        texts: Float[np.ndarray, "K F"] | None = None,
        config: RenderConfig | None = None,
    ):
        """Take what is rendered.

        Args:
          gaussians: G of them, f32.
          values: shares of classes, F = K, or features; zeros without.
          texts: for features: unit rows that their mean is compared with.
          config: how Gaussians are blended.

        Raises:
          ContractError: for values of other Gaussians, or texts of another length.
        """
        num, width = len(gaussians.means), values.shape[1]
        if len(values) != num or (texts is not None and texts.shape[1] != width):
            shape = None if texts is None else list(texts.shape)
            raise ContractError(
                f"semantics: values of {num} Gaussians, and texts of as many channels, "
                f"are required, got {list(values.shape)} and {shape}."
            )
        self._gaussians, self._texts = gaussians, texts
        self._values = jnp.asarray(values, gaussians.means.dtype)
        self._config = config or RenderConfig()

    def at(self, camera: Camera, size_hw: tuple[int, int]) -> Int32[np.ndarray, "H W"]:
        """Return the class of each pixel, -1 where nothing with a value is seen."""
        height, width = size_hw
        seen = render(
            self._gaussians,
            self._values,
            camera,
            width=width,
            height=height,
            config=self._config,
        )
        image = np.asarray(seen.image)
        # A length does not change which text is the nearest.
        scores = image if self._texts is None else image @ self._texts.T
        best = np.argmax(scores, axis=2).astype(np.int32)
        return np.where(image.any(axis=2), best, np.int32(NO_PREDICTION))


def scored_points(
    labels: Int32[np.ndarray, " G"], opacities: Float32[np.ndarray, " G"]
) -> Int32[np.ndarray, " G"]:
    """Return the truth of Gaussians that are scored as points.

    OpenGaussian's protocol: Gaussians that stand at labelled points and stay there in
    training; those that are nearly transparent are left out. Its classes are the label
    sets `scannet19`, `scannet15` and `scannet10`, by which scene and texts are read:
    points of all other classes are not scored. It shows the mean over scenes of each
    scene's means; `evaluation.protocol.Evaluation` keeps the counts of every scene.

    Args:
      labels: class index of each, or 255.
      opacities: in 0..1.
    """
    return np.where(opacities < LEAST_OPACITY, IGNORE, labels).astype(np.int32)


def counts_of_maps(
    pairs: Iterable[tuple[Int[np.ndarray, "H W"], Int[np.ndarray, "H W"]]],
    num_classes: int,
) -> Int64[np.ndarray, "K K+1"]:
    """Return the counts of label maps, for `evaluation.confusion.score`.

    Args:
      pairs: truth (255: not scored) and prediction (-1: none) of each image.
      num_classes: K.
    """
    counts = np.zeros((num_classes, num_classes + 1), np.int64)
    for truth, prediction in pairs:
        counts += count(truth.ravel(), prediction.ravel(), num_classes)
    return counts
