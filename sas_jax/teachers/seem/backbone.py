"""The focal modulation network behind SEEM, from transformers' blocks.

Source: Yang et al., "Focal Modulation Networks" (arXiv 2203.11926).
"""

from jaxtyping import Float
from torch import Tensor, nn
from transformers import FocalNetConfig, FocalNetModel

from sas_jax.teachers.seem.architecture import Architecture


class Backbone(nn.Module):
    """Image to four maps at strides 4, 8, 16 and 32, each with a norm of its own."""

    def __init__(self, sizes: Architecture):
        """Build the four stages, untrained."""
        super().__init__()
        channels = list(sizes.channels)
        model = FocalNetModel(
            FocalNetConfig(
                patch_size=4,
                embed_dim=channels[0],
                hidden_sizes=channels,
                depths=list(sizes.depths),
                focal_levels=list(sizes.focal_levels),
                focal_windows=list(sizes.focal_windows),
                mlp_ratio=sizes.mlp_ratio,
                use_conv_embed=True,
                use_layerscale=True,
                use_post_layernorm=True,
                normalize_modulator=True,
                layer_norm_eps=1e-5,
                drop_path_rate=0.0,
            ),
            add_pooling_layer=False,
        )
        self.embeddings = model.embeddings
        self.stages = model.encoder.stages
        self.norms = nn.ModuleList(nn.LayerNorm(edge) for edge in channels)

    def forward(
        self, images: Float[Tensor, "B 3 H W"]
    ) -> list[Float[Tensor, "B C h w"]]:
        """Return the maps of all stages, the finest first.

        Args:
          images: normalised, H and W multiples of 32.
        """
        rows, size_hw = self.embeddings(images)
        maps = []
        for stage, norm in zip(self.stages, self.norms, strict=True):
            # The second result is what the next stage's shrinking starts from.
            following, here, sizes = stage(rows, size_hw)
            maps.append(norm(here).transpose(1, 2).unflatten(2, size_hw))
            rows, size_hw = following, tuple(sizes[-2:])
        return maps
