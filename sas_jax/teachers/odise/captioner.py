"""The implicit captioner: an image's CLIP embedding in place of a caption.

Source: arXiv 2303.04803 section 3.3; it is added to what the text encoder says of an
  empty caption, as far as training opened the gates.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class PositionalLinear(nn.Module):
    """A vector to a sequence: one linear map, and an offset for every place."""

    def __init__(self, in_dim: int, out_dim: int, length: int):
        """Build it, untrained."""
        super().__init__()
        self.linear = nn.Linear(in_dim, out_dim)
        offsets = torch.randn(1, length, out_dim) * 0.02
        self.positional_embedding = nn.Parameter(offsets)

    def forward(self, vectors: Float[Tensor, "B D"]) -> Float[Tensor, "B T E"]:
        """Return the sequences."""
        return self.linear(vectors)[:, None] + self.positional_embedding


class ImplicitCaptioner(nn.Module):
    """Image embeddings to what the U-Net takes for a caption, and for its step."""

    def __init__(self, clip_dim: int, text_dim: int, tokens: int, time_dim: int):
        """Build it, untrained.

        Args:
          clip_dim: of an image embedding.
          text_dim: of a token's embedding.
          tokens: of a caption.
          time_dim: of the embedding of a step.
        """
        super().__init__()
        self.clip_project = PositionalLinear(clip_dim, text_dim, tokens)
        self.time_embed_project = PositionalLinear(clip_dim, time_dim, 1)
        self.alpha_cond = nn.Parameter(torch.randn(1, tokens, text_dim) * 0.02)
        self.alpha_cond_time_embed = nn.Parameter(torch.randn(time_dim) * 0.02)

    def forward(
        self, embedding: Float[Tensor, "B D"], empty: Float[Tensor, "1 T E"]
    ) -> tuple[Float[Tensor, "B T E"], Float[Tensor, "B F"]]:
        """Return the condition, and the shift of the embedding of the step.

        Args:
          embedding: of CLIP, not normalised.
          empty: what the text encoder says of an empty caption.
        """
        condition = empty + self.alpha_cond.tanh() * self.clip_project(embedding)
        shift = self.time_embed_project(embedding)[:, 0]
        return condition, self.alpha_cond_time_embed.tanh() * shift
