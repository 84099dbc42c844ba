"""The models that ODISE leaves as they are: Stable Diffusion 1.3 and CLIP's images."""

import functools
from typing import Any

import torch
import transformers
from jaxtyping import Float
from torch import Tensor

from sas_jax.registry import LoadOptions
from sas_jax.teachers.odise.diffusion import STEP, DiffusionFeatures
from sas_jax.teachers.odise.mask_clip import MaskClip
from sas_jax.teachers.pretrained import load_pretrained, reading
from sas_jax.weights.find import find_folder

TOKENS = 77
_BEGIN, _END = 49406, 49407
# Variance of Stable Diffusion 1.x at the first step.
_SIGNAL = 1 - 0.00085


def load(
    options: LoadOptions, window: int
) -> tuple[DiffusionFeatures, MaskClip, Float[Tensor, "1 77 768"]]:
    """Return Stable Diffusion's taps, CLIP, and what an empty caption means to it.

    Raises:
      WeightsMissing: where one of them is not on this machine.
      InputError: for a file that does not fill its network.
    """
    # imported here: each class pulls in half of diffusers, with its log lines
    import diffusers

    read = functools.partial(load_pretrained, what="odise")
    folder = find_folder("odise", download=options.download)
    unet = read(diffusers.UNet2DConditionModel, folder, subfolder="unet")
    vae = read(diffusers.AutoencoderKL, folder, subfolder="vae")
    text = read(transformers.CLIPTextModel, folder, subfolder="text_encoder")
    with reading(folder / "scheduler", "odise"):
        settings = diffusers.DDIMScheduler.from_pretrained(
            folder, subfolder="scheduler", local_files_only=True
        )
        signal = float(settings.alphas_cumprod[STEP])
    clip = find_folder("clip-vit-l14-336", download=options.download)
    tower = read(transformers.CLIPVisionModelWithProjection, clip)
    taps = DiffusionFeatures(unet, vae, signal, window)
    return taps, MaskClip(tower), empty_caption(text)


@torch.no_grad()
def empty_caption(text: Any) -> Float[Tensor, "1 77 D"]:
    """Return what a `CLIPTextModel` says of no words, as Stable Diffusion pads them."""
    ids = torch.tensor([[_BEGIN] + [_END] * (TOKENS - 1)])
    return text(input_ids=ids).last_hidden_state


def untrained(
    window: int,
) -> tuple[DiffusionFeatures, MaskClip, Float[Tensor, "1 77 768"]]:
    """Return networks of the published sizes with random weights.

    In place of the text encoder, which says one constant only, stands that constant.
    """
    import diffusers

    unet = diffusers.UNet2DConditionModel(sample_size=64, cross_attention_dim=768)
    vae = diffusers.AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=4,
    )
    tower = transformers.CLIPVisionModelWithProjection(
        transformers.CLIPVisionConfig(
            hidden_size=1024,
            intermediate_size=4096,
            num_hidden_layers=24,
            num_attention_heads=16,
            image_size=336,
            patch_size=14,
            projection_dim=768,
        )
    )
    taps = DiffusionFeatures(unet, vae, _SIGNAL, window)
    return taps, MaskClip(tower), torch.randn(1, TOKENS, 768)
