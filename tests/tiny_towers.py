"""Tiny random models of transformers, written to folders as their authors' files lie.

Every parameter is drawn anew: as they are initialised many are zero or one, and an
adapter that left out a norm or a bias would not be found.
"""

import pathlib

import numpy as np
import torch
import transformers

from sas_jax.text import clip_weights

CLIP_TEXT = clip_weights.Size(dim=24, width=16, layers=2, heads=1)
_VISION = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
}


def clip_settings(size=CLIP_TEXT):
    """Return the settings of CLIP's text tower of a size, for transformers."""
    return {
        "vocab_size": size.vocabulary,
        "hidden_size": size.width,
        "intermediate_size": 4 * size.width,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
        "max_position_embeddings": size.length,
        "projection_dim": size.dim,
    }


def clip(folder: pathlib.Path, patch: int = 16) -> transformers.CLIPModel:
    """Write a CLIP of 3 x 3 patches, and return it."""
    vision = {"image_size": 3 * patch, "patch_size": patch, "projection_dim": 24}
    config = transformers.CLIPConfig(
        text_config=clip_settings(), vision_config=_VISION | vision, projection_dim=24
    )
    return written(transformers.CLIPModel(config), folder)


def written(model, folder: pathlib.Path):
    """Draw all parameters of a model, write it to a folder, and return it."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(parameter + 0.2 * noise)
    model.eval().requires_grad_(False).save_pretrained(folder)
    return model


def pictures(*sizes: tuple[int, int]) -> list[np.ndarray]:
    """Return noise as uint8 RGB of sizes (H, W)."""
    rng = np.random.default_rng(7)
    return [rng.integers(0, 256, (*size, 3), np.uint8) for size in sizes]


def clipseg(folder: pathlib.Path) -> transformers.CLIPSegForImageSegmentation:
    """Write a CLIPSeg on patches of 16 pixels, and return it."""
    config = transformers.CLIPSegConfig(
        text_config=clip_settings(),
        vision_config=_VISION | {"image_size": 48, "patch_size": 16},
        projection_dim=24,
        extract_layers=[0, 1, 2],
        reduce_dim=8,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=16,
        use_complex_transposed_convolution=True,
    )
    return written(transformers.CLIPSegForImageSegmentation(config), folder)


_TEXT = {
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 12,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": 0,
}
_PIECES = ["\u2581", *"abcdefghijklmnopqrstuvwxyz.", "be", "bed", "\u2581bed", "ha"]
_MERGES = [("b", "e"), ("be", "d"), ("\u2581", "bed"), ("h", "a")]


def siglip2(folder: pathlib.Path) -> transformers.SiglipModel:
    """Write a SigLIP 2 of 3 x 3 patches of 16 pixels and its tokenizer."""
    marks = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    numbers = {piece: i for i, piece in enumerate([*marks, *_PIECES])}
    transformers.Siglip2Tokenizer(
        vocab=numbers, merges=_MERGES, add_eos_token=True, padding_side="right"
    ).save_pretrained(folder)
    config = transformers.SiglipConfig(
        text_config=_TEXT | {"vocab_size": len(numbers)},
        vision_config=_VISION | {"image_size": 48, "patch_size": 16},
    )
    return written(transformers.SiglipModel(config), folder)


def tipsv2(folder: pathlib.Path) -> transformers.Tipsv2Model:
    """Write a TIPSv2 of 3 x 3 patches of 14 pixels and its tokenizer."""
    numbers = {piece: i for i, piece in enumerate(["<pad>", "<unk>", *_PIECES])}
    tokenizer = transformers.Tipsv2Tokenizer(vocab=numbers, merges=_MERGES)
    tokenizer.save_pretrained(folder)
    vision = {k: n for k, n in _VISION.items() if k != "intermediate_size"}
    config = transformers.Tipsv2Config(
        text_config=_TEXT | {"vocab_size": len(numbers)},
        vision_config=vision | {"image_size": 42, "patch_size": 14, "mlp_ratio": 2},
    )
    return written(transformers.Tipsv2Model(config), folder)
