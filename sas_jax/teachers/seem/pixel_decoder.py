"""SEEM's pixel decoder: attention on the coarsest map, then a feature pyramid.

Source: Cheng et al., "Per-Pixel Classification is Not All You Need for Semantic
Segmentation" (arXiv 2107.06278), appendix A.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from sas_jax.teachers.seem.architecture import Architecture

NUM_SCALES = 3
"""How many maps the mask decoder looks at, the coarsest first."""

_GROUPS = 32


class Pixels(NamedTuple):
    """What the pixel decoder makes of an image.

    Attributes:
      masks: [B, mask_dim, H/4, W/4], compared with queries.
      context: [B, pixel_dim, H/32, W/32], the coarsest map after attention.
      scales: three maps of pixel_dim channels at strides 32, 16 and 8.
    """

    masks: Float[Tensor, "B M h w"]
    context: Float[Tensor, "B D h w"]
    scales: list[Float[Tensor, "B D h w"]]


class PixelDecoder(nn.Module):
    """Four maps of the backbone to pixel features and three scales."""

    def __init__(self, sizes: Architecture):
        """Build it, untrained."""
        super().__init__()
        dim, channels = sizes.pixel_dim, sizes.channels
        self.input_proj = nn.Conv2d(channels[-1], dim, 1)
        self.encoder = nn.ModuleList(
            EncoderLayer(dim, sizes.heads, sizes.ffn_dim)
            for _ in range(sizes.encoder_layers)
        )
        self.lateral = nn.ModuleList(ConvNorm(edge, dim, 1) for edge in channels[:-1])
        self.output = nn.ModuleList(ConvNorm(dim, dim, 3) for _ in channels)
        self.mask_features = nn.Conv2d(dim, sizes.mask_dim, 3, padding=1)

    def forward(self, maps: list[Float[Tensor, "B C h w"]]) -> Pixels:
        """Return pixel features and scales.

        Args:
          maps: of `Backbone`, the finest first.
        """
        coarse = self.input_proj(maps[-1])
        position = sine_positions(coarse)
        rows = coarse.flatten(2).transpose(1, 2)
        for layer in self.encoder:
            rows = layer(rows, position)
        context = rows.transpose(1, 2).reshape(coarse.shape)
        map_ = functional.relu(self.output[-1](context))
        scales = [map_]
        for finer, lateral, output in zip(
            maps[-2::-1], self.lateral[::-1], self.output[-2::-1], strict=True
        ):
            beside = lateral(finer)
            above = functional.interpolate(map_, beside.shape[-2:], mode="nearest")
            map_ = functional.relu(output(beside + above))
            scales.append(map_)
        return Pixels(self.mask_features(map_), context, scales[:NUM_SCALES])


class ConvNorm(nn.Module):
    """Convolution without a bias, then group normalisation."""

    def __init__(self, inputs: int, outputs: int, edge: int):
        """Build it for square kernels of odd edge; sizes stay."""
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, edge, padding=edge // 2, bias=False)
        self.norm = nn.GroupNorm(_GROUPS, outputs)

    def forward(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B D h w"]:
        """Return the normalised response."""
        return self.norm(self.conv(x))


class EncoderLayer(nn.Module):
    """Attention among all pixels, then an MLP; norms after the sums."""

    def __init__(self, dim: int, heads: int, ffn_dim: int):
        """Build one layer."""
        super().__init__()
        self.self_attn = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.linear1 = nn.Linear(dim, ffn_dim)
        self.linear2 = nn.Linear(ffn_dim, dim)
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)

    def forward(
        self, rows: Float[Tensor, "B n D"], position: Float[Tensor, "n D"]
    ) -> Float[Tensor, "B n D"]:
        """Return the pixels' next features; positions steer attention only."""
        where = rows + position
        seen, _ = self.self_attn(where, where, rows, need_weights=False)
        rows = self.norm1(rows + seen)
        return self.norm2(rows + self.linear2(functional.relu(self.linear1(rows))))


def sine_positions(map_: Float[Tensor, "B D h w"]) -> Float[Tensor, "n D"]:
    """Return sines of every pixel's row, then of its column, in row-major order.

    Positions run from 1 and are scaled so that the last is 2 pi.

    Source: Carion et al., DETR (arXiv 2005.12872).
    """
    dim, height, width = map_.shape[1:]
    half = dim // 2
    channel = torch.arange(half, dtype=map_.dtype, device=map_.device)
    period = 10000 ** (2 * (channel // 2) / half)

    def waves(count: int) -> Float[Tensor, "count half"]:
        place = torch.arange(1, count + 1, dtype=map_.dtype, device=map_.device)
        phase = (place / (count + 1e-6) * 2 * math.pi)[:, None] / period
        return torch.stack([phase[:, 0::2].sin(), phase[:, 1::2].cos()], 2).flatten(1)

    rows = waves(height)[:, None].expand(height, width, half)
    columns = waves(width)[None].expand(height, width, half)
    return torch.cat([rows, columns], 2).flatten(0, 1)
