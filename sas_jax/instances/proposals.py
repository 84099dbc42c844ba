"""Proposals without weights: superpoints that look and bend alike are one thing.

Superpoints that are near each other are nodes of a graph. Joining two regions i and j
of n_i and n_j points costs

    c(i, j) = (|f_i - f_j|^2 + w g(i, j) + m (1 - v(i, j))) sqrt(n_i n_j / (n_i + n_j))

f: mean feature of a region's points, superpoints' at unit length; g in 0..2: mean
weight of the edges between them, 0 where the surface goes on and large in a concave
crease (`superpoints.graph`); v in 0..1: how often 2-D masks, where there are any, hold
points of both (`votes`). It is the root of Ward's criterion (1963) with a term for
the surface: small regions are cheap to join, or they would stand in the way for ever.
The cheapest pair is joined, features and weights become means, until nothing is near.

Every region that ever was is a proposal: a chair and its seat both are. With b the cost
of the joining that made it, d that of its next joining and b_0 a least cost, since
superpoints have no b and small differences say nothing, its score is

    s = max(0, 1 - max(b, b_0) / d)     (1 if there is no next one).

Of proposals that nearly are the same the surest stays. Related: SAM3D, SAI3D and
MaskClustering merge what 2-D masks say; here the lifted features say it.
"""

import dataclasses
import functools
import heapq
import itertools
import operator
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from sas_jax.checks import in_range
from sas_jax.errors import ContractError
from sas_jax.instances.contacts import Contacts
from sas_jax.instances.masks import Instances, of_masks

# |f - f'|^2 where one of them is unknown: between that of one thing and of two. As
# well of votes.
_UNSEEN = 0.5


@dataclasses.dataclass(frozen=True)
class ProposalConfig:
    """How superpoints are joined, and which regions are kept.

    Attributes:
      crease: w, what a concave crease costs.
      masks: m, what it costs that no mask holds both; without masks it costs nothing.
      min_points: of a proposal, as ScanNet's benchmark counts them.
      least: b_0, as a multiple of sqrt(min_points).
      max_share: of the scene's points that a proposal may have.
      same: IoU from which two proposals are one.
      most: proposals of a scene.
      neighbors: near points of each point, by which superpoints are near.
    """

    crease: float = 0.2
    masks: float = 1.0
    min_points: int = 100
    least: float = 0.8
    max_share: float = 0.5
    same: float = 0.8
    most: int = 150
    neighbors: int = 12

    def __post_init__(self) -> None:
        in_range("proposals", "proposal_crease", self.crease, 0)
        in_range("proposals", "proposal_masks", self.masks, 0)
        in_range("proposals", "proposal_min_points", self.min_points, 1)
        in_range("proposals", "proposal_least", self.least, 0, above=True)
        in_range("proposals", "proposal_max_share", self.max_share, 0, 1, above=True)
        in_range("proposals", "proposal_same", self.same, 0, 1, above=True)
        in_range("proposals", "proposals", self.most, 1)
        in_range("proposals", "proposal_neighbors", self.neighbors, 1)


def propose(
    superpoints: Int[np.ndarray, " P"],
    features: Float[np.ndarray, "S C"],
    near: Contacts,
    config: ProposalConfig | None = None,
) -> Instances:
    """Join superpoints and return the regions worth keeping, surest first.

    Args:
      superpoints: id of each point, contiguous from 0.
      features: of each superpoint, in any space and of any length; zero where nobody
        saw it, which then joins by its surface.
      near: of `contacts.contacts`.
      config: see there.

    Returns:
      At most `config.most` instances without classes. They may overlap: parts and
      wholes.

    Raises:
      ContractError: unless there is a feature per superpoint.

    Deterministic: yes.
    """
    config = config or ProposalConfig()
    sizes = np.bincount(superpoints, minlength=len(features))
    if len(sizes) != len(features):
        raise ContractError(
            f"propose: a feature per superpoint ({len(sizes)}) is required, got "
            f"{len(features)}. Average features over these superpoints."
        )
    regions = _grown(features, sizes, near, config)
    return _chosen(regions, sizes, superpoints, config)


class _Contact(NamedTuple):
    """Sums over all edges, and over all votes, between two regions."""

    weights: float = 0.0
    edges: int = 0
    agreed: float = 0.0
    votes: float = 0.0

    def __add__(self, other: "_Contact") -> "_Contact":  # type: ignore[override]
        return _Contact(*map(operator.add, self, other))


@dataclasses.dataclass
class _Region:
    """A set of superpoints.

    Attributes:
      parts: which.
      size: points.
      seen: points with a feature.
      total: sum of their features.
      made: cost of the joining that made it, 0 for a superpoint.
      left: cost of its next joining, infinite without one.
      around: what lies between it and each region near it.
    """

    parts: tuple[int, ...]
    size: int
    seen: int
    total: Float64[np.ndarray, " C"]
    made: float = 0.0
    left: float = np.inf
    around: dict[int, "_Contact"] = dataclasses.field(default_factory=dict)

    @property
    def mean(self) -> Float64[np.ndarray, " C"]:
        return self.total / max(self.seen, 1)


def _grown(
    features: Float[np.ndarray, "S C"],
    sizes: Int[np.ndarray, " S"],
    near: Contacts,
    config: ProposalConfig,
) -> list[_Region]:
    """Return all regions that ever are, superpoints first, parts before wholes."""
    rows = features.astype(np.float64)
    length = np.linalg.norm(rows, axis=1)
    rows /= np.where(length > 0, length, 1.0)[:, None]
    regions = [
        _Region((i,), n, n * int(length[i] > 0), n * rows[i])
        for i, n in enumerate(sizes.tolist())
    ]
    pairs = near.pairs.tolist()
    for (a, b), contact in zip(pairs, _between(near), strict=True):
        regions[a].around[b] = regions[b].around[a] = contact
    masks = 0.0 if near.votes is None else config.masks
    cost_of = functools.partial(_cost, regions, crease=config.crease, masks=masks)
    heap = [(cost_of(a, b), a, b) for a, b in pairs]
    heapq.heapify(heap)
    while heap:
        cost, a, b = heapq.heappop(heap)
        if np.isfinite(min(regions[a].left, regions[b].left)):
            continue  # one of them is a part of another by now
        regions[a].left = regions[b].left = cost
        new = _join(regions, a, b, cost)
        for other in regions[new].around:
            heapq.heappush(heap, (cost_of(other, new), other, new))
    return regions


def _between(near: Contacts) -> Iterator[_Contact]:
    weights = near.weight.astype(np.float64) * near.count
    columns = [weights.tolist(), near.count.tolist()]
    if near.agreed is not None and near.votes is not None:
        columns += [near.agreed.tolist(), near.votes.tolist()]
    return itertools.starmap(_Contact, zip(*columns, strict=True))


def _cost(regions: list[_Region], a: int, b: int, crease: float, masks: float) -> float:
    one, two = regions[a], regions[b]
    contact = one.around[b]
    parted = 1 - contact.agreed / contact.votes if contact.votes else _UNSEEN
    bend = crease * contact.weights / contact.edges + masks * parted
    apart = _UNSEEN
    if one.seen and two.seen:
        difference = one.mean - two.mean
        apart = float(difference @ difference)
    inertia = one.size * two.size / max(one.size + two.size, 1)
    return (apart + bend) * inertia**0.5


def _join(regions: list[_Region], a: int, b: int, cost: float) -> int:
    one, two = regions[a], regions[b]
    new = len(regions)
    around: dict[int, _Contact] = {}
    for old in (one, two):
        for other, contact in old.around.items():
            if other not in (a, b):
                around[other] = around.get(other, _Contact()) + contact
    for other, contact in around.items():
        regions[other].around.pop(a, None)
        regions[other].around.pop(b, None)
        regions[other].around[new] = contact
    regions.append(
        _Region(
            one.parts + two.parts,
            one.size + two.size,
            one.seen + two.seen,
            one.total + two.total,
            made=cost,
            around=around,
        )
    )
    one.around, two.around = {}, {}
    return new


def _chosen(
    regions: list[_Region],
    sizes: Int[np.ndarray, " S"],
    superpoints: Int[np.ndarray, " P"],
    config: ProposalConfig,
) -> Instances:
    least = config.least * config.min_points**0.5
    most = config.max_share * len(superpoints)
    scored = [
        (1 - max(region.made, least) / region.left, index)
        for index, region in enumerate(regions)
        if config.min_points <= region.size <= most and region.left > least
    ]
    kept: list[Bool[np.ndarray, " S"]] = []
    scores: list[float] = []
    # Of equals the larger one, which is the later.
    for score, index in sorted(scored, reverse=True):
        mask = np.zeros(len(sizes), bool)
        mask[list(regions[index].parts)] = True
        if all(_iou(mask, other, sizes) < config.same for other in kept):
            kept.append(mask)
            scores.append(max(score, 0.0))
        if len(kept) == config.most:
            break
    masks = np.reshape(kept, (len(kept), len(sizes))).astype(bool)
    return of_masks(masks[:, superpoints], np.array(scores, np.float32))


def _iou(
    a: Bool[np.ndarray, " S"], b: Bool[np.ndarray, " S"], sizes: Int[np.ndarray, " S"]
) -> float:
    return float(sizes[a & b].sum() / max(sizes[a | b].sum(), 1))
