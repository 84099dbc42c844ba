"""The teacher `oneformer`: one network for all tasks of masks, asked for panoptic ones.

Source: Jain et al., CVPR 2023, arXiv 2211.06220. Masks are made of queries by the
  authors' rule, MaskFormer's; transformers' gives masks that it fuses others' numbers.
"""

import torch
import transformers
from torch.nn import functional

from sas_jax.registry import LoadOptions
from sas_jax.teachers.contracts import Image
from sas_jax.teachers.folders import edges_of, load_network
from sas_jax.teachers.named_masks import (
    ClosedConfig,
    ClosedMasks,
    Said,
    coco_classes,
    shared_tower,
)
from sas_jax.teachers.pixels import IMAGENET, fitted, pixels_of
from sas_jax.teachers.towers import TorchTower
from sas_jax.text.clip_tokens import tokenize

NAME = "oneformer"
TASK = "the task is panoptic"
USUAL = ClosedConfig(min_score=0.5)
EDGES = 640, 2560


class OneFormer(ClosedMasks):
    """OneFormer; the task is told in CLIP's tokens."""

    def __init__(
        self,
        network: transformers.OneFormerForUniversalSegmentation,
        shared: TorchTower,
        weights: str,
        config: ClosedConfig = USUAL,
        edges: tuple[int, int] = EDGES,
    ):
        """Take a network in evaluation mode; see `ClosedMasks`.

        Args:
          network: filled.
          shared: text tower of the space that labels are aligned to.
          weights: names its weights.
          config: which masks stay.
          edges: shorter and longer side of the image, at most.
        """
        self._edges = edges
        self._task = torch.from_numpy(tokenize([TASK], network.config.task_seq_len))
        how = {"resize": ["PIL bilinear", edges], "task": TASK}
        super().__init__(NAME, network, shared, weights, config, how)

    def said(self, image: Image) -> Said:
        """See `ClosedMasks`."""
        seen = fitted(image.shape[:2], *self._edges)
        out = self.networks["network"](
            pixel_values=pixels_of(image, seen, IMAGENET).to(self.device),
            task_inputs=self._task.to(self.device),
        )
        masks = functional.interpolate(out.masks_queries_logits, seen, mode="bilinear")
        masks = functional.interpolate(masks, image.shape[:2], mode="bilinear")[0]
        return out.class_queries_logits[0], masks.sigmoid_()


def settings() -> transformers.OneFormerConfig:
    """Return the configuration of the published model with Swin-L."""
    backbone = transformers.SwinConfig(
        image_size=384,
        embed_dim=192,
        depths=[2, 2, 18, 2],
        num_heads=[6, 12, 24, 48],
        window_size=12,
        drop_path_rate=0.3,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    return transformers.OneFormerConfig(
        backbone_config=backbone, num_queries=250, **coco_classes()
    )


def load(options: LoadOptions) -> OneFormer:
    """Load the teacher for the registry, with the text tower of labels.

    `random:<seed>` has COCO's names.

    Raises:
      WeightsMissing: where there is no such folder.
      InputError: for files that do not fill the network.
    """
    kind = transformers.OneFormerForUniversalSegmentation
    found = load_network(NAME, kind, settings, options)
    made = OneFormer(
        found.network,
        shared_tower(options, found.weights),
        found.weights,
        options.settings or USUAL,
        edges_of(found.folder, EDGES),
    )
    made.to(options.device)
    return made
