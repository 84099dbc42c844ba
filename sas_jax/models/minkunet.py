"""MinkUNet: the family of sparse residual U-Nets that the students are.

Four 2^3 stride-2 convolutions lead from level 0 to level 4, four transposed ones back
onto the same voxels; each arrival is followed by residual blocks, on the way back
after concatenation [upsampled, encoder]. Submodules carry the names of the original
networks, so that checkpoints port one to one (`port.py`).

Source: architecture of MinkUNet as used by OpenScene and SAS (models/mink_unet.py).
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from sas_jax.errors import ContractError
from sas_jax.models.config import (
    ARCHITECTURES,
    StudentConfig,
    UNetSizes,
)
from sas_jax.models.layers import MaskedBatchNorm, ResidualBlock, SparseConv
from sas_jax.sparse.plan import Plan
from sas_jax.sparse.remake import Rows, join

# Name of the last layer, which is linear and maps to the text space.
HEAD = "final"
# That of the first one.
STEM = "conv0p1s1"
# (convolution, norm) that lead into each of the eight stages.
ENTRIES = (
    ("conv1p1s2", "bn1"),
    ("conv2p2s2", "bn2"),
    ("conv3p4s2", "bn3"),
    ("conv4p8s2", "bn4"),
    ("convtr4p16s2", "bntr4"),
    ("convtr5p8s2", "bntr5"),
    ("convtr6p4s2", "bntr6"),
    ("convtr7p2s2", "bntr7"),
)


class MinkUNet(nn.Module):
    """A sparse U-Net from voxel features to features in the text space."""

    config: StudentConfig

    @nn.compact
    def __call__(
        self,
        plan: Plan,
        features: Float[Array, "cap0 C_in"],
        *,
        train: bool,
        head: bool = True,
    ) -> Float[Array, "cap0 out_dim"] | Float[Array, "cap0 H"]:
        """Run the network.

        Args:
          plan: levels and kernel maps of the batch.
          features: one row per row of level 0; padding rows may hold anything.
          train: use and update batch statistics (make `batch_stats` mutable).
          head: apply the last layer. Without it, the rows that it would take are
            returned: distillation needs no more (`distill.factored`).

        Returns:
          One row per voxel, not normalised; padding rows are exactly 0.

        Raises:
          ContractError: if the number of channels is not the configured one.
        """
        if features.shape[1] != self.config.in_channels:
            raise ContractError(
                f"MinkUNet: features with {self.config.in_channels} channels are "
                f"required, got {list(features.shape)}. Set in_channels."
            )
        layers, widths = ARCHITECTURES[self.config.arch]
        sizes = UNetSizes(layers, widths)
        impl, axis = self.config.impl, self.config.sync_axis
        x = unet_stages(plan, features, sizes, train=train, impl=impl, sync_axis=axis)[
            -1
        ]
        if not head:
            return x.value
        final = SparseConv(self.config.out_dim, 1, self.config.impl, name=HEAD)
        return final(x, plan.levels[0].num_valid)


def unet_stages(
    plan: Plan,
    features: Float[Array, "cap0 C_in"],
    sizes: UNetSizes,
    *,
    train: bool,
    impl: str | None = None,
    sync_axis: str | None = None,
) -> list[Rows]:
    """Run the U-Net inside a compact method, whose module owns the layers.

    Args:
      plan: levels and kernel maps of the batch.
      features: one row per row of level 0; padding rows may hold anything.
      sizes: blocks and channels of the stages.
      train: use and update batch statistics.
      impl: implementation of convolutions and norms; "spconv" does not take the stem.
      sync_axis: mapped axis over which batch statistics are summed, or None.

    Returns:
      The rows after each of the eight stages: levels 1, 2, 3, 4, 3, 2, 1, 0.
    """

    def norm_relu(name: str, x: Array, num_valid: Array) -> Rows:
        norm = MaskedBatchNorm(axis_name=sync_axis, impl=impl, name=name)
        return norm(x, num_valid, train=train, rectify=True)

    def enter(stage: int, x: Rows) -> Rows:
        """Move to the level of a stage: down for 0 to 3, up for 4 to 7."""
        conv, norm = ENTRIES[stage]
        if stage < 4:
            kmap, width = plan.down(stage, 2), x.value.shape[1]
        else:
            kmap, width = plan.down(7 - stage, 2).transpose(), sizes.widths[stage]
        layer = SparseConv(width, 2, impl, name=conv)
        return norm_relu(norm, layer(x, kmap), kmap.num_out)

    def blocks(stage: int, x: Rows) -> Rows:
        kmap = plan.within(stage + 1 if stage < 4 else 7 - stage, 3)
        for i in range(sizes.layers[stage]):
            name = f"block{stage + 1}_{i}"
            block = ResidualBlock(sizes.widths[stage], impl, sync_axis, name=name)
            x = block(x, kmap, train=train)
        return x

    stem_impl = None if impl == "spconv" else impl
    stem = SparseConv(sizes.stem_width, sizes.stem_kernel, stem_impl, name=STEM)
    x = stem(features, plan.within(0, sizes.stem_kernel))
    skips = [norm_relu("bn0", x, plan.levels[0].num_valid)]
    for stage in range(4):
        skips.append(blocks(stage, enter(stage, skips[-1])))
    stages = skips[1:]
    for stage in range(4, 8):
        joined = join([enter(stage, stages[-1]), skips[7 - stage]])
        stages.append(blocks(stage, joined))
    return stages


def constant_features(plan: Plan, channels: int = 3) -> Float[Array, "cap0 channels"]:
    """Return the input of a student without colour: ones at every voxel.

    Source: the authors' default (`input_color: False`).
    """
    capacity = plan.levels[0].coords.shape[0]
    valid = jnp.arange(capacity, dtype=jnp.int32) < plan.levels[0].num_valid
    return jnp.broadcast_to(valid[:, None], (capacity, channels)).astype(jnp.float32)
