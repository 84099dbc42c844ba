"""The teacher `eomt`: a plain vision transformer that says masks of COCO's names.

Source: Kerssies et al., CVPR 2025, arXiv 2503.19108; thresholds and the order of
  resampling are those of transformers' processor.
"""

import transformers
from torch.nn import functional

from sas_jax.registry import LoadOptions
from sas_jax.teachers.contracts import Image
from sas_jax.teachers.folders import load_network
from sas_jax.teachers.named_masks import (
    ClosedConfig,
    ClosedMasks,
    Said,
    coco_classes,
    shared_tower,
)
from sas_jax.teachers.pixels import IMAGENET, fitted, pixels_of
from sas_jax.teachers.towers import TorchTower

NAME = "eomt"
USUAL = ClosedConfig(min_score=0.8)


class Eomt(ClosedMasks):
    """EoMT; the image is fitted into its square, which is black beside it."""

    def __init__(
        self,
        network: transformers.EomtForUniversalSegmentation,
        shared: TorchTower,
        weights: str,
        config: ClosedConfig = USUAL,
    ):
        """Take a network in evaluation mode; see `ClosedMasks`."""
        self._edge = int(network.config.image_size)
        # Training hides pixels from queries less and less often; at the end, never.
        # What a file says in between would make answers random.
        network.attn_mask_probs.round_()
        how = {"resize": "PIL bilinear, the longer side", "pad": "black"}
        super().__init__(NAME, network, shared, weights, config, how)

    def said(self, image: Image) -> Said:
        """See `ClosedMasks`."""
        square, size = (self._edge, self._edge), image.shape[:2]
        seen = fitted(size, self._edge, self._edge)
        pixels = pixels_of(image, seen, IMAGENET, pad_hw=square)
        out = self.networks["network"](pixel_values=pixels.to(self.device))
        masks = functional.interpolate(
            out.masks_queries_logits, square, mode="bilinear"
        )
        masks = masks[..., : seen[0], : seen[1]]
        masks = functional.interpolate(masks, size, mode="bilinear")[0]
        return out.class_queries_logits[0], masks.sigmoid_()


def settings() -> transformers.EomtConfig:
    """Return the configuration of the published EoMT-L of 640 pixels."""
    return transformers.EomtConfig(**coco_classes())


def load(options: LoadOptions) -> Eomt:
    """Load the teacher for the registry, with the text tower of labels.

    Raises:
      WeightsMissing: where there is no such folder.
      InputError: for files that do not fill the network.
    """
    kind = transformers.EomtForUniversalSegmentation
    found = load_network(NAME, kind, settings, options)
    shared = shared_tower(options, found.weights)
    made = Eomt(found.network, shared, found.weights, options.settings or USUAL)
    made.to(options.device)
    return made
