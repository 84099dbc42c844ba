"""Which superpoints are near each other: the edges of the graph that proposals join."""

import dataclasses

import numpy as np
from jaxtyping import Float, Float32, Float64, Int, Int32


@dataclasses.dataclass(frozen=True)
class Contacts:
    """Pairs of superpoints that are near each other, a < b, each once, ordered.

    Attributes:
      pairs: [E, 2] i32.
      weight: [E] f32, mean weight of the edges between them.
      count: [E] i32, how many edges there are.
      agreed: [E] f64, see `votes.count_votes`; None without masks.
      votes: [E] f64, as well.
    """

    pairs: Int32[np.ndarray, "E 2"]
    weight: Float32[np.ndarray, " E"]
    count: Int32[np.ndarray, " E"]
    agreed: Float64[np.ndarray, " E"] | None = None
    votes: Float64[np.ndarray, " E"] | None = None


def contacts(
    superpoints: Int[np.ndarray, " P"],
    edges: Int[np.ndarray, "D 2"],
    weights: Float[np.ndarray, " D"],
) -> Contacts:
    """Return which superpoints are near each other, from edges between points.

    Args:
      superpoints: id of each point, contiguous from 0.
      edges: between near points, not only those of a mesh, whose parts need not hang
        together; those inside a superpoint say nothing.
      weights: of the edges, see `superpoints.graph`.
    """
    ends = np.sort(superpoints[edges], axis=1).astype(np.int64)
    between = ends[:, 0] != ends[:, 1]
    total = int(superpoints.max(initial=0)) + 1
    code = ends[between, 0] * total + ends[between, 1]
    code, owner = np.unique(code, return_inverse=True)
    count = np.bincount(owner, minlength=len(code))
    weight = np.bincount(owner, weights[between].astype(np.float64), len(code))
    return Contacts(
        np.stack([code // total, code % total], axis=1).astype(np.int32),
        (weight / np.maximum(count, 1)).astype(np.float32),
        count.astype(np.int32),
    )
