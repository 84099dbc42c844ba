"""The teacher `sam3`: SAM 3 finds every instance of each name that it is asked for.

Source: Carion et al., 2025, arXiv 2511.16719; scores and masks as transformers'
  processor makes them.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import transformers
from jaxtyping import Bool, Float
from torch.nn import functional

from sas_jax.registry import LoadOptions
from sas_jax.teachers.contracts import Image, Segments
from sas_jax.teachers.folders import load_network
from sas_jax.teachers.named_masks import (
    AskedConfig,
    NamedMasks,
    asked_config,
    asked_for,
    painted,
    shared_tower,
)
from sas_jax.teachers.pixels import HALF, squeezed
from sas_jax.teachers.towers import TorchTower
from sas_jax.text.clip_tokens import END, tokenize

NAME = "sam3"
USUAL = AskedConfig(min_score=0.5)


class Name(NamedTuple):
    """A name, its vectors as the network has them, and which of them are words."""

    name: str
    vectors: Any
    mask: Float[torch.Tensor, "1 T"]


class Sam3(NamedMasks[list[Name]]):
    """SAM 3 with texts; an image is encoded once, and decoded once for every name."""

    def __init__(
        self,
        network: transformers.Sam3Model,
        shared: TorchTower,
        weights: str,
        config: AskedConfig = USUAL,
    ):
        """Take a network in evaluation mode; see `NamedMasks`."""
        self.config, self._edge = config, int(network.config.image_size)
        self._length = int(network.config.text_config.max_position_embeddings)
        self._known: dict[str, Name] = {}
        how = {
            "asked": dataclasses.asdict(config),
            "resize": "bilinear without aliases, to a square",
            "normal": HALF,
        }
        super().__init__(NAME, {"network": network}, shared, weights, how)

    def names_for(self, vocabulary: Sequence[str] | None) -> list[Name]:
        """See `NamedMasks`."""
        names = asked_for(vocabulary, self.config)
        for name in names:
            if name not in self._known:
                self._known[name] = self._encoded(name)
        return [self._known[name] for name in names]

    def to(self, device: str) -> "Sam3":
        """Move the weights to a device."""
        self._known.clear()
        super().to(device)
        return self

    def _encoded(self, name: str) -> Name:
        ids = torch.from_numpy(tokenize([name], self._length))
        # Up to the first end; what follows are no words.
        mask = torch.arange(self._length)[None] <= (ids == END).int().argmax(1)
        ids, mask = ids.to(self.device), mask.long().to(self.device)
        network = self.networks["network"]
        vectors = network.get_text_features(input_ids=ids, attention_mask=mask)
        return Name(name, vectors, mask)

    def segment_one(self, image: Image, names: list[Name]) -> Segments:
        """See `NamedMasks`."""
        network, size = self.networks["network"], image.shape[:2]
        pixels = squeezed(image, self._edge, HALF).to(self.device)
        seen = network.get_vision_features(pixel_values=pixels)
        found: list[tuple[float, str, torch.Tensor]] = []
        for name, vectors, mask in names:
            out = network(vision_embeds=seen, text_embeds=vectors, attention_mask=mask)
            # Whether there is any, times whether it is this one.
            sure = out.pred_logits.sigmoid() * out.presence_logits.sigmoid()
            for query in (sure[0] > self.config.min_score).nonzero()[:, 0].tolist():
                found.append((float(sure[0, query]), name, out.pred_masks[0, query]))
        found.sort(key=lambda each: -each[0])
        found = found[: self.config.most]
        masks = [full_size(mask, size) for _, _, mask in found]
        scores, labels = [each[0] for each in found], [each[1] for each in found]
        return painted(masks, scores, labels, size)


def full_size(
    logits: Float[torch.Tensor, "h w"], size_hw: tuple[int, int]
) -> Bool[np.ndarray, "H W"]:
    """Return the mask of an image's size; odds are resampled, not logits."""
    odds = logits.float().cpu().sigmoid()[None, None]
    return (functional.interpolate(odds, size_hw, mode="bilinear")[0, 0] > 0.5).numpy()


def load(options: LoadOptions) -> Sam3:
    """Load the teacher for the registry, with the text tower of labels.

    Raises:
      WeightsMissing: where there is no such folder.
      InputError: for files that do not fill the network.
    """
    found = load_network(NAME, transformers.Sam3Model, transformers.Sam3Config, options)
    shared = shared_tower(options, found.weights)
    config = asked_config(options, USUAL)
    made = Sam3(found.network, shared, found.weights, config)
    made.to(options.device)
    return made
