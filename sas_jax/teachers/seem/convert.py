"""SEEM's published files, and their names as those of `network.Seem`."""

import pathlib
import re
from collections.abc import Mapping

from torch import Tensor

from sas_jax.teachers.checkpoint import built, fill, read_state, sized, without_prefix
from sas_jax.teachers.seem.architecture import architecture_of
from sas_jax.teachers.seem.network import Seem

_ANCHOR = "backbone.patch_embed.proj.weight"

_OWN = ("backbone.", "pixel_decoder.", "mask_decoder.", "text.", "logit_scale")
"""Beginnings of the names of `network.Seem`."""

_HEAD = r"^sem_seg_head\.predictor\."
_TEXT = rf"{_HEAD}lang_encoder\.lang_encoder\."
_BLOCK = rf"{_TEXT}resblocks\.(\d+)\."
_TEXT_BLOCK = r"text.text_model.encoder.layers.\1."
_RENAMES = (
    (r"^backbone\.norm(\d)\.", r"backbone.norms.\1."),
    (r"^backbone\.patch_embed\.proj\.", "backbone.embeddings.patch_embed.proj."),
    (r"^backbone\.patch_embed\.norm\.", "backbone.embeddings.norm."),
    (r"^backbone\.layers\.(\d+)\.blocks\.", r"backbone.stages.\1.layers."),
    (r"^backbone\.layers\.", "backbone.stages."),
    (r"\.modulation\.f\.", ".modulation.projection_in."),
    (r"\.modulation\.h\.", ".modulation.projection_context."),
    (r"\.modulation\.proj\.", ".modulation.projection_out."),
    (r"\.downsample\.proj\.", ".downsample.projection."),
    (r"\.patch_embed\.proj\.", ".patch_embeddings.projection."),
    (r"^sem_seg_head\.pixel_decoder\.", "pixel_decoder."),
    (r"^pixel_decoder\.transformer\.encoder\.layers\.", "pixel_decoder.encoder."),
    (rf"{_HEAD}mask_embed\.layers\.0\.", "mask_decoder.mask_embed.0."),
    (rf"{_HEAD}mask_embed\.layers\.1\.", "mask_decoder.mask_embed.2."),
    (rf"{_HEAD}mask_embed\.layers\.2\.", "mask_decoder.mask_embed.4."),
    (
        rf"{_HEAD}transformer_cross_attention_layers\.(\d+)\.multihead_attn\.",
        r"mask_decoder.layers.\1.cross_attn.",
    ),
    (
        rf"{_HEAD}transformer_cross_attention_layers\.(\d+)\.norm\.",
        r"mask_decoder.layers.\1.cross_norm.",
    ),
    (
        rf"{_HEAD}transformer_self_attention_layers\.(\d+)\.norm\.",
        r"mask_decoder.layers.\1.self_norm.",
    ),
    (
        rf"{_HEAD}transformer_self_attention_layers\.",
        "mask_decoder.layers.",
    ),
    (
        rf"{_HEAD}transformer_ffn_layers\.(\d+)\.norm\.",
        r"mask_decoder.layers.\1.ffn_norm.",
    ),
    (rf"{_HEAD}transformer_ffn_layers\.", "mask_decoder.layers."),
    (rf"{_HEAD}lang_encoder\.logit_scale$", "logit_scale"),
    (rf"{_HEAD}lang_encoder\.lang_proj$", "text.text_projection.weight"),
    (
        rf"{_TEXT}positional_embedding$",
        "text.text_model.embeddings.position_embedding.weight",
    ),
    (rf"{_TEXT}token_embedding\.", "text.text_model.embeddings.token_embedding."),
    (rf"{_TEXT}ln_final\.", "text.text_model.final_layer_norm."),
    (rf"{_BLOCK}attn\.out_proj\.", rf"{_TEXT_BLOCK}self_attn.out_proj."),
    (rf"{_BLOCK}ln_(\d)\.", rf"{_TEXT_BLOCK}layer_norm\2."),
    (rf"{_BLOCK}mlp\.c_fc\.", rf"{_TEXT_BLOCK}mlp.fc1."),
    (rf"{_BLOCK}mlp\.c_proj\.", rf"{_TEXT_BLOCK}mlp.fc2."),
    (
        rf"{_HEAD}(query_\w+|level_embed|decoder_norm|class_embed|input_proj)\b",
        r"mask_decoder.\1",
    ),
)
"""Patterns and replacements, applied one after the other."""

_PYRAMID = re.compile(r"^pixel_decoder\.(adapter|layer)_(\d)\.(norm\.)?(\w+)$")
_JOINT = re.compile(rf"{_BLOCK}attn\.in_proj_(weight|bias)$")


def read_network(path: pathlib.Path, *, heads: int = 8, text_heads: int = 8) -> Seem:
    """Return the network of a published file, of whatever size it is.

    Args:
      path: `seem_focall_v0.pt`, or a safetensors file of the same names.
      heads: see `architecture_of`.
      text_heads: the same.

    Raises:
      InputError: naming what is missing or of another shape.
    """
    state = without_prefix(read_state(path), _ANCHOR)
    with sized("seem", path):
        sizes = architecture_of(state, heads=heads, text_heads=text_heads, where=path)
        network, ours = built(lambda: Seem(sizes), 0), convert(state)
    return fill(network, ours, what="seem", path=path)


def convert(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a checkpoint's tensors under the names of `network.Seem`.

    What this network has no part for is left out: prompts by points, strokes and
    sound, and what training alone needed.

    Args:
      state: of `checkpoint.without_prefix`.
    """
    out: dict[str, Tensor] = {}
    for name, value in state.items():
        if joint := _JOINT.match(name):
            layer, kind = joint.groups()
            for part, third in zip("qkv", value.chunk(3), strict=True):
                prefix = f"text.text_model.encoder.layers.{layer}.self_attn"
                out[f"{prefix}.{part}_proj.{kind}"] = third
        elif (renamed := _renamed(name)).startswith(_OWN):
            turned = renamed == "text.text_projection.weight"
            out[renamed] = value.T.contiguous() if turned else value
    return out


def _renamed(name: str) -> str:
    for pattern, replacement in _RENAMES:
        name = re.sub(pattern, replacement, name)
    if match := _PYRAMID.match(name):
        kind, number, norm, leaf = match.groups()
        part = {"adapter": "lateral", "layer": "output"}[kind]
        name = f"pixel_decoder.{part}.{int(number) - 1}.{norm or 'conv.'}{leaf}"
    return name
