"""The dense teacher TIPSv2: an image tower whose patches were trained beside texts.

As its authors do for segmentation without labels, the last block keeps every patch's
own value where attention would mix them, as MaskCLIP does.

Source: Cao et al., TIPSv2 (arXiv 2604.12012); the values: MaskCLIP (arXiv 2112.01071),
  section 3.2.
"""

import torch
import transformers
from jaxtyping import Float

from sas_jax.registry import LoadOptions
from sas_jax.teachers import folder_text
from sas_jax.teachers.folders import load_network
from sas_jax.teachers.patches import PatchTeacher

TOWER = "tipsv2-text"


class TipsV2(PatchTeacher):
    """A `DenseTeacher` of a `Tipsv2VisionModel`, in the space of its own texts."""

    name = "tipsv2"
    mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)

    def vectors(
        self, pixels: Float[torch.Tensor, "1 3 H W"]
    ) -> Float[torch.Tensor, "N C"]:
        """Return what the tower says of each patch without its last attention."""
        tower = self._network
        states = tower.embeddings(pixels)
        *layers, last = tower.encoder.layer
        for layer in layers:
            states = layer(states)
        states = states[:, 1 + tower.config.num_register_tokens :]
        values = last.attention.v_proj(last.norm1(states))
        states = states + last.layer_scale1(last.attention.o_proj(values))
        states = states + last.layer_scale2(last.mlp(last.norm2(states)))
        return tower.layernorm(states)[0]


def load(options: LoadOptions) -> TipsV2:
    """Load the teacher for the registry.

    Args:
      options: `random:<seed>` builds the base model without training; its tokenizer is
        then another's, see `text.folder_tokens`.

    Raises:
      WeightsMissing: when there is no folder.
      InputError: for one that is incomplete or of another network.
    """
    kind = transformers.Tipsv2VisionModel
    found = load_network("tipsv2", kind, transformers.Tipsv2VisionConfig, options)
    text = folder_text.load(TOWER, weights=str(found.folder or options.weights))
    return TipsV2(
        found.network.requires_grad_(False),
        text,
        found.weights,
        found.network.config.to_dict(),
        options.settings,
    ).to(options.device)
