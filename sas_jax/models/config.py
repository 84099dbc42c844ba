"""What students there are: their sizes, and how one is built; loads no JAX."""

import dataclasses
from types import MappingProxyType
from typing import Literal

from sas_jax.checks import one_of
from sas_jax.errors import InputError
from sas_jax.sparse.plan_spec import MINKUNET, Implementation, PlanSpec

StudentPrecision = Literal["f32", "bf16"]
"""What a trained student computes in; sums are f32 always."""
GAUSSIAN_INPUTS = MappingProxyType({"all": 56, "colour": 48})
"""Channels of students that take raw Gaussians: everything, or colours alone."""
STEM_WIDTH = 32
STEM_KERNEL = 5
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


@dataclasses.dataclass(frozen=True)
class UNetSizes:
    """Sizes of a sparse residual U-Net of eight stages.

    Attributes:
      layers: residual blocks of each stage.
      widths: channels of each stage.
      stem_width: channels of the stem.
      stem_kernel: edge of the stem's kernel.
    """

    layers: tuple[int, ...]
    widths: tuple[int, ...]
    stem_width: int = STEM_WIDTH
    stem_kernel: int = STEM_KERNEL


@dataclasses.dataclass(frozen=True)
class StudentConfig:
    """What student to build.

    Attributes:
      arch: network, a name of `ARCHITECTURES`.
      in_channels: channels of the input features: 3, constant ones without colour; one
        of `GAUSSIAN_INPUTS` for a student of Gaussians.
      out_dim: dimension of the text space (512 LSeg and CLIP ViT-B/32, 768 CLIP
        ViT-L/14, 384 MiniLM) or number of classes.
      impl: implementation of convolutions and norms, see `sparse.conv`; None takes the
        fastest one here. With "spconv" the stem, whose 125 offsets it does not take,
        runs the default one.
      sync_axis: mapped axis over which batch statistics are summed, or None for
        statistics per device, as the authors train.
    """

    arch: str = dataclasses.field(
        default="MinkUNet18A", metadata={"choices": tuple(ARCHITECTURES)}
    )
    in_channels: int = 3
    out_dim: int = 512
    impl: Implementation | None = None
    sync_axis: str | None = None

    def __post_init__(self) -> None:
        one_of("StudentConfig", "arch", self.arch, ARCHITECTURES)
        if self.in_channels < 1 or self.out_dim < 1:
            raise InputError(
                "StudentConfig: positive in_channels and out_dim are required, got "
                f"{self.in_channels} and {self.out_dim}. Use 3 and the dimension of "
                "the text features."
            )

    @property
    def takes_gaussians(self) -> bool:
        """Whether each voxel has an input of its own, that of a Gaussian in it."""
        return self.in_channels in GAUSSIAN_INPUTS.values()

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
