"""Ids of TAP's language model to text: its published vocabulary, or a stand-in."""

import hashlib
import pathlib
from collections.abc import Sequence
from typing import Protocol

from sas_jax.errors import InputError

_BOS, _EOS = 1, 2
"""Of LLaMA's vocabulary, which the published model was trained with."""


class Tokenizer(Protocol):
    """Says what ids mean.

    Attributes:
      id: names the vocabulary in keys.
      bos: begins every sentence.
      eos: ends it.
    """

    id: str
    bos: int
    eos: int

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of the ids of one sentence, without the special ones."""
        ...


class StandIn:
    """Spells ids out, for networks of random weights, which have nothing to say."""

    id = "stand-in for a vocabulary"
    bos, eos = _BOS, _EOS

    def decode(self, ids: Sequence[int]) -> str:
        """Return "token7 token41" for 7, 41."""
        return " ".join(f"token{i}" for i in ids)


class SentencePieces:
    """The vocabulary of a SentencePiece file."""

    def __init__(self, path: pathlib.Path, vocab: int):
        """Read the vocabulary.

        Args:
          path: `text_tokenizer.model` of the TAP repository.
          vocab: tokens that the network knows.

        Raises:
          InputError: for another file, or one of another number of tokens.
        """
        import sentencepiece

        content = path.read_bytes()
        try:
            pieces = sentencepiece.SentencePieceProcessor(model_proto=content)
            size = pieces.vocab_size()
            self.bos, self.eos = pieces.bos_id(), pieces.eos_id()
        except (RuntimeError, OSError) as error:
            raise InputError(
                f"tap: a SentencePiece vocabulary is required, got {error} ({path}). "
                "Copy text_tokenizer.model of the TAP repository again."
            ) from error
        if size != vocab or min(self.bos, self.eos) < 0:
            raise InputError(
                f"tap: a vocabulary of {vocab} tokens with a beginning and an end is "
                f"required, got {size} ({path}). Give the text_tokenizer.model that "
                "belongs to the checkpoint."
            )
        self.id = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self._pieces = pieces

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of the ids of one sentence."""
        return self._pieces.decode([int(i) for i in ids]).strip()


def sentence(ids: Sequence[int], tokenizer: Tokenizer) -> str:
    """Return the text between the beginning and the first end."""
    said = [*list(ids)[1:], tokenizer.eos]
    return tokenizer.decode(said[: said.index(tokenizer.eos)])
