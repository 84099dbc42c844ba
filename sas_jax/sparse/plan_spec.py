"""Plan specifications: which levels and kernel maps a network asks for.

A specification says how many levels there are, by how much each is coarser than the
one before, and which kernels are used within a level and from one level to the next.
`plan.build_plan` builds exactly that, on the host or (`device_plan`) under jit.
"""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Literal

from sas_jax.errors import ContractError
from sas_jax.sparse import keys as voxel_keys

Implementation = Literal["native", "xla", "spconv"]
"""Who convolves; see `sparse.conv`."""


@dataclasses.dataclass(frozen=True, order=True)
class Kernel:
    """A cubic kernel.

    Attributes:
      size: offsets along each edge; odd kernels are centred, even ones start at 0.
      dilation: distance between neighbouring offsets, in voxels of the input level.
    """

    size: int
    dilation: int = 1

    @property
    def reach(self) -> int:
        """Return the largest offset along an axis, in voxels of the input level."""
        steps = self.size // 2 if self.size % 2 else self.size - 1
        return self.dilation * steps


@dataclasses.dataclass(frozen=True)
class PlanSpec:
    """Levels and kernels of a network.

    Attributes:
      within: kernels within each level, finest level first.
      down: kernels of the strided convolutions from each level to the next coarser
        one, and, transposed, back.
      steps: how many voxels of a level make the edge of a voxel of the next one,
        powers of two.
    """

    within: tuple[tuple[Kernel, ...], ...]
    down: tuple[tuple[Kernel, ...], ...]
    steps: tuple[int, ...]

    def __post_init__(self) -> None:
        if not len(self.within) == len(self.down) + 1 == len(self.steps) + 1:
            raise ContractError(
                "PlanSpec: kernels of L >= 1 levels, L - 1 steps and the kernels of "
                f"these are required, got {len(self.within)}, {len(self.steps)} and "
                f"{len(self.down)}. Use unet_spec."
            )
        if any(step < 2 or step & (step - 1) for step in self.steps):
            raise ContractError(
                "PlanSpec: steps of 2, 4, 8, ... voxels are required, got "
                f"{self.steps}. Other steps would not nest."
            )
        for kernels, stride in zip(
            (*self.within, *self.down), (*self.strides, *self.strides[:-1]), strict=True
        ):
            _check_kernels(kernels, stride)

    @property
    def num_levels(self) -> int:
        """Return the number of levels."""
        return len(self.within)

    @property
    def strides(self) -> tuple[int, ...]:
        """Return the edge of each level's voxels in level-0 voxels."""
        return tuple(itertools.accumulate((1, *self.steps), lambda a, b: a * b))


def unet_spec(
    num_levels: int,
    *,
    blocks: Sequence[int | Kernel] = (3,),
    stem: Sequence[int | Kernel] = (),
    down: Sequence[int | Kernel] = (2,),
) -> PlanSpec:
    """Return the specification of a U-Net that halves the resolution at every level.

    Args:
      num_levels: how many levels, the finest included.
      blocks: kernels within every level; a plain number is its size.
      stem: further kernels within the finest level.
      down: kernels from each level to the next.
    """
    within, first, strided = (
        tuple(k if isinstance(k, Kernel) else Kernel(k) for k in kernels)
        for kernels in (blocks, stem, down)
    )
    return PlanSpec(
        within=((*within, *first), *(within,) * (num_levels - 1)),
        down=(strided,) * (num_levels - 1),
        steps=(2,) * (num_levels - 1),
    )


def _check_kernels(kernels: tuple[Kernel, ...], stride: int) -> None:
    if len(set(kernels)) < len(kernels):
        raise ContractError(
            f"PlanSpec: distinct kernels are required, got {kernels}. Layers of one "
            "kernel share its map: name it once."
        )
    for kernel in kernels:
        if kernel.size < 1 or kernel.dilation < 1:
            raise ContractError(
                f"PlanSpec: a size and a dilation of at least 1 are required, got "
                f"{kernel}. Correct the kernel."
            )
        if max(kernel.reach, 1) * stride > voxel_keys.MARGIN:
            raise ContractError(
                f"PlanSpec: kernels that reach at most {voxel_keys.MARGIN} level-0 "
                f"voxels are required, got {kernel} on voxels of edge {stride}. Use "
                "fewer levels or smaller kernels."
            )


# What every MinkUNet asks for: a 5^3 stem, 3^3 blocks on five levels, 2^3 between them.
MINKUNET = unet_spec(5, stem=(5,))
