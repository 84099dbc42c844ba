"""Captions in words: their adjectives, and a label in place of their noun.

A caption's noun is a guess; its teacher's label is not. `reword` gives "a wooden
table" from "a wooden bench" and "table".

Source: SAS (arXiv 2503.08512) section 3.1.
"""

import re
from collections.abc import Sequence

from sas_jax.text.articles import with_article
from sas_jax.text.parts_of_speech import (
    ADJECTIVE,
    PARTICIPLES,
    is_listed,
    library_tags,
    list_tags,
    tags,
)
from sas_jax.text.prompts import OTHER, OTHER_NAMES

VERSION = 2
"""Raised when its numbers change; see `artefacts.versions`."""

_STUFF_SUFFIXES = ("-merged", "-stuff", "-other")
_TOKEN = re.compile(r"[^\s,]+|,")
_INTRODUCING = ("there", "this", "it")
_DESCRIBING = ("adjective", "participle", "adverb")


def reword(caption: str, label: str) -> str:
    """Replace the noun of a caption by a label, and keep what is said of it.

    The noun is that of the first phrase that names a thing: "a photo of" and "there
    is" stay before it, and "a pair of" goes. Of the phrase, adjectives, participles
    and their adverbs stay, and materials; other nouns go with the noun ("coffee
    table"), as do numbers, since a mask is of one thing. What follows stays.

    Args:
      caption: an English sentence, may be empty; of one in another script nothing is
        understood, and the label stands alone.
      label: the teacher's class name.

    Returns:
      For example "a wooden table" from "a wooden bench" and "table".
    """
    if label in OTHER_NAMES:
        return OTHER
    noun = clean_label(label)
    words = _words(caption)
    kinds = [_kind(*pair) for pair in zip(words, tags(words), strict=True)]
    view = _view_end(words, noun)
    kept, end = _described(words, kinds, _amount_end(words, view))
    said = noun.lower().split()
    phrase = " ".join([*(word for word in kept if word.lower() not in said), noun])
    end += words[end : end + 1] == [","]
    rest = " ".join([*words[:view], with_article(phrase), *words[end:]])
    return rest.replace(" ,", ",")


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
    """Return all adjectives of a caption, in order, whatever they describe.

    As the authors' code takes them: no participles, no materials that are nouns, and
    a word as often as it is said. The list of words stands in without the library.
    """
    words = _words(caption)
    pairs = zip(words, library_tags(words) or list_tags(words), strict=True)
    return [word.lower() for word, tag in pairs if tag == ADJECTIVE]


def _words(caption: str) -> list[str]:
    """Return words and commas, without a dot or a dangling "and" at the end."""
    words = _TOKEN.findall(caption.strip().rstrip(" ."))
    while words and words[-1].lower() in (",", "and", "or"):
        words.pop()
    return words


def _view_end(words: Sequence[str], noun: str) -> int:
    """Return where the thing begins: after "there is" and "a close up of"."""
    introduced = words[0].lower() in _INTRODUCING if len(words) > 2 else False
    start = 2 if introduced and is_listed(words[1], "verbs") else 0
    for place in range(start, min(start + 5, len(words) - 1)):
        view = is_listed(words[place], "views") and words[place] not in noun.split()
        if view and words[place + 1] == "of":
            return place + 2
    return start


def _amount_end(words: Sequence[str], start: int) -> int:
    """Return where the thing begins: after "a pair of", too."""
    for place in range(start, min(start + 4, len(words) - 1)):
        if is_listed(words[place], "amounts") and words[place + 1] == "of":
            return place + 2
    return start


def _described(
    words: Sequence[str], kinds: Sequence[str], start: int
) -> tuple[list[str], int]:
    """Return what stays of a phrase before its noun, and where the phrase ends."""
    noun, end = None, start
    while end < len(words):
        kind, following = kinds[end], [*kinds, "end"][end + 1]
        if kind == "verb":  # the plural of a noun, where a noun is due: "two mirrors"
            kind = "noun" if noun is None and end > start else "end"
        if kind == "end" or (kind == "participle" and following == "end"):
            break
        if kind in ("and", "adverb") and following not in _DESCRIBING:
            break
        if noun is not None and kind not in ("noun", "adjective"):
            break
        if noun is not None and words[end + 1 : end + 2] in (["a"], ["the"]):
            break  # a verb that looks like a noun: "a man rides a horse"
        if kind == "noun":
            noun = end
        end += 1
    if noun is None and "determiner" in kinds[start:end]:
        noun = end - 1  # "a glass": some word has to be the noun
    before = range(start, end if noun is None else noun)
    kept = [i for i in before if kinds[i] in _DESCRIBING or words[i].lower() == "and"]
    return [words[i] for i in kept], end


def _kind(word: str, tag: str) -> str:
    """Return what a word can do in a phrase that names a thing."""
    if is_listed(word, "activities"):
        return "noun"  # "washing machine"
    if tag in PARTICIPLES:
        return "participle"
    if tag in ("DT", "PDT", "CD", "PRP$"):
        return "determiner"
    if tag in ("CC", ","):
        return "and"
    if tag in ("VBZ", "VBP"):
        return "end" if is_listed(word, "verbs") else "verb"
    # A plain verb in a caption is a noun that the tagger errs about: "a sink".
    kinds = {"JJ": "adjective", "NN": "noun", "VB": "noun", "MD": "noun"}
    return kinds.get(tag[:2], "adverb" if tag[:2] == "RB" else "end")
