"""ODISE's sizes and settings. Imported without torch: flags are made of them."""

import dataclasses

from sas_jax.checks import in_range


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


@dataclasses.dataclass(frozen=True)
class OdiseSettings:
    """Set how ODISE looks at images and chooses names.

    Attributes:
      short_side: pixels that the shorter side of an image is brought to. Time goes with
        its square: a window of 512 pixels is one pass of Stable Diffusion.
      long_side: most pixels of the longer side.
      clip_seen: how much CLIP's own classification weighs, 0 to 1, for COCO's names.
      clip_unseen: the same for all other names.
      min_overlap: share of its own pixels that a mask must win from the others.
    """

    short_side: int = 1024
    long_side: int = 2560
    clip_seen: float = 0.3
    clip_unseen: float = 0.7
    min_overlap: float = 0.8

    def __post_init__(self) -> None:
        in_range("odise", "odise_short_side", self.short_side, 32, 4096)
        in_range("odise", "odise_long_side", self.long_side, self.short_side, 8192)
        for name in ("clip_seen", "clip_unseen", "min_overlap"):
            in_range("odise", f"odise_{name}", getattr(self, name), 0, 1)
