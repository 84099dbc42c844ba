"""Distinct positions of a scan, and the nearest positions of each.

Depth cameras write one point for every pixel, at the origin where there is no reading;
exporters write one vertex for every corner of a face. A tree of neighbours over points
that share a position takes quadratic time, and neighbours at no distance have no
direction, so whatever asks for neighbours asks positions.

Positions are ordered by themselves, never by the order of the points: what is made of
them is the same for any order of the points, ties between equal distances included.
"""

import dataclasses
import logging
from collections.abc import Iterator

import numpy as np
import scipy.spatial
import tqdm
from jaxtyping import Float, Int, Int32

# Three coordinates of 21 bits interleave to a code of 63.
_CURVE_BITS = 21
_SPREAD = (
    (32, 0x001F00000000FFFF),
    (16, 0x001F0000FF0000FF),
    (8, 0x100F00F00F00F00F),
    (4, 0x10C30C30C30C30C3),
    (2, 0x1249249249249249),
)
_MIX = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0xD6E8FEB86659FD93], np.uint64)
_ROWS_AT_ONCE = 65536
_LEAF_SIZE = 10
# A position with a larger share of the points is hardly a place that was seen.
_SUSPICIOUS_SHARE = 1e-3


@dataclasses.dataclass(frozen=True)
class Positions:
    """Where the points of a scan are.

    Attributes:
      points: [D, 3] distinct positions along a curve that fills space, so that near
        rows are near in space; a function of the set of positions.
      of_point: [P] row of each point's position.
    """

    points: Float[np.ndarray, "D 3"]
    of_point: Int[np.ndarray, " P"]

    @property
    def repeated(self) -> bool:
        """Whether points share a position."""
        return len(self.points) < len(self.of_point)

    def first_points(self) -> Int[np.ndarray, " D"]:
        """Return the first point at each position."""
        first = np.empty(len(self.points), np.intp)
        # Of several values for one row, the last one assigned stays.
        first[self.of_point[::-1]] = np.arange(len(self.of_point))[::-1]
        return first


def distinct_positions(points: Float[np.ndarray, "P 3"]) -> Positions:
    """Return the distinct positions of finite points; 0 and -0 are equal.

    Takes P log P time whatever repeats.
    """
    points = points + points.dtype.type(0)  # -0 becomes 0
    order = _curve_order(points)
    ordered = points[order]
    new = np.ones(len(points), bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    of_point = np.empty(len(points), np.intp)
    of_point[order] = np.cumsum(new) - 1
    return Positions(ordered[new], of_point)


def joined_positions(points: Float[np.ndarray, "P 3"]) -> Positions | None:
    """Return the positions of finite points if two share one; else None, quickly."""
    bits = (points.astype(np.float32) + np.float32(0)).view(np.uint32)
    mixed = np.zeros(len(points), np.uint64)
    for column, factor in zip(bits.T, _MIX, strict=True):
        mixed += column.astype(np.uint64) * np.uint64(factor)
    mixed.sort()
    if not (mixed[1:] == mixed[:-1]).any():
        return None
    positions = distinct_positions(points)
    return positions if positions.repeated else None


def warn_of_repeats(positions: Positions, where: str, at_least: int = 2) -> None:
    """Log a warning when one position holds more than a thousandth of the points.

    Args:
      positions: of the scan.
      where: what the message starts with.
      at_least: number of points that are not worth a word below.
    """
    count = np.bincount(positions.of_point)
    most, total = int(count.max()), len(positions.of_point)
    if most < at_least or most <= _SUSPICIOUS_SHARE * total:
        return
    place = ", ".join(f"{value:g}" for value in positions.points[count.argmax()])
    logging.warning(
        "%s: %d of %d points (%.1f %%) lie at (%s) and count as one. If they are "
        "pixels without a reading, leave them out of the file.",
        where,
        most,
        total,
        100 * most / total,
        place,
    )


def nearest_positions(
    points: Float[np.ndarray, "D 3"], count: int
) -> Int32[np.ndarray, "D K"]:
    """Return the rows of the nearest positions of each, itself first.

    Args:
      points: distinct, as in `Positions`; repeated ones would take quadratic time.
      count: K with the position itself; D where that is less.

    Returns:
      By ascending distance. Which of several equally far ones comes first, or is left
      out, depends on `points` alone.
    """
    count = min(count, len(points))
    tree = scipy.spatial.cKDTree(points, leafsize=_LEAF_SIZE)
    near = np.empty((len(points), count), np.int32)
    for rows in blocks(len(points), "neighbours"):
        near[rows] = tree.query(points[rows], k=range(1, count + 1), workers=-1)[1]
    return near


def blocks(num_rows: int, what: str) -> Iterator[slice]:
    """Yield slices of at most 65,536 rows, with a bar where that takes seconds."""
    with tqdm.tqdm(total=num_rows, desc=what, delay=2, leave=False) as bar:
        for first in range(0, num_rows, _ROWS_AT_ONCE):
            yield slice(first, first + _ROWS_AT_ONCE)
            bar.update(min(_ROWS_AT_ONCE, num_rows - first))


def _curve_order(points: Float[np.ndarray, "P 3"]) -> Int[np.ndarray, " P"]:
    """Return the order along a Morton curve, equal positions next to each other."""
    code = _curve_codes(points)
    order = np.argsort(code, kind="stable")
    ordered = points[order]
    same_code = code[order[1:]] == code[order[:-1]]
    differs = (ordered[1:] != ordered[:-1]).any(axis=1)
    # Runs of one code and several positions stay where they are, sorted in themselves.
    run = np.zeros(len(points), np.intp)
    run[1:] = np.cumsum(~same_code)
    unsorted = np.zeros(len(points), bool)  # by run: there are no more than points
    unsorted[run[1:][same_code & differs]] = True
    rows = unsorted[run]
    members = order[rows]
    x, y, z = points[members].T
    order[rows] = members[np.lexsort((z, y, x, run[rows]))]
    return order


def _curve_codes(points: Float[np.ndarray, "P 3"]) -> Int[np.ndarray, " P"]:
    """Return Morton codes in a cube around all points, u64."""
    code = np.zeros(len(points), np.uint64)
    if len(points) == 0:
        return code
    low = points.min(axis=0).astype(np.float64)
    edge = (points.max(axis=0) - low).max()
    if edge == 0:
        return code
    for axis in range(3):
        share = (points[:, axis] - low[axis]) / edge
        bits = (share * ((1 << _CURVE_BITS) - 1)).astype(np.uint64)
        for shift, mask in _SPREAD:
            bits = (bits | (bits << np.uint64(shift))) & np.uint64(mask)
        code |= bits << np.uint64(axis)
    return code
