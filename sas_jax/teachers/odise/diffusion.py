"""Features from the inside of Stable Diffusion 1.x: one denoising step of an image.

Source: arXiv 2303.04803 section 3.3: an image is encoded, noised (step 0) and denoised
  once; feature maps of the autoencoder and of the U-Net are taken on the way. Blocks
  are numbered as in CompVis' latent diffusion: residual blocks of the encoder and of
  the decoder in the order of computation, `output_blocks` of the U-Net.
"""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn


@dataclasses.dataclass(frozen=True)
class Tap:
    """Name a block whose input is a feature map.

    Attributes:
      part: of the diffusion model.
      block: its number; of the U-Net, that of the block on the way up. The input of
        such a block is the joint of the way up and of the way down.
    """

    part: Literal["encoder", "unet", "decoder"]
    block: int


TAPS = (
    *(Tap("encoder", 5), Tap("encoder", 7)),
    *(Tap("unet", 2), Tap("unet", 5), Tap("unet", 8), Tap("unet", 11)),
    *(Tap("decoder", 2), Tap("decoder", 5)),
)
"""ODISE's: of 512, 512, 2560, 1920, 960, 640, 512 and 512 channels."""

STEP = 0
NOISE_SEED = 42


class _Enough(Exception):
    """Ends a forward pass whose rest nobody needs."""


class DiffusionFeatures(nn.Module):
    """The feature maps of an image at the taps.

    Attributes:
      channels: of each tap.
      strides: pixels of the image per cell, of each tap.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    noise: Tensor

    def __init__(
        self,
        unet: Any,
        vae: Any,
        signal: float,
        window: int = 512,
        taps: tuple[Tap, ...] = TAPS,
    ):
        """Take the parts of a pipeline of diffusers.

        Args:
          unet: `UNet2DConditionModel`.
          vae: `AutoencoderKL`.
          signal: share of the image in a noised latent's variance at `STEP`
            (`scheduler.alphas_cumprod[STEP]`).
          window: edge of the square images, pixels.
          taps: see `Tap`.
        """
        super().__init__()
        self.unet, self.vae, self.taps = unet, vae, taps
        self.window = window
        self._signal = signal
        blocks = [self._block(tap) for tap in taps]
        self.channels = tuple(block.in_channels for block in blocks)
        self.strides = tuple(self._stride(tap) for tap in taps)
        edge = window // self._factor
        # One noise for all images: features of an image do not depend on chance.
        generator = torch.Generator().manual_seed(NOISE_SEED)
        shape = (1, vae.config.latent_channels, edge, edge)
        noise = torch.randn(shape, generator=generator)
        self.register_buffer("noise", noise, persistent=False)

    @property
    def _factor(self) -> int:
        """Pixels per cell of a latent."""
        return 2 ** (len(self.vae.encoder.down_blocks) - 1)

    def _block(self, tap: Tap) -> Any:
        if tap.part == "encoder":
            levels, per_level = self.vae.encoder.down_blocks, 0
        elif tap.part == "decoder":
            levels, per_level = self.vae.decoder.up_blocks, 1
        else:
            levels, per_level = self.unet.up_blocks, 1
        config = self.unet.config if tap.part == "unet" else self.vae.config
        per_level += config.layers_per_block
        return levels[tap.block // per_level].resnets[tap.block % per_level]

    def _stride(self, tap: Tap) -> int:
        if tap.part == "encoder":
            return 2 ** (tap.block // self.vae.config.layers_per_block)
        config = self.unet.config if tap.part == "unet" else self.vae.config
        level = tap.block // (config.layers_per_block + 1)
        if tap.part == "decoder":
            return self._factor // 2**level
        return self._factor * 2 ** (len(self.unet.up_blocks) - 1 - level)

    def forward(
        self,
        images: Float[Tensor, "B 3 window window"],
        condition: Float[Tensor, "B T D"],
        time_shift: Float[Tensor, "B E"] | None = None,
    ) -> list[Float[Tensor, "B C h w"]]:
        """Return the inputs of the tapped blocks.

        Args:
          images: in 0..1.
          condition: in place of the text encoder's output.
          time_shift: added to the embedding of the step.
        """
        found: dict[Tap, Tensor] = {}
        with self._recording("encoder", found):
            mean = self.vae.encode(images * 2 - 1).latent_dist.mean
        latent = mean * self.vae.config.scaling_factor
        noised = latent * self._signal**0.5 + self.noise * (1 - self._signal) ** 0.5
        step = torch.full((len(images),), STEP, device=images.device)
        with self._recording("unet", found), self._shifted(time_shift):
            self.unet(noised, step, encoder_hidden_states=condition)
        with self._recording("decoder", found):
            self.vae.decode(mean)
        return [found[tap] for tap in self.taps]

    @contextlib.contextmanager
    def _recording(self, part: str, found: dict[Tap, Tensor]) -> Iterator[None]:
        """Keep the inputs of a part's taps; end its pass at the last of them.

        The encoder's goes on: its end is the latent.
        """
        taps = [tap for tap in self.taps if tap.part == part]

        def keep(tap: Tap):
            def hook(block, arguments) -> None:
                found[tap] = arguments[0]
                if part != "encoder" and all(other in found for other in taps):
                    raise _Enough

            return hook

        handles = [self._block(t).register_forward_pre_hook(keep(t)) for t in taps]
        try:
            with contextlib.suppress(_Enough):
                yield
        finally:
            for handle in handles:
                handle.remove()

    @contextlib.contextmanager
    def _shifted(self, shift: Tensor | None) -> Iterator[None]:
        if shift is None:
            yield
            return
        handle = self.unet.time_embedding.register_forward_hook(
            lambda module, arguments, embedding: embedding + shift
        )
        try:
            yield
        finally:
            handle.remove()
