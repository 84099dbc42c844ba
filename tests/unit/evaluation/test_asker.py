"""Questions of several words, with exceptions, among names; and who asks them."""

import numpy as np
import pytest
from text_spaces import point_features, space

from sas_jax.artefacts.space import TextFeatures
from sas_jax.errors import InputError
from sas_jax.evaluation.asked import question
from sas_jax.evaluation.asker import asker as asker_of
from sas_jax.evaluation.query import distinct, region_of


def test_a_question_says_what_it_is():
    asked = question("a chair | a  sofa | a chair", ["office chair"])
    assert asked.any_of == ("a chair", "a sofa")
    assert asked.title == "a chair | a sofa, without office chair"
    # A name that is asked for does not stand against itself.
    assert question("a chair", among=["chair", "table", "table"]).among == ("table",)
    for wrong in ("a chair |", "", "|"):
        with pytest.raises(InputError, match="must hold a word"):
            question(wrong)
    for option in ("without", "among"):
        with pytest.raises(InputError, match=f"other names .* --{option}"):
            question("a chair", **{option: ["chair"]})
        with pytest.raises(InputError, match=f"names .* --{option}, got a file"):
            question("a chair", **{option: ["wall", "my/classes.txt"]})


VECTORS = {
    "a chair": (1, 0, 0, 0),
    "a stool": (0.8, 0.6, 0, 0),
    "a lamp": (0, 0, 1, 0),
}


def encode(texts):
    """Stand in for a text tower that knows a few texts."""
    rows = np.array([VECTORS.get(t, (0, 0, 0, 1)) for t in texts], np.float32)
    return TextFeatures(rows, space(4))


@pytest.fixture
def asked():
    """Points in three rows: two things in each, and an asker without probabilities."""
    feat = np.repeat(np.eye(3, 4, dtype=np.float32), 100, axis=0)
    feat[100:200] = (0.8, 0.6, 0, 0)  # stools
    index = np.arange(300, dtype=np.int32)
    features = point_features(feat, index, np.ones(300, np.int32), 300)
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 0.3, (300, 3)) + np.repeat([0, 2, 4], 100)[:, None]
    asker = asker_of(space(4), encode, fitted=False)

    def ask(text, without=(), among=()):
        asked = question(text, without, among)
        (rows,) = asker.answers(features, None, [asked])
        found = asker.found(asked, points.astype(np.float32), rows)
        return sorted({int(i) // 100 for region in found for i in region.points})

    return ask


def test_names_that_are_not_meant_are_left_out(asked):
    assert asked("a chair") == [0, 1]
    assert asked("a chair", without=["stool"]) == [0]
    assert asked("a chair", without=["lamp"]) == [0, 1]


def test_among_names_the_text_must_win(asked):
    assert asked("a chair", among=["lamp"]) == [0, 1]
    assert asked("a chair", among=["chair", "stool", "lamp"]) == [0]
    assert asked("a stool", among=["chair", "lamp"]) == [1]


def test_any_of_several_texts_is_right(asked):
    assert asked("a lamp") == [2]
    assert asked("a chair | a lamp") == [0, 1, 2]
    assert asked("a chair | a lamp", without=["stool"]) == [0, 2]


def test_regions_of_several_texts_are_told_once():
    points = np.random.default_rng(0).uniform(0, 1, (40, 3)).astype(np.float32)
    whole, half = np.arange(30), np.arange(20)
    one, two = region_of(points, whole, 0.7), region_of(points, half, 0.9)
    other = region_of(points, np.arange(30, 40), 0.5)
    assert distinct([[one], [two, other]], 40) == [two, other]
