"""The mask generator: Mask2Former's pixel decoder and queries, from transformers.

Source: arXiv 2303.04803 section 3.4; Mask2Former, arXiv 2112.01527. A query's embedding
  comes from the query and from the pixels inside its mask.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import Mask2FormerConfig
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerPixelDecoder,
    Mask2FormerTransformerModule,
)

from sas_jax.teachers.odise.backbone import STRIDES
from sas_jax.teachers.odise.config import OdiseConfig


class Masks(NamedTuple):
    """What the queries say.

    Attributes:
      logits: of the masks, a quarter of the image's size.
      embeddings: of the masks, in CLIP's space, not normalised.
    """

    logits: Float[Tensor, "B Q h w"]
    embeddings: Float[Tensor, "B Q P"]


class MaskGenerator(nn.Module):
    """Four feature maps to masks and embeddings.

    Attributes:
      logit_scale: logarithm of the factor on cosines with texts.
    """

    def __init__(self, config: OdiseConfig):
        """Build it, untrained."""
        super().__init__()
        settings = _mask2former(config)
        channels = [config.pyramid_dim] * len(STRIDES)
        self.pixel_decoder = Mask2FormerPixelDecoder(settings, channels)
        nn.init.normal_(self.pixel_decoder.level_embed)  # is not initialised there
        self.decoder = Mask2FormerTransformerModule(config.hidden_dim, settings)
        self.pooled = PooledEmbedding(config)
        self.logit_scale = nn.Parameter(torch.tensor(1 / 0.07).log())

    def forward(self, maps: list[Float[Tensor, "B D h w"]]) -> Masks:
        """Return what the queries say after the last layer."""
        pixels = self.pixel_decoder(
            maps, output_attentions=False, output_hidden_states=False
        )
        said = self.decoder(list(pixels.multi_scale_features), pixels.mask_features)
        logits = said.masks_queries_logits[-1]
        queries = said.intermediate_hidden_states[-1].transpose(0, 1)
        return Masks(logits, self.pooled(queries, pixels.mask_features, logits))


class PooledEmbedding(nn.Module):
    """Embeddings of masks from their queries and the pixels inside."""

    def __init__(self, config: OdiseConfig):
        """Build it, untrained."""
        super().__init__()
        dim = config.hidden_dim
        self.pool_proj = nn.Sequential(
            nn.LayerNorm(config.mask_dim), nn.Linear(config.mask_dim, dim)
        )
        self.mask_embed = nn.Sequential(
            nn.LayerNorm(dim),
            nn.Linear(dim, dim),
            nn.ReLU(),
            nn.Linear(dim, dim),
            nn.ReLU(),
            nn.Linear(dim, config.clip_dim),
        )

    def forward(
        self,
        queries: Float[Tensor, "B Q D"],
        pixels: Float[Tensor, "B M h w"],
        logits: Float[Tensor, "B Q h w"],
    ) -> Float[Tensor, "B Q P"]:
        """Return the embeddings; see `mean_inside`."""
        pooled = self.pool_proj(mean_inside(pixels, logits))
        return self.mask_embed(pooled + queries)


def mean_inside(
    pixels: Float[Tensor, "B M h w"], logits: Float[Tensor, "B Q h w"]
) -> Float[Tensor, "B Q M"]:
    """Return the mean of pixels inside of each mask, zeros for an empty mask.

    Args:
      pixels: features.
      logits: of masks; a pixel is inside where its probability is above a half.
    """
    inside = (logits > 0).to(pixels.dtype)
    sums = torch.einsum("bqhw,bmhw->bqm", inside, pixels)
    return sums / inside.sum((-1, -2)).clamp(min=1)[..., None]


def _mask2former(config: OdiseConfig) -> Mask2FormerConfig:
    return Mask2FormerConfig(
        feature_size=config.hidden_dim,
        mask_feature_size=config.mask_dim,
        hidden_dim=config.hidden_dim,
        encoder_feedforward_dim=config.encoder_ffn_dim,
        dim_feedforward=config.decoder_ffn_dim,
        encoder_layers=config.encoder_layers,
        # The first of transformers' layers stands for the prediction before all.
        decoder_layers=config.decoder_layers + 1,
        num_attention_heads=config.heads,
        num_queries=config.queries,
        feature_strides=list(STRIDES),
        common_stride=STRIDES[0],
        dropout=0.0,
    )
