"""Alignment via text: rewording, coding of pixels, paper against official."""

import numpy as np
import pytest

from sas_jax.errors import ContractError, InputError
from sas_jax.lifting.align import align
from sas_jax.teachers.contracts import Segments


class LetterTower:
    """Encode a text as letter counts, and remember the texts."""

    id, dim = "letters", 26

    def __init__(self):
        self.texts = []

    def encode(self, texts):
        self.texts = list(texts)
        rows = np.zeros((len(texts), 26), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for letter in text:
                if letter.isalpha():
                    row[ord(letter) - ord("a")] += 1
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def segments(**changes) -> Segments:
    fields = {
        "ids": np.array([[0, 1, 1], [2, 3, 3]], np.int32),
        "labels": ["table", "bed", "table"],
        "scores": np.ones(3, np.float32),
        "captions": ["a wooden bench", "a red thing", "a wooden object"],
    }
    return Segments(**{**fields, **changes})


def test_each_pixel_gets_the_sentence_of_its_mask():
    tower = LetterTower()
    coded = align(segments(), tower)
    assert tower.texts == ["a wooden table", "a red bed"]  # equal sentences once
    np.testing.assert_array_equal(coded.index, [[-1, 0, 0], [1, 0, 0]])
    assert coded.codebook.dtype == np.float16
    expected = tower.encode(["a wooden table", "a red bed"]).astype(np.float16)
    np.testing.assert_array_equal(coded.codebook, expected)


def test_without_captions_the_label_stands_in_the_prompt():
    tower = LetterTower()
    align(segments(captions=None), tower)
    assert tower.texts == ["a table in a scene", "a bed in a scene"]


def test_official_takes_nouns_from_the_semantic_map_and_no_adjective_for_void():
    tower = LetterTower()
    label_map = np.array([[1, 0, 1], [1, 0, 0]], np.int32)
    annotated = segments(label_map=label_map, label_names=("table", "wall"))
    coded = align(annotated, tower, compat="official")
    sentence = np.array(tower.texts)[coded.index]
    assert sentence.tolist() == [
        ["a wall in a scene", "a wooden table in a scene", "a wooden wall in a scene"],
        [
            "a red wall in a scene",
            "a wooden table in a scene",
            "a wooden table in a scene",
        ],
    ]


def test_the_paper_keeps_the_sentence_and_the_authors_code_the_adjectives():
    pytest.importorskip("textblob")
    caption = "two framed white mirrors above a white sink"
    ids = np.array([[1, 1]], np.int32)
    one = Segments(ids, ["mirror-stuff"], np.ones(1, np.float32), [caption])
    said = {}
    for compat in ("paper", "official"):
        tower = LetterTower()
        align(one, tower, compat=compat)
        said[compat] = tower.texts
    assert said == {
        "paper": ["a framed white mirror above a white sink"],
        "official": ["a white and white mirror in a scene"],
    }


def test_official_without_a_semantic_map_uses_the_labels():
    tower = LetterTower()
    coded = align(segments(), tower, compat="official")
    assert tower.texts == ["a wooden table in a scene", "a red bed in a scene"]
    np.testing.assert_array_equal(coded.index, [[-1, 0, 0], [1, 0, 0]])


@pytest.mark.parametrize("compat", ["paper", "official"])
def test_an_image_without_masks_is_all_void(compat):
    class Empty(LetterTower):
        def encode(self, texts):
            return np.zeros((0, 26), np.float32)

    empty = Segments(np.zeros((2, 3), np.int32), [], np.zeros(0, np.float32))
    coded = align(empty, Empty(), compat=compat)
    assert coded.codebook.shape == (0, 26)
    assert (coded.index == -1).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"captions": ["a bench"]}, "one caption per mask"),
        ({"scores": np.ones(2, np.float32)}, "one score per mask"),
        ({"labels": ["table"]}, "must lie in 0..1"),
        ({"ids": np.full((2, 3), -1, np.int32)}, "must lie in 0..3"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ContractError, match=message):
        align(segments(**changes), LetterTower())


def test_another_compat_is_refused():
    with pytest.raises(InputError, match="paper or official"):
        align(segments(), LetterTower(), compat="mine")
