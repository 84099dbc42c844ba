"""The pictures of a sheet: photographs with outlines, the scan with numbered boxes."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image, ImageDraw
from scipy import ndimage

from sas_jax.scenes.scene import Frame
from sas_jax.sparse.extent import spacing
from sas_jax.view import sheet_marks as marks
from sas_jax.view.cutaway import Cutaway
from sas_jax.view.pictures import outside_view, render_points

AZIMUTHS_DEG = (30.0, 60.0, 120.0, 150.0, 210.0, 240.0, 300.0, 330.0)
"""Sides to be seen from: none along an axis, where boxes look flat."""
# One degree of view: lengths are the same everywhere, to a hundredth.
_LENS_DEG = 1.0
_CLOSEST_M, _SHARP_M = 0.01, 0.03
_STRAY = 2  # percent of the points on each side of a scan that may be out of view
# A part that lies apart may be out of view where it has less of the points; parts are
# as far from each other as a cell, of which the scan is so many across.
_APART, _CELLS = 0.1, 30
_SMALL_WH = (212, 155)
_OVERLAP = 1.6  # of points, so that surfaces have no gaps
_Box = tuple[Float[np.ndarray, " 3"], Float[np.ndarray, " 3"]]


def photograph(
    frame: Frame,
    parts: Mapping[int, Int[np.ndarray, "R 2"]],
    depths_m: Mapping[int, Float[np.ndarray, " R"]],
    spacing_m: float,
    room_wh: tuple[int, int],
) -> UInt8[np.ndarray, "H W 3"]:
    """Return a photograph with the outline and the number of each part.

    Args:
      frame: the photograph.
      parts: number -> (row, column) of the points that it sees.
      depths_m: number -> how far each of these is.
      spacing_m: between neighbouring points.
      room_wh: pixels that the result may have.
    """
    height, width = frame.size_hw
    scale = min(room_wh[0] / width, room_wh[1] / height)
    size = (round(scale * width), round(scale * height))
    image = np.asarray(Image.fromarray(frame.rgb).resize(size, Image.Resampling.BOX))
    centres: dict[int, tuple[float, float]] = {}
    for key in sorted(parts, reverse=True):  # the best one is on top
        radius = 0.75 * spacing_m * frame.intrinsics[0, 0] * scale / depths_m[key]
        mask = _covered(scale * parts[key], radius, size)
        if mask.any():
            image = marks.outlined(image, mask)
            deep = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
            row, column = np.unravel_index(deep.argmax(), deep.shape)
            centres[key] = (float(column), float(row))
    drawn = Image.fromarray(image)
    ordered = sorted(centres)
    places = marks.apart([centres[key] for key in ordered], size)
    for key, at in zip(ordered, places, strict=True):
        marks.number(ImageDraw.Draw(drawn), at, key)
    return np.asarray(drawn)


def _covered(
    pixel: Float[np.ndarray, "R 2"],
    radius: Float[np.ndarray, " R"],
    size_wh: tuple[int, int],
) -> np.ndarray:
    """Return what discs around pixels cover, without the gaps between them."""
    image = Image.new("1", size_wh)
    draw = ImageDraw.Draw(image)
    for (row, column), r in zip(pixel, np.clip(radius, 1.5, 40), strict=True):
        draw.ellipse((column - r, row - r, column + r, row + r), fill=1)
    closed = ndimage.binary_closing(np.asarray(image), iterations=4)
    return ndimage.binary_fill_holes(closed | np.asarray(image))


def scan_views(
    points: Float[np.ndarray, "P 3"],
    colors: UInt8[np.ndarray, "P 3"],
    opened: Cutaway,
    boxes: Sequence[_Box],
    size_wh: tuple[int, int],
) -> list[UInt8[np.ndarray, "H W 3"]]:
    """Return the scan from two sides, with numbered boxes and a scale bar.

    Args:
      points: metres, z up.
      colors: sRGB of the points.
      opened: what is in the way; see `cutaway`.
      boxes: lowest and highest corner of each, metres; the first has number 1.
      size_wh: of each picture, pixels.
    """
    apart, views = max(spacing(points, _CLOSEST_M), _SHARP_M), []
    corners = _framed(points, boxes)
    for azimuth in _two_sides(points, opened, boxes, corners):
        pose, intrinsics = outside_view(
            corners, azimuth_deg=azimuth, lens_deg=_LENS_DEG, size_wh=size_wh
        )
        drawn = render_points(
            *(points, colors, pose, intrinsics, size_wh),
            opened=opened,
            spacing_m=_OVERLAP * apart,
        )
        image = Image.fromarray(drawn)
        _draw_boxes(image, boxes, pose, intrinsics)
        far = float((corners.mean(axis=0) - pose[:3, 3]) @ pose[:3, 2])
        views.append(marks.scale_bar(image, float(intrinsics[0, 0]) / far))
    return views


def _framed(
    points: Float[np.ndarray, "P 3"], boxes: Sequence[_Box]
) -> Float[np.ndarray, "8 3"]:
    """Return the corners of what is in the picture: no stray points, all boxes."""
    low, high = np.percentile(_together(points), [_STRAY, 100 - _STRAY], axis=0)
    for box in boxes:
        low, high = np.minimum(low, box[0]), np.maximum(high, box[1])
    choice = np.array(list(itertools.product((0, 1), repeat=3)))
    return np.where(choice, high, low)


def _together(points: Float[np.ndarray, "P 3"]) -> Float[np.ndarray, "Q 3"]:
    """Return points without small parts that lie apart: seen through a doorway, say."""
    low, high = np.percentile(points, [_STRAY, 100 - _STRAY], axis=0)
    near = points[((points >= 2 * low - high) & (points <= 2 * high - low)).all(axis=1)]
    cell_m = max(float(np.linalg.norm(high - low)) / _CELLS, _CLOSEST_M)
    cells = ((near - near.min(axis=0)) / cell_m).astype(int)
    grid = np.zeros(cells.max(axis=0) + 1, bool)
    grid[tuple(cells.T)] = True
    part = ndimage.label(grid, np.ones((3, 3, 3)))[0][tuple(cells.T)]
    counts = np.bincount(part)
    return near[counts[part] >= min(_APART * len(near), counts.max())]


def _two_sides(
    points: Float[np.ndarray, "P 3"],
    opened: Cutaway,
    boxes: Sequence[_Box],
    corners: Float[np.ndarray, "8 3"],
) -> tuple[float, float]:
    """Return the azimuths of two sides, apart, that show the most of the answer."""
    if not boxes:
        return AZIMUTHS_DEG[0], AZIMUTHS_DEG[0] + 180
    colors = np.zeros((len(points), 3), np.uint8)
    for low, high in boxes:
        colors[((points >= low) & (points <= high)).all(axis=1), 0] = 255
    shown = []
    for azimuth in AZIMUTHS_DEG:
        pose, intrinsics = outside_view(
            corners, azimuth_deg=azimuth, lens_deg=_LENS_DEG, size_wh=_SMALL_WH
        )
        drawn = render_points(
            *(points, colors, pose, intrinsics, _SMALL_WH), opened=opened
        )
        red = (drawn[..., 0] > 100) & (drawn[..., 1] == 0)
        shown.append(int(red.sum()))
    count = len(AZIMUTHS_DEG)
    first = int(np.argmax(shown))
    others = [
        (first + step) % count for step in range(count // 4, count - count // 4 + 1)
    ]
    second = max(others, key=lambda i: shown[i])
    return AZIMUTHS_DEG[first], AZIMUTHS_DEG[second]


def _draw_boxes(
    image: Image.Image,
    boxes: Sequence[_Box],
    pose: Float[np.ndarray, "4 4"],
    intrinsics: Float[np.ndarray, "3 3"],
) -> None:
    draw, taken = ImageDraw.Draw(image), []
    for low, high in reversed(boxes):
        choice = np.array(list(itertools.product((0, 1), repeat=3)))
        corners = marks.pixels_of(np.where(choice, high, low), pose, intrinsics)
        for a, b in itertools.combinations(range(8), 2):
            if (choice[a] != choice[b]).sum() == 1:
                marks.line(draw, [tuple(corners[a]), tuple(corners[b])])
        top = corners[choice[:, 2] == 1]
        x, y = top[top[:, 1].argmin()]
        taken.append((x, y - 26))
    for index, at in enumerate(marks.apart(taken[::-1], image.size)):
        marks.number(draw, at, index + 1)
