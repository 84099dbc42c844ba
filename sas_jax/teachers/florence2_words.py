"""Florence-2's words: BART's, and a token for every thousandth of an image's sides."""

import pathlib
import re
from collections.abc import Sequence
from typing import Protocol

from sas_jax.teachers.folders import load_tokenizer

PLACE = re.compile(r"<loc_(\d+)>")
"""A token of a place, with its number."""


class Words(Protocol):
    """Text to tokens and back.

    Attributes:
      id: names the vocabulary in keys.
    """

    id: str

    def encode(self, text: str) -> list[int]:
        """Return tokens, of places too, without a begin and an end."""

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of tokens, without the special ones."""


class Bart:
    """The vocabulary of a folder: BART's, and the tokens of places."""

    def __init__(self, folder: pathlib.Path, tokens: int):
        """Read `tokenizer.json`; raises as `load_tokenizer`."""
        self._tokenizer = load_tokenizer(folder, "florence2", tokens)
        self.id = self._tokenizer.to_str()

    def encode(self, text: str) -> list[int]:
        """See `Words`."""
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Sequence[int]) -> str:
        """See `Words`."""
        return self._tokenizer.decode(list(ids))


class Letters:
    """In BART's stead, whose vocabulary no package has: a token a byte.

    For networks of random weights, which have nothing to say; places have the tokens
    that they have in the published vocabulary.
    """

    id = "stand-in for a vocabulary"

    def encode(self, text: str) -> list[int]:
        """Return tokens 4..259, and 50269 for the first place."""
        parts = PLACE.split(text)  # text and numbers take turns
        ids: list[int] = []
        for number, part in enumerate(parts):
            ids += [50269 + int(part)] if number % 2 else [4 + b for b in part.encode()]
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Return "token7 token41" for 7, 41."""
        return " ".join(f"token{i}" for i in ids if i > 3)
