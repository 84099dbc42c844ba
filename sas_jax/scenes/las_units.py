"""The units that the coordinate reference system of a LAS file names."""

import dataclasses
import re
import struct

FOOT_M = 0.3048
_EPSG_UNITS = {9001: 1.0, 9002: FOOT_M, 9003: 1200 / 3937}
_USER = b"LASF_Projection"
_GEO_KEYS, _WKT = 34735, 2112
# Keys of the GeoTIFF standard.
_MODEL, _LINEAR, _VERTICAL = 1024, 3076, 4099
_GEOGRAPHIC = 2
_UNIT = re.compile(r'(?:LENGTH)?UNIT\s*\[\s*"([^"]*)"\s*,\s*([0-9.eE+-]+)', re.I)
_ANGLE = re.compile(r"deg|rad|grad|arc|second|scale|unity", re.I)
_HEIGHT = re.compile(r"VERT_?CS\s*\[|VERTCRS\s*\[|VERTICALCRS\s*\[", re.I)
_GEOGRAPHIC_WKT = re.compile(r"GEOGCS\s*\[|GEOGCRS\s*\[|GEOGRAPHICCRS\s*\[", re.I)
_PROJECTED_WKT = re.compile(
    r"PROJCS\s*\[|PROJCRS\s*\[|PROJECTEDCRS\s*\[|LOCAL_CS\s*\[|ENGCRS\s*\[", re.I
)


@dataclasses.dataclass(frozen=True)
class LinearUnits:
    """Metres per unit.

    Attributes:
      horizontal_m: of x and y; None for degrees.
      vertical_m: of heights, None where nothing is said of them.
    """

    horizontal_m: float | None
    vertical_m: float | None = None


def stated_units(notes: dict[tuple[bytes, int], bytes]) -> LinearUnits | None:
    """Return the units that a file's CRS states, None where it states none.

    Args:
      notes: (user, number) -> content of the file's variable length records.
    """
    wkt = notes.get((_USER, _WKT), b"").decode("utf-8", "replace").rstrip("\0")
    if wkt.strip():
        return _of_wkt(wkt)
    return _of_keys(notes.get((_USER, _GEO_KEYS), b""))


def _of_wkt(wkt: str) -> LinearUnits | None:
    height = _HEIGHT.search(wkt)
    plane = wkt[: height.start()] if height else wkt
    if _GEOGRAPHIC_WKT.search(plane) and not _PROJECTED_WKT.search(plane):
        return LinearUnits(None)
    horizontal = _linear(plane)
    if not horizontal:
        return None
    # Of several (the ellipsoid's, each axis's), the coordinate system's comes last.
    vertical = _linear(wkt[height.start() :]) if height else []
    return LinearUnits(horizontal[-1], vertical[-1] if vertical else None)


def _linear(wkt: str) -> list[float]:
    found = []
    for name, factor in _UNIT.findall(wkt):
        try:
            metres = float(factor)
        except ValueError:
            continue
        if not _ANGLE.search(name) and 0 < metres < 1e6:
            found.append(metres)
    return found


def _of_keys(content: bytes) -> LinearUnits | None:
    """Read a GeoTIFF directory: (key, where, count, value) after a head of its own."""
    rows = len(content) // 8
    numbers = struct.unpack_from(f"<{4 * rows}H", content)
    keys = {
        numbers[4 * row]: numbers[4 * row + 3]
        for row in range(1, rows)
        if numbers[4 * row + 1] == 0  # the value itself
    }
    if keys.get(_MODEL) == _GEOGRAPHIC:
        return LinearUnits(None)
    horizontal = _EPSG_UNITS.get(keys.get(_LINEAR, 0))
    if horizontal is None:
        return None
    return LinearUnits(horizontal, _EPSG_UNITS.get(keys.get(_VERTICAL, 0)))
