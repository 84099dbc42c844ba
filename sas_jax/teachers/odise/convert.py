"""From the names of ODISE's published files to those of `network.Trained`.

The names of Mask2Former's parts are those of its own checkpoints; the others are known
from public discussions of ODISE's code and were never seen in a file here. A file with
others is refused with their names, never half loaded.
"""

import re
from collections.abc import Mapping

from torch import Tensor

FROZEN = (
    *("clip_head.", "category_head.clip.", "criterion."),
    *("backbone.feature_extractor.ldm_extractor.", "backbone.feature_extractor.clip."),
)
"""Beginnings of names of what is not ODISE's own, or for training."""

_PREDICTOR = r"^sem_seg_head\.predictor\."
_PIXELS = r"^sem_seg_head\.pixel_decoder\."
_LAYER = r"generator.decoder.decoder.layers."
_RENAMES = (
    (r"^backbone\.feature_extractor\.", "captioner."),
    (r"^backbone\.feature_projections\.(\d+)\.0\.", r"pyramid.feature_projections.\1."),
    (r"\.(conv\d|shortcut)\.norm\.", r".\1.1."),
    (r"^(pyramid\..*\.(?:conv\d|shortcut))\.weight$", r"\1.0.weight"),
    (rf"{_PIXELS}input_proj\.", "generator.pixel_decoder.input_projections."),
    (rf"{_PIXELS}transformer\.level_embed$", "generator.pixel_decoder.level_embed"),
    (rf"{_PIXELS}transformer\.", "generator.pixel_decoder."),
    (rf"{_PIXELS}mask_features\.", "generator.pixel_decoder.mask_projection."),
    (rf"{_PIXELS}(adapter_1|layer_1)\.weight", r"generator.pixel_decoder.\1.0.weight"),
    (rf"{_PIXELS}(adapter_1|layer_1)\.norm\.", r"generator.pixel_decoder.\1.1."),
    (r"(pixel_decoder\.encoder\.layers\.\d+)\.linear(\d)\.", r"\1.fc\2."),
    (r"(pixel_decoder\.encoder\.\S+)\.norm1\.", r"\1.self_attn_layer_norm."),
    (r"(pixel_decoder\.encoder\.\S+)\.norm2\.", r"\1.final_layer_norm."),
    (rf"{_PREDICTOR}query_feat\.", "generator.decoder.queries_features."),
    (rf"{_PREDICTOR}query_embed\.", "generator.decoder.queries_embedder."),
    (rf"{_PREDICTOR}level_embed\.", "generator.decoder.level_embed."),
    (rf"{_PREDICTOR}decoder_norm\.", "generator.decoder.decoder.layernorm."),
    (
        rf"{_PREDICTOR}mask_embed\.layers\.",
        "generator.decoder.decoder.mask_predictor.mask_embedder.",
    ),
    (r"(mask_embedder\.\d)\.", r"\1.0."),
    (
        rf"{_PREDICTOR}transformer_cross_attention_layers\.(\d+)\.multihead_attn\.",
        rf"{_LAYER}\1.cross_attn.",
    ),
    (
        rf"{_PREDICTOR}transformer_cross_attention_layers\.(\d+)\.norm\.",
        rf"{_LAYER}\1.cross_attn_layer_norm.",
    ),
    (
        rf"{_PREDICTOR}transformer_self_attention_layers\.(\d+)\.norm\.",
        rf"{_LAYER}\1.self_attn_layer_norm.",
    ),
    (rf"{_PREDICTOR}transformer_self_attention_layers\.", _LAYER),
    (
        rf"{_PREDICTOR}transformer_ffn_layers\.(\d+)\.norm\.",
        rf"{_LAYER}\1.final_layer_norm.",
    ),
    (rf"{_PREDICTOR}transformer_ffn_layers\.(\d+)\.linear", rf"{_LAYER}\1.fc"),
    (rf"{_PREDICTOR}post_mask_embed\.logit_scale$", "generator.logit_scale"),
    (rf"{_PREDICTOR}post_mask_embed\.", "generator.pooled."),
    (r"pooled\.mask_embed\.1\.layers\.(\d)\.", r"pooled.mask_embed.mlp\1."),
    *((rf"\.mlp{i}\.", f".{2 * i + 1}.") for i in range(3)),
    (r"^(?:category_head|word_head)\.null_embed$", "null_embed"),
)
"""Patterns and replacements, applied one after the other."""

_JOINT = re.compile(r"^(generator\..*\.layers\.\d+\.self_attn)\.in_proj_(weight|bias)$")


def convert(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a checkpoint's tensors under the names of `network.Trained`.

    Args:
      state: of `checkpoint.read_state`.
    """
    out: dict[str, Tensor] = {}
    for name, value in state.items():
        if name.startswith(FROZEN):
            continue
        for pattern, replacement in _RENAMES:
            name = re.sub(pattern, replacement, name)
        if joint := _JOINT.match(name):
            for part, third in zip("qkv", value.chunk(3), strict=True):
                out[f"{joint[1]}.{part}_proj.{joint[2]}"] = third
        else:
            out[name] = value
    return out
