"""Which words of a text a tower knows, before its vector is taken for an answer.

A tower gives every string a vector of length one, an empty one or one of unknown
characters too: two words that it does not know have the same vector.
"""

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence

import tokenizers

from sas_jax.errors import InputError

_UNKNOWN = "[UNK]"
_CONTINUED = "##"
_PART = "\ufffd"
# Articles of languages that are written like English, and not English words before a
# noun. Towers know many such words, and their nouns from pieces or not at all.
_FOREIGN_ARTICLES = frozenset(
    (
        *("ein", "eine", "einen", "der", "die", "das", "een", "het"),
        *("un", "une", "una", "uno", "um", "uma", "le", "la", "les"),
        *("il", "lo", "gli", "el", "los", "las"),
    )
)
# Cosines of a text and its nearest everyday name, and words from pieces, in MiniLM's
# space: so 11 of 189 English questions are doubted, most of words that it does not know
# (telly, a hob), and of 53 in a dozen other languages 43 are, 9 are refused. Chosen on
# these.
_FAR, _NEAR = 0.37, 0.6


@dataclasses.dataclass(frozen=True)
class Reading:
    """What a tokenizer makes of a text.

    Attributes:
      known: words that stand in the vocabulary, whole or in pieces of several letters.
      unknown: what does not, or is spelled letter by letter, as it stands in the text.
      num_tokens: with the special ones.
      used: length of the part of the text that fits the tower, characters.
      pieced: known words that are spelled from pieces: rare ones, and foreign ones.
    """

    known: tuple[str, ...]
    unknown: tuple[str, ...]
    num_tokens: int
    used: int
    pieced: tuple[str, ...] = ()


def of_wordpiece(token: str) -> str:
    """Return the letters of a token of WordPiece."""
    return token.removeprefix(_CONTINUED)


def read(
    text: str,
    tokenizer: tokenizers.Tokenizer,
    max_tokens: int,
    *,
    clean: Callable[[str], str] = str,
    spell: Callable[[str], str] = of_wordpiece,
) -> Reading:
    """Return which words of a text a tokenizer knows.

    Args:
      text: any string.
      tokenizer: without truncation.
      max_tokens: what the tower takes, with the special tokens.
      clean: what the tower does to a text first.
      spell: token -> its letters; U+FFFD for parts of a letter, of which the tower
        knows the bytes alone.

    Raises:
      InputError: for a string that is no valid Unicode.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"text: valid Unicode is required, got {text!a}. Set the terminal's "
            "encoding to UTF-8."
        ) from error
    text = clean(text)
    encoding = tokenizer.encode(text)
    words: dict[int, list[int]] = {}
    for position, word in enumerate(encoding.word_ids):
        if word is not None:
            words.setdefault(word, []).append(position)
    known, unknown, pieced = [], [], []
    for positions in words.values():
        start, end = (
            encoding.offsets[positions[0]][0],
            encoding.offsets[positions[-1]][1],
        )
        spelled, tokens = text[start:end], [encoding.tokens[p] for p in positions]
        pieces = [spell(token) for token in tokens]
        if _UNKNOWN not in tokens and _is_known(pieces):
            known.append(spelled)
            pieced += [spelled] * (len(tokens) > 1)
        elif (
            _UNKNOWN in tokens
            or any(_PART in piece for piece in pieces)
            or any(c.isalnum() for c in spelled)
        ):
            unknown.append(spelled)
    ends = [end for _, end in encoding.offsets[: max_tokens - 1]]
    used = max(ends, default=0) if len(encoding.ids) > max_tokens else len(text)
    count = len(encoding.ids)
    return Reading(tuple(known), tuple(unknown), count, used, tuple(pieced))


def _is_known(pieces: Sequence[str]) -> bool:
    """Tell whether the tokens of one word say more than how it is spelled."""
    if not any(c.isalnum() for piece in pieces for c in piece):
        return False
    return len(max(pieces, key=len)) > 1 or (len(pieces) == 1 and pieces[0].isascii())


def check(
    texts: Sequence[str],
    tokenizer: tokenizers.Tokenizer,
    max_tokens: int,
    tower: str,
    **reading_as: Callable[[str], str],
) -> dict[str, Reading]:
    """Refuse texts that a tower cannot know; warn of what it leaves out of others.

    Args:
      texts: what is asked for, in words.
      tokenizer: without truncation.
      max_tokens: what the tower takes.
      tower: names it in messages.
      **reading_as: `clean` and `spell` of `read`.

    Returns:
      What was read of each text.

    Raises:
      InputError: for texts without a known word, naming all of them.
    """
    readings = {t: read(t, tokenizer, max_tokens, **reading_as) for t in texts}
    senseless = [text for text, reading in readings.items() if not reading.known]
    if senseless:
        raise InputError(
            f"text: a word that the text tower {tower} knows is required, got none in "
            f"{', '.join(_quoted(t) for t in senseless)}. Say it in English words."
        )
    for text, reading in readings.items():
        if reading.unknown:
            logging.warning(
                "text %s: the text tower %s does not know %s; the answer is to the "
                "other words.",
                *(_quoted(text), tower, ", ".join(map(_quoted, reading.unknown[:5]))),
            )
        if reading.num_tokens > max_tokens:
            logging.warning(
                "text %s: the text tower %s takes %d tokens, got %d; the answer is to "
                "its first %d of %d characters.",
                *(_quoted(text), tower, max_tokens, reading.num_tokens),
                *(reading.used, len(text)),
            )
    return readings


def doubts(
    readings: Mapping[str, Reading], nearest: Mapping[str, float], tower: str
) -> list[str]:
    """Return a line for each text that a tower of English words may not understand.

    Args:
      readings: of texts, by a tower that learned from English.
      nearest: cosine of each text and the everyday name that is nearest to it; none
        where there are no names to compare with.
      tower: names it.
    """
    found = []
    for text, reading in readings.items():
        near = nearest.get(text, 0.0)
        first = text.partition(" ")[0].lower()
        foreign = first in _FOREIGN_ARTICLES and " " in text.strip()
        strange = bool(reading.pieced) and near < _NEAR and bool(nearest)
        if foreign or strange or (text in nearest and near < _FAR):
            spelled = [f"spells {_listed(reading.pieced)} from pieces"] * strange
            said = [*spelled, *["knows no everyday name like it"] * (near < _NEAR)]
            if not nearest or not said:
                said = ["learned from English"]
            found.append(
                f"text {_quoted(text)}: is it English? The text tower {tower} "
                f"{' and '.join(said)}; the answer may be anything."
            )
    return found


def _listed(words: Sequence[str]) -> str:
    return ", ".join(map(_quoted, words[:5]))


def _quoted(text: str) -> str:
    line = " ".join(text.split())
    return f'"{line}"' if len(line) <= 40 else f'"{line[:40]}..."'
