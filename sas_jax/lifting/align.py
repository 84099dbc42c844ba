"""Model alignment via text: masks with labels become pixels in the shared text space.

A mask's caption is reworded so that its noun is the teacher's label ("a wooden bench"
and "table" give "a wooden table"), the sentence is encoded, and every pixel of the
mask gets that vector. H, W image; M distinct sentences; C length of a text feature.

Source: SAS (arXiv 2503.08512) section 3.1.
"""

import functools
import importlib.resources
import json
import re
from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
from jaxtyping import Float

from sas_jax.errors import InputError
from sas_jax.lifting.lift import VOID, Coded
from sas_jax.teachers.contracts import Segments, check_segments
from sas_jax.text.vocabulary import OTHER, OTHER_NAMES

_STUFF_SUFFIXES = ("-merged", "-stuff", "-other")


class TextEncoder(Protocol):
    """What alignment needs of a text tower."""

    dim: int

    def encode(self, texts: Sequence[str]) -> Float[np.ndarray, "n C"]:
        """Return unit vectors."""


def align(
    segments: Segments,
    encoder: TextEncoder,
    *,
    compat: Literal["paper", "official"] = "paper",
) -> Coded:
    """Give every pixel of every mask the text feature of its reworded caption.

    Args:
      segments: masks with labels; without captions the label alone is worded.
      encoder: text tower of the shared space.
      compat: `paper` keeps the caption's whole sentence and swaps its noun, one
        sentence per mask. `official` (the authors' code) keeps only the adjectives,
        as "a <adj and adj> <noun> in a scene", and takes the noun of every pixel from
        the semantic map where there is one; void pixels then get a noun without
        adjectives.

    Returns:
      The coded feature image: float16 [M, C] unit vectors, int32 [H, W] index, -1 in
      the void. A label of the collecting class ("other") is the bare
      word, because its text feature is that of the bare word too.

    Raises:
      InputError: when ids, labels and captions do not fit, or for another `compat`.

    Source: SAS section 3.1; authors' code seem_feat/fusion_util.py, whose captions
      are shifted by one mask (a bug that is not reproduced).
    """
    check_segments(segments, "align")
    if compat == "paper":
        sentences, index = _paper_sentences(segments)
    elif compat == "official":
        sentences, index = _official_sentences(segments)
    else:
        raise InputError(
            f"align: compat must be paper or official, got {compat}. Choose one."
        )
    texts = list(dict.fromkeys(sentences))
    row = np.array([texts.index(s) for s in sentences] + [VOID], np.int32)
    codebook = encoder.encode(texts).astype(np.float16).reshape(-1, encoder.dim)
    return Coded(codebook, row[index])


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


def _paper_sentences(segments: Segments) -> tuple[list[str], np.ndarray]:
    captions = segments.captions or [""] * len(segments.labels)
    pairs = zip(captions, segments.labels, strict=True)
    return [_sentence(caption, label) for caption, label in pairs], segments.ids - 1


def _sentence(caption: str, label: str) -> str:
    return reword(caption, label) if caption else official_sentence((), label)


def _official_sentences(segments: Segments) -> tuple[list[str], np.ndarray]:
    captions = ["", *(segments.captions or [""] * len(segments.labels))]
    if segments.label_map is None:
        sentences = [
            official_sentence(adjectives_of(caption), label)
            for caption, label in zip(captions[1:], segments.labels, strict=True)
        ]
        return sentences, segments.ids - 1
    num = len(segments.label_names)
    pairs, index = np.unique(
        segments.ids * num + segments.label_map, return_inverse=True
    )
    sentences = [
        official_sentence(adjectives_of(captions[i]), segments.label_names[k])
        for i, k in zip(pairs // num, pairs % num, strict=True)
    ]
    return sentences, index.reshape(segments.ids.shape)


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
    file = importlib.resources.files("sas_jax.lifting") / "caption_words.json"
    lists = json.loads(file.read_text())
    adjectives = (word for words in lists["adjectives"].values() for word in words)
    return {
        "adjectives": frozenset(adjectives),
        "determiners": frozenset(lists["determiners"]),
        "phrase_end": frozenset(lists["phrase_end"]),
    }
