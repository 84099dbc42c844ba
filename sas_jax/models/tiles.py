"""Tiles: a scene too large for memory, in overlapping boxes one after the other.

A network sees a voxel's surroundings up to its receptive radius. A tile is the box
whose features are kept, its inside, and the voxels around it that the network sees
beside them, up to the overlap. Boxes begin at multiples of the coarsest voxels' edge,
so that every level has the voxels that it would have had in the whole scene.

Where the overlap is at least the receptive radius, the features are those of the whole
scene, bit for bit with native kernels. With less, "away from the seams" means farther
than `radius - overlap` from a face between two boxes: there they are the same, and
nearer to it they lack the farthest part of what the network would have seen.
"""

import dataclasses
import logging
import math
from typing import Protocol

import numpy as np
import tqdm
from jaxtyping import Float32, Int, Int32

from sas_jax import memory
from sas_jax.sparse.plan import level_counts
from sas_jax.sparse.plan_spec import PlanSpec
from sas_jax.sparse.rungs import Rung, choose_rung

# Of the memory that is free, what a network may take; the rest is for what it is too
# small to count, and for other programs.
_SHARE = 0.85
# Features take this many times their size while they are written to disk in half
# precision, after the network's memory is free again.
_WRITING = 2.0
# Overlaps to try, as shares of the receptive radius, and how often on average a voxel
# may be seen with each: then a smaller overlap is tried, or the scene refused.
_OVERLAPS = ((1, 4), (1 / 2, 4), (1 / 4, 16))
_REMEDY = (
    "Free memory, cut the scan into parts, or train with larger voxels "
    "(--voxel_size_m)."
)

_log = logging.getLogger(__name__)


class Network(Protocol):
    """A network that can be asked what it takes before it runs.

    Attributes:
      spec: levels and kernels of its plans.
      radius: how many voxels along an axis it sees.
      width: channels of its features.
    """

    spec: PlanSpec
    radius: int
    width: int

    def program_bytes(self, rung: Rung) -> int:
        """Return the memory that one run takes."""
        ...

    def run(
        self, coords: Int32[np.ndarray, "N 3"], rung: Rung
    ) -> Float32[np.ndarray, "N C"]:
        """Return a feature of every voxel."""
        ...


def features(
    network: Network, coords: Int32[np.ndarray, "N 3"], free: int | None
) -> Float32[np.ndarray, "N C"]:
    """Run a network on a scene, in tiles if the whole does not fit the memory.

    Args:
      network: with its parameters.
      coords: of the voxels, not negative.
      free: bytes that there are, or None if nobody knows.

    Raises:
      InputError: if not even tiles fit, with what is required.

    Deterministic: yes; in tiles, as the module says.
    """
    rung = _rung(network, [coords])
    result = np.dtype(np.float32).itemsize * network.width * len(coords)
    needed = network.program_bytes(rung) + result
    budget = math.inf if free is None else _SHARE * free
    if max(needed, _WRITING * result) <= budget:
        return network.run(coords, rung)
    what = f"features of {len(coords)} voxels"
    if _WRITING * result > budget:
        raise memory.shortage(_WRITING * result, what, budget, _REMEDY)
    plan = _plan_tiles(network, coords, budget - result, rung)
    if plan is None:
        raise memory.shortage(needed, what, budget, _REMEDY)
    overlap, tiles, rung = plan
    _say(network, len(coords), needed, overlap, tiles)
    feat = np.empty((len(coords), network.width), np.float32)
    for tile in tqdm.tqdm(tiles, desc="tiles", mininterval=1.0):
        feat[tile.seen[tile.inside]] = network.run(coords[tile.seen], rung)[tile.inside]
    return feat


@dataclasses.dataclass(frozen=True)
class Tile:
    """A part of a scene.

    Attributes:
      seen: ascending rows of the voxels that the network sees.
      inside: which of these are inside, where features are taken.
    """

    seen: Int32[np.ndarray, " S"]
    inside: Int32[np.ndarray, " I"]


@dataclasses.dataclass(frozen=True)
class _Box:
    low: Int[np.ndarray, " 3"]
    high: Int[np.ndarray, " 3"]

    def rows(self, coords: Int32[np.ndarray, "N 3"], margin: int) -> np.ndarray:
        above = coords >= (self.low - margin)[None]
        below = coords < (self.high + margin)[None]
        return np.flatnonzero((above & below).all(axis=1))


def cut(
    coords: Int32[np.ndarray, "N 3"],
    most: int,
    overlap: int,
    multiple: int,
    most_work: float = math.inf,
) -> list[Tile] | None:
    """Cut a scene into tiles of which each sees at most so many voxels.

    Boxes are halved, along the longest edge of what is in them, where it leaves as
    many voxels on either side, until they are small enough.

    Args:
      coords: of the voxels.
      most: voxels that a tile may see.
      overlap: voxels around the inside that are seen as well.
      multiple: edge of the coarsest voxels; boxes begin and end there.
      most_work: voxels that all tiles together may see.

    Returns:
      Tiles whose insides are all voxels, each once; None if a box of one coarsest
      voxel, or all tiles together, would see too many.
    """
    if len(coords) == 0:
        return []
    low = coords.min(axis=0) // multiple * multiple
    high = (coords.max(axis=0) // multiple + 1) * multiple
    tiles: list[Tile] = []
    work = 0
    waiting = [(_Box(low, high), np.arange(len(coords), dtype=np.int32))]
    while waiting:
        box, rows = waiting.pop()
        seen = rows[box.rows(coords[rows], overlap)]
        inside = box.rows(coords[seen], 0).astype(np.int32)
        if len(inside) == 0:
            continue
        if len(seen) <= most:
            work += len(seen)
            tiles.append(Tile(seen, inside))
            continue
        if work > most_work:
            return None
        halves = _halve(box, coords[seen[inside]], multiple)
        if halves is None:
            return None
        waiting += [(half, seen) for half in reversed(halves)]
    return tiles


def _halve(
    box: _Box, coords: Int32[np.ndarray, "I 3"], multiple: int
) -> tuple[_Box, _Box] | None:
    low = coords.min(axis=0) // multiple * multiple
    high = (coords.max(axis=0) // multiple + 1) * multiple
    axis = int(np.argmax(high - low))
    if high[axis] - low[axis] <= multiple:
        return None
    middle = int(np.median(coords[:, axis])) // multiple * multiple
    middle = min(max(middle, low[axis] + multiple), high[axis] - multiple)
    left_high, right_low = box.high.copy(), box.low.copy()
    left_high[axis] = right_low[axis] = middle
    return _Box(box.low, left_high), _Box(right_low, box.high)


def _plan_tiles(
    network: Network, coords: Int32[np.ndarray, "N 3"], budget: float, whole: Rung
) -> tuple[int, list[Tile], Rung] | None:
    """Return overlap, tiles and the rung of all of them, or None if none fit.

    The overlap is the largest with which voxels are not seen too often.
    """
    multiple = network.spec.strides[-1]
    fixed = network.program_bytes(choose_rung((0,) * network.spec.num_levels))
    per_voxel = (network.program_bytes(whole) - fixed) / len(coords)
    for share, often in _OVERLAPS:
        overlap = math.ceil(share * network.radius / multiple) * multiple
        limits = (overlap, multiple, often * len(coords))
        most = max(0.0, budget - fixed) / per_voxel
        while (tiles := cut(coords, int(most), *limits)) is not None:
            rung = _rung(network, [coords[tile.seen] for tile in tiles])
            if network.program_bytes(rung) <= budget:
                return overlap, tiles, rung
            most *= 0.8
    return None


def _rung(network: Network, parts: list[Int32[np.ndarray, "N 3"]]) -> Rung:
    """Return the rung that holds every part, so that all share one program."""
    counts = [
        level_counts(np.pad(coords, ((0, 0), (1, 0))), network.spec) for coords in parts
    ]
    return choose_rung(tuple(np.max(counts, axis=0).tolist()))


def _say(
    network: Network, num_voxels: int, needed: float, overlap: int, tiles: list[Tile]
) -> None:
    seam = max(0, network.radius - overlap)
    exact = "all that the network sees: the result is that of the whole"
    _log.warning(
        "%d voxels would take about %s: done in %d tiles that overlap by %d voxels, "
        "%s (%.1f times the work)",
        num_voxels,
        memory.gigabytes(needed),
        len(tiles),
        overlap,
        f"features within {seam} voxels of a seam see less than the whole"
        if seam
        else exact,
        sum(len(tile.seen) for tile in tiles) / num_voxels,
    )
