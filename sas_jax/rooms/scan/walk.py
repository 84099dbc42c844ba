"""Walks through the free floor of a room, on its grid of 5 cm cells.

Notation: a *cell* is the integer pair (i, j) of `Room.free_space`; N free cells.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage, sparse
from scipy.sparse import csgraph

from sas_jax.errors import InputError
from sas_jax.rooms.layout import Room

CELL_M = 0.05


@dataclass(frozen=True)
class FreeFloor:
    """Connected cells that a person can walk through.

    Attributes:
      cells: i32 [N, 2], sorted.
      index: i32 [X, Y], row of a cell in `cells`, -1 where blocked.
    """

    cells: Int[np.ndarray, "N 2"]
    index: Int[np.ndarray, "X Y"]

    def position_m(self, cell: Int[np.ndarray, "K 2"]) -> Float[np.ndarray, "K 2"]:
        """Return the world position of cell centres."""
        return (np.asarray(cell) + 0.5) * CELL_M

    def contains(self, position_m: Float[np.ndarray, "K 2"]) -> Bool[np.ndarray, " K"]:
        """Tell which world positions lie in free cells."""
        cell = np.floor(np.asarray(position_m) / CELL_M).astype(int)
        limit = np.array(self.index.shape)
        inside = ((cell >= 0) & (cell < limit)).all(1)
        cell = np.clip(cell, 0, limit - 1)
        return inside & (self.index[cell[:, 0], cell[:, 1]] >= 0)

    def nearest(self, position_m: Float[np.ndarray, " 2"]) -> int:
        """Return the row in `cells` of the free cell closest to a position."""
        offset = self.position_m(self.cells) - np.asarray(position_m)
        return int(np.argmin((offset**2).sum(1)))


def free_floor(room: Room, height_m: float) -> FreeFloor:
    """Return the largest connected part of the free floor.

    Args:
      room: to walk through.
      height_m: largest eye height of the walk.

    Returns:
      At least one cell; the distance kept from furniture shrinks until there is one.

    Raises:
      InputError: when furniture covers the whole floor.
    """
    for clearance_m in (0.25, 0.15, 0.08, 0.02):
        free = room.free_space(height_m, clearance_m)
        parts, count = ndimage.label(free)
        if count:
            largest = 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
            cells = np.argwhere(parts == largest).astype(np.int32)
            index = np.full(free.shape, -1, np.int32)
            index[cells[:, 0], cells[:, 1]] = np.arange(len(cells))
            return FreeFloor(cells, index)
    raise InputError(
        f"camera_path: room {room.seed} must have free floor, got none. "
        "Lower RoomConfig.max_objects."
    )


def spread_cells(
    floor: FreeFloor, count: int, rng: np.random.Generator
) -> Int[np.ndarray, " K"]:
    """Pick up to `count` cells far from each other (rows of `floor.cells`)."""
    chosen = [int(rng.integers(len(floor.cells)))]
    distance = np.full(len(floor.cells), np.inf)
    while len(chosen) < count:
        offset = floor.cells - floor.cells[chosen[-1]]
        distance = np.minimum(distance, np.hypot(*offset.T))
        # A draw among the farthest keeps the corners from being chosen every time.
        far = np.flatnonzero(distance >= 0.8 * distance.max())
        if distance.max() < 0.4 / CELL_M:
            break
        chosen.append(int(far[rng.integers(len(far))]))
    return np.array(chosen)


def _graph(floor: FreeFloor) -> sparse.csr_matrix:
    """Link neighbouring free cells, eight each, by their distance."""
    padded = np.pad(floor.index, 1, constant_values=-1)
    sources, targets, lengths = [], [], []
    i, j = floor.cells.T + 1
    for di, dj in ((0, 1), (1, 0), (1, 1), (1, -1)):
        neighbour = padded[i + di, j + dj]
        linked = neighbour >= 0
        sources.append(np.flatnonzero(linked))
        targets.append(neighbour[linked])
        lengths.append(np.full(linked.sum(), np.hypot(di, dj)))
    size = len(floor.cells)
    return sparse.csr_matrix(
        (np.concatenate(lengths), (np.concatenate(sources), np.concatenate(targets))),
        shape=(size, size),
    )


@dataclass(frozen=True)
class Routes:
    """Shortest walks between chosen cells.

    Attributes:
      distance: f64 [K, K], in cells.
      previous: i32 [K, N], predecessor of every cell on the walk from a chosen one.
      stops: i32 [K], the chosen rows of `FreeFloor.cells`.
    """

    distance: Float[np.ndarray, "K K"]
    previous: Int[np.ndarray, "K N"]
    stops: Int[np.ndarray, " K"]

    def walk(self, start: int, end: int) -> list[int]:
        """Return the cells from stop `start` to stop `end`, both included."""
        cell, cells = int(self.stops[end]), []
        while cell != self.stops[start]:
            cells.append(cell)
            cell = int(self.previous[start, cell])
        return [*cells, cell][::-1]

    def tour(self) -> list[int]:
        """Return an order of the stops: always on to the nearest one left."""
        order, left = [0], set(range(1, len(self.stops)))
        while left:
            here = self.distance[order[-1]]
            order.append(min(left, key=lambda stop: (here[stop], stop)))
            left.remove(order[-1])
        return order


def routes(floor: FreeFloor, stops: Int[np.ndarray, " K"]) -> Routes:
    """Find the shortest walks from every stop."""
    distance, previous = csgraph.dijkstra(
        _graph(floor), directed=False, indices=stops, return_predecessors=True
    )
    return Routes(distance[:, stops], previous, stops)
