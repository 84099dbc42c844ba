"""The sizes of a SEEM network, as a checkpoint's shapes tell them."""

import dataclasses
import re
from collections.abc import Iterable, Mapping

from torch import Tensor

from sas_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Architecture:
    """Sizes of the network; the defaults are those of `seem_focall_v0.pt`.

    Attributes:
      embed_dim: channels at stride 4; each of the four stages doubles them.
      depths: focal blocks per stage.
      focal_levels: context levels of a block, per stage.
      focal_windows: edge of the smallest context kernel, per stage.
      mlp_ratio: hidden over outer channels in a block's MLP.
      pixel_dim: channels of the pixel decoder, a multiple of 32.
      mask_dim: channels that a query and a pixel are compared in.
      encoder_layers: attention layers on the coarsest map.
      hidden_dim: channels of queries.
      heads: attention heads of pixel decoder and queries.
      ffn_dim: hidden channels of both transformers' MLPs.
      decoder_layers: layers of the mask decoder.
      queries: masks per image.
      space_dim: channels of SEEM's own text space.
      text_dim: width of the text tower.
      text_layers: its layers.
      text_heads: its attention heads.
      text_context: its longest sentence in tokens.
      text_vocabulary: number of its tokens.
    """

    embed_dim: int = 192
    depths: tuple[int, ...] = (2, 2, 18, 2)
    focal_levels: tuple[int, ...] = (4, 4, 4, 4)
    focal_windows: tuple[int, ...] = (3, 3, 3, 3)
    mlp_ratio: float = 4.0
    pixel_dim: int = 512
    mask_dim: int = 512
    encoder_layers: int = 6
    hidden_dim: int = 512
    heads: int = 8
    ffn_dim: int = 2048
    decoder_layers: int = 9
    queries: int = 101
    space_dim: int = 512
    text_dim: int = 512
    text_layers: int = 12
    text_heads: int = 8
    text_context: int = 77
    text_vocabulary: int = 49408

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the backbone's maps at strides 4, 8, 16 and 32."""
        return tuple(self.embed_dim * 2**i for i in range(len(self.depths)))


def architecture_of(
    state: Mapping[str, Tensor], *, heads: int = 8, text_heads: int = 8, where: object
) -> Architecture:
    """Return the sizes that a checkpoint was made with.

    Args:
      state: tensors by their published names, without a prefix.
      heads: not told by shapes; 8 in every published file.
      text_heads: the same.
      where: names the file in errors.

    Raises:
      InputError: naming a tensor that must be there and is not.
    """

    def shape(name: str) -> tuple[int, ...]:
        if name not in state:
            raise InputError(
                f"seem: the checkpoint must hold {name}, got none among "
                f"{len(state)} tensors ({where}). Give seem_focall_v0.pt."
            )
        return tuple(state[name].shape)

    depths: list[int] = []
    levels: list[int] = []
    windows: list[int] = []
    while any(k.startswith(f"backbone.layers.{len(depths)}.") for k in state):
        stage = f"backbone.layers.{len(depths)}.blocks"
        context = f"{stage}.0.modulation.focal_layers"
        depths.append(_count(state, stage))
        levels.append(_count(state, context))
        windows.append(shape(f"{context}.0.0.weight")[-1])
    head = "sem_seg_head.predictor"
    pixels = "sem_seg_head.pixel_decoder"
    text = f"{head}.lang_encoder.lang_encoder"
    hidden, outer = shape("backbone.layers.0.blocks.0.mlp.fc1.weight")
    queries, hidden_dim = shape(f"{head}.query_feat.weight")
    mask_dim, pixel_dim = shape(f"{pixels}.mask_features.weight")[:2]
    vocabulary, text_dim = shape(f"{text}.token_embedding.weight")
    return Architecture(
        embed_dim=shape("backbone.patch_embed.proj.weight")[0],
        depths=tuple(depths),
        focal_levels=tuple(levels),
        focal_windows=tuple(windows),
        mlp_ratio=hidden / outer,
        pixel_dim=pixel_dim,
        mask_dim=mask_dim,
        encoder_layers=_count(state, f"{pixels}.transformer.encoder.layers"),
        hidden_dim=hidden_dim,
        heads=heads,
        ffn_dim=shape(f"{head}.transformer_ffn_layers.0.linear1.weight")[0],
        decoder_layers=_count(state, f"{head}.transformer_ffn_layers"),
        queries=queries,
        space_dim=shape(f"{head}.class_embed")[1],
        text_dim=text_dim,
        text_layers=_count(state, f"{text}.resblocks"),
        text_heads=text_heads,
        text_context=shape(f"{text}.positional_embedding")[0],
        text_vocabulary=vocabulary,
    )


def _count(names: Iterable[str], module: str) -> int:
    """Return how many members of a numbered list have a tensor."""
    member = re.compile(rf"{re.escape(module)}\.(\d+)\.")
    found = [int(match[1]) for name in names if (match := member.match(name))]
    return max(found, default=-1) + 1
