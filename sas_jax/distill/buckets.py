"""Buckets: the few sets of array sizes that all training batches share.

One index fixes every array size of a batch: the row capacities of the five levels, of
superpoints and of points. The lowest bucket is made for the data set at hand, so that
nearly every batch takes it and a stage compiles once; a batch that does not fit takes
the next one, and nothing is ever cut.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from sas_jax.errors import InputError
from sas_jax.sparse.rungs import Rung, RungLadder

_MULTIPLE = 512


@dataclasses.dataclass(frozen=True)
class Need:
    """Rows that the scenes of one device take.

    Attributes:
      levels: voxels per level, finest first.
      superpoints: superpoints.
      points: points.
    """

    levels: tuple[int, ...]
    superpoints: int
    points: int


@dataclasses.dataclass(frozen=True)
class Bucket:
    """Capacities of all arrays of a batch."""

    rung: Rung
    superpoints: int
    points: int

    def holds(self, need: Need) -> bool:
        """Say whether everything fits."""
        return (
            self.rung.fits(need.levels)
            and need.superpoints <= self.superpoints
            and need.points <= self.points
        )


@dataclasses.dataclass(frozen=True)
class BucketPolicy:
    """A ladder of buckets whose lowest one fits nearly every batch of a data set.

    Attributes:
      ladder: voxel rows.
      superpoints_per_row: capacity of superpoints per row of level 0.
      points_per_row: capacity of points per row of level 0.
    """

    ladder: RungLadder
    superpoints_per_row: float
    points_per_row: float

    def bucket(self, index: int) -> Bucket:
        """Return the bucket of that index, 0 being the smallest."""
        rung = self.ladder.rung(index)
        rows = rung.capacities[0]
        return Bucket(
            rung,
            _round_up(rows * self.superpoints_per_row),
            _round_up(rows * self.points_per_row),
        )

    def choose(self, needs: Sequence[Need]) -> tuple[int, Bucket]:
        """Return index and sizes of the lowest bucket that holds every device."""
        index = 0
        while not all(self.bucket(index).holds(need) for need in needs):
            index += 1
        return index, self.bucket(index)


def measure_policy(needs: Sequence[Need], scenes_per_device: int) -> BucketPolicy:
    """Return a policy whose lowest bucket fits all but about one batch in a hundred.

    Every size is the mean batch, 2.5 standard deviations of the sum of that many
    scenes, and a twentieth.

    Args:
      needs: of single augmented scenes, a fair sample of the data set.
      scenes_per_device: most scenes of one device and step.

    Raises:
      InputError: if there is no scene.
    """
    if not needs:
        raise InputError("train: at least one scene is required, got 0. Check --split.")
    sizes = np.array([(*n.levels, n.superpoints, n.points) for n in needs], np.float64)
    spread = 2.5 * sizes.std(axis=0) * np.sqrt(scenes_per_device)
    batch = 1.05 * (scenes_per_device * sizes.mean(axis=0) + spread)
    per_row = (batch / batch[0]).tolist()
    return BucketPolicy(
        RungLadder(first=_round_up(batch[0]), level_ratios=tuple(per_row[:-2])),
        superpoints_per_row=per_row[-2],
        points_per_row=per_row[-1],
    )


def _round_up(rows: float) -> int:
    return max(_MULTIPLE, int(np.ceil(rows / _MULTIPLE)) * _MULTIPLE)
