"""Random networks with the topologies of SAM and SAM 2, for images of 64 and 128."""

import torch
import transformers
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

SAM_EDGE, SAM2_EDGE = 64, 128


def _decoder(kind, **more):
    return kind(
        hidden_size=16,
        mlp_dim=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        iou_head_hidden_dim=16,
        **more,
    )


def tiny_sam(seed=0):
    """Return network and processor."""
    torch.manual_seed(seed)
    vision = transformers.SamVisionConfig(
        hidden_size=32,
        output_channels=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=SAM_EDGE,
        patch_size=8,
        mlp_dim=64,
        num_pos_feats=8,
        window_size=4,
        global_attn_indexes=[1],
    )
    prompt = transformers.SamPromptEncoderConfig(
        hidden_size=16, image_size=SAM_EDGE, patch_size=8, mask_input_channels=4
    )
    config = transformers.SamConfig(
        vision_config=vision.to_dict(),
        prompt_encoder_config=prompt.to_dict(),
        mask_decoder_config=_decoder(
            transformers.SamMaskDecoderConfig, iou_head_depth=2
        ).to_dict(),
    )
    processor = transformers.SamProcessor(
        SamImageProcessorPil(
            size={"longest_edge": SAM_EDGE},
            pad_size={"height": SAM_EDGE, "width": SAM_EDGE},
            mask_size={"longest_edge": 16},
            mask_pad_size={"height": 16, "width": 16},
        )
    )
    return transformers.SamModel(config).eval(), processor


def tiny_sam2(seed=0):
    """Return the network."""
    torch.manual_seed(seed)
    backbone = transformers.Sam2HieraDetConfig(
        hidden_size=8,
        image_size=[SAM2_EDGE, SAM2_EDGE],
        num_attention_heads=1,
        blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=[8, 16, 32, 64],
        num_attention_heads_per_stage=[1, 2, 4, 8],
        window_size_per_stage=[4, 4, 4, 4],
        window_positional_embedding_background_size=[4, 4],
        global_attention_blocks=[3],
    )
    vision = transformers.Sam2VisionConfig(
        backbone_config=backbone,
        backbone_channel_list=[64, 32, 16, 8],
        backbone_feature_sizes=[[32, 32], [16, 16], [8, 8]],
        fpn_hidden_size=16,
    )
    config = transformers.Sam2Config(
        vision_config=vision,
        prompt_encoder_config=transformers.Sam2PromptEncoderConfig(
            hidden_size=16, image_size=SAM2_EDGE, patch_size=16, mask_input_channels=4
        ),
        mask_decoder_config=_decoder(transformers.Sam2MaskDecoderConfig),
    )
    return transformers.Sam2Model(config).eval()
