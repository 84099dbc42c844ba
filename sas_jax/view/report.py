"""A self-contained HTML page of tables and pictures."""

import base64
import dataclasses
import io
import pathlib
from collections.abc import Sequence
from typing import Any

import jinja2
import matplotlib.figure
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from sas_jax.artefacts.files import atomic_write

_FONT_PT = 13
_TEMPLATE = pathlib.Path(__file__).with_name("report.html")


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of cells that are already text; `best` names rows to highlight."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    best: Sequence[int] = ()


@dataclasses.dataclass(frozen=True)
class Figure:
    """A picture as a data URI, with a caption that says what to look at."""

    uri: str
    caption: str


@dataclasses.dataclass(frozen=True)
class Section:
    """A titled part of the page.

    Attributes:
      title: also its entry in the table of contents.
      text: paragraphs.
      tables: below them.
      figures: below these.
      keys: (name, CSS colour) of a legend.
      items: of a list, before the tables.
      links: (words, address relative to the page).
    """

    title: str
    text: Sequence[str] = ()
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()
    keys: Sequence[tuple[str, str]] = ()
    items: Sequence[str] = ()
    links: Sequence[tuple[str, str]] = ()


def picture(image: UInt8[np.ndarray, "H W 3"], caption: str) -> Figure:
    """Embed an sRGB picture as JPEG (photographs and renders, small enough to mail)."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=88, subsampling=0)
    data = base64.b64encode(buffer.getvalue()).decode()
    return Figure(f"data:image/jpeg;base64,{data}", caption)


def drawing(figure: matplotlib.figure.Figure, caption: str) -> Figure:
    """Embed a matplotlib figure as SVG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    data = base64.b64encode(buffer.getvalue()).decode()
    return Figure(f"data:image/svg+xml;base64,{data}", caption)


def lines(
    series: dict[str, tuple[Sequence[float], Sequence[float]]],
    *,
    xlabel: str,
    ylabel: str,
    title: str = "",
    size: tuple[float, float] = (9.0, 4.2),
) -> matplotlib.figure.Figure:
    """Draw named (x, y) curves on one pair of axes."""
    figure = matplotlib.figure.Figure(figsize=size)
    axes = figure.subplots()
    for name, (x, y) in series.items():
        axes.plot(x, y, label=name, linewidth=1.8)
    axes.set_xlabel(xlabel, fontsize=_FONT_PT)
    axes.set_ylabel(ylabel, fontsize=_FONT_PT)
    axes.set_title(title, fontsize=_FONT_PT)
    axes.tick_params(labelsize=_FONT_PT)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if len(series) > 1:
        axes.legend(frameon=False, fontsize=_FONT_PT)
    return figure


def css(color: UInt8[np.ndarray, "3"]) -> str:
    """Return an sRGB colour as CSS."""
    return "#" + "".join(f"{int(channel):02x}" for channel in color)


def write_report(
    path: str | pathlib.Path, *, title: str, lead: str, sections: Sequence[Section]
) -> None:
    """Write the page; everything in it, pictures too, is in the one file."""
    environment = jinja2.Environment(autoescape=True)
    template = environment.from_string(_TEMPLATE.read_text())
    values: dict[str, Any] = {"title": title, "lead": lead, "sections": sections}
    atomic_write(path, template.render(values).encode())
