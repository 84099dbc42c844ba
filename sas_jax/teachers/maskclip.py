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

TOWERS = {14: "clip-vit-l14-336", 16: "clip-vit-b16", 32: "clip-vit-b32"}
"""Side of a patch -> text space of the CLIP that has such patches."""

_PUBLISHED = transformers.CLIPVisionConfig(patch_size=16)


class MaskClip(PatchTeacher):
    """A `DenseTeacher` of a network of `vision` and `projection`."""

    name = "maskclip"
    mean, std = CLIP_MEAN, CLIP_STD

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


def load(options: LoadOptions) -> MaskClip:
    """Load the teacher for the registry.

    Args:
      options: `random:<seed>` builds ViT-B/16 and a text tower without training.

    Raises:
      WeightsMissing: when there is no folder of a CLIP.
      InputError: for one that is incomplete, or of a CLIP without a text space here.
    """
    seed = seed_of(options.weights)
    if seed is None:
        folder = find_folder("maskclip", options.weights, download=options.download)
        both = load_pretrained(transformers.CLIPModel, folder, what="maskclip")
        patch = both.config.vision_config.patch_size
        if patch not in TOWERS:
            raise InputError(
                f"maskclip: a CLIP of patches of {', '.join(map(str, TOWERS))} pixels "
                f"is required, got {patch} ({folder}). Give one of OpenAI's."
            )
        text = clip_text.load(TOWERS[patch], weights=str(folder))
    else:
        both = built(
            lambda: transformers.CLIPVisionModelWithProjection(_PUBLISHED), seed
        )
        text = clip_text.load(TOWERS[16], weights=options.weights)
    network = nn.ModuleDict(
        {"vision": both.vision_model, "projection": both.visual_projection}
    )
    return MaskClip(
        network.requires_grad_(False),
        text,
        weights_id(maskclip=network) if seed is None else f"random:{seed}",
        both.vision_model.config.to_dict(),
        options.settings,
    ).to(options.device)
