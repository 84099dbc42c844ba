"""Rungs: the few array shapes that all scenes share.

XLA compiles once per shape. A rung fixes the row capacities of all five levels with
one number, so a run compiles a handful of programs instead of one per scene. A scene
that does not fit takes the next rung; nothing is ever truncated.
"""

import dataclasses
import logging
import math
from collections.abc import Sequence

from sas_jax.errors import InputError

NUM_LEVELS = 5
_MAX_ROWS = 1 << 30

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Rung:
    """Row capacities of levels 0 to 4, finest first."""

    capacities: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.capacities) != NUM_LEVELS or min(self.capacities) < 1:
            raise InputError(
                f"Rung: {NUM_LEVELS} positive capacities are required, got "
                f"{self.capacities}. Use choose_rung(level_counts(coords))."
            )

    def fits(self, counts: Sequence[int]) -> bool:
        """Say whether every level's voxels fit."""
        return all(n <= cap for n, cap in zip(counts, self.capacities, strict=True))


@dataclasses.dataclass(frozen=True)
class RungLadder:
    """A geometric ladder of rungs.

    Attributes:
      first: capacity of level 0 on the lowest rung.
      ratio: growth from rung to rung; the mean of capacity over rows is about
        (ratio - 1) / ln(ratio), 23 % waste at 1.5.
      level_ratios: rows of each level per row of level 0 that a rung provides: upper
        quantiles of 2 cm indoor scans with a tenth to spare.
      multiple: capacities are multiples of this; also the least capacity.
    """

    first: int = 4096
    ratio: float = 1.5
    level_ratios: tuple[float, ...] = (1.0, 0.44, 0.121, 0.033, 0.0099)
    multiple: int = 512

    def __post_init__(self) -> None:
        if self.ratio <= 1.0 or self.first < 1 or self.multiple < 1:
            raise InputError(
                "RungLadder: ratio > 1 and positive sizes are required, got "
                f"{self}. Use the defaults, ratio 1.5 from 4096."
            )

    def rung(self, index: int) -> Rung:
        """Return the rung of that index, 0 being the smallest."""
        rows = self.first * self.ratio**index
        steps = (math.ceil(rows * q / self.multiple) for q in self.level_ratios)
        return Rung(tuple(self.multiple * step for step in steps))


LADDER = RungLadder()


def choose_rung(counts: Sequence[int], ladder: RungLadder = LADDER) -> Rung:
    """Return the lowest rung that holds every level.

    Args:
      counts: number of voxels per level, finest first; for a batch over several
        devices, the maximum over devices.
      ladder: the ladder to climb.

    Raises:
      InputError: if the counts are not five or exceed what row indices can address.
    """
    if len(counts) != NUM_LEVELS or max(counts) > _MAX_ROWS:
        raise InputError(
            f"choose_rung: {NUM_LEVELS} counts of at most {_MAX_ROWS} voxels are "
            f"required, got {tuple(counts)}. Use larger voxels or fewer scenes."
        )
    index = 0
    while ladder.rung(index).capacities[0] < counts[0]:
        index += 1
    lowest = index
    while not ladder.rung(index).fits(counts):
        index += 1
    if index > lowest:
        _log.info(
            "voxels per level %s do not fit capacities %s: took %s",
            tuple(counts),
            ladder.rung(lowest).capacities,
            ladder.rung(index).capacities,
        )
    return ladder.rung(index)


def exact_rung(counts: Sequence[int]) -> Rung:
    """Return the rung without padding, for tests and single scenes."""
    return Rung(tuple(max(int(n), 1) for n in counts))


def padding_waste(counts: Sequence[int], rung: Rung) -> float:
    """Return the fraction of rows, over all levels, that hold no voxel."""
    return 1.0 - sum(counts) / sum(rung.capacities)
