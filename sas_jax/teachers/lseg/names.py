"""The published file's names of LSeg's tensors, and those of transformers' DPT."""

import re
from collections.abc import MutableMapping

import torch

_PARTS = ("query", "key", "value")
_MODEL = "pretrained.model"
_MAP = "pretrained.act_postprocess{up}"
# `up` counts from 1, `down` to 1: the decoder's blocks begin at the coarsest map.
_BEGINNINGS = (
    (r"dpt\.embeddings\.patch_embeddings\.projection", f"{_MODEL}.patch_embed.proj"),
    (r"dpt\.embeddings\.position_embeddings", f"{_MODEL}.pos_embed"),
    (r"dpt\.embeddings", _MODEL),
    (r"dpt\.encoder\.layer", f"{_MODEL}.blocks"),
    (r"dpt\.layernorm", f"{_MODEL}.norm"),
    (r"neck\.reassemble_stage\.readout_projects\.(\d)\.0", f"{_MAP}.0.project.0"),
    (r"neck\.reassemble_stage\.layers\.(\d)\.projection", f"{_MAP}.3"),
    (r"neck\.reassemble_stage\.layers\.(\d)\.resize", f"{_MAP}.4"),
    (r"neck\.convs\.(\d)", "scratch.layer{up}_rn"),
    (r"neck\.fusion_stage\.layers\.(\d)", "scratch.refinenet{down}"),
    (r"head", "scratch.head1"),
)
# In this order: some are parts of others.
_WORDS = {
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    **{f"attention.attention.{part}": "attn.qkv" for part in _PARTS},
    "attention.output.dense": "attn.proj",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
    "residual_layer": "resConfUnit",
    "convolution": "conv",
    "batch_norm": "bn",
    "projection": "out_conv",
}


def published(name: str) -> str:
    """Return the published name of a tensor of the network.

    Query, key and value of a block share one; they are its thirds, in this order.
    """
    for beginning, start in _BEGINNINGS:
        if found := re.match(beginning, name):
            number = int(found[1]) if found.groups() else 0
            rest = name[found.end() :]
            for word, other in _WORDS.items():
                rest = rest.replace(word, other)
            return start.format(up=number + 1, down=4 - number) + rest
    return name


def to_published(state: MutableMapping[str, torch.Tensor]) -> None:
    """Rename the tensors of a whole network, in place."""
    parts: dict[str, list[torch.Tensor]] = {}
    for name in list(state):
        parts.setdefault(published(name), []).append(state.pop(name))
    for name, tensors in parts.items():
        state[name] = tensors[0] if len(tensors) == 1 else torch.cat(tensors)


def from_published(state: MutableMapping[str, torch.Tensor], names: list[str]) -> None:
    """Rename published tensors to those of the network, in place.

    Args:
      state: tensors by published names; others stay.
      names: of the network's tensors.
    """
    found = {}
    for name in names:
        part = re.search(r"\.attention\.attention\.(query|key|value)\.", name)
        if (whole := published(name)) in state:
            tensor = state[whole]
            number = _PARTS.index(part[1]) if part else 0
            found[name] = tensor.chunk(3)[number] if part else tensor
    for name in names:
        state.pop(published(name), None)
    state.update(found)
