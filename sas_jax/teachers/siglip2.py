"""The dense teacher SigLIP 2: its image tower, whose pooling looks at one patch alone.

SigLIP makes one vector of an image by letting a learnt question attend to all patches;
a two-layer perceptron follows. Asked about one patch alone, attention has one weight,
1, and what is left are the value and the output projection of that patch: the same that
MaskCLIP does to CLIP's last block. So a patch gets a vector in the space of the texts.

Source: Tschannen et al., SigLIP 2 (arXiv 2502.14786); the head: Zhai et al., SigLIP
  (arXiv 2303.15343); one patch alone: MaskCLIP (arXiv 2112.01071), section 3.2.
"""

import torch
import transformers
from jaxtyping import Float
from torch.nn import functional

from sas_jax.registry import LoadOptions
from sas_jax.teachers import folder_text
from sas_jax.teachers.folders import load_network
from sas_jax.teachers.patches import PatchTeacher

TOWER = "siglip2-text"

_PUBLISHED = transformers.SiglipVisionConfig(image_size=512, patch_size=16)


class Siglip2(PatchTeacher):
    """A `DenseTeacher` of a `SiglipVisionModel`, in the space of its own texts."""

    name = "siglip2"

    def vectors(
        self, pixels: Float[torch.Tensor, "1 3 H W"]
    ) -> Float[torch.Tensor, "N C"]:
        """Return what pooling says of each patch alone."""
        tower = self._network
        seen = tower(pixels, interpolate_pos_encoding=True).last_hidden_state[0]
        asked = tower.head.attention
        weight, bias = (
            part.chunk(3)[2] for part in (asked.in_proj_weight, asked.in_proj_bias)
        )
        states = asked.out_proj(functional.linear(seen, weight, bias))
        return states + tower.head.mlp(tower.head.layernorm(states))


def load(options: LoadOptions) -> Siglip2:
    """Load the teacher for the registry.

    Args:
      options: `random:<seed>` builds the base model at 512 pixels without training; its
        tokenizer is then another's, see `text.folder_tokens`.

    Raises:
      WeightsMissing: when there is no folder.
      InputError: for one that is incomplete or of another network.
    """
    kind = transformers.SiglipVisionModel
    found = load_network("siglip2", kind, lambda: _PUBLISHED, options)
    text = folder_text.load(TOWER, weights=str(found.folder or options.weights))
    return Siglip2(
        found.network.requires_grad_(False),
        text,
        found.weights,
        found.network.config.to_dict(),
        options.settings,
    ).to(options.device)
