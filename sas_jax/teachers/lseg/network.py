"""LSeg's network, put together from the blocks of transformers' DPT.

A vision transformer of 16 x 16 patches gives four of its layers to a convolutional
decoder; a 1 x 1 convolution on the grid of half the input maps to CLIP's text space.
B images of H x W, h = H / 2, w = W / 2, C length of a text feature.

Source: LSeg (Li et al., ICLR 2022), DPT (Ranftl et al., ICCV 2021).
"""

import dataclasses
import math
from collections.abc import Mapping

import torch
import transformers
from jaxtyping import Float
from torch import nn

from sas_jax.errors import ContractError, InputError
from sas_jax.teachers.lseg.config import SIDE_MULTIPLE
from sas_jax.teachers.lseg.names import from_published, to_published

PATCH = 16

_HEAD_WIDTH = 64
_STANDARD = dict(  # noqa: C408 - named as the arguments are
    patch_size=PATCH,
    readout_type="project",
    reassemble_factors=[4, 2, 1, 0.5],
    use_batch_norm_in_fusion_residual=True,
    use_bias_in_fusion_residual=False,
    is_hybrid=False,
    layer_norm_eps=1e-6,
    hidden_act="gelu",
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
)


@dataclasses.dataclass(frozen=True)
class Architecture:
    """Set the network's size; the defaults are the published one's, on ViT-L/16.

    Attributes:
      width: channels of the transformer.
      hidden: channels inside a block's two-layer perceptron.
      depth: number of blocks.
      heads: of its attention.
      taps: the blocks whose outputs the decoder gets.
      reassembled: channels of the four maps that are made of them, fine to coarse.
      decoder: channels of the decoder.
      features: C.
      grid: side of the grid of patches that positions were learnt for.
    """

    width: int = 1024
    hidden: int = 4096
    depth: int = 24
    heads: int = 16
    taps: tuple[int, ...] = (5, 11, 17, 23)
    reassembled: tuple[int, ...] = (256, 512, 1024, 1024)
    decoder: int = 256
    features: int = 512
    grid: int = 24


class LSegNet(nn.Module):
    """Image to unit vectors in the text space.

    Its state dict has the names of the published file, without `net.`.
    """

    def __init__(self, architecture: Architecture):
        """Build the layers; weights are random until filled."""
        super().__init__()
        size = architecture
        config = transformers.DPTConfig(
            hidden_size=size.width,
            num_hidden_layers=size.depth,
            num_attention_heads=size.heads,
            intermediate_size=size.hidden,
            image_size=size.grid * PATCH,
            backbone_out_indices=list(size.taps),
            neck_hidden_sizes=list(size.reassembled),
            fusion_hidden_size=size.decoder,
            **_STANDARD,
        )
        whole = transformers.DPTForDepthEstimation(config)
        self.taps = size.taps
        self.dpt, self.neck = whole.dpt, whole.neck
        self.head = nn.Conv2d(size.decoder, size.features, 1)
        self.heads = size.heads
        own = list(self.state_dict())
        self.register_state_dict_post_hook(lambda _, state, *rest: to_published(state))
        self.register_load_state_dict_pre_hook(
            lambda _, state, *rest: from_published(state, own)
        )

    def maps(self, images: Float[torch.Tensor, "B 3 H W"]) -> list[torch.Tensor]:
        """Return the four maps that the decoder is given, fine to coarse.

        Cells of 4, 8, 16 and 32 pixels; channels as `Architecture.reassembled`.
        """
        return self.neck.reassemble_stage(self._tapped(images), *_patches(images))

    def forward(
        self, images: Float[torch.Tensor, "B 3 H W"]
    ) -> Float[torch.Tensor, "B C h w"]:
        """Return unit vectors for every 2 x 2 pixels.

        Args:
          images: of values in [-1, 1]; sides that are multiples of `SIDE_MULTIPLE`.
            What was learnt for each position is interpolated to the grid of patches.

        Raises:
          ContractError: for other sides.
        """
        sides = tuple(images.shape[2:])
        if any(side % SIDE_MULTIPLE or not side for side in sides):
            raise ContractError(
                f"lseg: sides must be multiples of {SIDE_MULTIPLE}, got {sides}. "
                "Pad the image."
            )
        finest = self.neck(self._tapped(images), *_patches(images))[-1]
        features = self.head(finest).float()
        return features.div_(features.norm(dim=1, keepdim=True))

    def _tapped(self, images: torch.Tensor) -> list[torch.Tensor]:
        states = self.dpt(images, output_hidden_states=True).hidden_states
        return [states[tap + 1] for tap in self.taps]


def architecture_of(
    state: Mapping[str, torch.Tensor],
    *,
    heads: int | None = None,
    taps: tuple[int, ...] | None = None,
    where: object = "a checkpoint",
) -> Architecture:
    """Return the size of the network that a checkpoint was saved from.

    What no tensor's shape tells is as in all published networks of this family unless
    it is given.

    Args:
      state: tensors under the published file's names.
      heads: of the attention; else 64 channels each.
      taps: blocks that the decoder gets; else the last of each quarter.
      where: names the file in errors.

    Raises:
      InputError: for a checkpoint of something else, naming what it lacks.
    """

    def shape(name: str, axes: int) -> tuple[int, ...]:
        found = tuple(state[name].shape) if name in state else ()
        if len(found) != axes:
            raise InputError(
                "lseg: a checkpoint of LSeg on a vision transformer is required, got "
                f"{list(found) if name in state else 'nothing'} for {name} "
                f"({where}). Give demo_e200.ckpt of the authors."
            )
        return found

    start = "pretrained.model.blocks."
    _, positions, width = shape("pretrained.model.pos_embed", 3)
    hidden, _ = shape(f"{start}0.mlp.fc1.weight", 2)
    depth = len({name.split(".")[3] for name in state if name.startswith(start)})
    maps = [f"pretrained.act_postprocess{number}.3.weight" for number in (1, 2, 3, 4)]
    features, decoder, *_ = shape("scratch.head1.weight", 4)
    return Architecture(
        width=width,
        hidden=hidden,
        depth=depth,
        heads=heads or max(1, width // _HEAD_WIDTH),
        taps=taps or tuple(depth * quarter // 4 - 1 for quarter in (1, 2, 3, 4)),
        reassembled=tuple(shape(name, 4)[0] for name in maps),
        decoder=decoder,
        features=features,
        grid=math.isqrt(positions - 1),
    )


def _patches(images: torch.Tensor) -> tuple[int, int]:
    return images.shape[2] // PATCH, images.shape[3] // PATCH
