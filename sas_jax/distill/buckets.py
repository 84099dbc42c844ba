"""Buckets: the few sets of array sizes that all training batches share.

One index fixes every array size of a batch: the row capacities of all levels, of
superpoints and of points. The lowest bucket is made for the data set at hand, so that
nearly every batch takes it and a stage compiles once; a batch that does not fit takes
the next one. One that has far too much of something, such as coarse voxels where others
are dense, gets larger arrays for that alone. Nothing is ever cut.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from sas_jax.errors import InputError
from sas_jax.sparse.rungs import Rung

_MULTIPLE = 512
_GROWTH = 1.5


@dataclasses.dataclass(frozen=True)
class RowCounts:
    """Rows that the scenes of one device take.

    Attributes:
      levels: voxels per level, finest first.
      superpoints: superpoints.
      points: points.
    """

    levels: tuple[int, ...]
    superpoints: int
    points: int

    @property
    def sizes(self) -> tuple[int, ...]:
        """Return levels, superpoints and points as one tuple."""
        return (*self.levels, self.superpoints, self.points)


@dataclasses.dataclass(frozen=True)
class Bucket:
    """Capacities of all arrays of a batch."""

    rung: Rung
    superpoints: int
    points: int

    @property
    def sizes(self) -> tuple[int, ...]:
        """Return all capacities, in the order of `RowCounts.sizes`."""
        return (*self.rung.capacities, self.superpoints, self.points)

    def holds(self, counts: RowCounts) -> bool:
        """Say whether everything fits."""
        return all(n <= size for n, size in zip(counts.sizes, self.sizes, strict=True))


@dataclasses.dataclass(frozen=True)
class BucketPolicy:
    """Buckets of which the lowest one fits nearly every batch of a data set.

    Attributes:
      first: capacity of level 0 of the lowest bucket; each next one has half as much
        again of everything.
      level_ratios: capacity of each level per row of level 0.
      superpoints_per_row: capacity of superpoints per row of level 0.
      points_per_row: capacity of points per row of level 0.
    """

    first: int
    level_ratios: tuple[float, ...]
    superpoints_per_row: float
    points_per_row: float

    def bucket(self, index: int) -> Bucket:
        """Return the bucket of that index, 0 being the smallest."""
        rows = self.first * _GROWTH**index
        rung = Rung(tuple(_round_up(rows * ratio) for ratio in self.level_ratios))
        rows = rung.capacities[0]
        return Bucket(
            rung,
            _round_up(rows * self.superpoints_per_row),
            _round_up(rows * self.points_per_row),
        )

    def choose(self, counts: Sequence[RowCounts]) -> tuple[int, Bucket]:
        """Return index and sizes of the lowest bucket that holds every device.

        If neither the lowest one with enough rows at level 0 nor the next one holds
        all, the former does with what does not fit enlarged by itself.
        """
        index = 0
        while any(n.levels[0] > self.bucket(index).rung.capacities[0] for n in counts):
            index += 1
        for whole in (index, index + 1):
            if all(self.bucket(whole).holds(one) for one in counts):
                return whole, self.bucket(whole)
        most = np.max([one.sizes for one in counts], axis=0)
        sizes = [
            _enlarged(size, int(n))
            for size, n in zip(self.bucket(index).sizes, most, strict=True)
        ]
        return index, Bucket(Rung(tuple(sizes[:-2])), *sizes[-2:])


def measure_policy(counts: Sequence[RowCounts], scenes_per_device: int) -> BucketPolicy:
    """Return a policy whose lowest bucket fits all but about one batch in a hundred.

    Every size is the mean batch, 2.5 standard deviations of the sum of that many
    scenes, and a twentieth.

    Args:
      counts: of single augmented scenes, a fair sample of the data set.
      scenes_per_device: most scenes of one device and step.

    Raises:
      InputError: if there is no scene.
    """
    if not counts:
        raise InputError("train: at least one scene is required, got 0. Check --split.")
    sizes = np.array([one.sizes for one in counts], np.float64)
    spread = 2.5 * sizes.std(axis=0) * np.sqrt(scenes_per_device)
    batch = 1.05 * (scenes_per_device * sizes.mean(axis=0) + spread)
    per_row = (batch / batch[0]).tolist()
    return BucketPolicy(
        first=_round_up(batch[0]),
        level_ratios=tuple(per_row[:-2]),
        superpoints_per_row=per_row[-2],
        points_per_row=per_row[-1],
    )


def _enlarged(size: int, rows: int) -> int:
    """Return the least size, from a given one upwards, that holds so many rows."""
    steps = 0
    while _round_up(size * _GROWTH**steps) < rows:
        steps += 1
    return _round_up(size * _GROWTH**steps)


def _round_up(rows: float) -> int:
    return max(_MULTIPLE, int(np.ceil(rows / _MULTIPLE)) * _MULTIPLE)
