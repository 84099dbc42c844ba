"""The whole SEEM network: images and embeddings of names to masks; tokens to names."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from sas_jax.teachers.checkpoint import built
from sas_jax.teachers.seem.architecture import Architecture
from sas_jax.teachers.seem.backbone import Backbone
from sas_jax.teachers.seem.mask_decoder import MaskDecoder, Prediction
from sas_jax.teachers.seem.pixel_decoder import PixelDecoder

SIZE_MULTIPLE = 32
"""Edges of an image must be multiples of this."""

_TRAINED_SCALE = math.log(100)
# Factors on the logits of names and pixels in `untrained`, found by trial.
_SURE_OF_NAMES, _SURE_OF_PIXELS = 2, 40


class Seem(nn.Module):
    """SEEM for names; the defaults of `Architecture` are FocalNet-L's."""

    def __init__(self, sizes: Architecture | None = None):
        """Build the network, untrained."""
        super().__init__()
        self.sizes = sizes or Architecture()
        self.backbone = Backbone(self.sizes)
        self.pixel_decoder = PixelDecoder(self.sizes)
        self.mask_decoder = MaskDecoder(self.sizes)
        self.text = CLIPTextModelWithProjection(_text_config(self.sizes))
        self.logit_scale = nn.Parameter(torch.tensor(_TRAINED_SCALE))

    def forward(
        self, images: Float[Tensor, "B 3 H W"], names: Float[Tensor, "K P"]
    ) -> Prediction:
        """Return what the queries say in the end.

        Args:
          images: normalised, H and W multiples of 32.
          names: of `encode_tokens`, or unit means of them.
        """
        pixels = self.pixel_decoder(self.backbone(images))
        return self.mask_decoder(pixels, names, self.logit_scale)[-1]

    def encode_tokens(self, tokens: Int[Tensor, "n T"]) -> Float[Tensor, "n P"]:
        """Return unit vectors of sentences in SEEM's own text space.

        Args:
          tokens: the end token has the highest number; what follows it is not seen.
        """
        vectors = self.text(input_ids=tokens).text_embeds
        return vectors / (vectors.norm(dim=-1, keepdim=True) + 1e-7)


def _text_config(sizes: Architecture) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=sizes.text_vocabulary,
        hidden_size=sizes.text_dim,
        intermediate_size=4 * sizes.text_dim,
        projection_dim=sizes.space_dim,
        num_hidden_layers=sizes.text_layers,
        num_attention_heads=sizes.text_heads,
        max_position_embeddings=sizes.text_context,
        hidden_act="quick_gelu",
        layer_norm_eps=1e-12,
        # 2 makes transformers read the sentence at its highest token, the end.
        eos_token_id=2,
        bos_token_id=0,
        pad_token_id=1,
    )


def untrained(seed: int, sizes: Architecture | None = None) -> Seem:
    """Return a network with random weights that finds masks all the same.

    As they are initialised, queries see half of everything and no class in it. Here
    they are sure of themselves, so that a smoke test has masks to go on with.
    """
    network = built(lambda: Seem(sizes), seed)
    last = network.mask_decoder.mask_embed[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        network.logit_scale.add_(math.log(_SURE_OF_NAMES))
        last.weight.mul_(_SURE_OF_PIXELS)
    return network
