"""Rungs: the few array shapes that all scenes share.

XLA compiles once per shape, so capacities come in steps. Level 0 climbs a geometric
ladder; every coarser level takes the least of a few shares of level 0 that holds it.
Rows stay proportional to voxels, whether these lie on surfaces (a quarter of the
voxels is left at each coarser level), on the rings of a LiDAR sweep (a half) or alone
(all of them); and scenes of one kind, whose levels have similar shares, meet a handful
of programs. Nothing is ever truncated.
"""

import dataclasses
import math
from collections.abc import Sequence

from sas_jax.errors import InputError

_MAX_ROWS = 1 << 30


@dataclasses.dataclass(frozen=True)
class Rung:
    """Row capacities of the levels, finest first."""

    capacities: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.capacities or min(self.capacities) < 1:
            raise InputError(
                "Rung: positive capacities of all levels are required, got "
                f"{self.capacities}. Use choose_rung(level_counts(coords))."
            )

    def fits(self, counts: Sequence[int]) -> bool:
        """Say whether every level's voxels fit."""
        return all(n <= cap for n, cap in zip(counts, self.capacities, strict=True))


@dataclasses.dataclass(frozen=True)
class RungLadder:
    """The steps that capacities take.

    Attributes:
      first: capacity of level 0 on the lowest step.
      ratio: growth of level 0 from step to step; on average (ratio - 1) / ln(ratio) - 1
        of its rows are padding, 12 % at 1.25.
      shares: capacities of coarser levels per row of level 0, falling from 1. Small
        levels have few steps: what they pad is little of the whole.
      multiple: capacities are multiples of this; also the least capacity.
    """

    first: int = 512
    ratio: float = 1.25
    shares: tuple[float, ...] = (
        *(1, 3 / 4, 1 / 2, 3 / 8, 1 / 4, 1 / 8, 1 / 16, 1 / 64, 1 / 256),
    )
    multiple: int = 64

    def __post_init__(self) -> None:
        if self.ratio <= 1.0 or self.first < 1 or self.multiple < 1:
            raise InputError(
                "RungLadder: ratio > 1 and positive sizes are required, got "
                f"{self}. Use the defaults, ratio 1.25 from 512."
            )
        if self.shares[:1] != (1,) or min(self.shares) <= 0:
            raise InputError(
                "RungLadder: positive shares that fall from 1 are required, got "
                f"{self.shares}. Without 1, no rung holds voxels that lie alone."
            )

    def rows(self, index: int) -> int:
        """Return the capacity of level 0 on a step, 0 being the lowest."""
        return self._round_up(self.first * self.ratio**index)

    def rung(self, counts: Sequence[int]) -> Rung:
        """Return the least rung that holds so many voxels per level."""
        index = 0
        while self.rows(index) < counts[0]:
            index += 1
        rows = self.rows(index)
        steps = sorted(self._round_up(rows * share) for share in self.shares)
        coarser = (next(step for step in steps if step >= n) for n in counts[1:])
        return Rung((rows, *coarser))

    def _round_up(self, rows: float) -> int:
        return self.multiple * max(1, math.ceil(rows / self.multiple))


LADDER = RungLadder()


def choose_rung(counts: Sequence[int], ladder: RungLadder = LADDER) -> Rung:
    """Return the least rung that holds every level.

    Args:
      counts: number of voxels per level, finest first; for a batch over several
        devices, the maximum over devices.
      ladder: the steps to choose from.

    Raises:
      InputError: if a coarser level has more voxels than level 0, or counts exceed
        what row indices can address.
    """
    if not counts or max(counts) > min(counts[0], _MAX_ROWS):
        raise InputError(
            f"choose_rung: counts of at most {_MAX_ROWS} voxels, the finest level's "
            f"largest, are required, got {tuple(counts)}. Use larger voxels or fewer "
            "scenes."
        )
    return ladder.rung(counts)


def exact_rung(counts: Sequence[int]) -> Rung:
    """Return the rung without padding, for tests and single scenes."""
    return Rung(tuple(max(int(n), 1) for n in counts))


def padding_waste(counts: Sequence[int], rung: Rung) -> float:
    """Return the fraction of rows, over all levels, that hold no voxel."""
    return 1.0 - sum(counts) / sum(rung.capacities)
