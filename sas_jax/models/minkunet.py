"""MinkUNet: the family of sparse residual U-Nets that the students are.

Four 2^3 stride-2 convolutions lead from level 0 to level 4, four transposed ones back
onto the same voxels; each arrival is followed by residual blocks, on the way back
after concatenation [upsampled, encoder]. Submodules carry the names of the original
networks, so that checkpoints port one to one (`port.py`).

Source: architecture of MinkUNet as used by OpenScene and SAS (models/mink_unet.py).
"""

import dataclasses
from types import MappingProxyType

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from sas_jax.errors import ContractError, InputError
from sas_jax.models.layers import MaskedBatchNorm, ResidualBlock, SparseConv
from sas_jax.sparse.plan import Plan
from sas_jax.sparse.plan_spec import MINKUNET, PlanSpec

STEM_WIDTH = 32
STEM_KERNEL = 5
# Name of the last layer, which is linear and maps to the text space.
HEAD = "final"
_14 = (1,) * 8
_18 = (2,) * 8
_34 = (2, 3, 4, 6, 2, 2, 2, 2)
_A = (32, 64, 128, 256, 128, 128, 96, 96)
_B = (32, 64, 128, 256, 128, 128, 128, 128)
_C = (32, 64, 128, 256, 192, 192, 128, 128)
_D = (32, 64, 128, 256, 384, 384, 384, 384)
# Name -> (residual blocks, channels) of the eight stages. There is no 18C. 14S is ours:
# slim where 14A's work lies, at the finest levels; 3.6 times fewer multiplications on a
# room at 8 cm, 2.5 times on a scan at 2 cm.
ARCHITECTURES = MappingProxyType(
    {
        "MinkUNet14S": (_14, (32, 64, 128, 128, 128, 96, 64, 32)),
        "MinkUNet14A": (_14, _A),
        "MinkUNet14B": (_14, _B),
        "MinkUNet14C": (_14, _C),
        "MinkUNet14D": (_14, _D),
        "MinkUNet18A": (_18, _A),
        "MinkUNet18B": (_18, _B),
        "MinkUNet18D": (_18, _D),
        "MinkUNet34A": (_34, (32, 64, 128, 256, 256, 128, 64, 64)),
        "MinkUNet34B": (_34, (32, 64, 128, 256, 256, 128, 64, 32)),
        "MinkUNet34C": (_34, (32, 64, 128, 256, 256, 128, 96, 96)),
    }
)
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


@dataclasses.dataclass(frozen=True)
class StudentConfig:
    """What student to build.

    Attributes:
      arch: a name of `ARCHITECTURES`.
      in_channels: channels of the input features (3, constant ones without colour).
      out_dim: dimension of the text space (512 LSeg and CLIP ViT-B/32, 768 CLIP
        ViT-L/14, 384 MiniLM) or number of classes.
      impl: implementation of convolutions and norms, see `sparse.conv`. With "spconv"
        the stem, whose 125 offsets it does not take, runs the default one.
      sync_axis: mapped axis over which batch statistics are summed, or None for
        statistics per device, as the authors train.
    """

    arch: str = "MinkUNet18A"
    in_channels: int = 3
    out_dim: int = 512
    impl: str | None = None
    sync_axis: str | None = None

    def __post_init__(self) -> None:
        if self.arch not in ARCHITECTURES:
            raise InputError(
                f"StudentConfig: arch of {', '.join(ARCHITECTURES)} is required, got "
                f"{self.arch!r}. Check its spelling."
            )
        if self.in_channels < 1 or self.out_dim < 1:
            raise InputError(
                "StudentConfig: positive in_channels and out_dim are required, got "
                f"{self.in_channels} and {self.out_dim}. Use 3 and the dimension of "
                "the text features."
            )

    @property
    def plan_spec(self) -> PlanSpec:
        """Return the levels and kernel maps that the network asks for."""
        return MINKUNET

    @property
    def receptive_radius(self) -> int:
        """Return how far, along an axis, the farthest voxel is that a feature sees.

        In level-0 voxels. A 3^3 convolution at stride s looks s voxels to either side
        and a residual block has two; the way down and the way up add the rest of a
        voxel of the coarsest level, once to either side.
        """
        layers, _ = ARCHITECTURES[self.arch]
        strides = self.plan_spec.strides
        levels = (1, 2, 3, 4, 3, 2, 1, 0)
        blocks = (
            2 * count * strides[level]
            for count, level in zip(layers, levels, strict=True)
        )
        return STEM_KERNEL // 2 + sum(blocks) + strides[-1] - 1


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
