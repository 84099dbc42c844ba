"""Captioners: measured colour, size and proportion, in sentences that align keeps."""

import numpy as np
import pytest

pytest.importorskip("cv2")
pytest.importorskip("webcolors")

from sas_jax.errors import ContractError
from sas_jax.teachers.captions import (
    COLOUR_WORDS,
    CaptionConfig,
    ColourSizeCaptioner,
    SilentCaptioner,
    colour_name,
)
from sas_jax.teachers.contracts import Segments
from sas_jax.text.parts_of_speech import is_listed
from sas_jax.text.wording import reword

RED, GREY = (200, 30, 30), (128, 128, 128)


def one_mask(rows, columns, colour=RED, size=(100, 120)):
    image = np.full((*size, 3), 255, np.uint8)
    ids = np.zeros(size, np.int32)
    image[rows, columns] = colour
    ids[rows, columns] = 1
    return image, Segments(ids, ["table"], np.ones(1, np.float32))


@pytest.mark.parametrize(
    ("rows", "columns", "expected"),
    [
        (slice(10, 20), slice(10, 20), "a small red object"),
        (slice(10, 50), slice(10, 50), "a red object"),
        (slice(0, 90), slice(0, 90), "a large red object"),
        (slice(0, 90), slice(10, 40), "a large tall red column"),
        (slice(40, 60), slice(0, 110), "a wide red bench"),
    ],
)
def test_size_proportion_and_colour_become_words(rows, columns, expected):
    image, masks = one_mask(rows, columns)
    assert ColourSizeCaptioner().caption(image, masks) == [expected]


@pytest.mark.parametrize(
    ("rgb", "word"),
    [
        ((0, 0, 0), "black"),
        ((255, 255, 255), "white"),
        ((128, 128, 128), "gray"),
        ((200, 20, 20), "red"),
        ((20, 30, 110), "dark blue"),
        ((139, 69, 19), "brown"),
        ((30, 110, 20), "dark green"),
    ],
)
def test_plain_colours_have_plain_names(rgb, word):
    assert colour_name(np.array(rgb)) == word


def test_one_outlier_does_not_change_the_colour():
    image, masks = one_mask(slice(10, 50), slice(10, 50))
    image[10:20, 10:50] = 0
    assert "red" in ColourSizeCaptioner().caption(image, masks)[0]


def test_every_word_that_is_measured_survives_alignment():
    for words in COLOUR_WORDS.values():
        assert all(is_listed(word, "adjectives") for word in words.split())
        assert reword(f"a small {words} object", "sink") == f"a small {words} sink"


def test_captions_keep_the_order_of_the_masks():
    image, masks = one_mask(slice(10, 50), slice(10, 50))
    image[60:90, 60:90], masks.ids[60:90, 60:90] = GREY, 2
    masks.labels, masks.scores = ["a", "b", "c"], np.ones(3, np.float32)
    captions = ColourSizeCaptioner().caption(image, masks)
    assert captions == ["a red object", "a gray object", "a thing"]
    assert SilentCaptioner().caption(image, masks) == ["", "", ""]


def test_a_wrong_image_is_refused():
    _, masks = one_mask(slice(0, 5), slice(0, 5))
    with pytest.raises(ContractError, match="uint8"):
        ColourSizeCaptioner().caption(np.zeros((100, 120, 3), np.float32), masks)


def test_the_id_of_a_captioner_holds_its_settings():
    ids = {
        ColourSizeCaptioner().id,
        ColourSizeCaptioner(CaptionConfig()).id,
        ColourSizeCaptioner(CaptionConfig(small=0.03)).id,
        SilentCaptioner().id,
    }
    assert len(ids) == 3
