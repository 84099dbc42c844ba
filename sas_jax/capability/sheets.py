"""Picture sheets of synthesized images: a row each for image, map and masks.

Columns are images of one class; masks are drawn over the darkened image.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from sas_jax.capability.store import ClassImages
from sas_jax.view.pictures import heat_colors

VERSION = 0
"""It decides no numbers; see `artefacts.versions`."""

_CELL = 96
_MARGIN, _LETTERS_PX = 170, 18
# More are too small to look at where a page shows the sheet at its width.
_COLUMNS = 8
_INSIDE = np.array([255, 200, 40], np.float32)


def class_sheet(
    entry: ClassImages, teachers: Mapping[str, Bool[np.ndarray, "m S S"]]
) -> UInt8[np.ndarray, "H W 3"]:
    """Draw the sheet of the first images of one class.

    Args:
      entry: images, attention and masks.
      teachers: teacher -> its masks of this class on the same images.
    """
    masks = {"coarse": entry.coarse, "refined": entry.refined, **teachers}
    shown = {title: mask[:_COLUMNS] for title, mask in masks.items()}
    images, attention = entry.images[:_COLUMNS], entry.attention[:_COLUMNS]
    return sheet(entry.name, images, attention, shown)


def sheet(
    name: str,
    images: UInt8[np.ndarray, "m S S 3"],
    attention: Float[np.ndarray, "m S S"],
    masks: Mapping[str, Bool[np.ndarray, "m S S"]],
) -> UInt8[np.ndarray, "H W 3"]:
    """Draw images, their attention maps and any number of masks, a row each."""
    rows = [(name, list(images)), ("attention", _heat_row(attention))]
    rows += [(title, _mask_row(images, mask)) for title, mask in masks.items()]
    picture = Image.new(
        "RGB", (_MARGIN + len(images) * _CELL, len(rows) * _CELL), (255, 255, 255)
    )
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(_LETTERS_PX)
    for line, (title, cells) in enumerate(rows):
        at = (4, line * _CELL + (_CELL - _LETTERS_PX) // 2)
        draw.text(at, title, (0, 0, 0), font=font)
        for column, cell in enumerate(cells):
            small = Image.fromarray(cell).resize((_CELL - 2, _CELL - 2))
            picture.paste(small, (_MARGIN + column * _CELL, line * _CELL))
    return np.asarray(picture)


def _heat_row(maps: Float[np.ndarray, "m S S"]) -> list[np.ndarray]:
    return [heat_colors(row.ravel()).reshape(*row.shape, 3) for row in maps]


def _mask_row(images, masks) -> list[np.ndarray]:
    cells = []
    for image, mask in zip(images, masks, strict=True):
        shaded = image * 0.35
        shaded[mask] = 0.55 * image[mask] + 0.45 * _INSIDE
        cells.append(shaded.astype(np.uint8))
    return cells
