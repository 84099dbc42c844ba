"""The settings of a sweep in one picture: every seed, mean and spread, best first."""

from collections.abc import Sequence

import matplotlib.figure
import numpy as np

from sas_jax.sweeps.table import Row

_MOST = 30
_INCHES_A_ROW = 0.34
_LABEL_CHARACTERS = 60
_FONT_PT = 11
_BEST, _OTHER = "#c44e00", "#31688e"


def draw(rows: Sequence[Row], metric: str) -> matplotlib.figure.Figure:
    """Draw settings, at most thirty, as rows of dots.

    Args:
      rows: at least one with a score, the best first.
      metric: words for the axis.
    """
    scored = [row for row in rows if row.values]
    shown = scored[:_MOST]
    size = (10.0, 1.6 + _INCHES_A_ROW * len(shown))
    figure = matplotlib.figure.Figure(figsize=size, dpi=110, layout="constrained")
    axes = figure.subplots()
    for height, row in enumerate(shown):
        color = _BEST if row.best else _OTHER
        axes.scatter(
            row.values, [height] * len(row.values), s=22, color=color, alpha=0.5
        )
        axes.errorbar(
            row.mean,
            height,
            xerr=row.spread or None,
            fmt="D",
            markersize=7,
            color=color,
            capsize=4,
        )
        axes.annotate(
            f"{row.mean:.1f}",
            (max([row.mean + (row.spread or 0), *row.values]), height),
            xytext=(9, 0),
            textcoords="offset points",
            va="center",
            color=color,
            fontsize=_FONT_PT,
        )
    axes.set_yticks(np.arange(len(shown)), [_short(row.label) for row in shown])
    axes.tick_params(labelsize=_FONT_PT)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.margins(x=0.12)
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel(f"{metric} on validation scenes, percent", fontsize=_FONT_PT)
    title = "diamond: mean, bar: standard deviation, dots: seeds"
    if len(shown) < len(scored):
        title += f"; the best {len(shown)} of {len(scored)} settings"
    axes.set_title(title, fontsize=_FONT_PT, loc="left", color="#555555")
    return figure


def _short(label: str) -> str:
    if len(label) <= _LABEL_CHARACTERS:
        return label
    return label[: _LABEL_CHARACTERS - 1] + "…"
