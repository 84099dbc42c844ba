"""Colours of points, and the legends that say what they mean, as HTML."""

import functools
import html
from collections.abc import Sequence

import matplotlib
import numpy as np
from jaxtyping import Float, Float32, Int, UInt8

Colors = UInt8[np.ndarray, "P 3"]

UNSEEN = (70, 70, 78)
"""Where nobody answers."""

_STYLE = "font-size:13px;margin:6px 10px"

_RAMP = 0.2
"""Share of the scale over which grey becomes colour."""

_COLDEST = 0.12  # of turbo, whose very first colours are black


def own_colors(
    colors: UInt8[np.ndarray, "P 3"] | None,
    normals: Float32[np.ndarray, "P 3"] | None,
    points: Float32[np.ndarray, "P 3"],
) -> Colors:
    """Return how a scan looks: its colours, else light on its surface, else height."""
    if colors is not None:
        return colors
    if normals is not None and normals.any():
        light = np.abs(normals @ np.array([0.35, 0.5, 0.79], np.float32))
    else:
        height = points[:, 2] - points[:, 2].min()
        light = height / max(float(height.max()), 1e-6)
    return np.repeat((90 + 140 * light)[:, None], 3, axis=1).astype(np.uint8)


def heat_over(
    base: Colors, values: Float[np.ndarray, " P"], low: float, high: float
) -> Colors:
    """Return heat where something answers, and the scan in grey elsewhere.

    Args:
      base: how the scan looks.
      values: heat; NaN: nobody answers, `UNSEEN`.
      low: and below is the scan in grey.
      high: and above is the hottest colour.
    """
    grey = base.astype(np.float32) @ np.array([0.3, 0.59, 0.11], np.float32)
    grey = 80 + 0.6 * grey
    share = np.clip((np.nan_to_num(values) - low) / max(high - low, 1e-9), 0, 1)
    table = _heat()
    level = np.round(share * (len(table) - 1)).astype(np.int32)
    cover = np.minimum(share / _RAMP, 1).astype(np.float32)[:, None]
    mixed = cover * table[level] + (1 - cover) * grey[:, None]
    mixed[np.isnan(values)] = UNSEEN
    return mixed.astype(np.uint8)


@functools.cache
def _heat() -> Float32[np.ndarray, "N 3"]:
    rgba = matplotlib.colormaps["turbo"](np.linspace(_COLDEST, 1, 256))
    return (255 * rgba[:, :3]).astype(np.float32)


def group_colors(groups: Int[np.ndarray, " P"]) -> Colors:
    """Return a colour for each group, of which neighbours in number differ most.

    Args:
      groups: 0 or more; below: `UNSEEN`.
    """
    hue = np.arange(int(groups.max(initial=-1)) + 1) * 0.618034 % 1
    hsv = np.stack([hue, np.full(len(hue), 0.55), np.full(len(hue), 0.95)], axis=1)
    table = np.round(255 * matplotlib.colors.hsv_to_rgb(hsv.reshape(-1, 1, 3))[:, 0])
    table = np.concatenate([table, [UNSEEN]]).astype(np.uint8)
    return table[np.where(groups >= 0, groups, len(table) - 1)]


def heat_legend(name: str, low: float, high: float, unseen: bool) -> str:
    """Return the colour bar of `heat_over`.

    Args:
      name: of what is measured.
      low: end of the scale.
      high: other end.
      unseen: whether there are points without an answer.
    """
    table, grey = _heat(), np.full(3, 170.0)
    stops = []
    for share in np.linspace(0, 1, 21):
        cover = min(share / _RAMP, 1)
        rgb = cover * table[round(255 * share)] + (1 - cover) * grey
        stops.append(f"rgb({','.join(str(int(v)) for v in rgb)})")
    numbers = "".join(
        f"<span>{value:.2g}</span>" for value in (low, (low + high) / 2, high)
    )
    more = legend([("no feature", UNSEEN)]) if unseen else ""
    return (
        f'<div style="{_STYLE}">{html.escape(name)}'
        '<div style="height:14px;border-radius:3px;background:linear-gradient(90deg,'
        f'{",".join(stops)})"></div>'
        '<div style="display:flex;justify-content:space-between">'
        f"{numbers}</div>{more}</div>"
    )


def legend(keys: Sequence[tuple[str, Sequence[int]]]) -> str:
    """Return names with a patch of their colour each (sRGB, 0..255)."""
    rows = (
        '<span style="display:inline-flex;align-items:center;margin-right:0.8em">'
        '<span style="width:12px;height:12px;border-radius:3px;margin-right:0.4em;'
        f'background:rgb({",".join(str(int(v)) for v in color)})"></span>'
        f"{html.escape(name)}</span>"
        for name, color in keys
    )
    return f'<div style="{_STYLE}">{"".join(rows)}</div>'
