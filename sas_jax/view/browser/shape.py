"""What of a scene is drawn: all of it, or so much that a browser turns it smoothly."""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64

from sas_jax.view.browser.thinning import thinned


@dataclasses.dataclass(frozen=True)
class Shape:
    """A scene: points, and what may be drawn at them instead.

    Attributes:
      points: metres, z up.
      faces: of a mesh.
      covariances: of Gaussians, metres^2, at the points.
      opacities: of Gaussians, 0..1.
    """

    points: Float32[np.ndarray, "P 3"]
    faces: Int32[np.ndarray, "F 3"] | None = None
    covariances: Float32[np.ndarray, "P 3 3"] | None = None
    opacities: Float32[np.ndarray, " P"] | None = None


@dataclasses.dataclass(frozen=True)
class Part:
    """What is drawn of a shape.

    Attributes:
      which: [D] points, ascending.
      faces: of these, by their place among them; None where no mesh is drawn.
      edge_m: metres from point to point where points are left out, else 0.
      told: what is left out, in words; empty where all is drawn.
    """

    which: Int64[np.ndarray, " D"]
    faces: Int32[np.ndarray, "F 3"] | None = None
    edge_m: float = 0.0
    told: str = ""


def part_of(shape: Shape, top_m: float, most: int) -> Part:
    """Return what is drawn.

    Args:
      shape: the scene.
      top_m: what is higher is left out.
      most: points or Gaussians at most; of a mesh half as many, for its faces are twice
        its points. A larger mesh is drawn as points.
    """
    below = np.flatnonzero(shape.points[:, 2] <= top_m)
    of_all = f"of {len(below):,}"
    if shape.covariances is not None and shape.opacities is not None:
        if len(below) <= most:
            return Part(below)
        area = np.trace(shape.covariances[below], axis1=1, axis2=2)
        order = np.argsort(-area * shape.opacities[below], kind="stable")
        told = f"The {most:,} largest and densest {of_all} Gaussians are drawn"
        return Part(below[np.sort(order[:most])], told=f"{told}; all answer.")
    if shape.faces is not None and len(below) <= most // 2:
        return Part(below, _faces(shape.faces, below, len(shape.points)))
    which, edge_m = thinned(shape.points[below], most)
    told = "A mesh of this size is drawn as points. " if shape.faces is not None else ""
    if edge_m:
        each = f"one every {100 * edge_m:.1f} cm"
        told += f"{len(which):,} {of_all} points are drawn, {each}; all of them answer."
    return Part(below[which], edge_m=edge_m, told=told)


def _faces(
    faces: Int32[np.ndarray, "F 3"], which: Int64[np.ndarray, " D"], num_points: int
) -> Int32[np.ndarray, "f 3"]:
    """Return the faces whose points are all drawn, by their numbers among them."""
    number = np.full(num_points, -1, np.int32)
    number[which] = np.arange(len(which))
    renumbered = number[faces]
    whole: Bool[np.ndarray, " F"] = (renumbered >= 0).all(axis=1)
    return renumbered[whole]
