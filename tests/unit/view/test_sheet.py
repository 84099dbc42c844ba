"""Sheets of answers: numbers, outlines, boxes and bars are where they belong."""

import itertools

import numpy as np
import pytest
from PIL import Image, ImageDraw

from sas_jax.scenes.scene import Frame
from sas_jax.view import sheet, sheet_marks, sheet_pictures
from sas_jax.view.cutaway import Cutaway, cutaway

MARK = np.array(sheet_marks.MARK)


def marked(image):
    return (image == MARK).all(axis=2)


def test_letters_are_of_twelve_points_or_more():
    """A capital of 12 points is 12 * 0.73 points high in this face."""
    assert sheet_marks.TEXT_PX * 72 / sheet_marks.DPI >= 12
    top, bottom = sheet_marks.font().getbbox("H")[1::2]
    assert (bottom - top) * 72 / sheet_marks.DPI >= 12 * 0.72


def test_an_outline_goes_around_what_is_meant():
    frame = Frame(
        "f", np.full((60, 80, 3), 90, np.uint8), None, np.eye(3) * 50, np.eye(4)
    )
    pixel = np.array(list(itertools.product(range(20, 41, 2), range(30, 51, 2))))
    image = sheet_pictures.photograph(
        frame, {3: pixel}, {3: np.full(len(pixel), 2.0)}, 0.08, (400, 400)
    )
    assert image.shape == (300, 400, 3)
    row, column = np.nonzero(marked(image))
    low, high = 5 * np.array([20, 30]), 5 * np.array([40, 50])
    for found, at in zip((row, column), (0, 1), strict=True):
        assert low[at] - 25 <= found.min() <= low[at]
        assert high[at] <= found.max() <= high[at] + 25
    np.testing.assert_array_equal(image[5, 5], [90, 90, 90])
    # The middle is not covered but by the number.
    np.testing.assert_array_equal(image[110, 160], [90, 90, 90])


def test_a_tall_photograph_fits_its_room():
    rgb = np.zeros((200, 100, 3), np.uint8)
    frame = Frame("f", rgb, None, np.eye(3), np.eye(4))
    assert sheet_pictures.photograph(frame, {}, {}, 0.1, (850, 620)).shape[0] == 620


def room(turn_deg=0.0):
    rng = np.random.default_rng(0)
    floor = rng.uniform(0, 1, (20_000, 3)) * [6, 4, 0.0]
    block = rng.uniform(0, 1, (4000, 3)) * [1, 1, 0.8] + [4, 1, 0]
    points = np.concatenate([floor, block]).astype(np.float32)
    colors = np.full((len(points), 3), 200, np.uint8)
    colors[-4000:] = (0, 0, 255)
    return points, colors, (points[-4000:].min(axis=0), points[-4000:].max(axis=0))


def test_boxes_stand_around_what_they_are_of():
    points, colors, box = room()
    views = sheet_pictures.scan_views(
        points, colors, cutaway(points), [box], (800, 600)
    )
    assert len(views) == 2 and not np.array_equal(*views)
    for view in views:
        blue = (view[..., 2] > 100) & (view[..., 0] < 60)
        assert blue.sum() > 1000
        row, column = np.nonzero(blue)
        ends = np.nonzero(marked(view)[60:])
        assert ends[0].max() + 60 >= row.max() - 3
        assert ends[1].min() <= column.min() + 3
        assert ends[1].max() >= column.max() - 3


def test_two_sides_are_those_that_show_the_answer():
    """Between two walls the thing is seen along them only."""
    points, _, box = room()
    rng = np.random.default_rng(1)
    wall = rng.uniform(0, 1, (60_000, 3)) * [6, 0.02, 2.5]
    walls = [np.add(wall, (0, y, 0)) for y in (0.6, 2.4)]
    points = np.concatenate([points, *walls]).astype(np.float32)
    nothing = np.zeros_like(points)
    closed = Cutaway(nothing, nothing, sided=False)  # nothing is left out
    corners = sheet_pictures._framed(points, [box])
    sides = sheet_pictures._two_sides(points, closed, [box], corners)
    assert set(sides) <= {30, 330, 150, 210}
    assert {side in (30, 330) for side in sides} == {True, False}


def test_stray_points_do_not_make_the_scan_small():
    points, _, box = room()
    stray = np.concatenate([points, np.full((100, 3), 60, np.float32)])
    corners = sheet_pictures._framed(stray, [box])
    assert np.ptp(corners, axis=0).max() < 7


def test_a_part_that_lies_apart_does_not_either():
    points, _, box = room()
    apart = points[::25] * 0.3 + np.array([3, 9, 0], np.float32)  # 4 %, through a door
    corners = sheet_pictures._framed(np.concatenate([points, apart]), [box])
    assert np.ptp(corners, axis=0).max() < 7
    # Where all is scattered, all of it is shown.
    few = np.array([[0, 0, 0], [5, 0, 0], [0, 5, 0], [0, 0, 5]], np.float32)
    assert np.ptp(sheet_pictures._framed(few, []), axis=0).min() > 4


@pytest.mark.parametrize(("px_per_m", "said_m"), [(100, 2), (34, 5), (1000, 0.2)])
def test_the_scale_bar_is_as_long_as_it_says(px_per_m, said_m):
    image = sheet_marks.scale_bar(Image.new("RGB", (850, 200)), px_per_m)
    assert image.shape == (266, 850, 3)
    bar = np.nonzero((image[250] < 50).all(axis=1))[0]
    assert np.ptp(bar) == pytest.approx(said_m * px_per_m, abs=8)


def test_numbers_do_not_cover_each_other():
    places = sheet_marks.apart([(50, 50), (52, 50), (49, 51), (2, 2)], (200, 200))
    for a, b in itertools.combinations(places, 2):
        assert np.hypot(*np.subtract(a, b)) > 42
    assert places[0] == (50, 50)
    assert all(26 <= v <= 174 for place in places for v in place)


def test_a_bar_has_the_colours_of_heat():
    bar = sheet_marks.color_bar(640, 0.0, 0.5, "belief")
    np.testing.assert_array_equal(
        bar[50, [40, 599]], sheet_marks.on_paper(np.array([0.0, 1.0]))
    )


def test_long_words_are_cut_and_nothing_is_lost():
    letters = sheet_marks.font()
    text = "a " + "very" * 40 + " long question"
    lines = sheet_marks.wrapped(text, 300, letters)
    assert all(letters.getlength(line) <= 300 for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_a_sheet_holds_all_its_parts():
    picture = np.full((100, 300, 3), (0, 255, 0), np.uint8)
    view = np.full((120, 850, 3), (0, 0, 255), np.uint8)
    page = sheet.drawn(
        sheet.Sheet(
            "“a chair”",
            ["one line"],
            [(picture, "photograph 1: sees 50 % of 1")] * 2,
            [view, view],
            (0.0, 0.5, "belief"),
            ("", "probability"),
            [("1", "0.67")],
        )
    )
    assert page.shape[1] == sheet.WIDTH_PX
    green, blue = ((page == c).all(axis=2).sum() for c in ((0, 255, 0), (0, 0, 255)))
    assert green == 2 * picture[..., 0].size and blue == 2 * view[..., 0].size
    bare = sheet.drawn(sheet.Sheet("“a chair”"))
    assert bare.shape[0] < page.shape[0] and (bare < 128).any()


def test_lines_are_seen_on_any_ground():
    for ground in ("white", "black"):
        image = Image.new("RGB", (60, 60), ground)
        sheet_marks.line(ImageDraw.Draw(image), [(5, 30), (55, 30)])
        assert marked(np.asarray(image)).any()
