"""Cross-attention of a diffusion model: where in the image each word acts.

M = softmax(Q K^T / sqrt(d)) with queries from the noisy image and keys from the
prompt's tokens (Eq. 1); M_x^{y,z} is the map of token x in U-Net layer y at step z,
averaged over heads. The same code serves Stable Diffusion and the small model: both
are U-Nets of diffusers whose cross-attentions are the modules named `attn2`.
Two sums per layer are kept, nothing per step; self-attention, half a gigabyte in every
large layer, is not recorded.
B images, L tokens, h x w one layer's grid, S edge of the result.
"""

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import torch
from jaxtyping import Float

from sas_jax.errors import InputError

Compat = Literal["paper", "official"]

_PLACES = ("down", "mid", "up")
_OFFICIAL_PLACES = ("down", "up")
_OFFICIAL_SMALL = {"sofa": 8}
"""The authors' code takes only the 8x8 maps for this class, a relic of an older list
of names in which it was marked as hard."""


class CrossAttention:
    """Sum cross-attention maps over the steps of one sampling run.

    Attributes:
      plain: layer -> sum of M over steps, float32 [B, L, h, w].
      scaled: layer -> sum of M / max(M) over steps, the maximum over h and w.
      count: layer -> number of steps.
    """

    def __init__(self) -> None:
        """Start empty."""
        self.plain: dict[str, torch.Tensor] = {}
        self.scaled: dict[str, torch.Tensor] = {}
        self.count: dict[str, int] = {}

    def add(self, layer: str, attention: Float[torch.Tensor, "B pixels L"]) -> None:
        """Add one layer's head-averaged map of one step.

        Raises:
          InputError: when the grid is not square.
        """
        batch, pixels, tokens = attention.shape
        edge = math.isqrt(pixels)
        if edge * edge != pixels:
            raise InputError(
                f"attention: layers must have square grids, got {pixels} pixels in "
                f"{layer}. Synthesize square images."
            )
        maps = attention.float().transpose(1, 2).reshape(batch, tokens, edge, edge)
        scaled = maps / maps.amax((2, 3), keepdim=True).clamp_min(1e-12)
        self.plain[layer] = self.plain.get(layer, 0) + maps
        self.scaled[layer] = self.scaled.get(layer, 0) + scaled
        self.count[layer] = self.count.get(layer, 0) + 1

    def by_resolution(
        self, places: Sequence[str] = _OFFICIAL_PLACES
    ) -> dict[int, Float[torch.Tensor, "B L h w"]]:
        """Average the plain maps over layers and steps, per grid edge.

        Args:
          places: which parts of the U-Net: `down`, `mid`, `up`.
        """
        groups: dict[int, list[torch.Tensor]] = {}
        for layer, total in self.plain.items():
            if layer.split("_")[0] in places:
                mean = total / self.count[layer]
                groups.setdefault(mean.shape[-1], []).append(mean)
        return {edge: torch.stack(maps).mean(0) for edge, maps in groups.items()}


class RecordingProcessor:
    """Compute cross-attention step by step, as the plain processor, and record it."""

    def __init__(self, store: CrossAttention, layer: str, guided: bool) -> None:
        """Record into `store`; `guided` batches are [unconditional; conditional]."""
        self._store, self._layer, self._guided = store, layer, guided

    def __call__(
        self,
        attn,
        hidden_states,
        encoder_hidden_states=None,
        attention_mask=None,
        temb=None,
        *args,
        **kwargs,
    ) -> torch.Tensor:
        """Return what the layer returns without recording, up to rounding."""
        text = encoder_hidden_states
        if attn.norm_cross:
            text = attn.norm_encoder_hidden_states(text)
        split = attn.head_to_batch_dim
        query = split(attn.to_q(hidden_states))
        key, value = split(attn.to_k(text)), split(attn.to_v(text))
        batch = hidden_states.shape[0]
        mask = attn.prepare_attention_mask(attention_mask, text.shape[1], batch)
        weights = attn.get_attention_scores(query, key, mask)
        heads = weights.detach().view(batch, attn.heads, *weights.shape[1:])
        shown = heads.chunk(2)[1] if self._guided else heads
        # in half precision a mean over heads would lose what Eq. 2 divides by
        self._store.add(self._layer, shown.float().mean(1))
        mixed = attn.batch_to_head_dim(torch.bmm(weights, value))
        return attn.to_out[1](attn.to_out[0](mixed))


@contextlib.contextmanager
def recording(unet, *, guided: bool) -> Iterator[CrossAttention]:
    """Record every cross-attention of a U-Net while the block runs.

    Args:
      unet: diffusers' U-Net with text conditioning.
      guided: the batch holds the unconditional half first (classifier-free guidance);
        only the conditional half is recorded.

    Yields:
      The store that fills up; the U-Net's own processors are back afterwards.

    Raises:
      InputError: from the U-Net, when the images are not square.
    """
    before = dict(unet.attn_processors)
    store = CrossAttention()
    cross = {
        name: RecordingProcessor(store, name, guided)
        for name in before
        if name.endswith("attn2.processor")
    }
    watched = unet.register_forward_pre_hook(_check_square, with_kwargs=True)
    try:
        # set_attn_processor empties the dictionary that it is given
        unet.set_attn_processor({**before, **cross})
        yield store
    finally:
        watched.remove()
        unet.set_attn_processor(before)


def _check_square(unet, args, kwargs) -> None:
    # a layer sees pixels in a row: 4 x 16 of them would pass for 8 x 8
    height, width = (args[0] if args else kwargs["sample"]).shape[-2:]
    if height != width:
        raise InputError(
            f"attention: images must be square, got a latent grid of {height} x "
            f"{width}. Synthesize square images."
        )


@dataclasses.dataclass(frozen=True)
class AttentionConfig:
    """How maps become one map per image.

    Attributes:
      compat: `paper` divides every single map by its maximum and averages over all
        layers and steps (Eq. 2). `official` averages plain maps per resolution over
        the down and up blocks, enlarges each mean, divides it by its maximum and
        averages the resolutions.
    """

    compat: Compat = "paper"


def class_maps(
    store: CrossAttention,
    tokens: Sequence[Sequence[int]],
    size: int,
    config: AttentionConfig | None = None,
    class_name: str = "",
) -> Float[torch.Tensor, "B S S"]:
    """Return where a class acts in every image, stretched to [0, 1].

    Args:
      store: filled by `recording`.
      tokens: per image the positions of the class's tokens; their maps are averaged.
      size: S, pixels.
      config: how; None means the paper's way.
      class_name: `official` treats one class in its own way, see `_OFFICIAL_SMALL`.

    Returns:
      float32; a map without contrast is 0 everywhere.

    Raises:
      InputError: when nothing was recorded or an image has no class token.

    Source: SAS Eq. 1-2; authors' code MCC/Stable_Diffusion.
    """
    config = config or AttentionConfig()
    if not store.plain:
        raise InputError(
            "attention: at least one cross-attention must be recorded, got none. "
            "Use a U-Net with text conditioning."
        )
    if any(len(row) == 0 for row in tokens):
        raise InputError(
            f"attention: the prompt must hold tokens of the class, got none for "
            f"{class_name!r}. Put the class name into the prompt."
        )
    if config.compat == "paper":
        total = _paper_maps(store, tokens, size)
    else:
        total = _official_maps(store, tokens, size, _OFFICIAL_SMALL.get(class_name))
    return stretch(total)


def _paper_maps(store, tokens, size) -> torch.Tensor:
    enlarged = [
        _enlarge(_of_tokens(total / store.count[layer], tokens), size)
        for layer, total in store.scaled.items()
    ]
    return torch.stack(enlarged).mean(0)


def _official_maps(store, tokens, size, only: int | None) -> torch.Tensor:
    maps: Mapping[int, torch.Tensor] = store.by_resolution()
    every = store.by_resolution(_PLACES)
    if only is not None and only in every:
        maps = {only: every[only]}
    enlarged = []
    for _, mean in sorted(maps.items()):
        grown = _enlarge(_of_tokens(mean, tokens), size)
        enlarged.append(grown / grown.amax((1, 2), keepdim=True).clamp_min(1e-12))
    return torch.stack(enlarged).mean(0)


def _of_tokens(maps: torch.Tensor, tokens) -> torch.Tensor:
    rows = [maps[i, list(row)].mean(0) for i, row in enumerate(tokens)]
    return torch.stack(rows)


def _enlarge(maps: torch.Tensor, size: int) -> torch.Tensor:
    return torch.nn.functional.interpolate(
        maps[:, None], (size, size), mode="bicubic", align_corners=False
    )[:, 0]


def stretch(maps: Float[torch.Tensor, "B S S"]) -> Float[torch.Tensor, "B S S"]:
    """Map every image's minimum to 0 and maximum to 1."""
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return (maps - low) / (high - low).clamp_min(1e-12)
