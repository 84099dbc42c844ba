"""What part a word plays in a caption: Penn Treebank tags, of a library and a list.

TextBlob's tagger knows most words of English and guesses the others; it ships its
lexicon, so nothing is downloaded. The list (`caption_words.json`) knows what captions
of rooms say of things, of which a lexicon of newspapers makes nouns: materials, mostly.
Without the library the list decides alone. The library's version stands in content
keys (`artefacts.versions.LIBRARIES`), and so does its absence.

Of the 111 captions of tests/unit/text/reworded_captions.tsv the list alone rewords 96
as a person would, TextBlob alone 89, the two together 106 (and spaCy's small model with
the list 107, but no package index has that from its authors).
"""

import functools
import importlib.resources
import json
from collections.abc import Sequence

VERSION = 1
"""Raised when its numbers change, the list's too; see `artefacts.versions`."""

ADJECTIVE = "JJ"
PARTICIPLES = frozenset({"VBN", "VBD", "VBG"})
_NOUN = "NN"
# The first list that a word stands in gives its tag.
_LISTS = {
    "adjectives": ADJECTIVE,
    "determiners": "DT",
    "participles": "VBG",
    "prepositions": "IN",
    "verbs": "VBZ",
    "and": "CC",
    "comma": ",",
}


def tags(words: Sequence[str]) -> list[str]:
    """Return the tag of every word of a caption.

    The library's, but for adjectives, determiners and prepositions of the list, unless
    the library sees a participle ("a painted door", "a door painted white").

    Args:
      words: in order; commas are words of their own.
    """
    listed = list_tags(words)
    found = library_tags(words)
    if found is None:
        return listed
    return [
        tag if own == _NOUN or tag in PARTICIPLES else own
        for own, tag in zip(listed, found, strict=True)
    ]


def library_tags(words: Sequence[str]) -> list[str] | None:
    """Return the tags that TextBlob alone gives, None where it is not installed."""
    tagger = _tagger()
    if tagger is None:
        return None
    # Capitals mean names to it, and slashes stand before its tags.
    text = " ".join(words).lower().replace("/", "-")
    found = [tag for _, tag in tagger(text, tokenize=False)] if words else []
    return found if len(found) == len(words) else list_tags(words)


def list_tags(words: Sequence[str]) -> list[str]:
    """Return the tags that the list alone gives; what it does not know is a noun."""
    return [
        next((tag for name, tag in _LISTS.items() if is_listed(word, name)), _NOUN)
        for word in words
    ]


def is_listed(word: str, name: str) -> bool:
    """Tell whether a word, whatever its case, stands in a list of the file."""
    return word.lower() in _words()[name]


@functools.cache
def _tagger():
    try:
        from textblob.en import tag
    except ImportError:
        return None
    return tag


@functools.cache
def _words() -> dict[str, frozenset[str]]:
    file = importlib.resources.files("sas_jax.text") / "caption_words.json"
    lists = json.loads(file.read_text(encoding="utf-8"))
    lists["adjectives"] = [w for kind in lists["adjectives"].values() for w in kind]
    lists |= {"and": ["and", "or"], "comma": [","]}
    return {name: frozenset(words) for name, words in lists.items()}
