"""The convolutional network under both small teachers: encoder, decoder, plain heads.

Input [B, 3, h, w] with h, w multiples of 16; output on the grid h/2 x w/2. Residual
3x3 blocks with batch normalisation at strides 4, 8, 16, a global context vector at the
coarsest one, and a decoder that adds the finer levels back.
"""

import dataclasses
import pathlib
from collections.abc import Mapping

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import nn
from torch.nn import functional

from sas_jax.artefacts.files import content_key, read_tensors, write_tensors
from sas_jax.errors import InputError, WeightsMissing
from sas_jax.registry import LoadOptions
from sas_jax.teachers.contracts import Image, check_image

SCHEMA = "sas_jax.rooms_net/1"
SIZE_MULTIPLE = 16
MEAN = 0.5
"""Pixels are fed as value / 255 - MEAN."""

SHIPPED = pathlib.Path(__file__).parent / "weights"


@dataclasses.dataclass(frozen=True)
class NetConfig:
    """Set the network's size.

    Attributes:
      stem: channels at stride 2.
      widths: channels at strides 4, 8, 16.
      blocks: residual blocks at the same strides.
      decoder: channels of the decoder at stride 4.
      features: channels on the output grid, below the heads.
      heads: channels of each 1x1 output head, by name.
    """

    stem: int = 16
    widths: tuple[int, int, int] = (32, 64, 128)
    blocks: tuple[int, int, int] = (1, 2, 3)
    decoder: int = 48
    features: int = 40
    heads: Mapping[str, int] = dataclasses.field(default_factory=dict)


def _conv_bn(c_in: int, c_out: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(c_out))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around an identity."""

    def __init__(self, channels: int):
        """Make the two convolutions."""
        super().__init__()
        self.first = _conv_bn(channels, channels)
        self.second = _conv_bn(channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return relu(x + f(x))."""
        return functional.relu(x + self.second(functional.relu(self.first(x))))


class RoomsNet(nn.Module):
    """Encoder-decoder with named 1x1 heads on the stride-2 grid.

    Nearly all work is done at stride 4 and coarser; the last step to stride 2 is a
    sub-pixel convolution, which costs next to nothing.
    """

    def __init__(self, config: NetConfig):
        """Build the layers; weights are random until loaded."""
        super().__init__()
        self.config = config
        low, middle, high = config.widths
        self.stem = _conv_bn(3, config.stem, stride=2)
        self.down = nn.ModuleList(
            _conv_bn(a, b, stride=2)
            for a, b in zip((config.stem, low, middle), config.widths, strict=True)
        )
        self.stages = nn.ModuleList(
            nn.Sequential(*(ResidualBlock(width) for _ in range(count)))
            for width, count in zip(config.widths, config.blocks, strict=True)
        )
        self.context = nn.Linear(high, high)
        self.lateral = nn.ModuleList(
            [_conv_bn(low, config.decoder, 1), _conv_bn(middle, middle, 1)]
        )
        self.reduce = nn.ModuleList(
            [_conv_bn(middle, config.decoder, 1), _conv_bn(high, middle, 1)]
        )
        self.smooth = nn.ModuleList(
            [_conv_bn(config.decoder, config.decoder), _conv_bn(middle, middle)]
        )
        self.finer = _conv_bn(config.decoder, 4 * config.features, 1)
        self.heads = nn.ModuleDict(
            {name: nn.Conv2d(config.features, c, 1) for name, c in config.heads.items()}
        )

    def trunk(self, images: Float[torch.Tensor, "B 3 h w"]) -> torch.Tensor:
        """Return the features under the heads, [B, features, h/2, w/2]."""
        x, levels = functional.relu(self.stem(images)), []
        for down, stage in zip(self.down, self.stages, strict=True):
            x = stage(functional.relu(down(x)))
            levels.append(x)
        x = x + functional.relu(self.context(x.mean((2, 3))))[:, :, None, None]
        for level in (1, 0):
            up = functional.interpolate(self.reduce[level](x), scale_factor=2.0)
            x = functional.relu(up + self.lateral[level](levels[level]))
            x = functional.relu(self.smooth[level](x))
        return functional.relu(functional.pixel_shuffle(self.finer(x), 2))

    def head(
        self, name: str
    ) -> tuple[Float[torch.Tensor, "C F"], Float[torch.Tensor, " C"]]:
        """Return weights and bias of a head."""
        layer = self.heads[name]
        assert isinstance(layer, nn.Conv2d) and layer.bias is not None
        return layer.weight[:, :, 0, 0], layer.bias

    def forward(
        self, images: Float[torch.Tensor, "B 3 h w"]
    ) -> dict[str, torch.Tensor]:
        """Return every head's output [B, channels, h/2, w/2]."""
        x = self.trunk(images)
        return {name: head(x) for name, head in self.heads.items()}


def working_size(hw: tuple[int, int], long_side: int) -> tuple[int, int]:
    """Return the size to work at: the long side as given, both multiples of 16."""
    scale = long_side / max(hw)
    height, width = (
        max(SIZE_MULTIPLE, round(n * scale / SIZE_MULTIPLE) * SIZE_MULTIPLE) for n in hw
    )
    return height, width


def to_input(images: list[Image], long_side: int) -> Float[torch.Tensor, "B 3 h w"]:
    """Resize images of one size to the working size and stack them.

    Pixel areas are averaged when shrinking and interpolated linearly when enlarging.

    Raises:
      InputError: when an image breaks the contract.
    """
    for image in images:
        check_image(image, "teacher")
    height, width = working_size(images[0].shape[:2], long_side)
    shrink = height < images[0].shape[0]
    how = cv2.INTER_AREA if shrink else cv2.INTER_LINEAR
    batch = np.stack(
        [cv2.resize(i, (width, height), interpolation=how) for i in images]
    )
    pixels = torch.from_numpy(batch).permute(0, 3, 1, 2)  # channels last in memory
    return pixels.float().div_(255.0).sub_(MEAN)


def build(
    config: NetConfig, options: LoadOptions, shipped: str
) -> tuple[RoomsNet, str]:
    """Build a network for inference and fill it.

    Args:
      config: its size.
      options: device, and weights: what `save_weights` wrote, or `random:<seed>`.
      shipped: stem of the shipped file, which None stands for.

    Returns:
      The network in evaluation mode, and the id of its weights.

    Raises:
      WeightsMissing: when there is no such file.
      InputError: when the file is damaged or holds another network's tensors.
    """
    weights = options.weights or str(SHIPPED / f"{shipped}.safetensors")
    if weights.startswith("random:"):
        with torch.random.fork_rng():
            torch.manual_seed(int(weights.partition(":")[2]))
            net = RoomsNet(config)
        identity = weights
    else:
        net = RoomsNet(config)
        identity = f"content:{_load_file(net, pathlib.Path(weights))}"
    net = net.eval().to(  # type: ignore[call-overload]  # the stub knows no format
        options.device, memory_format=torch.channels_last
    )
    return net, identity


def _load_file(net: nn.Module, path: pathlib.Path) -> str:
    if not path.is_file():
        raise WeightsMissing(
            f"rooms: weights must exist, got none ({path}). Train them with "
            "python experiments/pretrain_rooms.py --model=both"
        )
    return load_weights(net, path)


def load_weights(
    net: nn.Module, path: pathlib.Path, *, missing_heads: bool = False
) -> str:
    """Fill a network, complete both ways or an error; return the weights' key.

    Args:
      net: what to fill.
      path: what `save_weights` wrote.
      missing_heads: whether heads that the file lacks may stay as they are.

    Raises:
      InputError: when the file holds another network's tensors.
    """
    arrays, meta = read_tensors(path, schema=SCHEMA)
    wanted = {k: v for k, v in net.state_dict().items() if v.is_floating_point()}
    if missing_heads:
        wanted = {
            k: v for k, v in wanted.items() if k in arrays or not k.startswith("heads.")
        }
    wrong = [k for k in wanted if k not in arrays or arrays[k].shape != wanted[k].shape]
    wrong += [k for k in arrays if k not in wanted]
    if wrong:
        raise InputError(
            f"weights: the file must hold the network's {len(wanted)} tensors, got a "
            f"difference at {wrong[0]} ({path}). Was it trained with another version?"
        )
    tensors = {k: torch.from_numpy(v.astype(np.float32)) for k, v in arrays.items()}
    net.load_state_dict(tensors, strict=False)
    return meta["key"]


def save_weights(net: nn.Module, path: pathlib.Path, meta: Mapping[str, str]) -> None:
    """Write the floating-point tensors of a network as f16, with their own key.

    Args:
      net: what to write.
      path: ends in `.safetensors`.
      meta: how it was trained and what it reached, for people.
    """
    arrays = {
        k: v.detach().cpu().numpy().astype(np.float16)
        for k, v in net.state_dict().items()
        if v.is_floating_point()
    }
    write_tensors(path, arrays, key=content_key(arrays), schema=SCHEMA, meta=meta)
