"""Captions in words: their adjectives, and a label in place of their noun.

A caption's noun is a guess; its teacher's label is not. `reword` gives "a wooden
table" from "a wooden bench" and "table". The word lists are data, in
`caption_words.json`.

Source: SAS (arXiv 2503.08512) section 3.1.
"""

import functools
import importlib.resources
import json
import re
from collections.abc import Sequence

from sas_jax.text.prompts import OTHER, OTHER_NAMES

_STUFF_SUFFIXES = ("-merged", "-stuff", "-other")


def reword(caption: str, label: str) -> str:
    """Replace the noun of a caption's first phrase by a label, keep its adjectives.

    The phrase ends before a preposition, a verb or a comma without an adjective after
    it. Its words in the adjective list stay; all others are the noun (so that both
    words of "coffee table" go). What follows the phrase stays.

    Args:
      caption: a sentence, may be empty.
      label: the teacher's class name.

    Returns:
      For example "a wooden table" from "a wooden bench" and "table".
    """
    if label in OTHER_NAMES:
        return OTHER
    noun = clean_label(label)
    words = caption.strip().rstrip(".").split()
    end = _phrase_end(words)
    head = [w for w in words[:end] if w.lower() not in _word_lists()["determiners"]]
    kept = [w for w in head if is_adjective(w) or w.lower() == "and"]
    while kept and kept[-1].lower() == "and":
        kept.pop()
    phrase = with_article(" ".join([*(w.rstrip(",") for w in kept), noun]))
    return " ".join([phrase, *words[end:]])


def official_sentence(adjectives: Sequence[str], label: str) -> str:
    """Return "a <adj and adj> <noun> in a scene", the sentence of the authors' code."""
    if label in OTHER_NAMES:
        return OTHER
    described = f"{' and '.join(adjectives)} {clean_label(label)}".strip()
    return f"a {described} in a scene"


def clean_label(label: str) -> str:
    """Strip the suffixes of panoptic label sets: `wall-other-merged` is `wall`."""
    while label.endswith(_STUFF_SUFFIXES):
        label = label[: label.rindex("-")]
    return label


def adjectives_of(caption: str) -> list[str]:
    """Return the adjectives of a caption, in order, each once."""
    words = re.findall(r"[A-Za-z][A-Za-z-]*", caption)
    return list(dict.fromkeys(w.lower() for w in words if is_adjective(w)))


def is_adjective(word: str) -> bool:
    """Tell whether a word (or a comma after it) is in the shipped adjective list."""
    return word.rstrip(",").lower() in _word_lists()["adjectives"]


def with_article(phrase: str) -> str:
    """Return the phrase with "a" or "an", by its first letter."""
    return f"an {phrase}" if phrase[:1].lower() in "aeiou" else f"a {phrase}"


def _phrase_end(words: Sequence[str]) -> int:
    for position, word in enumerate(words):
        if word.lower().rstrip(",") in _word_lists()["phrase_end"]:
            return position
        following = words[position + 1] if position + 1 < len(words) else ""
        if word.endswith(",") and not is_adjective(following):
            return position + 1
    return len(words)


@functools.cache
def _word_lists() -> dict[str, frozenset[str]]:
    file = importlib.resources.files("sas_jax.text") / "caption_words.json"
    lists = json.loads(file.read_text())
    adjectives = (word for words in lists["adjectives"].values() for word in words)
    return {
        "adjectives": frozenset(adjectives),
        "determiners": frozenset(lists["determiners"]),
        "phrase_end": frozenset(lists["phrase_end"]),
    }
