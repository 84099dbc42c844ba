"""EfficientNet-Lite as a fully convolutional network: features of every place.

Inverted residual blocks without squeeze-and-excitation, ReLU6 throughout, and padding
as TensorFlow's "SAME". Sides of 32 n + 1 pixels are padded alike on both sides at
every stride, so cell (i, j) of the last map has its centre in pixel (32 i, 32 j).

Source: Tan and Le (arXiv 1905.11946), table 1; what the Lite models leave out:
  tensorflow/tpu, models/official/efficientnet/lite.
"""

import dataclasses
import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import nn
from torch.nn import functional

STRIDE = 32
HEAD_CHANNELS = 1280
_STEM_CHANNELS = 32
_NORM_EPS = 1e-3

# Repeats, kernel, stride, expansion and channels of a stage at width and depth 1.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
# Modules of the published checkpoint -> of this network; norms by the conv before them.
_PUBLISHED = {
    "_conv_stem": "stem.conv",
    "_bn0": "stem.norm",
    "_conv_head": "head.conv",
    "_bn1": "head.norm",
    "_fc": "classifier",
}
_PUBLISHED_BLOCK = {
    "_expand_conv": "expand.conv",
    "_bn0": "expand.norm",
    "_depthwise_conv": "depthwise.conv",
    "_bn1": "depthwise.norm",
    "_project_conv": "project.conv",
    "_bn2": "project.norm",
}


@dataclasses.dataclass(frozen=True)
class Architecture:
    """Size the network; the defaults are those of Lite2.

    Attributes:
      width: factor of the channels of all stages.
      depth: factor of the blocks of all stages but the first and the last.
      classes: that are told apart.
    """

    width: float = 1.1
    depth: float = 1.2
    classes: int = 1000

    def channels(self, usual: int) -> int:
        """Return scaled channels: a multiple of 8, at most a tenth below the product.

        Source: Tan and Le's code, round_filters.
        """
        wanted = usual * self.width
        rounded = max(8, int(wanted + 4) // 8 * 8)
        return rounded + 8 if rounded < 0.9 * wanted else rounded


class EfficientNetLite(nn.Module):
    """Images to the last map before pooling, and its cells to classes."""

    def __init__(self, architecture: Architecture = Architecture()):
        """Build the network; weights are PyTorch's initial ones."""
        super().__init__()
        self.stem = _ConvNorm(3, _STEM_CHANNELS, 3, stride=2)
        blocks, channels = [], _STEM_CHANNELS
        for number, (repeats, kernel, stride, expansion, usual) in enumerate(_STAGES):
            if 0 < number < len(_STAGES) - 1:
                repeats = math.ceil(repeats * architecture.depth)
            out = architecture.channels(usual)
            for i in range(repeats):
                step = stride if i == 0 else 1
                blocks.append(_Block(channels, out, kernel, step, expansion))
                channels = out
        self.blocks = nn.Sequential(*blocks)
        self.head = _ConvNorm(channels, HEAD_CHANNELS, 1)
        self.classifier = nn.Linear(HEAD_CHANNELS, architecture.classes)

    def forward(
        self, pixels: Float[torch.Tensor, "B 3 H W"]
    ) -> Float[torch.Tensor, "B 1280 h w"]:
        """Return the last map; h = ceil(H / 32).

        Args:
          pixels: (value - 127) / 128 of RGB.
        """
        found = self.blocks(functional.relu6(self.stem(pixels)))
        return functional.relu6(self.head(found))


def renamed(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the published checkpoint's tensors by the names of this network."""
    return {_name(published): tensor for published, tensor in state.items()}


def _name(published: str) -> str:
    module, _, tensor = published.rpartition(".")
    if module.startswith("_blocks."):
        _, number, inner = (*module.split(".", 2), "")[:3]
        return f"blocks.{number}.{_PUBLISHED_BLOCK.get(inner, inner)}.{tensor}"
    return f"{_PUBLISHED.get(module, module)}.{tensor}"


class _Block(nn.Module):
    """Expand, filter each channel alone, project; added to the input where it fits."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int, expansion):
        super().__init__()
        wide = channels * expansion
        self.expand = _ConvNorm(channels, wide, 1) if expansion != 1 else None
        self.depthwise = _ConvNorm(wide, wide, kernel, stride=stride, groups=wide)
        self.project = _ConvNorm(wide, out, 1)
        self._adds = stride == 1 and channels == out

    def forward(self, x):
        y = x if self.expand is None else functional.relu6(self.expand(x))
        y = self.project(functional.relu6(self.depthwise(y)))
        return x + y if self._adds else y


class _ConvNorm(nn.Module):
    """A convolution padded as TensorFlow's SAME, then normalisation by statistics."""

    def __init__(self, channels: int, out: int, kernel: int, stride=1, groups=1):
        super().__init__()
        self.conv = nn.Conv2d(channels, out, kernel, stride, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(out, eps=_NORM_EPS)

    def forward(self, x):
        (kernel, _), (stride, _) = self.conv.kernel_size, self.conv.stride
        pads: list[int] = []
        for size in (x.shape[3], x.shape[2]):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        return self.norm(self.conv(functional.pad(x, pads)))
