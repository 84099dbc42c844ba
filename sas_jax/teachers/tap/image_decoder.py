"""TAP's answer to prompts: candidate masks, their quality, and what they show.

Points become tokens; tokens and the image's features attend to each other both ways.
N prompts; P points of each; C channels; h, w the features' grid; M candidate masks.
"""

import dataclasses
import itertools

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from sas_jax.teachers.tap.image_encoder import Mlp

POINT, PAD = 1, 4
"""Labels of points: on the thing, and of no meaning (0 is beside it, 2, 3 corners)."""

_PI = 3.1415926  # the constant that the weights were trained with


@dataclasses.dataclass
class Regions:
    """What the decoder says of N prompts.

    Attributes:
      iou: how well each candidate is expected to fit, float32 [N, M].
      tokens: what each candidate shows, float32 [N, M, C].
      masks: logits on a grid four times as fine as the features', float32
        [N, M, 4h, 4w], or None where they were not asked for.
    """

    iou: Float[Tensor, "N M"]
    tokens: Float[Tensor, "N M C"]
    masks: Float[Tensor, "N M H W"] | None


class PromptEncoder(nn.Module):
    """Places to vectors: random Fourier features, and a vector for each label."""

    def __init__(self, dim: int, image_size: int):
        """Take C and the side of the encoder's input in pixels."""
        super().__init__()
        self.image_size = image_size
        self.point_embed = nn.Embedding(5, dim)
        self.register_buffer("coord_matrix", torch.randn(2, dim // 2))
        self.coord_matrix: Tensor

    def forward(
        self, xy: Float[Tensor, "N P 2"], labels: Int64[Tensor, "N P"]
    ) -> Float[Tensor, "N P C"]:
        """Return a vector per point.

        Args:
          xy: pixels of the encoder's input, centres at whole numbers; what lies
            outside is moved to the edge.
          labels: see `POINT` and `PAD`; the place of a `PAD` does not count.
        """
        where = self._encode(((xy + 0.5) / self.image_size).clamp(0, 1))
        return where * (labels != PAD)[..., None] + self.point_embed(labels)

    def grid(self, height: int, width: int) -> Float[Tensor, "hw C"]:
        """Return the vectors of the centres of a grid over the whole input."""
        y = (torch.arange(height, dtype=torch.float32) + 0.5) / height
        x = (torch.arange(width, dtype=torch.float32) + 0.5) / width
        yx = torch.cartesian_prod(y, x).to(self.coord_matrix.device)
        return self._encode(yx.flip(1))

    def _encode(self, shares: Float[Tensor, "... 2"]) -> Float[Tensor, "... C"]:
        angle = (shares * (4 * _PI) - 2 * _PI) @ self.coord_matrix
        return torch.cat([angle.sin(), angle.cos()], -1)


class ImageDecoder(nn.Module):
    """Prompts and features to regions."""

    def __init__(
        self,
        *,
        dim: int,
        num_heads: int,
        depth: int = 2,
        num_masks: int = 4,
        mlp_dim: int = 2048,
        sem_dim: int = 1024,
        sem_hidden: int = 1024,
    ):
        """Take C, heads, two-way blocks, M, and the sizes of the layers within."""
        super().__init__()
        self.num_masks = num_masks
        self.transformer = _TwoWay(dim, num_heads, depth, mlp_dim)
        self.iou_token = nn.Embedding(1, dim)
        self.sem_tokens = nn.Embedding(num_masks, dim)
        self.mask_tokens = nn.Embedding(num_masks, dim)
        self.output_conv = nn.Sequential(
            nn.ConvTranspose2d(dim, dim // 4, 2, 2),
            _ChannelNorm(dim // 4),
            nn.GELU(),
            nn.ConvTranspose2d(dim // 4, dim // 8, 2, 2),
            nn.GELU(),
        )
        self.mask_pred = nn.ModuleList(
            _Predictor(dim, dim // 8, dim) for _ in range(num_masks)
        )
        self.iou_pred = _Predictor(dim, num_masks, dim)
        self.sem_pred = _Predictor(dim, sem_dim, sem_hidden)

    def forward(
        self,
        features: Float[Tensor, "1 C h w"],
        prompts: Float[Tensor, "N P C"],
        places: Float[Tensor, "hw C"],
        *,
        with_masks: bool = False,
    ) -> Regions:
        """Return what is at the prompts of one image.

        Args:
          features: of the image encoder.
          prompts: of the prompt encoder.
          places: `PromptEncoder.grid` of the features.
          with_masks: captions need none, and theirs is most of the work.
        """
        tables = (self.sem_tokens, self.iou_token, self.mask_tokens)
        own = torch.cat([table.weight for table in tables])
        query = torch.cat([own.expand(len(prompts), -1, -1), prompts], 1)
        key = features.flatten(2).transpose(1, 2).expand(len(prompts), -1, -1)
        query, key = self.transformer(query, key, query, places)
        tokens, iou, mask_tokens, _ = query.split(
            [self.num_masks, 1, self.num_masks, prompts.shape[1]], 1
        )
        masks = self._masks(key, mask_tokens, features) if with_masks else None
        return Regions(self.iou_pred(iou[:, 0]), tokens, masks)

    def _masks(self, key: Tensor, tokens: Tensor, features: Tensor) -> Tensor:
        fine = self.output_conv(
            key.transpose(1, 2).reshape(len(key), *features.shape[1:])
        )
        weights = torch.stack(
            [f(t) for f, t in zip(self.mask_pred, tokens.unbind(1), strict=True)], 1
        )
        return (weights @ fine.flatten(2)).unflatten(2, fine.shape[2:])


class _Attention(nn.Module):
    """Attention with projections of their own for query, key and value."""

    def __init__(self, dim: int, inner: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.q_proj = nn.Linear(dim, inner)
        self.k_proj = nn.Linear(dim, inner)
        self.v_proj = nn.Linear(dim, inner)
        self.proj = nn.Linear(inner, dim)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Float[Tensor, "N t C"]:
        q, k, v = (
            layer(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for layer, x in ((self.q_proj, q), (self.k_proj, k), (self.v_proj, v))
        )
        mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.proj(mixed.transpose(1, 2).flatten(2))


class _TwoWayBlock(nn.Module):
    def __init__(self, dim: int, num_heads: int, mlp_dim: int, *, first: bool):
        super().__init__()
        self.first = first  # its queries are their own positions
        self.self_attn = _Attention(dim, dim, num_heads)
        self.norm1 = nn.LayerNorm(dim)
        self.cross_attn_token_to_image = _Attention(dim, dim // 2, num_heads)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, mlp_dim, nn.ReLU())
        self.norm3 = nn.LayerNorm(dim)
        self.cross_attn_image_to_token = _Attention(dim, dim // 2, num_heads)
        self.norm4 = nn.LayerNorm(dim)

    def forward(
        self, query: Tensor, key: Tensor, query_pos: Tensor, key_pos: Tensor
    ) -> tuple[Tensor, Tensor]:
        if self.first:
            query = self.norm1(self.self_attn(query, query, query))
        else:
            q = query + query_pos
            query = self.norm1(query + self.self_attn(q, q, query))
        q, k = query + query_pos, key + key_pos
        query = self.norm2(query + self.cross_attn_token_to_image(q, k, key))
        query = self.norm3(query + self.mlp(query))
        q = query + query_pos
        key = self.norm4(key + self.cross_attn_image_to_token(k, q, query))
        return query, key


class _TwoWay(nn.Module):
    def __init__(self, dim: int, num_heads: int, depth: int, mlp_dim: int):
        super().__init__()
        self.blocks = nn.ModuleList(
            _TwoWayBlock(dim, num_heads, mlp_dim, first=i == 0) for i in range(depth)
        )
        self.final_attn_token_to_image = _Attention(dim, dim // 2, num_heads)
        self.norm = nn.LayerNorm(dim)

    def forward(
        self, query: Tensor, key: Tensor, query_pos: Tensor, key_pos: Tensor
    ) -> tuple[Tensor, Tensor]:
        for block in self.blocks:
            query, key = block(query, key, query_pos, key_pos)
        q, k = query + query_pos, key + key_pos
        query = query + self.final_attn_token_to_image(q, k, key)
        return self.norm(query), key


class _ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of [N, C, h, w]."""

    def forward(self, x: Float[Tensor, "N C h w"]) -> Float[Tensor, "N C h w"]:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class _Predictor(nn.Module):
    """Three linear layers with ReLU between."""

    def __init__(self, dim: int, out_dim: int, hidden: int):
        super().__init__()
        sizes = [dim, hidden, hidden, out_dim]
        self.layers = nn.ModuleList(
            nn.Linear(a, b) for a, b in itertools.pairwise(sizes)
        )

    def forward(self, x: Float[Tensor, "... C"]) -> Float[Tensor, "... D"]:
        for layer in self.layers[:-1]:
            x = torch.relu(layer(x))
        return self.layers[-1](x)
