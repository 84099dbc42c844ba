"""Stable Diffusion, CLIP and ODISE, small, in the arrangement of the large ones."""

import diffusers
import torch
import transformers

from sas_jax.teachers.checkpoint import built
from sas_jax.teachers.odise.config import OdiseConfig
from sas_jax.teachers.odise.diffusion import DiffusionFeatures
from sas_jax.teachers.odise.mask_clip import MaskClip
from sas_jax.teachers.odise.network import Odise, Trained

WINDOW, TOKENS = 64, 5
CONFIG = OdiseConfig(
    window=WINDOW,
    pyramid_dim=64,
    hidden_dim=32,
    mask_dim=32,
    clip_dim=24,
    encoder_ffn_dim=48,
    decoder_ffn_dim=40,
    encoder_layers=2,
    decoder_layers=4,
    heads=4,
    queries=7,
)


def diffusion(window=WINDOW):
    unet = diffusers.UNet2DConditionModel(
        sample_size=window // 8,
        block_out_channels=(8, 16, 16, 24),
        norm_num_groups=4,
        cross_attention_dim=12,
        attention_head_dim=4,
    )
    vae = diffusers.AutoencoderKL(
        block_out_channels=(8, 8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=4,
        norm_num_groups=4,
    )
    return DiffusionFeatures(unet, vae, 0.999, window)


def clip():
    config = transformers.CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=32,
        patch_size=8,
        projection_dim=CONFIG.clip_dim,
    )
    return MaskClip(transformers.CLIPVisionModelWithProjection(config))


def network(seed=0):
    def make():
        frozen = diffusion()
        trained = Trained(CONFIG, frozen, TOKENS)
        return Odise(CONFIG, frozen, clip(), trained, torch.randn(1, TOKENS, 12))

    return built(make, seed).requires_grad_(False)
