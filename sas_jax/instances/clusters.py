"""Density clusters of points (DBSCAN), in memory that does not grow with the radius.

A point with at least `min_points` points within the radius, itself among them, is a
core. Cores within the radius of each other are of one cluster; any other point is of
the first cluster that has a core within the radius, or noise. Clusters are numbered by
their first core.

A radius of a metre around each voxel of a wall makes a billion pairs. So points are put
into cells whose diagonal is the radius: all cores of a cell are of one cluster, and of
two cells one pair is enough.
"""

import itertools

import numpy as np
from jaxtyping import Bool, Float, Float64, Int32, Int64
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from sas_jax.errors import ContractError

NOISE = -1
_CROWDED = 4.0
"""Points that share a cell with a point, on average, from where on cells are looked at
instead of pairs."""
_BRUTE = 4096
"""Distances of two cells that are computed without a tree."""


def dbscan(
    points: Float[np.ndarray, "n 3"], radius: float, min_points: int = 1
) -> Int32[np.ndarray, " n"]:
    """Return the cluster of each point, -1 for noise.

    Args:
      points: finite, of any unit.
      radius: of a neighbourhood, > 0, its rim included; same unit.
      min_points: of a core's neighbourhood, >= 1.
    """
    if radius <= 0 or min_points < 1:
        raise ContractError(
            f"dbscan: radius > 0 and min_points >= 1 are required, got {radius} and "
            f"{min_points}."
        )
    places = np.asarray(points, np.float64)
    found = np.full(len(places), NOISE, np.int32)
    core = _cores(places, radius, min_points)
    if not core.any():
        return found
    of_core = _by_first(components(places[core], radius))
    found[core] = of_core
    others = np.flatnonzero(~core)
    if len(others):
        # Each has fewer than min_points neighbours: the lists are short.
        listed = cKDTree(places[core]).query_ball_point(places[others], radius)
        for other, near in zip(others, listed, strict=True):
            found[other] = min(of_core[near], default=NOISE)
    return found


def components(
    places: Float64[np.ndarray, "n 3"], radius: float
) -> Int32[np.ndarray, " n"]:
    """Return a number for each point: equal where steps of at most `radius` lead.

    Args:
      places: at least one.
      radius: of a step, its rim included.
    """
    cells, of_point = _cells(places, radius)
    points = np.bincount(of_point)
    if np.mean(points[of_point]) <= _CROWDED:
        pairs = cKDTree(places).query_pairs(radius, output_type="ndarray")
        return _connected(pairs, len(places))
    order = np.argsort(of_point, kind="stable")
    members = np.split(places[order], np.cumsum(points)[:-1])
    return _joined(cells, members, radius)[of_point]


def _cores(
    places: Float64[np.ndarray, "n 3"], radius: float, min_points: int
) -> Bool[np.ndarray, " n"]:
    if min_points == 1 or not len(places):
        return np.ones(len(places), bool)
    _, of_point = _cells(places, radius)
    core = np.bincount(of_point)[of_point] >= min_points
    rest = np.flatnonzero(~core)
    near = cKDTree(places).query_ball_point(places[rest], radius, return_length=True)
    core[rest] = near >= min_points
    return core


def _cells(
    places: Float64[np.ndarray, "n 3"], radius: float
) -> tuple[Int64[np.ndarray, "c 3"], Int64[np.ndarray, " n"]]:
    """Return indices of the cells that have points, and the cell of each point."""
    side = radius / np.sqrt(3) * (1 - 1e-9)
    index = np.floor((places - places.min(axis=0)) / side).astype(np.int64)
    cells, of_point = np.unique(index, axis=0, return_inverse=True)
    return cells, of_point.ravel()


def _joined(
    cells: Int64[np.ndarray, "c 3"], members: list[np.ndarray], radius: float
) -> Int32[np.ndarray, " c"]:
    """Return the component of each cell, nearest cells first: most pairs need no look.

    Args:
      cells: their indices, unique.
      members: places of the points of each.
      radius: of a step.
    """
    index = {cell: number for number, cell in enumerate(map(tuple, cells.tolist()))}
    steps = [s for s in itertools.product(range(-2, 3), repeat=3) if s > (0, 0, 0)]
    parent = list(range(len(cells)))

    def root(cell: int) -> int:
        while parent[cell] != cell:
            parent[cell] = parent[parent[cell]]
            cell = parent[cell]
        return cell

    for x, y, z in sorted(steps, key=lambda step: sum(s * s for s in step)):
        for cell, number in index.items():
            other = index.get((cell[0] + x, cell[1] + y, cell[2] + z))
            if other is None or root(number) == root(other):
                continue
            if _touch(members[number], members[other], radius):
                parent[root(other)] = root(number)
    return np.array([root(cell) for cell in range(len(cells))], np.int32)


def _touch(
    first: Float64[np.ndarray, "n 3"], second: Float64[np.ndarray, "m 3"], radius: float
) -> bool:
    """Tell whether two sets of points have a pair within the radius."""
    few, many = sorted((first, second), key=len)
    if len(few) * len(many) <= _BRUTE:
        apart = few[:, None] - many
    else:
        apart = few - many[cKDTree(many).query(few)[1]]
    return bool(((apart**2).sum(axis=-1) <= radius * radius).any())


def _connected(pairs: np.ndarray, count: int) -> Int32[np.ndarray, " n"]:
    ones = np.ones(len(pairs), np.int8)
    graph = coo_array((ones, (pairs[:, 0], pairs[:, 1])), (count, count))
    return connected_components(graph, directed=False)[1]


def _by_first(numbers: Int32[np.ndarray, " n"]) -> Int32[np.ndarray, " n"]:
    """Renumber by first appearance, from 0."""
    _, first, inverse = np.unique(numbers, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int32)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]
