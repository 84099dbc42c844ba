"""The network of the small text-conditional diffusion model, and its noise schedule.

64x64 RGB images are folded to 12 channels on a 32x32 grid (space to depth), so that
the U-Net of diffusers works on grids 32, 16, 8 with cross-attention at 16 and 8. It
predicts v = alpha * noise - sigma * image.
B images, L tokens, D token state length.
"""

import dataclasses

import diffusers
import numpy as np
import torch
from diffusers.models.attention_processor import AttnProcessor
from jaxtyping import Float, UInt8


@dataclasses.dataclass(frozen=True)
class SmallDiffusionConfig:
    """Size and noise schedule of the network.

    Attributes:
      image_size: edge of the square images, pixels.
      patch: edge of the pixel blocks folded into channels.
      channels: width of the U-Net at grids 32, 16 and 8.
      heads: attention heads.
      text_dim: D.
      text_length: L.
      context: a token is told to the U-Net together with the ones before it, this many
        in all, so that the noun of "red chair" knows its colour.
      train_steps: number of noise levels while training.
    """

    image_size: int = 64
    patch: int = 2
    channels: tuple[int, ...] = (32, 64, 128)
    heads: int = 4
    text_dim: int = 384
    text_length: int = 48
    context: int = 3
    train_steps: int = 1000

    @property
    def grid(self) -> int:
        """Return the edge of the folded image."""
        return self.image_size // self.patch


def build_unet(config: SmallDiffusionConfig) -> diffusers.UNet2DConditionModel:
    """Build the U-Net with random weights (torch's global generator)."""
    depth = 3 * config.patch**2
    attending = len(config.channels) - 1
    unet = diffusers.UNet2DConditionModel(
        sample_size=config.grid,
        in_channels=depth,
        out_channels=depth,
        layers_per_block=1,
        block_out_channels=config.channels,
        down_block_types=("DownBlock2D", *["CrossAttnDownBlock2D"] * attending),
        up_block_types=(*["CrossAttnUpBlock2D"] * attending, "UpBlock2D"),
        cross_attention_dim=config.text_dim,
        encoder_hid_dim=config.context * config.text_dim,
        encoder_hid_dim_type="text_proj",
        attention_head_dim=config.heads,  # diffusers reads this as number of heads
        norm_num_groups=8,
    )
    # At first every token stands for itself; what its neighbours add is learnt.
    with torch.no_grad():
        mixing = unet.encoder_hid_proj
        mixing.weight.zero_()
        mixing.weight[:, : config.text_dim] = torch.eye(config.text_dim)
        mixing.bias.zero_()
    # On CPUs plain products beat the fused kernel at these sizes, mostly backwards.
    unet.set_attn_processor(AttnProcessor())
    return unet


def with_context(
    states: Float[torch.Tensor, "n L D"], context: int
) -> Float[torch.Tensor, "n L context*D"]:
    """Join every token's state with those of the tokens before it, nearest first."""
    padded = torch.nn.functional.pad(states, (0, 0, context - 1, 0))
    length = states.shape[1]
    shifted = [
        padded[:, context - 1 - back : context - 1 - back + length]
        for back in range(context)
    ]
    return torch.cat(shifted, -1)


def noise_schedule(config: SmallDiffusionConfig) -> dict:
    """Return the arguments that every scheduler of this model shares."""
    return {
        "num_train_timesteps": config.train_steps,
        "beta_schedule": "squaredcos_cap_v2",
        "prediction_type": "v_prediction",
    }


def build_scheduler(config: SmallDiffusionConfig) -> diffusers.DDIMScheduler:
    """Return the deterministic DDIM sampler; it ends its steps at full noise."""
    return diffusers.DDIMScheduler(
        **noise_schedule(config),
        timestep_spacing="trailing",
        set_alpha_to_one=True,
        clip_sample=True,
    )


def fold(
    images: UInt8[np.ndarray, "B H W 3"], patch: int
) -> Float[torch.Tensor, "B C h w"]:
    """Turn images into the network's input in [-1, 1], blocks folded into channels."""
    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)
    scaled = pixels.float() / 127.5 - 1
    return torch.nn.functional.pixel_unshuffle(scaled, patch)


def unfold(
    sample: Float[torch.Tensor, "B C h w"], patch: int
) -> UInt8[np.ndarray, "B H W 3"]:
    """Invert `fold`, clipping to [-1, 1]."""
    pixels = torch.nn.functional.pixel_shuffle(sample.float().clamp(-1, 1), patch)
    scaled = ((pixels + 1) * 127.5).round().to(torch.uint8)
    return scaled.permute(0, 2, 3, 1).numpy()
