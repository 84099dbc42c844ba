"""Tiny random networks of transformers, written as the hub has them, and images."""

import json

import numpy as np
import tiny_sam
import tokenizers
import torch
import transformers

from sas_jax.text import minilm_files

NAMES = ("wall", "chair", "table", "sofa", "door-stuff")


def classes(names=NAMES):
    """Return names as configurations take them."""
    return {
        "id2label": dict(enumerate(names)),
        "label2id": {name: i for i, name in enumerate(names)},
    }


def picture(height, width, seed=0):
    """Return an image of a few flat patches and noise."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (3, 4, 3))
    rows, columns = np.arange(height) * 3 // height, np.arange(width) * 4 // width
    noise = random.integers(-20, 20, (height, width, 3))
    return (coarse[rows][:, columns] + noise).clip(0, 255).astype(np.uint8)


def write(network, folder, size=None):
    """Write a network as `save_pretrained` does, and the size of its images."""
    network.save_pretrained(folder)
    if size is not None:
        stated = {"size": {"shortest_edge": size[0], "longest_edge": size[1]}}
        (folder / "preprocessor_config.json").write_text(json.dumps(stated))
    return folder


def seeded(make, seed=0):
    """Return what a function makes with PyTorch's generator at a seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make().eval()


def eomt(names=NAMES):
    """Return EoMT for images of 64 pixels, decided enough to have masks."""
    config = transformers.EomtConfig(
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=64,
        patch_size=8,
        num_blocks=1,
        num_queries=8,
        num_register_tokens=1,
        **classes(names),
    )
    network = seeded(lambda: transformers.EomtForUniversalSegmentation(config))
    with torch.no_grad():
        network.attn_mask_probs.zero_()
        network.class_predictor.weight.mul_(40)
        network.embeddings.patch_embeddings.projection.weight.mul_(20)
    return network


def blip():
    """Return BLIP for images of 32 pixels and BERT's vocabulary."""
    text = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "initializer_range": 0.3,
    }
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
        "initializer_range": 0.2,
    }
    config = transformers.BlipConfig(text_config=text, vision_config=vision)
    return seeded(lambda: transformers.BlipForConditionalGeneration(config))


def write_blip(folder):
    """Write BLIP and BERT's vocabulary."""
    blip().save_pretrained(folder)
    minilm_files.load_tokenizer().save(str(folder / "tokenizer.json"))
    return folder


def grounding_dino():
    """Return Grounding DINO with BERT's vocabulary, sure enough to have boxes."""
    backbone = transformers.SwinConfig(
        image_size=64,
        patch_size=4,
        embed_dim=16,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
        window_size=4,
        out_indices=[2, 3, 4],
    )
    text = transformers.BertConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        initializer_range=0.5,
    )
    config = transformers.GroundingDinoConfig(
        backbone_config=backbone,
        text_config=text,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        num_queries=20,
        max_text_len=40,
    )
    network = seeded(lambda: transformers.GroundingDinoForObjectDetection(config))
    with torch.no_grad():
        for head in network.bbox_embed:
            head.layers[-1].weight.normal_(0, 1, generator=torch.manual_seed(1))
    return network


def write_grounded(folder):
    """Write the detector, its tokenizer and SAM 2 beside it."""
    write(grounding_dino(), folder, size=(96, 192))
    minilm_files.load_tokenizer().save(str(folder / "tokenizer.json"))
    (folder / "sam2").mkdir()
    tiny_sam.tiny_sam2().save_pretrained(folder / "sam2")
    return folder


def florence2():
    """Return Florence-2 for images of 64 pixels, and few words."""
    vision = {
        "depths": [1, 1, 1, 1],
        "embed_dim": [8, 16, 16, 32],
        "num_heads": [1, 1, 2, 2],
        "num_groups": [1, 1, 2, 2],
        "window_size": 4,
        "projection_dim": 32,
        "initializer_range": 0.2,
    }
    text = {
        "model_type": "bart",
        "vocab_size": 51290,
        "d_model": 32,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 64,
        "decoder_ffn_dim": 64,
        "init_std": 0.3,
    }
    config = transformers.Florence2Config(text_config=text, vision_config=vision)
    return seeded(lambda: transformers.Florence2ForConditionalGeneration(config))


def place_tokenizer():
    """Return a tokenizer of letters, places and an image, numbered as the real one."""
    words = {f"<{i}>": i for i in range(51290)}
    named = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<image>": 51289}
    named |= {f"<loc_{i}>": 50269 + i for i in range(1000)}
    named |= {chr(c): c for c in range(32, 127)}
    numbers = set(named.values())
    vocab = {w: i for w, i in words.items() if i not in numbers} | named
    model = tokenizers.models.WordLevel(vocab, unk_token="<unk>")
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", "<image>"])
    tokenizer.add_tokens([f"<loc_{i}>" for i in range(1000)])
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Split("", "isolated")
    return tokenizer


def write_florence2(folder):
    """Write Florence-2 and a tokenizer of letters."""
    florence2().save_pretrained(folder)
    stated = {"size": {"height": 64, "width": 64}}
    (folder / "preprocessor_config.json").write_text(json.dumps(stated))
    place_tokenizer().save(str(folder / "tokenizer.json"))
    return folder


def oneformer(names=NAMES):
    """Return OneFormer with CLIP's vocabulary, decided enough to have masks."""
    backbone = transformers.SwinConfig(
        image_size=64,
        embed_dim=16,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
        window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = transformers.OneFormerConfig(
        backbone_config=backbone,
        num_queries=10,
        conv_dim=32,
        mask_dim=32,
        hidden_dim=32,
        encoder_feedforward_dim=32,
        dim_feedforward=32,
        encoder_layers=2,
        decoder_layers=3,
        num_attention_heads=2,
        text_encoder_width=32,
        text_encoder_num_layers=1,
        **classes(names),
    )
    network = seeded(lambda: transformers.OneFormerForUniversalSegmentation(config))
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        decoder = network.model.transformer_module
        for name, weight in decoder.named_parameters():
            if weight.ndim == 2:
                wide = 3.0 if "class_embed" in name else 0.4
                weight.normal_(0, wide, generator=generator)
    return network


def sam3():
    """Return SAM 3 for images of 112 pixels and CLIP's vocabulary, sure of itself."""
    parts = transformers.models.sam3.configuration_sam3
    small = {"hidden_size": 32, "num_attention_heads": 4}
    layers = {**small, "intermediate_size": 64}
    backbone = parts.Sam3ViTConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=112,
        patch_size=14,
        window_size=4,
        global_attn_indexes=[1],
        pretrain_image_size=56,
        initializer_range=0.2,
    )
    config = transformers.Sam3Config(
        vision_config=parts.Sam3VisionConfig(
            backbone_config=backbone,
            fpn_hidden_size=32,
            backbone_feature_sizes=[[32, 32], [16, 16], [8, 8]],
        ),
        text_config=transformers.CLIPTextConfig(
            vocab_size=49408,
            hidden_size=32,
            intermediate_size=64,
            projection_dim=16,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=32,
            hidden_act="gelu",
        ),
        geometry_encoder_config=parts.Sam3GeometryEncoderConfig(num_layers=1, **layers),
        detr_encoder_config=parts.Sam3DETREncoderConfig(num_layers=1, **layers),
        detr_decoder_config=parts.Sam3DETRDecoderConfig(
            num_layers=2, num_queries=10, **layers
        ),
        mask_decoder_config=parts.Sam3MaskDecoderConfig(**small),
    )
    network = seeded(lambda: transformers.Sam3Model(config))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if weight.ndim > 1 and not name.startswith(("vision", "text_encoder")):
                weight.normal_(0, 0.3, generator=generator)
    return network
