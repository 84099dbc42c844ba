"""Sinks: a basin with a tap at its back (y < 0), 0.8 to 0.95 m high.

`INSET` designs hang in the hole of a worktop; their z = 0 is the bottom of the basin
and `RIM_DROP_M` of them is below the worktop's upper side.
"""

import itertools

import numpy as np

from sas_jax.rooms.catalogue.base import Builder, Draft, Fit
from sas_jax.rooms.catalogue.colors import chrome, household_color, metal, white
from sas_jax.rooms.catalogue.parts import corner_legs, slab
from sas_jax.rooms.geometry.lofts import cylinder, lathe, loft, ring, tube
from sas_jax.rooms.geometry.mesh import METAL, Material, Mesh, transform
from sas_jax.rooms.geometry.shapes import box

INSET = (2, 3)
VESSEL = (5,)
STANDING = (0, 1, 4, 6)
RIM_DROP_M = 0.19


def _tap(y: float, z: float, reach: float, steel: Material, arch: bool) -> list[Mesh]:
    """A spout that reaches `reach` towards +y, with one or two handles."""
    if arch:
        angle = np.linspace(np.pi, 0.25, 6)
        r = reach / 2
        path = [(0.0, y, z)] + [
            (0.0, y + r + r * np.cos(a), z + 0.2 + r * np.sin(a)) for a in angle
        ]
        parts = [tube(a, b, 0.012, steel) for a, b in itertools.pairwise(path)]
        parts.append(tube((0.03, y, z + 0.06), (0.09, y, z + 0.09), 0.008, steel))
        return parts
    return [
        tube((0, y, z), (0, y, z + 0.12), 0.015, steel),
        tube((0, y, z + 0.11), (0, y + reach, z + 0.085), 0.012, steel),
        tube((-0.09, y, z), (-0.09, y, z + 0.05), 0.018, steel),
        tube((0.09, y, z), (0.09, y, z + 0.05), 0.018, steel),
    ]


def _basin(
    w: float,
    d: float,
    z: float,
    deep: float,
    body: Material,
    power: float = 3.0,
    rim: float = 0.13,
) -> Mesh:
    """A hollow bowl with its rim at z and a rounded outside."""
    levels: tuple[tuple[float, float], ...] = (
        (0.45, z - deep - 0.03),
        (0.75, z - deep * 0.75),
        (0.97, z - 0.05),
    )
    levels += ((1.0, z), (1.0 - rim, z), (0.86 - rim, z - deep * 0.6), (0.4, z - deep))
    rings = [
        ring((0, 0, height), (w / 2 * s, d / 2 * s), segments=28, power=power)
        for s, height in levels
    ]
    return loft(np.stack(rings), body)


def _drain(z: float, steel: Material) -> Mesh:
    return cylinder((0, 0, z), 0.025, 0.006, steel, segments=10)


def _pedestal(rng: np.random.Generator, fit: Fit) -> Draft:
    """Basin on a ceramic column."""
    body, steel = white(rng), chrome(rng)
    w, d, z = rng.uniform(0.48, 0.62), rng.uniform(0.4, 0.48), rng.uniform(0.8, 0.88)
    parts = [
        _basin(w, d, z, 0.13, body, power=rng.uniform(2.4, 4)),
        _drain(z - 0.13, steel),
    ]
    column = [
        (0.13, 0.0),
        (0.12, 0.03),
        (0.075, 0.12),
        (0.08, z - 0.25),
        (0.12, z - 0.12),
    ]
    parts.append(lathe(column, body, center=(0, -0.04), stretch=(1.0, 0.9)))
    parts.append(slab(0, -d / 2 + 0.03, z - 0.1, w * 0.8, 0.07, 0.11, body))
    parts += _tap(-d / 2 + 0.06, z + 0.01, 0.12, steel, rng.random() < 0.3)
    return Draft("pedestal sink", parts, "wall")


def _wall_hung(rng: np.random.Generator, fit: Fit) -> Draft:
    """Boxy basin on the wall with a visible trap."""
    body, steel = white(rng), chrome(rng)
    w, d, z = rng.uniform(0.45, 0.65), rng.uniform(0.38, 0.45), 0.2
    basin = _basin(w, d, z, 0.12, body, power=rng.uniform(4, 9))
    parts = [basin, _drain(z - 0.12, steel)]
    parts.append(tube((0, 0, -0.12), (0, 0, z - 0.13), 0.022, steel))
    parts.append(tube((0, 0, -0.11), (0, -d / 2, -0.11), 0.022, steel))
    parts.append(slab(0, -d / 2 + 0.035, z - 0.12, w * 0.9, 0.07, 0.13, body))
    parts += _tap(-d / 2 + 0.05, z + 0.01, 0.13, steel, rng.random() < 0.3)
    shifted = [transform(part, translate=(0, d / 2, 0)) for part in parts]
    return Draft("wall-hung sink", shifted, "mounted", base_z_m=rng.uniform(0.5, 0.56))


def _hollow(
    x0: float, x1: float, y0: float, y1: float, low: float, high: float, body: Material
) -> list[Mesh]:
    """A rectangular basin open at the top, 1 cm walls."""
    t = 0.01
    return [
        box((x0, y0, low), (x1, y1, low + t), body),
        box((x0, y0, low + t), (x0 + t, y1, high), body),
        box((x1 - t, y0, low + t), (x1, y1, high), body),
        box((x0 + t, y0, low + t), (x1 - t, y0 + t, high), body),
        box((x0 + t, y1 - t, low + t), (x1 - t, y1, high), body),
    ]


def _kitchen(rng: np.random.Generator, fit: Fit) -> Draft:
    """Steel, granite or ceramic inset with one or two bowls."""
    double = rng.random() < 0.5
    w, d = (
        rng.uniform(0.7, 0.82) if double else rng.uniform(0.45, 0.58),
        rng.uniform(0.4, 0.46),
    )
    color = chrome(rng).color if rng.random() < 0.7 else white(rng).color
    body, z, b = Material(color, METAL, 0.2), RIM_DROP_M, 0.025
    back = -d / 2 + 0.09
    cuts = (-w / 2 + b, 0.0, w / 2 - b) if double else (-w / 2 + b, w / 2 - b)
    parts = []
    for x0, x1 in itertools.pairwise(cuts):
        parts += _hollow(x0, x1, back, d / 2 - b, 0.0, z, body)
        parts.append(cylinder(((x0 + x1) / 2, 0.03, 0.01), 0.035, 0.006, chrome(rng)))
    lip = 0.012
    parts.append(box((-w / 2, -d / 2, z), (w / 2, back + 0.01, z + lip), body))
    parts.append(box((-w / 2, d / 2 - b - 0.01, z), (w / 2, d / 2, z + lip), body))
    for x0, x1 in ((-w / 2, -w / 2 + b + 0.01), (w / 2 - b - 0.01, w / 2)):
        parts.append(box((x0, back + 0.01, z), (x1, d / 2 - b - 0.01, z + lip), body))
    if double:
        parts.append(
            box((-0.02, back + 0.01, z), (0.02, d / 2 - b - 0.01, z + lip), body)
        )
    parts += _tap(-d / 2 + 0.045, z + lip, 0.2, chrome(rng), True)
    return Draft("kitchen sink", parts, "inset")


def _round_inset(rng: np.random.Generator, fit: Fit) -> Draft:
    """Round or oval bowl in a worktop, flat rim around it."""
    w, d = rng.uniform(0.42, 0.52), rng.uniform(0.38, 0.44)
    body = white(rng) if rng.random() < 0.6 else chrome(rng)
    z, lip, power = RIM_DROP_M, 0.014, 2.2
    levels = (
        (0.4, 0.0),
        (0.84, 0.08),
        (0.9, z),
        (1.0, z),
        (1.0, z + lip),
        (0.88, z + lip),
        (0.8, 0.09),
        (0.36, 0.015),
    )
    rings = [
        ring((0, 0, height), (w / 2 * s, d / 2 * s), segments=28, power=power)
        for s, height in levels
    ]
    # A square plate closes the corners between the hole and the round rim.
    parts = [loft(np.stack(rings), body)]
    outer, inner = (w / 2, d / 2), (w / 2 * 0.93, d / 2 * 0.93)
    plate = [
        ring((0, 0, height), size, segments=28, power=p)
        for size, height, p in (
            (outer, z, 40.0),
            (outer, z + 0.006, 40.0),
            (inner, z + 0.006, power),
            (inner, z, power),
        )
    ]
    parts.append(loft(np.stack(plate), body, looped=True))
    parts += _tap(-d / 2 + 0.03, z + 0.006, 0.14, chrome(rng), rng.random() < 0.5)
    return Draft("round sink", parts, "inset")


def _console(rng: np.random.Generator, fit: Fit) -> Draft:
    """Wide rectangular basin on a metal frame with a towel bar."""
    body, steel = white(rng), metal(rng)
    w, d, z = rng.uniform(0.7, 0.95), rng.uniform(0.42, 0.5), rng.uniform(0.82, 0.88)
    deep = 0.11
    parts = _hollow(-w / 2, w / 2, -d / 2 + 0.1, d / 2, z - deep, z, body)
    parts.append(box((-w / 2, -d / 2, z - deep), (w / 2, -d / 2 + 0.1, z), body))
    parts.append(cylinder((0, 0.05, z - deep + 0.01), 0.025, 0.006, steel))
    parts += corner_legs(w - 0.06, d - 0.06, z - deep, 0.03, steel)
    parts.append(slab(0, d / 2 - 0.045, z * 0.62, w - 0.12, 0.018, 0.018, steel))
    parts.append(slab(0, 0, 0.22, w - 0.08, d - 0.08, 0.02, steel))
    parts.append(tube((0, -0.02, 0.3), (0, -0.02, z - deep), 0.02, steel))
    parts += _tap(-d / 2 + 0.05, z, 0.16, chrome(rng), rng.random() < 0.5)
    return Draft("console sink", parts, "wall")


def _vessel(rng: np.random.Generator, fit: Fit) -> Draft:
    """Bowl that stands on a surface, with a tall tap beside its back."""
    w, h = rng.uniform(0.36, 0.46), rng.uniform(0.12, 0.16)
    body = white(rng) if rng.random() < 0.6 else Material(household_color(rng))
    profile = [
        (0.5, 0.0),
        (0.85, h * 0.5),
        (1.0, h),
        (0.92, h),
        (0.78, h * 0.5),
        (0.35, 0.02),
    ]
    bowl = lathe(
        [(r * w / 2, z) for r, z in profile],
        body,
        stretch=(1.0, rng.uniform(0.8, 1)),
        segments=28,
        power=float(rng.choice([2.0, 2.0, 5.0])),
    )
    steel = chrome(rng)
    y = -w / 2 - 0.04
    tap = [
        tube((0, y, 0), (0, y, h + 0.16), 0.016, steel),
        tube((0, y, h + 0.15), (0, y + 0.16, h + 0.12), 0.013, steel),
        tube((0, y, h + 0.16), (0, y - 0.02, h + 0.21), 0.008, steel),
    ]
    return Draft("vessel sink", [bowl, _drain(0.02, steel), *tap], "top")


def _trough(rng: np.random.Generator, fit: Fit) -> Draft:
    """Deep utility trough on four legs."""
    w, d, z = rng.uniform(0.5, 0.65), rng.uniform(0.46, 0.54), rng.uniform(0.82, 0.9)
    body, deep = white(rng) if rng.random() < 0.7 else chrome(rng), 0.32
    parts = _hollow(-w / 2, w / 2, -d / 2, d / 2, z - deep, z, body)
    t = 0.025
    for s in (-1, 1):
        parts.append(slab(0, s * (d / 2 + 0.005), z - t, w + 0.04, 0.03, t, body))
        parts.append(slab(s * (w / 2 + 0.005), 0, z - t, 0.03, d, t, body))
    parts += corner_legs(w - 0.04, d - 0.04, z - deep, 0.035, metal(rng))
    parts.append(tube((0, 0, 0.12), (0, 0, z - deep), 0.02, metal(rng)))
    parts += _tap(-d / 2, z, 0.18, chrome(rng), True)
    return Draft("utility sink", parts, "wall")


SINKS: tuple[Builder, ...] = (
    _pedestal,
    _wall_hung,
    _kitchen,
    _round_inset,
    _console,
    _vessel,
    _trough,
)
