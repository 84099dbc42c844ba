"""A sheet of paper that answers a question: photographs, the scan, a list, scales."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from sas_jax.view import sheet_marks as marks

WIDTH_PX = 1800
VIEW_WH = (850, 620)
_EDGE, _GAP = 40, 20
_INNER = WIDTH_PX - 2 * _EDGE
_LINE = 36
_BAR = 640


@dataclasses.dataclass(frozen=True)
class Sheet:
    """What stands on a sheet.

    Attributes:
      title: the question.
      lines: who answered, of which scan, and what else is to be said.
      photographs: picture and what is said below it.
      views: pictures of the scan.
      heat: ends of the colours and what they mean; None without heat.
      header: names of the columns of the list.
      rows: of the list; all cells are text.
    """

    title: str
    lines: Sequence[str] = ()
    photographs: Sequence[tuple[UInt8[np.ndarray, "H W 3"], str]] = ()
    views: Sequence[UInt8[np.ndarray, "H W 3"]] = ()
    heat: tuple[float, float, str] | None = None
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()


def photograph_room(count: int) -> tuple[int, int]:
    """Return width and height that each of some photographs side by side may have."""
    width = (_INNER - _GAP * (count - 1)) // max(count, 1)
    return min(VIEW_WH[0], width), VIEW_WH[1]


def drawn(sheet: Sheet) -> UInt8[np.ndarray, "H W 3"]:
    """Return the picture of a sheet."""
    strips = [_words(sheet)]
    if sheet.photographs:
        captioned = [_captioned(*each) for each in sheet.photographs]
        strips.append(_beside(captioned))
    if sheet.views:
        strips.append(_beside(sheet.views))
    below = []
    if sheet.heat is not None:
        below.append(marks.color_bar(_BAR, *sheet.heat))
    if sheet.rows:
        below.append(_list(sheet))
    fits = sum(strip.shape[1] + _GAP for strip in below) - _GAP <= _INNER
    strips += [_beside(below)] if below and fits else below
    height = sum(strip.shape[0] + _GAP for strip in strips) + 2 * _EDGE - _GAP
    paper = np.full((height, WIDTH_PX, 3), 255, np.uint8)
    y = _EDGE
    for strip in strips:
        paper[y : y + strip.shape[0], _EDGE : _EDGE + strip.shape[1]] = strip
        y += strip.shape[0] + _GAP
    return paper


def _words(sheet: Sheet) -> UInt8[np.ndarray, "H W 3"]:
    large, usual = marks.font(44, bold=True), marks.font()
    title = marks.wrapped(sheet.title, _INNER, large)[:4]
    lines = [
        part for line in sheet.lines for part in marks.wrapped(line, _INNER, usual)
    ]
    image = Image.new(
        "RGB", (_INNER, 56 * len(title) + _LINE * len(lines) + 6), "white"
    )
    draw = ImageDraw.Draw(image)
    for index, text in enumerate(title):
        draw.text((0, 56 * index), text, marks.INK, large)
    for index, text in enumerate(lines):
        draw.text((0, 56 * len(title) + 4 + _LINE * index), text, marks.INK, usual)
    return np.asarray(image)


def _captioned(
    picture: UInt8[np.ndarray, "H W 3"], caption: str
) -> UInt8[np.ndarray, "H W 3"]:
    height, width = picture.shape[:2]
    lines = marks.wrapped(caption, width, marks.font())
    image = Image.new("RGB", (width, height + 6 + _LINE * len(lines)), "white")
    image.paste(Image.fromarray(picture))
    draw = ImageDraw.Draw(image)
    for index, text in enumerate(lines):
        draw.text((0, height + 4 + _LINE * index), text, marks.INK, marks.font())
    return np.asarray(image)


def _beside(pictures: Sequence[UInt8[np.ndarray, "H W 3"]]) -> np.ndarray:
    height = max(picture.shape[0] for picture in pictures)
    width = sum(picture.shape[1] + _GAP for picture in pictures) - _GAP
    strip, x = np.full((height, width, 3), 255, np.uint8), 0
    for picture in pictures:
        strip[: picture.shape[0], x : x + picture.shape[1]] = picture
        x += picture.shape[1] + _GAP
    return strip


def _list(sheet: Sheet) -> UInt8[np.ndarray, "H W 3"]:
    lines = [list(sheet.header), *sheet.rows]
    widths = [
        max(marks.font(bold=True).getlength(cell) for cell in column) + 44
        for column in zip(*lines, strict=True)
    ]
    wide = min(_INNER, int(sum(widths)))
    image = Image.new("RGB", (wide, _LINE * len(lines) + 12), "white")
    draw = ImageDraw.Draw(image)
    for index, cells in enumerate(lines):
        x = 0.0
        for cell, width in zip(cells, widths, strict=True):
            letters = marks.font(bold=index == 0)
            draw.text((x + width - 44, _LINE * index), cell, marks.INK, letters, "ra")
            x += width
    draw.line(((0, _LINE - 1), (sum(widths) - 44, _LINE - 1)), marks.INK, 2)
    return np.asarray(image)
