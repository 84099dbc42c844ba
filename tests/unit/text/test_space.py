"""Text spaces: ids, mixtures, and the tower that features ask for."""

import sys

import numpy as np
import pytest
from text_spaces import point_features, space, texts

from sas_jax.artefacts.features import Features, save_features
from sas_jax.artefacts.space import TextFeatures, TextSpace, one_space
from sas_jax.errors import InputError
from sas_jax.evaluation import query
from sas_jax.text import minilm_files, registry


class Tower:
    """A tower of eight dimensions whose vectors tell how long a text is."""

    def __init__(self, name="lengths", weights="a" * 64):
        self.space = TextSpace(name, weights, 8)

    def encode(self, texts):
        return np.eye(8, dtype=np.float32)[[len(text) % 8 for text in texts]]

    def check(self, texts):
        if "" in texts:
            raise InputError("text: words are required.")


def load_lengths(space):
    return Tower()


def load_others(space):
    return Tower("others")


@pytest.fixture
def towers(monkeypatch):
    """Two towers of one dimension, each a line of the registry."""
    for name, loader in (("lengths", "load_lengths"), ("others", "load_others")):
        monkeypatch.setitem(registry.TOWERS, name, f"{__name__}:{loader}")
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    registry._load.cache_clear()
    yield
    registry._load.cache_clear()


def test_an_id_says_all_of_a_space():
    for one in (space(3), minilm_files.SPACE, TextSpace("a/b", "f", 1)):
        assert TextSpace.parse(one.id, "here") == one
    assert str(minilm_files.SPACE) == "minilm-l6-v2 (384-d, weights 53aa51172d14)"


@pytest.mark.parametrize("text", [None, "", "minilm-l6-v2", "a/384", "a/b/c", 3, []])
def test_anything_else_is_no_id(text):
    with pytest.raises(InputError, match=r"text space: .*required, got .*\(here\)"):
        TextSpace.parse(text, "here")


def test_name_weights_and_dimension_make_a_space():
    one = TextSpace("clip", "1" * 64, 512)
    for other in (
        TextSpace("clip-l", "1" * 64, 512),
        TextSpace("clip", "2" * 64, 512),
        TextSpace("clip", "1" * 64, 768),
    ):
        with pytest.raises(InputError) as caught:
            one_space("here", {"a": one, "b": one, "c": other})
        line = str(caught.value)
        assert f"got {one} of a and {other} of c." in line and "\n" not in line
    assert one_space("here", {"a": one, "b": one}) == one


def test_text_features_have_the_dimension_of_their_space():
    with pytest.raises(InputError, match="text features"):
        TextFeatures(np.zeros((2, 4), np.float32), space(5))


def test_every_tower_is_one_line_and_names_its_space(towers):
    assert registry.load("lengths") is registry.load("lengths")
    for name in ("lengths", "others"):
        assert registry.load(name).space.name == name
    with pytest.raises(InputError, match=r"one of .*lengths.*, got clip"):
        registry.load("clip")


def test_features_of_other_weights_are_not_asked_with_these(towers):
    of_others = TextSpace("lengths", "b" * 64, 8)
    with pytest.raises(InputError, match=r"one text space.*the tower on this machine"):
        registry.of_space(of_others, "the features")
    assert registry.of_space(Tower().space, "the features").space == Tower().space


def test_minilm_is_in_the_table():
    tower = registry.load("minilm-l6-v2")
    assert tower.space == minilm_files.SPACE


@pytest.mark.parametrize("name", ["lengths", "others"])
def test_the_workspace_chooses_its_tower(root, tmp_path, monkeypatch, towers, name):
    monkeypatch.syspath_prepend(str(root / "experiments"))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # settings has its own
    import settings

    from sas_jax.artefacts.features import space_of
    from sas_jax.scenes.labels import SCANNET20

    # Which label set is the data set's affair, asked of flags.
    monkeypatch.setattr(settings, "label_set", lambda: SCANNET20)
    rows = np.zeros((2, 8), np.float16)
    features = Features(
        rows, np.arange(2, dtype=np.int32), np.ones(2, np.int32), Tower(name).space
    )
    path = tmp_path / "features" / "t" / "s.safetensors"
    save_features(path, features, key="k")
    encoded = settings.text_encoder(space_of(path))(["abc"])
    assert encoded.space == Tower(name).space and encoded.rows[0, 3] == 1
    assert settings.class_texts(space_of(path)).space == Tower(name).space
    with pytest.raises(InputError, match="words are required"):
        settings.check_texts(space_of(path), [""])


def test_a_question_of_another_space_is_refused():
    index, counts = np.array([0, 2], np.int32), np.ones(2, np.int32)
    rows = np.array([[2.0, 0], [0, 3]], np.float16)
    features = query.unit_features(point_features(rows, index, counts, 4))
    question, anything = texts(np.eye(2)[:1]), texts(np.eye(2)[1:])
    got = query.point_relevancy(features, question, anything)
    np.testing.assert_array_equal(np.isnan(got), [False, True, False, True])
    assert got[0] > 0.9 and got[2] < 0.1
    with pytest.raises(InputError, match="query: one text space"):
        query.point_relevancy(features, texts(np.eye(2)[:1], "other"), anything)
