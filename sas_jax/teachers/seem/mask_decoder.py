"""SEEM's mask decoder: queries that look where their own masks were a layer before.

Source: Cheng et al., "Masked-attention Mask Transformer for Universal Image
Segmentation" (arXiv 2112.01527) section 3.2; classes by text as in X-Decoder (arXiv
2212.11270) section 3.2.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from sas_jax.teachers.seem.architecture import Architecture
from sas_jax.teachers.seem.pixel_decoder import NUM_SCALES, Pixels, sine_positions


class Prediction(NamedTuple):
    """What the queries say after one layer.

    Attributes:
      logits: [B, Q, K], of every query for every name.
      masks: [B, Q, H/4, W/4] logits.
      embedding: [B, Q, P] in SEEM's own text space, not normalised.
    """

    logits: Float[Tensor, "B Q K"]
    masks: Float[Tensor, "B Q h w"]
    embedding: Float[Tensor, "B Q P"]


class MaskDecoder(nn.Module):
    """Pixel features and embeddings of names to masks and their classes."""

    def __init__(self, sizes: Architecture):
        """Build it, untrained."""
        super().__init__()
        dim = sizes.hidden_dim
        self.layers = nn.ModuleList(
            DecoderLayer(dim, sizes.heads, sizes.ffn_dim)
            for _ in range(sizes.decoder_layers)
        )
        # The original has these where sizes differ only.
        self.input_proj = nn.ModuleList(
            nn.Conv2d(sizes.pixel_dim, dim, 1)
            if sizes.pixel_dim != dim
            else nn.Identity()
            for _ in range(NUM_SCALES)
        )
        self.query_feat = nn.Embedding(sizes.queries, dim)
        self.query_embed = nn.Embedding(sizes.queries, dim)
        self.level_embed = nn.Embedding(NUM_SCALES, dim)
        self.decoder_norm = nn.LayerNorm(dim)
        self.class_embed = nn.Parameter(torch.randn(dim, sizes.space_dim) * 0.02)
        self.mask_embed = nn.Sequential(
            nn.Linear(dim, dim),
            nn.ReLU(),
            nn.Linear(dim, dim),
            nn.ReLU(),
            nn.Linear(dim, sizes.mask_dim),
        )
        self.heads = sizes.heads

    def forward(
        self,
        pixels: Pixels,
        names: Float[Tensor, "K P"],
        scale: Float[Tensor, ""],
    ) -> list[Prediction]:
        """Return the prediction before the first layer and after each.

        Args:
          pixels: of `PixelDecoder`.
          names: unit vectors in SEEM's own text space.
          scale: logarithm of the factor on cosines.
        """
        maps = [p(m) for p, m in zip(self.input_proj, pixels.scales, strict=True)]
        positions = [sine_positions(map_) for map_ in maps]
        keys = [
            map_.flatten(2).transpose(1, 2) + level
            for map_, level in zip(maps, self.level_embed.weight, strict=True)
        ]
        queries = self.query_feat.weight.expand(len(pixels.masks), -1, -1)
        predictions = [self._predict(queries, pixels.masks, names, scale)]
        for i, layer in enumerate(self.layers):
            level = i % NUM_SCALES
            hidden = self._outside(predictions[-1].masks, maps[level].shape[-2:])
            queries = layer(
                queries, self.query_embed.weight, keys[level], positions[level], hidden
            )
            predictions.append(self._predict(queries, pixels.masks, names, scale))
        return predictions

    def _predict(self, queries, pixels, names, scale) -> Prediction:
        normed = self.decoder_norm(queries)
        embedding = normed @ self.class_embed
        # An epsilon on the norm, as in training; functional.normalize clamps instead.
        unit = embedding / (embedding.norm(dim=-1, keepdim=True) + 1e-7)
        masks = torch.einsum("bqc,bchw->bqhw", self.mask_embed(normed), pixels)
        return Prediction(scale.exp() * unit @ names.T, masks, embedding)

    def _outside(
        self, masks: Float[Tensor, "B Q h w"], size_hw: torch.Size
    ) -> Bool[Tensor, "B*heads Q n"]:
        """Return where queries must not look: outside of their masks so far."""
        small = functional.interpolate(
            masks, size_hw, mode="bilinear", align_corners=False
        )
        outside = small.sigmoid().flatten(2) < 0.5
        # A query whose mask is empty looks everywhere.
        outside = outside & ~outside.all(-1, keepdim=True)
        return outside.repeat_interleave(self.heads, 0)


class DecoderLayer(nn.Module):
    """Queries look at pixels, then at each other, then an MLP; norms after the sums."""

    def __init__(self, dim: int, heads: int, ffn_dim: int):
        """Build one layer."""
        super().__init__()
        self.cross_attn = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.cross_norm = nn.LayerNorm(dim)
        self.self_attn = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.self_norm = nn.LayerNorm(dim)
        self.linear1 = nn.Linear(dim, ffn_dim)
        self.linear2 = nn.Linear(ffn_dim, dim)
        self.ffn_norm = nn.LayerNorm(dim)

    def forward(
        self,
        queries: Float[Tensor, "B Q D"],
        query_positions: Float[Tensor, "Q D"],
        keys: Float[Tensor, "B n D"],
        key_positions: Float[Tensor, "n D"],
        hidden: Bool[Tensor, "B*heads Q n"],
    ) -> Float[Tensor, "B Q D"]:
        """Return the next queries; `hidden` marks the pixels not to look at."""
        seen, _ = self.cross_attn(
            queries + query_positions,
            keys + key_positions,
            keys,
            attn_mask=hidden,
            need_weights=False,
        )
        queries = self.cross_norm(queries + seen)
        where = queries + query_positions
        seen, _ = self.self_attn(where, where, queries, need_weights=False)
        queries = self.self_norm(queries + seen)
        inner = functional.relu(self.linear1(queries))
        return self.ffn_norm(queries + self.linear2(inner))
