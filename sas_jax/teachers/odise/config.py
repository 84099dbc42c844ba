"""Sizes of ODISE's own network; the defaults are the published ones."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class OdiseConfig:
    """Set the sizes of the network.

    Attributes:
      window: edge of the square that the diffusion model sees, pixels.
      pyramid_dim: channels of the four feature maps.
      hidden_dim: channels of the mask generator.
      mask_dim: channels of its pixels.
      clip_dim: of CLIP's space.
      encoder_ffn_dim: width inside of the pixel decoder's MLPs.
      decoder_ffn_dim: width inside of the queries' MLPs.
      encoder_layers: of the pixel decoder.
      decoder_layers: of the queries.
      heads: of attention.
      queries: masks at most.
    """

    window: int = 512
    pyramid_dim: int = 512
    hidden_dim: int = 256
    mask_dim: int = 256
    clip_dim: int = 768
    encoder_ffn_dim: int = 1024
    decoder_ffn_dim: int = 2048
    encoder_layers: int = 6
    decoder_layers: int = 9
    heads: int = 8
    queries: int = 100
