"""TAP's parts together, of any size, and which size a checkpoint has."""

import dataclasses
import math
from collections.abc import Mapping

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from sas_jax.errors import InputError
from sas_jax.teachers.tap.image_decoder import ImageDecoder, PromptEncoder, Regions
from sas_jax.teachers.tap.image_encoder import ImageEncoder
from sas_jax.teachers.tap.text_decoder import TextDecoder

PIXEL_MEAN = (103.53, 116.28, 123.675)
"""Blue, green, red, 0..255."""
_PIXEL_STD = (57.375, 57.12, 58.395)
_FIRST_MASK_COST = 500.0


@dataclasses.dataclass(frozen=True)
class TapSizes:
    """Sizes of the network; the defaults are TAP ViT-H.

    Attributes:
      image_size: side of the encoder's input in pixels.
      patch_size: side of a patch in pixels.
      window_size: side of an attention window in patches.
      depth: blocks of the image encoder, a multiple of four.
      embed_dim: its channels.
      num_heads: its heads.
      image_embed_dim: channels of the features and prompts; a head for every 32.
      decoder_depth: two-way blocks.
      decoder_mlp_dim: hidden channels of their MLPs.
      num_masks: candidates for each prompt.
      sem_embed_dim: channels of the concept space.
      sem_hidden_dim: hidden channels on the way there.
      text_embed_dim: channels of the language model; a head for every 64.
      text_depth: its blocks.
      text_seq_len: positions, the prompt's included. No weight tells it.
      vocab: its tokens.
    """

    image_size: int = 1024
    patch_size: int = 16
    window_size: int = 16
    depth: int = 32
    embed_dim: int = 1280
    num_heads: int = 16
    image_embed_dim: int = 256
    decoder_depth: int = 2
    decoder_mlp_dim: int = 2048
    num_masks: int = 4
    sem_embed_dim: int = 1024
    sem_hidden_dim: int = 1024
    text_embed_dim: int = 512
    text_depth: int = 12
    text_seq_len: int = 40
    vocab: int = 32000


class Tap(nn.Module):
    """Image and points to regions, regions to sentences."""

    def __init__(self, sizes: TapSizes | None = None):
        """Take the sizes; the weights are random."""
        super().__init__()
        s = self.sizes = sizes or TapSizes()
        self.image_encoder = ImageEncoder(
            depth=s.depth,
            embed_dim=s.embed_dim,
            num_heads=s.num_heads,
            image_size=s.image_size,
            patch_size=s.patch_size,
            window_size=s.window_size,
            out_dim=s.image_embed_dim,
        )
        self.prompt_encoder = PromptEncoder(s.image_embed_dim, s.image_size)
        self.image_decoder = ImageDecoder(
            dim=s.image_embed_dim,
            num_heads=s.image_embed_dim // 32,
            depth=s.decoder_depth,
            num_masks=s.num_masks,
            mlp_dim=s.decoder_mlp_dim,
            sem_dim=s.sem_embed_dim,
            sem_hidden=s.sem_hidden_dim,
        )
        self.text_decoder = TextDecoder(
            depth=s.text_depth,
            dim=s.text_embed_dim,
            num_heads=s.text_embed_dim // 64,
            prompt_dim=s.image_embed_dim,
            vocab_size=s.vocab,
            max_len=s.text_seq_len,
        )
        self.register_buffer("pixel_mean", torch.tensor(PIXEL_MEAN))
        self.register_buffer("pixel_rsig", 1 / torch.tensor(_PIXEL_STD))
        self.pixel_mean: Tensor
        self.pixel_rsig: Tensor

    def features(self, images: Tensor) -> Float[Tensor, "B C h w"]:
        """Return the features of uint8 BGR images [B, S, S, 3], S the image size."""
        scaled = (images.to(self.pixel_mean) - self.pixel_mean) * self.pixel_rsig
        return self.image_encoder(scaled.permute(0, 3, 1, 2))

    def regions(
        self,
        features: Float[Tensor, "1 C h w"],
        xy: Float[Tensor, "N P 2"],
        labels: Int64[Tensor, "N P"],
        *,
        with_masks: bool = False,
    ) -> Regions:
        """Return what is at N prompts of one image; see the parts for the arguments."""
        places = self.prompt_encoder.grid(*features.shape[2:])
        prompts = self.prompt_encoder(xy, labels)
        return self.image_decoder(features, prompts, places, with_masks=with_masks)


def best_of_points(iou: Float[Tensor, "N M"]) -> Int64[Tensor, " N"]:
    """Return the best candidate of point prompts.

    Candidate 0 is trained for boxes: it never wins a point.
    """
    cost = torch.zeros_like(iou)
    cost[:, 0] = _FIRST_MASK_COST
    return (iou - cost).argmax(1)


def sizes_of(state: Mapping[str, Tensor], path: object) -> TapSizes:
    """Return the sizes of a checkpoint, by its names and shapes.

    Args:
      state: published names -> tensors.
      path: of the file, for errors.

    Raises:
      InputError: when what decides the sizes is not there.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    try:
        patch = shapes["image_encoder.patch_embed.proj.weight"]
        biases = shapes["image_encoder.blocks.0.attn.rel_pos_embed.weight"]
        vocab, text_dim = shapes["text_decoder.transformer.tok_embeddings.weight"]
        two_way = "image_decoder.transformer.blocks"
        return TapSizes(
            image_size=math.isqrt(shapes["image_encoder.pos_embed.weight"][0])
            * patch[2],
            patch_size=patch[2],
            window_size=(math.isqrt(biases[1]) + 1) // 2,
            depth=_count(shapes, "image_encoder.blocks"),
            embed_dim=patch[0],
            num_heads=biases[0],
            image_embed_dim=shapes["prompt_encoder.point_embed.weight"][1],
            decoder_depth=_count(shapes, two_way),
            decoder_mlp_dim=shapes[f"{two_way}.0.mlp.fc1.weight"][0],
            num_masks=shapes["image_decoder.mask_tokens.weight"][0],
            sem_embed_dim=shapes["image_decoder.sem_pred.layers.2.weight"][0],
            sem_hidden_dim=shapes["image_decoder.sem_pred.layers.0.weight"][0],
            text_embed_dim=text_dim,
            text_depth=_count(shapes, "text_decoder.transformer.blocks"),
            vocab=vocab,
        )
    except (KeyError, IndexError, ValueError) as error:
        raise InputError(
            f"tap: a checkpoint of Tokenize Anything is required, got none of "
            f"{error} ({path}). Give tap_vit_h_v1_1.pkl."
        ) from error


def _count(shapes: Mapping[str, tuple[int, ...]], prefix: str) -> int:
    """Return how many numbered modules stand under a prefix."""
    depth = len(prefix.split("."))
    numbers = {n.split(".")[depth] for n in shapes if n.startswith(f"{prefix}.")}
    return len(numbers)
