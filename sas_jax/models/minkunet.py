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
    STEM_KERNEL,
    STEM_WIDTH,
    StudentConfig,
)
from sas_jax.models.layers import MaskedBatchNorm, ResidualBlock, SparseConv
from sas_jax.sparse.plan import Plan

# Name of the last layer, which is linear and maps to the text space.
HEAD = "final"
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
        stem_impl = None if self.config.impl == "spconv" else self.config.impl
        stem = SparseConv(STEM_WIDTH, STEM_KERNEL, stem_impl, name="conv0p1s1")
        x = stem(features, plan.within(0, STEM_KERNEL))
        x = self._norm_relu("bn0", x, plan.levels[0].num_valid, train)
        skips = [x]
        for stage in range(4):
            x = self._enter(stage, x, plan, train)
            x = self._blocks(stage, x, plan, train)
            skips.append(x)
        skips.pop()
        for stage in range(4, 8):
            x = self._enter(stage, x, plan, train)
            x = jnp.concatenate([x, skips.pop()], axis=1)
            x = self._blocks(stage, x, plan, train)
        if not head:
            return x
        final = SparseConv(self.config.out_dim, 1, self.config.impl, name=HEAD)
        return final(x, plan.levels[0].num_valid)

    def _enter(self, stage: int, x: Array, plan: Plan, train: bool) -> Array:
        """Move to the level of a stage: down for 0 to 3, up for 4 to 7."""
        conv, norm = ENTRIES[stage]
        if stage < 4:
            kmap = plan.down(stage, 2)
            layer = SparseConv(x.shape[1], 2, self.config.impl, name=conv)
        else:
            kmap = plan.down(7 - stage, 2).transpose()
            width = ARCHITECTURES[self.config.arch][1][stage]
            layer = SparseConv(width, 2, self.config.impl, name=conv)
        return self._norm_relu(norm, layer(x, kmap), kmap.num_out, train)

    def _blocks(self, stage: int, x: Array, plan: Plan, train: bool) -> Array:
        """Apply the residual blocks of a stage."""
        layers, widths = ARCHITECTURES[self.config.arch]
        kmap = plan.within(stage + 1 if stage < 4 else 7 - stage, 3)
        for i in range(layers[stage]):
            block = ResidualBlock(
                widths[stage],
                self.config.impl,
                self.config.sync_axis,
                name=f"block{stage + 1}_{i}",
            )
            x = block(x, kmap, train=train)
        return x

    def _norm_relu(self, name: str, x: Array, num_valid: Array, train: bool) -> Array:
        norm = MaskedBatchNorm(
            axis_name=self.config.sync_axis, impl=self.config.impl, name=name
        )
        return norm(x, num_valid, train=train, rectify=True)


def constant_features(plan: Plan, channels: int = 3) -> Float[Array, "cap0 channels"]:
    """Return the input of a student without colour: ones at every voxel.

    Source: the authors' default (`input_color: False`).
    """
    capacity = plan.levels[0].coords.shape[0]
    valid = jnp.arange(capacity, dtype=jnp.int32) < plan.levels[0].num_valid
    return jnp.broadcast_to(valid[:, None], (capacity, channels)).astype(jnp.float32)
