"""Which tokens stand for a class: several words, several tokens, twice, any case."""

import pytest
from tiny_diffusion import tiny_tokenizer

from sas_jax.capability.prompt_tokens import positions
from sas_jax.capability.random_diffusion import clip_tokenizer
from sas_jax.errors import InputError
from sas_jax.text.prompts import image_prompt


@pytest.fixture(scope="module")
def clip():
    return clip_tokenizer()


def texts(tokenizer, prompt, word, compat="paper"):
    ids = tokenizer(prompt)["input_ids"]
    found = positions(tokenizer, prompt, word, compat)
    assert found == sorted(set(found))
    return [tokenizer.decode([ids[i]]).strip() for i in found]


@pytest.mark.parametrize(
    ("prompt", "word", "wanted"),
    [
        ("a good photo of a chair in a room", "chair", "chair"),
        ("a good photo of a shower curtain", "shower curtain", "shower curtain"),
        ("a good photo of a traffic cone in a room", "traffic cone", "traffic cone"),
        ("a photo of a Traffic CONE", "traffic cone", "traffic cone"),
        ("a photo of a traffic cone", "Traffic Cone", "traffic cone"),
        ("chair, chairs and a chair.", "chair", "chair chair"),
        ("a shower, a curtain, a shower curtain", "shower curtain", "shower curtain"),
        ("a t.v. in a room", "t.v.", "t . v ."),
        ("a night-stand (wooden)", "night-stand", "night - stand"),
        ("a child's chair", "child's chair", "child 's chair"),
        ("a café table", "café table", "café table"),
    ],
)
def test_tokens_spell_the_class_and_nothing_else(clip, prompt, word, wanted):
    assert texts(clip, prompt, word) == wanted.split()


def test_a_word_of_several_tokens(clip):
    name = "whiteboardmarker"
    found = texts(clip, f"a photo of a {name} in a room", name)
    assert len(found) > 1 and "".join(found) == name
    tiny = tiny_tokenizer()
    assert texts(tiny, "a good photo of a curtain", "curtain") == ["curta", "in"]


def test_official_takes_equal_texts_anywhere(clip):
    prompt = image_prompt("living room", "official")
    assert prompt == "a good photo of a living room in a room"
    assert texts(clip, prompt, "living room") == ["living", "room"]
    assert texts(clip, prompt, "living room", "official") == ["living", "room", "room"]
    parted = "a shower, a curtain, a shower curtain"
    assert texts(clip, parted, "shower curtain", "official") == (
        ["shower", "curtain"] * 2
    )
    tiny, room = tiny_tokenizer(), image_prompt("curtain", "official")
    assert texts(tiny, room, "curtain", "official") == ["curta", "in", "in"]
    assert texts(tiny, room, "curtain") == ["curta", "in"]


@pytest.mark.parametrize("compat", ["paper", "official"])
def test_both_agree_where_a_name_stands_once(clip, compat):
    for name in ("chair", "shower curtain", "refrigerator", "bookshelf"):
        prompt = image_prompt(name, compat)
        assert texts(clip, prompt, name, compat) == texts(clip, prompt, name)


@pytest.mark.parametrize("compat", ["paper", "official"])
def test_names_that_cannot_be_read_are_refused(clip, compat):
    with pytest.raises(InputError, match="must contain the word"):
        positions(clip, "two armchairs", "chair", compat)
    with pytest.raises(InputError, match=r"must read all of .* 81 tokens where .* 77"):
        positions(clip, "a " * 78 + "chair", "chair", compat)
    assert positions(clip, "a " * 74 + "chair", "chair", compat) == [75]
    with pytest.raises(InputError, match="must read all"):
        positions(clip, "a " * 75 + "chair", "chair", compat)
