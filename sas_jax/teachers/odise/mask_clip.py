"""CLIP's image tower, asked about masks: a class token of its own for each.

Source: arXiv 2303.04803 section 3.5 (classes by a discriminative model); the tokens as
  in Ding et al., MaskCLIP, arXiv 2208.08984: each looks at the patches inside of its
  mask, and nothing looks at them, so that the tower sees the image as always.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from sas_jax.teachers.odise.backbone import to_square


class MaskClip(nn.Module):
    """Images, and images with masks, to vectors in CLIP's space.

    Attributes:
      tower: `CLIPVisionModelWithProjection` of transformers.
    """

    def __init__(self, tower: Any):
        """Take the tower, filled."""
        super().__init__()
        self.tower = tower
        self._edge = tower.config.image_size
        self._grid = self._edge // tower.config.patch_size

    def image(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B P"]:
        """Return the embeddings of whole images, in 0..1, not normalised."""
        return self.tower(pixel_values=to_square(images, self._edge)).image_embeds

    def masks(
        self, image: Float[Tensor, "1 3 H W"], logits: Float[Tensor, "Q h w"]
    ) -> Float[Tensor, "Q P"]:
        """Return the embeddings of what is inside of masks.

        Args:
          image: in 0..1.
          logits: of masks that cover the image, of any size.
        """
        grid = (self._grid, self._grid)
        small = functional.interpolate(
            logits[None], grid, mode="bilinear", align_corners=False
        )[0]
        body = self.tower.vision_model
        tokens = body.pre_layrnorm(body.embeddings(to_square(image, self._edge)))
        asking = tokens[:, :1].expand(-1, len(logits), -1)
        tokens = torch.cat([tokens, asking], 1)
        unseen = hidden(small > 0)
        bias = tokens.new_zeros(unseen.shape).masked_fill(unseen, float("-inf"))
        for layer in body.encoder.layers:
            tokens = layer(tokens, bias[None, None])
        said = body.post_layernorm(tokens[0, -len(logits) :])
        return self.tower.visual_projection(said)


def hidden(inside: Bool[Tensor, "Q h w"]) -> Bool[Tensor, "T T"]:
    """Return which tokens must not be looked at (column), by which (row).

    T = 1 + h w + Q: the class token, the patches, and a token for each mask. Nobody
    looks at the masks' tokens; they look at the class token, so that an empty mask
    sees something, and at the patches inside.
    """
    num_masks, num_patches = len(inside), inside[0].numel()
    first = 1 + num_patches
    out = torch.zeros(first + num_masks, first + num_masks, dtype=torch.bool)
    out[:, first:] = True
    out[first:, 1:first] = ~inside.flatten(1).cpu()
    return out.to(inside.device)
