"""The unit of a file that states none, told by its size: rooms are a few metres wide.

Metres are expected, and the other units are held against them. Between a hall of 13 x
10 x 8 m and a room of as many feet nobody can tell: then it stays metres, and the other
unit is named.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal

Units = Literal["auto", "m", "cm", "mm", "inch", "foot"]
METRES = {"m": 1.0, "cm": 0.01, "mm": 0.001, "inch": 0.0254, "foot": 0.3048}
"""Name -> metres per unit."""
# Expected longest edge and height, metres, and the spreads of their logarithms: of the
# edge, of less height, of more. First of rooms, of which parts are scanned too; then of
# larger places, which only metres are used for, and how much rarer they are.
_ROOM = (6.0, 2.6, (0.8, 0.8, 0.35))
_PLACE = (60.0, 8.0, (1.2, 1.0, 1.0))
_PLACES = -2.0
_PRIOR = {"m": 3.0, "mm": 0.0, "cm": -0.5, "inch": -1.0, "foot": -1.0}
_SURE = 1.0
# Nothing that a scan is made of is smaller than this, metres.
_SMALLEST_M = 0.8
# Coordinates beyond are a map's.
MAP = 1e5


@dataclasses.dataclass(frozen=True)
class UnitGuess:
    """What the size says.

    Attributes:
      name: of `METRES`.
      other: what else is likely, None where the first is sure.
      plausible: whether the size in the first one is that of a scan.
    """

    name: str
    other: str | None
    plausible: bool


def likely_unit(edges: Sequence[float], height: float, *, on_map: bool) -> UnitGuess:
    """Return the unit in which a scan is most likely a room, a building or a street.

    Args:
      edges: of its box but for stray points, in the file's unit.
      height: the one of them that is vertical.
      on_map: coordinates are so large that they are a map's: metres.
    """
    longest = max(edges)
    if not (longest > 0 and height > 0) or on_map:
        return UnitGuess("m", None, plausible=longest >= _SMALLEST_M)
    scores = {name: _score(name, longest, height) for name in METRES}
    first, second = sorted(scores, key=lambda name: -scores[name])[:2]
    unsure = scores[first] - scores[second] < _SURE
    if unsure and first != "m":
        first, second = "m", first
    elif scores[first] - scores[second] < 2 * _SURE:
        unsure = True
    longest_m = METRES[first] * longest
    return UnitGuess(first, second if unsure else None, longest_m >= _SMALLEST_M)


def _score(name: str, longest: float, height: float) -> float:
    edge_m, height_m = METRES[name] * longest, METRES[name] * height
    best = _fit(edge_m, height_m, *_ROOM)
    if name == "m":
        best = max(best, _fit(edge_m, height_m, *_PLACE) + _PLACES)
    return best + _PRIOR[name]


def _fit(
    edge_m: float,
    height_m: float,
    usual_edge_m: float,
    usual_height_m: float,
    spreads: tuple[float, float, float],
) -> float:
    of_edge = math.log(edge_m / usual_edge_m) / spreads[0]
    of_height = math.log(height_m / usual_height_m)
    of_height /= spreads[2] if of_height > 0 else spreads[1]
    return -(of_edge**2 + of_height**2) / 2
