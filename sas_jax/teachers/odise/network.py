"""All of ODISE's networks together: images to masks with embeddings."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sas_jax.teachers.odise.backbone import Pyramid, pad, slide
from sas_jax.teachers.odise.captioner import ImplicitCaptioner
from sas_jax.teachers.odise.config import OdiseConfig
from sas_jax.teachers.odise.diffusion import DiffusionFeatures
from sas_jax.teachers.odise.mask_clip import MaskClip
from sas_jax.teachers.odise.masks import MaskGenerator, Masks


class Trained(nn.Module):
    """What ODISE's authors trained: all but Stable Diffusion and CLIP."""

    def __init__(
        self, config: OdiseConfig, diffusion: DiffusionFeatures, tokens: int = 77
    ):
        """Build it, untrained, for a diffusion model's sizes.

        Args:
          config: its own sizes.
          diffusion: whose taps are projected.
          tokens: of a caption.
        """
        super().__init__()
        unet = diffusion.unet
        self.captioner = ImplicitCaptioner(
            config.clip_dim,
            unet.config.cross_attention_dim,
            tokens,
            unet.time_embedding.linear_2.out_features,
        )
        self.pyramid = Pyramid(
            diffusion.channels, diffusion.strides, config.pyramid_dim
        )
        self.generator = MaskGenerator(config)
        self.null_embed = nn.Parameter(torch.randn(1, config.clip_dim))
        """What masks of nothing are compared with."""


class Odise(nn.Module):
    """Frozen models and what was trained on top."""

    empty: Tensor

    def __init__(
        self,
        config: OdiseConfig,
        diffusion: DiffusionFeatures,
        clip: MaskClip,
        trained: Trained,
        empty: Float[Tensor, "1 T E"],
    ):
        """Take the parts, filled.

        Args:
          config: sizes.
          diffusion: Stable Diffusion.
          clip: CLIP's image tower.
          trained: ODISE's own.
          empty: what Stable Diffusion's text encoder says of an empty caption.
        """
        super().__init__()
        self.config = config
        self.diffusion, self.clip, self.trained = diffusion, clip, trained
        self.register_buffer("empty", empty)

    def maps(self, images: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B D h w"]]:
        """Return the feature maps of padded images in 0..1, at the four strides."""
        return slide(images, self.config.window, self._window_maps)

    def _window_maps(self, windows: Tensor) -> list[Tensor]:
        embedding = self.clip.image(windows)
        condition, shift = self.trained.captioner(embedding, self.empty)
        taps = self.diffusion(windows, condition, shift)
        return self.trained.pyramid(taps, self.config.window)

    def forward(
        self, image: Float[Tensor, "3 h w"]
    ) -> tuple[Masks, Float[Tensor, "Q h w"], Float[Tensor, "Q P"]]:
        """Return masks of one image.

        Args:
          image: in 0..1.

        Returns:
          What the queries say, the logits of their masks at the image's size, and
          CLIP's embeddings of what is inside of them.
        """
        padded, (height, width) = pad(image, self.config.window)
        said = self.trained.generator(self.maps(padded))
        full = nn.functional.interpolate(
            said.logits, padded.shape[-2:], mode="bilinear", align_corners=False
        )[0, :, :height, :width]
        return said, full, self.clip.masks(image[None], full)
