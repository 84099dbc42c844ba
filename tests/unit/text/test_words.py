"""What the text tower does not know is said, and nothing is answered for it."""

import logging

import numpy as np
import pytest

from sas_jax.errors import InputError, WeightsMissing
from sas_jax.evaluation.evidence import everyday
from sas_jax.text import minilm, minilm_files, words

try:
    minilm_files.model_folder()
except WeightsMissing as absent:
    pytest.skip(str(absent), allow_module_level=True)

SOFA, TOILET = "\u6c99\u53d1", "\u5395\u6240"
CHAIR_SIGN, BED_SIGN = "\U0001fa91", "\U0001f6cf\ufe0f"


@pytest.fixture(scope="module")
def tower():
    return minilm.TextTower()


@pytest.fixture(scope="module")
def tokenizer():
    tokenizer = minilm_files.load_tokenizer()
    tokenizer.no_truncation()
    return tokenizer


def test_words_that_are_not_known_have_one_vector(tower):
    rows = tower.encode([SOFA, TOILET, CHAIR_SIGN, BED_SIGN])
    np.testing.assert_array_equal(rows[0], rows[1])
    np.testing.assert_array_equal(rows[2], rows[3])


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "\n\t", "\u200b", "...", "?!", "[UNK]"),
        *(SOFA, TOILET, CHAIR_SIGN, BED_SIGN, "a" * 300),
        # Cyrillic, Korean, Japanese; characters one by one.
        *("\u0441\u0442\u0443\u043b", "\uc18c\ud30c", "\u30bd\u30d5\u30a1"),
        "\u4e2d\u56fd",
    ],
)
def test_texts_without_a_known_word_are_refused(tower, text):
    with pytest.raises(InputError, match="none in "):
        tower.check(["a chair", text])


def test_all_refused_texts_are_named(tower):
    with pytest.raises(InputError) as refused:
        tower.check([SOFA, "a chair", ""])
    assert f'in "{SOFA}", "". Say' in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        *("chair", "a", "3 chairs", "\u00dcn\u00efcode refrigerator!", "tv"),
        *("na\u00efve_chair", "Sessel", "something to sit on", "caf\u00e9"),
    ],
)
def test_known_words_pass_without_a_word(tower, caplog, text):
    with caplog.at_level(logging.WARNING):
        tower.check([text])
    assert caplog.text == ""


def doubted(tower, *texts):
    """Return which texts are doubted, and the lines that say so."""
    names = tower.encode(list(everyday()))
    read = tower.check(texts)
    near = (tower.encode(list(read)) @ names.T).max(axis=1)
    lines = words.doubts(read, dict(zip(read, near.tolist(), strict=True)), "it")
    assert all("\n" not in line for line in lines)
    return [t for t in texts if any(f'"{t}"' in line for line in lines)], lines


def test_other_languages_are_doubted(tower):
    texts = ("ein Stuhl", "una silla", "krzesło", "etwas zum Sitzen", "asdf")
    found, lines = doubted(tower, *texts)
    assert found == list(texts)
    assert 'is it English? The text tower it spells "Stuhl" from pieces' in lines[0]
    # Known words, but for the article.
    assert doubted(tower, "una mesa", "un lit")[0] == ["una mesa", "un lit"]


def test_english_is_not_doubted(tower):
    texts = ("a chair", "something to sit on", "where do I sleep", "a red nightstand")
    assert doubted(tower, *texts)[0] == []


def test_without_names_to_compare_with_articles_alone_tell(tower):
    read = tower.check(["ein Stuhl", "a nightstand", "Stuhl"])
    (line,) = words.doubts(read, {}, "it")
    assert "ein Stuhl" in line and "learned from English" in line


def test_what_is_left_out_is_said(tower, caplog):
    with caplog.at_level(logging.WARNING):
        tower.check([f"a chair {CHAIR_SIGN}", "chair " * 3000])
    unknown, long = (record.getMessage() for record in caplog.records)
    assert f'does not know "{CHAIR_SIGN}"' in unknown
    assert "takes 256 tokens, got 3002" in long
    # 254 words of six characters, without the last space.
    assert "first 1523 of 18000 characters" in long


def test_words_are_read_as_they_stand_in_the_text(tokenizer):
    reading = words.read(f"A Chair, {SOFA}!", tokenizer, 256)
    assert reading.known == ("A", "Chair")
    assert reading.unknown == tuple(SOFA)
    assert reading.num_tokens == 8 and reading.used == len(f"A Chair, {SOFA}!")


def test_bytes_of_another_encoding_are_refused(tower):
    with pytest.raises(InputError, match=r"valid Unicode.*'\\udcff'"):
        tower.check(["\udcff"])
