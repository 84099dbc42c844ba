"""The point prompter GrabCut (OpenCV), which needs no weights.

It has no notion of things; it needs the attention map as a hint and the points as
certain foreground.
"""

import dataclasses

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from sas_jax.artefacts import files
from sas_jax.registry import LoadOptions


@dataclasses.dataclass(frozen=True)
class GrabCutConfig:
    """How GrabCut starts.

    Attributes:
      scale: images are enlarged by this factor first; the colour models need pixels.
      likely: hint above which a pixel starts as probable foreground.
      never: hint below which a pixel is certain background.
      radius: discs around the points that are certain foreground, share of the edge.
      rounds: iterations.
    """

    scale: int = 2
    likely: float = 0.5
    never: float = 0.05
    radius: float = 0.03
    rounds: int = 4


class GrabCutPrompter:
    """Outline by colour models and a cut along edges (OpenCV's GrabCut)."""

    one_thread = True

    def __init__(self, config: GrabCutConfig | None = None) -> None:
        """Take settings; None means the defaults."""
        self._config = config or GrabCutConfig()
        self.spec = {"model": "grabcut", "config": files.canonical(self._config)}

    def mask(
        self,
        image: UInt8[np.ndarray, "H W 3"],
        points: Int[np.ndarray, "n 2"],
        hint: Float[np.ndarray, "H W"] | None = None,
    ) -> Bool[np.ndarray, "H W"]:
        """See `PointPrompter`; without a hint everything but the points is open."""
        config = self._config
        height, width = image.shape[:2]
        size = (width * config.scale, height * config.scale)
        labels = self._start(size, points, hint)
        if not np.isin(labels, (cv2.GC_BGD, cv2.GC_PR_BGD)).any():
            return np.ones((height, width), bool)
        enlarged = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
        cv2.setRNGSeed(0)  # the colour models start from random clusters
        cv2.grabCut(  # type: ignore[call-overload]  # the stub demands a rectangle
            enlarged,
            labels,
            None,
            np.zeros((1, 65)),
            np.zeros((1, 65)),
            config.rounds,
            cv2.GC_INIT_WITH_MASK,
        )
        inside = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float32)
        small = cv2.resize(inside, (width, height), interpolation=cv2.INTER_AREA)
        return small >= 0.5

    def _start(self, size, points, hint) -> np.ndarray:
        config = self._config
        labels = np.full(size[::-1], cv2.GC_PR_BGD, np.uint8)
        if hint is not None:
            soft = cv2.resize(hint.astype(np.float32), size)
            labels[soft < config.never] = cv2.GC_BGD
            labels[soft > config.likely] = cv2.GC_PR_FGD
        radius = max(1, round(config.radius * min(size)))
        for row, column in points:
            middle = (
                int((column + 0.5) * config.scale),
                int((row + 0.5) * config.scale),
            )
            cv2.circle(labels, middle, radius, int(cv2.GC_FGD), -1)
        return labels


def load(options: LoadOptions) -> GrabCutPrompter:
    """Return the prompter for the registry; it has no weights and no device."""
    return GrabCutPrompter()
