"""Any image to four feature maps: windows, taps, projections, sums.

Source: arXiv 2303.04803 section 3.3 and its implementation details; as in a feature
  pyramid, maps of one stride are added.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

STRIDES = (4, 8, 16, 32)
"""Pixels per cell of the four maps; what is coarser is enlarged to the last."""

SIZE_MULTIPLE = 64


class Bottleneck(nn.Module):
    """A residual block of three convolutions with group norms.

    Source: ResNet, arXiv 1512.03385 figure 5.
    """

    def __init__(self, in_dim: int, out_dim: int, groups: int = 32):
        """Build it, untrained; it is a quarter as wide inside as its output."""
        super().__init__()
        inner = out_dim // 4
        self.conv1 = _conv(in_dim, inner, 1, groups)
        self.conv2 = _conv(inner, inner, 3, groups)
        self.conv3 = _conv(inner, out_dim, 1, groups)
        self.shortcut = (
            _conv(in_dim, out_dim, 1, groups) if in_dim != out_dim else nn.Identity()
        )

    def forward(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B D h w"]:
        """Return the block's output."""
        inner = functional.relu(self.conv2(functional.relu(self.conv1(x))))
        return functional.relu(self.conv3(inner) + self.shortcut(x))


def _conv(in_dim: int, out_dim: int, edge: int, groups: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_dim, out_dim, edge, padding=edge // 2, bias=False),
        nn.GroupNorm(min(groups, out_dim), out_dim),
    )


class Pyramid(nn.Module):
    """The feature maps of the taps to one map per stride."""

    def __init__(self, channels: tuple[int, ...], strides: tuple[int, ...], dim: int):
        """Build it, untrained.

        Args:
          channels: of each tap.
          strides: of each tap, at least 4.
          dim: channels of the maps.
        """
        super().__init__()
        self.feature_projections = nn.ModuleList(Bottleneck(c, dim) for c in channels)
        self._levels = [STRIDES.index(min(s, STRIDES[-1])) for s in strides]

    def forward(
        self, taps: list[Float[Tensor, "B C h w"]], window: int
    ) -> list[Float[Tensor, "B D h w"]]:
        """Return the sums of the projections, per stride.

        Args:
          taps: of a square window.
          window: its edge, pixels.
        """
        sums: dict[int, Tensor] = {}
        for level, tap, project in zip(
            self._levels, taps, self.feature_projections, strict=True
        ):
            edge = window // STRIDES[level]
            if tap.shape[-1] != edge:
                tap = functional.interpolate(
                    tap, (edge, edge), mode="bilinear", align_corners=False
                )
            projected = project(tap)
            sums[level] = sums[level] + projected if level in sums else projected
        return [sums[level] for level in sorted(sums)]


def padded_size(height: int, width: int, window: int) -> tuple[int, int]:
    """Return the size that an image is padded to: for whole cells, and one window."""
    rows, columns = (
        max(window, math.ceil(edge / SIZE_MULTIPLE) * SIZE_MULTIPLE)
        for edge in (height, width)
    )
    return rows, columns


def window_starts(length: int, window: int) -> list[int]:
    """Return where windows begin: one beside the other, the last one at the end."""
    count = max(1, math.ceil(length / window))
    return [min(i * window, length - window) for i in range(count)]


def slide(
    images: Float[Tensor, "B 3 H W"], window: int, maps_of
) -> list[Float[Tensor, "B D h w"]]:
    """Return the maps of images from those of their windows, means where they overlap.

    Args:
      images: of a size that `padded_size` returns.
      window: edge of a window, pixels, a multiple of `SIZE_MULTIPLE`.
      maps_of: a window's images [B, 3, window, window] to maps of each of `STRIDES`.
    """
    height, width = images.shape[-2:]
    sums: list[Tensor] = []
    counts = [images.new_zeros(height // stride, width // stride) for stride in STRIDES]
    for top in window_starts(height, window):
        for left in window_starts(width, window):
            maps = maps_of(images[..., top : top + window, left : left + window])
            if not sums:
                sums = [
                    map_.new_zeros(*map_.shape[:2], *count.shape)
                    for map_, count in zip(maps, counts, strict=True)
                ]
            for stride, map_, total, count in zip(
                STRIDES, maps, sums, counts, strict=True
            ):
                rows = slice(top // stride, (top + window) // stride)
                columns = slice(left // stride, (left + window) // stride)
                total[..., rows, columns] += map_
                count[rows, columns] += 1
    return [total / count for total, count in zip(sums, counts, strict=True)]


def pad(
    image: Float[Tensor, "3 h w"], window: int
) -> tuple[Float[Tensor, "1 3 H W"], tuple[int, int]]:
    """Return an image with zeros below and on the right, and its own size."""
    height, width = image.shape[-2:]
    rows, columns = padded_size(height, width, window)
    padded = functional.pad(image, (0, columns - width, 0, rows - height))
    return padded[None], (height, width)


def to_square(images: Float[Tensor, "B 3 H W"], edge: int) -> Float[Tensor, "B 3 e e"]:
    """Return images resized to a square for CLIP and normalised for it.

    Args:
      images: in 0..1.
      edge: of the square, pixels.
    """
    square = functional.interpolate(
        images, (edge, edge), mode="bicubic", align_corners=False
    )
    mean, std = (
        torch.tensor(values, device=images.device)[:, None, None]
        for values in (CLIP_MEAN, CLIP_STD)
    )
    return (square - mean) / std


CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
