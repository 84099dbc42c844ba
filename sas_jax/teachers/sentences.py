"""What captioners of transformers share: a mask becomes a box, a box a sentence."""

import abc
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool

from sas_jax.artefacts.files import content_key
from sas_jax.teachers.contracts import Image, Segments, check_masks
from sas_jax.teachers.weights_id import settings_of

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; right and bottom are the first outside."""


class BoxCaptioner(abc.ABC):
    """A `Captioner` (see contracts.py) that looks at the box around each mask.

    Attributes:
      id: see `Captioner`.
      network: of transformers.
      device: that it is on.
    """

    def __init__(
        self, name: str, network: Any, weights: str, settings: Mapping[str, Any]
    ):
        """Take a network in evaluation mode.

        Args:
          name: in the registry.
          network: filled.
          weights: names the weights, in keys.
          settings: whatever else decides sentences, as JSON values.
        """
        self._name, self.network, self.device = name, network, "cpu"
        said = {"weights": weights, "network": settings_of(network.config.to_dict())}
        self.id = f"{name}/{content_key({**settings, **said})}"

    @torch.no_grad()
    def caption(self, image: Image, segments: Segments) -> list[str]:
        """Return one sentence per mask.

        Args:
          image: uint8 RGB [H, W, 3], the size of `segments.ids`.
          segments: the masks; their labels are not looked at.

        Returns:
          N sentences; sentence i describes mask id i + 1. Nothing is said of a mask
          without a pixel.

        Raises:
          ContractError: for an image or masks that break the contract.

        Deterministic: a mask's sentence does not depend on the other masks.
        """
        check_masks(image, segments, self._name)
        said = [""] * len(segments.labels)
        masks = {i: segments.ids == i + 1 for i in range(len(said))}
        boxes = {i: box_of(mask) for i, mask in masks.items() if mask.any()}
        if boxes:
            sentences = self.describe(image, list(boxes.values()))
            for i, sentence in zip(boxes, sentences, strict=True):
                said[i] = sentence
        return said

    @abc.abstractmethod
    def describe(self, image: Image, boxes: list[Box]) -> list[str]:
        """Return a sentence of every box of an image."""

    def to(self, device: str) -> "BoxCaptioner":
        """Move the weights and return the captioner."""
        self.network.to(device)
        self.device = device
        return self

    def close(self) -> None:
        """Free the weights."""
        self.network.to("meta")


def box_of(mask: Bool[np.ndarray, "H W"]) -> Box:
    """Return the box around the pixels of a mask, which has some."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
