"""Stable Diffusion 1.5 at its true size with random weights: for trying, offline.

Everything but the numbers is real: layers and widths of the networks, the schedule, and
CLIP's vocabulary.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import transformers

from sas_jax.teachers.checkpoint import built
from sas_jax.text import clip_tokens

if TYPE_CHECKING:
    import diffusers

TEXT = {
    "vocab_size": clip_tokens.NUM_TOKENS,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "projection_dim": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "max_position_embeddings": clip_tokens.MAX_TOKENS,
    "hidden_act": "quick_gelu",
    "bos_token_id": clip_tokens.START,
    "eos_token_id": clip_tokens.END,
    "pad_token_id": clip_tokens.END,
}
UNET = {
    "sample_size": 64,
    "in_channels": 4,
    "out_channels": 4,
    "layers_per_block": 2,
    "block_out_channels": (320, 640, 1280, 1280),
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
DECODER = {
    "sample_size": 512,
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 4,
    "layers_per_block": 2,
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
}
SCHEDULE = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
    "skip_prk_steps": True,
}


def random_pipeline(seed: int) -> diffusers.StableDiffusionPipeline:
    """Build it; 4.3 GB of weights follow from the seed, in half a minute.

    Raises:
      WeightsMissing: where CLIP's vocabulary is not found.
    """
    import diffusers

    return diffusers.StableDiffusionPipeline(
        tokenizer=clip_tokenizer(),
        text_encoder=built(
            lambda: transformers.CLIPTextModel(transformers.CLIPTextConfig(**TEXT)),
            seed,
        ),
        unet=built(lambda: diffusers.UNet2DConditionModel(**UNET), seed + 1),
        vae=built(lambda: diffusers.AutoencoderKL(**DECODER), seed + 2),
        scheduler=diffusers.PNDMScheduler(**SCHEDULE),
        safety_checker=None,
        feature_extractor=None,
        image_encoder=None,
        requires_safety_checker=False,
    )


def clip_tokenizer() -> transformers.CLIPTokenizer:
    """Return CLIP's tokenizer as pipelines take it; raises as `random_pipeline`."""
    known = json.loads(clip_tokens.load_tokenizer().to_str())["model"]
    return transformers.CLIPTokenizer(
        vocab=known["vocab"],
        merges=[tuple(pair) for pair in known["merges"]],
        model_max_length=clip_tokens.MAX_TOKENS,
    )
