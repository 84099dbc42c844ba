"""Captions: the noun gives way to a label, adjectives stay."""

import pytest

from sas_jax.text.wording import (
    adjectives_of,
    clean_label,
    official_sentence,
    reword,
)


@pytest.mark.parametrize(
    ("caption", "label", "expected"),
    [
        ("a wooden bench", "table", "a wooden table"),
        ("a large dark brown bench", "sofa", "a large dark brown sofa"),
        (
            "A white, modern coffee table with a red vase on it.",
            "desk",
            "a white modern desk with a red vase on it",
        ),
        ("orange", "chair", "an orange chair"),
        ("a chair", "apple", "an apple"),
        ("", "bed", "a bed"),
        ("a black and white cat sitting on a sofa", "pillow", None),
        ("the bench and", "wall-other-merged", "a wall"),
        ("an old armchair, next to a window", "chair", "an old chair next to a window"),
        ("a red thing in a scene", "other furniture", "other"),
    ],
)
def test_the_noun_goes_and_the_adjectives_stay(caption, label, expected):
    if expected is None:
        expected = "a black and white pillow sitting on a sofa"
    assert reword(caption, label) == expected


def test_adjectives_come_in_order_and_once():
    assert adjectives_of("a Red wooden bench, red and small") == [
        "red",
        "wooden",
        "small",
    ]
    assert adjectives_of("") == []


def test_the_official_sentence():
    assert official_sentence(["red", "wooden"], "table") == (
        "a red and wooden table in a scene"
    )
    assert official_sentence([], "floor-wood") == "a floor-wood in a scene"
    assert official_sentence(["red"], "others") == "other"


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("wall-other-merged", "wall"),
        ("door-stuff", "door"),
        ("bed", "bed"),
        ("floor-wood", "floor-wood"),
    ],
)
def test_panoptic_suffixes_are_stripped(label, expected):
    assert clean_label(label) == expected
