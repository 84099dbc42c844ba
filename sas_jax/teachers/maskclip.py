"""The dense teacher MaskCLIP: CLIP's image tower, with its last attention taken out.

In the last block every patch keeps its own value, through the value and the output
projection, where attention would mix the values of all patches into the class token.
The rest of the tower stays: what comes out is a vector per patch in the space of the
image's, which is that of CLIP's texts. Nothing is trained.

Source: Zhou et al., Extract Free Dense Labels from CLIP, ECCV 2022 (arXiv 2112.01071),
  section 3.2, MaskCLIP.
"""

import torch
import transformers
from jaxtyping import Float
from torch import nn

from sas_jax.errors import InputError
from sas_jax.registry import LoadOptions
from sas_jax.teachers import clip_text
from sas_jax.teachers.checkpoint import built
from sas_jax.teachers.patches import CLIP_MEAN, CLIP_STD, PatchTeacher
from sas_jax.teachers.pretrained import load_pretrained
from sas_jax.teachers.weights_id import weights_id
from sas_jax.weights.find import find_folder, seed_of


class MaskClip(PatchTeacher):
    """A `DenseTeacher` of a network of `vision` and `projection`.

    Attributes:
      tower: text space of the CLIP that it is made of.
      patch: side of that CLIP's patches.
    """

    name = "maskclip"
    mean, std = CLIP_MEAN, CLIP_STD
    tower, patch = "clip-vit-b16", 16

    def vectors(
        self, pixels: Float[torch.Tensor, "1 3 H W"]
    ) -> Float[torch.Tensor, "N C"]:
        """Return what the tower says of each patch without its last attention."""
        tower = self._network.vision
        states = tower.embeddings(pixels, interpolate_pos_encoding=True)
        states = tower.pre_layrnorm(states)
        *layers, last = tower.encoder.layers
        for layer in layers:
            states = layer(states, None)
        states = states[:, 1:]  # without the class token
        values = last.self_attn.v_proj(last.layer_norm1(states))
        states = states + last.self_attn.out_proj(values)
        states = states + last.mlp(last.layer_norm2(states))
        return self._network.projection(tower.post_layernorm(states))[0]


class MaskClipB32(MaskClip):
    """MaskCLIP in the space of LSeg, and on a grid of half as many cells a side."""

    name = "maskclip-b32"
    tower, patch = "clip-vit-b32", 32


def load(options: LoadOptions, kind: type[MaskClip] = MaskClip) -> MaskClip:
    """Load the teacher for the registry.

    Args:
      options: `random:<seed>` builds the published size and a text tower without
        training.
      kind: which CLIP it is made of.

    Raises:
      WeightsMissing: when there is no folder of a CLIP.
      InputError: for one that is incomplete, or of another CLIP.
    """
    if (seed := seed_of(options.weights)) is not None:
        published = transformers.CLIPVisionConfig(patch_size=kind.patch)
        both = built(
            lambda: transformers.CLIPVisionModelWithProjection(published), seed
        )
        text = clip_text.load(kind.tower, weights=options.weights)
    else:
        folder = find_folder(kind.name, options.weights, download=options.download)
        both = load_pretrained(transformers.CLIPModel, folder, what=kind.name)
        if (patch := both.config.vision_config.patch_size) != kind.patch:
            raise InputError(
                f"{kind.name}: a CLIP of patches of {kind.patch} pixels is required, "
                f"got {patch} ({folder}). Give another folder, or take the teacher "
                f"of such patches: {', '.join(map(_said, (MaskClip, MaskClipB32)))}."
            )
        text = clip_text.load(kind.tower, weights=str(folder))
    network = nn.ModuleDict(
        {"vision": both.vision_model, "projection": both.visual_projection}
    )
    return kind(
        network.requires_grad_(False),
        text,
        weights_id(maskclip=network) if seed is None else f"random:{seed}",
        both.vision_model.config.to_dict(),
        options.settings,
    ).to(options.device)


def load_b32(options: LoadOptions) -> MaskClip:
    """Load MaskCLIP of CLIP ViT-B/32; see `load`."""
    return load(options, MaskClipB32)


def _said(kind: type[MaskClip]) -> str:
    return f"{kind.name} ({kind.patch})"
