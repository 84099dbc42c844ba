"""TAP's language model: a semantic token to the tokens of a sentence.

Causal attention with rotary positions; keys and values of what was said are kept, so
that each further token costs one position. N sentences; t positions; D channels.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from sas_jax.teachers.tap.image_encoder import Mlp

_THETA = 10000.0

Cache = list[tuple[Tensor, Tensor] | None]
"""Keys and values of every block, [N, heads, t, D / heads] each."""


class TextDecoder(nn.Module):
    """A prompt vector to a sentence, greedily."""

    def __init__(
        self,
        *,
        depth: int,
        dim: int,
        num_heads: int,
        prompt_dim: int,
        vocab_size: int,
        max_len: int = 40,
    ):
        """Take the sizes; `max_len` counts the prompt and all tokens."""
        super().__init__()
        self.max_len = max_len
        self.encoder = nn.Linear(prompt_dim, dim, bias=False)
        self.transformer = _Transformer(depth, dim, num_heads, vocab_size)
        cos, sin = _rotations(max_len, dim // num_heads)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self.cos: Tensor
        self.sin: Tensor

    def logits(
        self,
        tokens: Int64[Tensor, "N t"],
        cache: Cache,
        prompts: Float[Tensor, "N C"] | None = None,
    ) -> Float[Tensor, "N t V"]:
        """Return the scores of what follows each of the newest tokens.

        Args:
          tokens: what was not given yet.
          cache: of what was given before, appended to; starts as `new_cache()`.
          prompts: what the sentences are about, with the first tokens only.
        """
        past = 0 if cache[0] is None else cache[0][0].shape[2]
        x = self.transformer.tok_embeddings(tokens)
        if prompts is not None:
            x = torch.cat([self.encoder(prompts)[:, None], x], 1)
        rows = slice(past, past + x.shape[1])
        x = self.transformer(x, cache, self.cos[rows], self.sin[rows])
        return self.transformer.text_proj(x[:, -tokens.shape[1] :])

    def new_cache(self) -> Cache:
        """Return the cache of nothing."""
        return [None] * len(self.transformer.blocks)

    def greedy(
        self, prompts: Float[Tensor, "N C"], *, bos: int, eos: int, pad: int
    ) -> Int64[Tensor, "N T"]:
        """Return the likeliest token after token, for T = max_len - 1 positions.

        Args:
          prompts: semantic tokens.
          bos: what every sentence begins with.
          eos: ends a sentence; what follows it means nothing. Nothing more is asked
            for once all have ended.
          pad: stands in the positions that were not asked for.
        """
        tokens = torch.full((len(prompts), self.max_len - 1), pad, dtype=torch.int64)
        tokens = tokens.to(prompts.device)
        tokens[:, 0] = bos
        ended = torch.zeros(len(prompts), dtype=torch.bool, device=prompts.device)
        cache = self.new_cache()
        for place in range(1, tokens.shape[1]):
            about = prompts if place == 1 else None
            scores = self.logits(tokens[:, place - 1 : place], cache, about)[:, -1]
            tokens[:, place] = scores.argmax(-1)
            ended |= tokens[:, place] == eos
            if ended.all():
                break
        return tokens


class _Transformer(nn.Module):
    def __init__(self, depth: int, dim: int, num_heads: int, vocab_size: int):
        super().__init__()
        self.tok_embeddings = nn.Embedding(vocab_size, dim)
        self.blocks = nn.ModuleList(_Block(dim, num_heads) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        self.text_proj = nn.Linear(dim, vocab_size, bias=False)

    def forward(self, x: Tensor, cache: Cache, cos: Tensor, sin: Tensor) -> Tensor:
        for i, block in enumerate(self.blocks):
            x, cache[i] = block(x, cache[i], cos, sin)
        return self.norm(x)


class _Block(nn.Module):
    def __init__(self, dim: int, num_heads: int):
        super().__init__()
        self.attn = _Attention(dim, num_heads)
        self.mlp = Mlp(dim, 4 * dim, nn.GELU())
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)

    def forward(self, x, past, cos, sin) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        mixed, past = self.attn(self.norm1(x), past, cos, sin)
        x = x + mixed
        return x + self.mlp(self.norm2(x)), past


class _Attention(nn.Module):
    def __init__(self, dim: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x, past, cos, sin) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        num, length, dim = x.shape
        qkv = self.qkv(x).view(num, length, 3, self.num_heads, dim // self.num_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        q, k = _rotate(q, cos, sin), _rotate(k, cos, sin)
        # What was given before is one block before the diagonal: a single new
        # position sees all of it, and several come only at the beginning.
        causal = past is None
        if past is not None:
            k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal)
        return self.proj(mixed.transpose(1, 2).flatten(2)), (k, v)


def _rotations(
    length: int, dim: int
) -> tuple[Float[Tensor, "t d"], Float[Tensor, "t d"]]:
    """Return cosine and sine of the angle of every position and pair of channels."""
    frequency = 1 / _THETA ** (torch.arange(0, dim, 2).float() / dim)
    angle = torch.arange(length).float()[:, None] * frequency
    return angle.cos(), angle.sin()


def _rotate(x: Float[Tensor, "N heads t D"], cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair of neighbouring channels by its angle."""
    even, odd = x[..., 0::2], x[..., 1::2]
    turned = (even * cos - odd * sin, even * sin + odd * cos)
    return torch.stack(turned, -1).flatten(-2)
