"""TAP's image encoder: a plain vision transformer that attends within windows only.

Windows exchange through a convolutional bottleneck after each quarter of the blocks.
B images; D channels; h, w patches; s side of a window in patches.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

_QUARTERS = 4


class ImageEncoder(nn.Module):
    """Image to a grid of features, one per patch."""

    def __init__(
        self,
        *,
        depth: int,
        embed_dim: int,
        num_heads: int,
        image_size: int,
        patch_size: int = 16,
        window_size: int = 16,
        out_dim: int = 256,
    ):
        """Take the sizes; `depth` in blocks is a multiple of four, sizes are in pixels.

        Args:
          depth: number of blocks.
          embed_dim: D.
          num_heads: of every block.
          image_size: side of the square input, a multiple of a window.
          patch_size: pixels.
          window_size: s.
          out_dim: channels of the result.
        """
        super().__init__()
        self.window_size = window_size
        num_patches = (image_size // patch_size) ** 2
        self.patch_embed = _PatchEmbed(embed_dim, patch_size)
        self.pos_embed = _Table(num_patches, embed_dim)
        self.blocks = nn.ModuleList(
            _Block(embed_dim, num_heads, window_size) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(embed_dim)
        self.cross_conv = nn.ModuleList(
            _Bottleneck(embed_dim) for _ in range(_QUARTERS)
        )
        self.neck = _Neck(embed_dim, out_dim)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C h w"]:
        """Return the features of normalised images of the encoder's size."""
        grid = self.patch_embed(images)
        grid = grid + self.pos_embed.weight.view(*grid.shape[1:])
        per_quarter = len(self.blocks) // _QUARTERS
        for quarter, mix in enumerate(self.cross_conv):
            windows = _to_windows(grid, self.window_size)
            for block in self.blocks[quarter * per_quarter :][:per_quarter]:
                windows = block(windows)
            if quarter == _QUARTERS - 1:
                windows = self.norm(windows)
            grid = _from_windows(windows, grid.shape, self.window_size)
            grid = mix(grid.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return self.neck(grid.permute(0, 3, 1, 2))


class _Table(nn.Module):
    """A learned table that is looked up by place."""

    def __init__(self, *shape: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(shape))
        nn.init.normal_(self.weight, std=0.02)


class _PatchEmbed(nn.Module):
    def __init__(self, dim: int, patch_size: int):
        super().__init__()
        self.proj = nn.Conv2d(3, dim, patch_size, patch_size)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B h w D"]:
        return self.proj(images).permute(0, 2, 3, 1)


class _Attention(nn.Module):
    """Attention within a window, with a bias for every relative position and head."""

    def __init__(self, dim: int, num_heads: int, window_size: int):
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.rel_pos_embed = _Table(num_heads, (2 * window_size - 1) ** 2)
        # The published file has it; it follows from the size.
        self.register_buffer("index", _relative_index(window_size), persistent=False)
        self.index: Tensor

    def forward(self, x: Float[Tensor, "n t D"]) -> Float[Tensor, "n t D"]:
        num, length, dim = x.shape
        qkv = self.qkv(x).view(num, length, 3, self.num_heads, dim // self.num_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        bias = self.rel_pos_embed.weight[:, self.index]
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.proj(mixed.transpose(1, 2).flatten(2))


class _Block(nn.Module):
    def __init__(self, dim: int, num_heads: int, window_size: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = _Attention(dim, num_heads, window_size)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, 4 * dim, nn.GELU())

    def forward(self, x: Float[Tensor, "n t D"]) -> Float[Tensor, "n t D"]:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Mlp(nn.Module):
    """Two linear layers with an activation between, as all parts of TAP have it."""

    def __init__(self, dim: int, hidden: int, activation: nn.Module):
        """Take channels in and out, channels between, and the activation."""
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)
        self.activation = activation

    def forward(self, x: Float[Tensor, "... D"]) -> Float[Tensor, "... D"]:
        """Return the layers' result."""
        return self.fc2(self.activation(self.fc1(x)))


class _Bottleneck(nn.Module):
    """What lets windows see each other: 1x1, 3x3 and 1x1 convolutions, residual."""

    def __init__(self, dim: int):
        super().__init__()
        width = dim // 2
        self.conv1 = nn.Conv2d(dim, width, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, dim, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(dim)

    def forward(self, x: Float[Tensor, "B D h w"]) -> Float[Tensor, "B D h w"]:
        y = nn.functional.gelu(self.norm1(self.conv1(x)))
        y = nn.functional.gelu(self.norm2(self.conv2(y)))
        return x + self.norm3(self.conv3(y))


class _Neck(nn.Module):
    """The one level of a feature pyramid that TAP has: the patches' own."""

    def __init__(self, dim: int, out_dim: int):
        super().__init__()
        self.lateral_conv = nn.ModuleList([_conv_norm(dim, out_dim, 1)])
        self.output_conv = nn.ModuleList([_conv_norm(out_dim, out_dim, 3)])

    def forward(self, x: Float[Tensor, "B D h w"]) -> Float[Tensor, "B C h w"]:
        return self.output_conv[0](self.lateral_conv[0](x))


def _conv_norm(dim: int, out_dim: int, kernel: int) -> nn.Sequential:
    conv = nn.Conv2d(dim, out_dim, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_dim))


def _to_windows(grid: Float[Tensor, "B h w D"], side: int) -> Float[Tensor, "n t D"]:
    num, height, width, dim = grid.shape
    cut = grid.reshape(num, height // side, side, width // side, side, dim)
    return cut.permute(0, 1, 3, 2, 4, 5).reshape(-1, side * side, dim)


def _from_windows(
    windows: Float[Tensor, "n t D"], shape: torch.Size, side: int
) -> Float[Tensor, "B h w D"]:
    num, height, width, dim = shape
    cut = windows.reshape(num, height // side, width // side, side, side, dim)
    return cut.permute(0, 1, 3, 2, 4, 5).reshape(shape)


def _relative_index(side: int) -> Int64[Tensor, "t t"]:
    """Return where the bias of every pair of places of a window stands in the table."""
    places = torch.cartesian_prod(torch.arange(side), torch.arange(side))
    apart = places[:, None] - places[None] + side - 1
    return apart[..., 0] * (2 * side - 1) + apart[..., 1]
