"""Which axis of a file points up, told by floors, tops and walls.

Along the true vertical, surfaces are flat or upright whatever way furniture is turned;
rooms are lower than wide; and between floor and ceiling lie tops of tables and beds.
Up is the side away from the floor: a ceiling is often missing, and most tops are in the
lower half. Signs of normals are not asked, since few programs orient them.
"""

import dataclasses

import numpy as np
from jaxtyping import Float64

from sas_jax.scenes.surface_sample import robust_range
from sas_jax.scenes.upright import AXES, surface_up

# |cosine| of a normal to the vertical: of what lies flat, of what stands upright.
_FLAT, _UPRIGHT = 0.95, 0.2
# Floors and ceilings lie within this share of the height from its ends.
_SLAB = 0.04
# A floor and nothing like it on the other side: the ceiling is missing.
_ONE_SIDED = 0.2
# Weights of the evidence, chosen on generated rooms in all six directions, with faces
# and without, with ceilings and without, and on captures.
_OF_VERTICAL, _OF_LOW, _OF_TOPS = 40.0, 6.0, 24.0
_OF_FLOOR, _OF_LOWER_TOPS, _OF_LOWER_POINTS = 10.0, 10.0, 3.0
# What files are like before one looks: mostly z up, or y; few stand on their heads.
_PRIOR = {"z": 1.6, "y": 1.3, "x": 1.0}
_SURE = 1.5
# Below, a tilt is that of the scan, not of its world; and what no two ups differ by.
_TILTED_DEG, _SAME_DEG = 5.0, 30.0
# As many times more surfaces face a direction that the world is tilted to.
_CLEARLY = 2.0
_FEWEST_POINTS = 200


@dataclasses.dataclass(frozen=True)
class UpGuess:
    """What surfaces say.

    Attributes:
      axis: of `upright.AXES`; z where it is not clear which one is vertical.
      sure: whether every other one is clearly less likely.
      direction: [3] f64 unit, what floors and tops near the axis face; the axis itself
        where few do.
    """

    axis: str
    sure: bool
    direction: Float64[np.ndarray, " 3"]

    @property
    def tilt_deg(self) -> float:
        """Angle between axis and direction."""
        cosine = float(np.clip(self.direction @ AXES[self.axis], -1, 1))
        return float(np.degrees(np.arccos(cosine)))


def likely_up(
    points: Float64[np.ndarray, "S 3"], normals: Float64[np.ndarray, "S 3"]
) -> UpGuess:
    """Return the axis that most likely points up, and how the world is tilted to it.

    Args:
      points: of `surface_sample`, in any unit.
      normals: unit, of either sign.

    Returns:
      z, not surely, for too few points and for what has no surfaces.
    """
    if len(points) < _FEWEST_POINTS:
        return UpGuess("z", False, AXES["z"])
    found = []
    for name in "xyz":
        axis, level = AXES[name], _level(normals, AXES[name])
        for direction in (axis, level) if _is_tilted(level, axis) else (axis,):
            vertical, upward = _evidence(points, normals, direction)
            found.append((vertical + upward + _PRIOR[name], name, direction))
            found.append((vertical - upward, f"-{name}", -direction))
    found.sort(key=lambda one: -one[0])
    score, axis_name, best = found[0]
    # What points nearly the same way is no other answer.
    apart = np.cos(np.radians(_SAME_DEG))
    rival = next(one for one in found if one[2] @ best < apart)
    # A tilted world is seldom; half a room may look like one.
    is_axis = np.array_equal(best, AXES[axis_name])
    sure = score - rival[0] >= (_SURE if is_axis else 2 * _SURE)
    if not sure and axis_name[-1] != rival[1][-1]:
        axis_name = "z"
    axis = AXES[axis_name]
    level = _level(normals, axis)
    faced, expected = (_facing(normals, towards) for towards in (level, axis))
    if sure and _is_tilted(level, axis) and faced > _CLEARLY * expected:
        axis = level
    return UpGuess(axis_name, sure, axis)


def _level(
    normals: Float64[np.ndarray, "S 3"], axis: Float64[np.ndarray, " 3"]
) -> Float64[np.ndarray, " 3"]:
    """Return the direction about an axis that most surfaces face, on either side."""
    sign = np.where(normals @ axis < 0, -1.0, 1.0)
    return surface_up((normals * sign[:, None]).astype(np.float32), axis)


def _is_tilted(
    level: Float64[np.ndarray, " 3"], axis: Float64[np.ndarray, " 3"]
) -> bool:
    """Tell whether a direction is that of a tilted floor, not of another side."""
    low, high = np.cos(np.radians([_SAME_DEG, _TILTED_DEG]))
    return bool(low < level @ axis < high)


def _facing(
    normals: Float64[np.ndarray, "S 3"], direction: Float64[np.ndarray, " 3"]
) -> float:
    """Return the share of surfaces that face a direction, or away from it."""
    return float((np.abs(normals @ direction) > np.cos(np.radians(_TILTED_DEG))).mean())


def _evidence(
    points: Float64[np.ndarray, "S 3"],
    normals: Float64[np.ndarray, "S 3"],
    direction: Float64[np.ndarray, " 3"],
) -> tuple[float, float]:
    """Return how much speaks for a direction being vertical, and for it being up."""
    height = points @ direction
    low, high = robust_range(height)
    edge = max(float(high - low), 1e-300)
    along, cosine = (height - low) / edge, np.abs(normals @ direction)
    flat, upright = cosine > _FLAT, cosine < _UPRIGHT
    floor = float((flat & (along < _SLAB)).mean())
    ceiling = float((flat & (along > 1 - _SLAB)).mean())
    inside = flat & (along > 2 * _SLAB) & (along < 1 - 2 * _SLAB)
    lower, upper = (
        float((inside & half).mean()) for half in (along < 0.5, along > 0.5)
    )
    vertical = _OF_VERTICAL * float((flat | upright).mean())
    vertical += _OF_TOPS * (lower + upper)
    spread = float(np.sqrt(points.var(axis=0).sum()))
    vertical -= _OF_LOW * float(np.log(edge / max(spread, 1e-300)))
    upward = _OF_LOWER_TOPS * (lower - upper)
    upward += _OF_LOWER_POINTS * (0.5 - float(np.median(along)))
    if min(floor, ceiling) < _ONE_SIDED * max(floor, ceiling):
        upward += _OF_FLOOR * (floor - ceiling)
    return vertical, upward
