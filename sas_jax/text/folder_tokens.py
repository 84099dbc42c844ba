"""Texts to tokens by the tokenizer in a model's folder, with no hub and no torch."""

import functools
import json
import pathlib
from typing import Any

import tokenizers
from tokenizers import processors

from sas_jax.errors import InputError
from sas_jax.text import minilm_files

_PART = "\ufffd"
_REMEDY = (
    "Copy or download the folder again; where tokenizer.model alone is published, "
    "transformers.Tipsv2Tokenizer.from_pretrained(<folder>).save_pretrained(<folder>) "
    "writes it."
)


class FolderTokens:
    """Tokens of texts in lower case.

    Attributes:
      length: places of the tower, which longer texts are cut to.
    """

    def __init__(self, folder: pathlib.Path | None, length: int, *, pads: bool):
        """Take where the tokenizer lies; it is read when texts are asked for.

        Args:
          folder: with `tokenizer.json`, and the special tokens and their sides in
            `tokenizer_config.json`; None stands in for random weights, with the words
            of MiniLM, which come with a package. They mean nothing to such weights,
            and are all within the vocabularies.
          length: places of the tower.
          pads: whether all texts get that many tokens.
        """
        self.length = length
        self._folder, self._pads = folder, pads

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Return the ids of each text."""
        tokenizer = self.tokenizer()
        tokenizer.enable_truncation(self.length)
        rows = [e.ids for e in tokenizer.encode_batch([self.clean(t) for t in texts])]
        if not self._pads:
            return [row or [self._pad(tokenizer)] for row in rows]
        fill = [self._pad(tokenizer)] * self.length
        if self._settings.get("padding_side", "right") == "left":
            return [fill[len(row) :] + row for row in rows]
        return [row + fill[len(row) :] for row in rows]

    def tokenizer(self) -> tokenizers.Tokenizer:
        """Return the tokenizer, uncut and unpadded.

        Raises:
          InputError: where there is none, or none that can be read.
        """
        if self._folder is None:
            found = minilm_files.load_tokenizer()
            found.no_truncation()
            return found
        path = self._folder / "tokenizer.json"
        try:
            found = tokenizers.Tokenizer.from_file(str(path))
            _mark(found, self._settings)
        except Exception as error:  # the library raises this very class
            raise InputError(
                f"tokens: a tokenizer is required, got {error} ({path}). {_REMEDY}"
            ) from error
        found.no_truncation()
        found.no_padding()
        return found

    @staticmethod
    def clean(text: str) -> str:
        """Return a text as the towers were told it: in lower case."""
        return text.lower()

    @staticmethod
    def spell(token: str) -> str:
        """Return the letters of a token; a byte of a letter is U+FFFD."""
        if token.startswith("<0x"):
            return _PART
        return token.replace("\u2581", "").removeprefix("##")

    def _pad(self, tokenizer: tokenizers.Tokenizer) -> int:
        found = tokenizer.token_to_id(
            _content(self._settings.get("pad_token", "<pad>"))
        )
        return 0 if found is None else found

    @functools.cached_property
    def _settings(self) -> dict[str, Any]:
        file = self._folder / "tokenizer_config.json" if self._folder else None
        if file is None or not file.is_file():
            return {}
        try:
            return dict(json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise InputError(
                f"tokens: settings of a tokenizer are required, got {error} ({file}). "
                "Copy or download the folder again."
            ) from error


def _mark(tokenizer: tokenizers.Tokenizer, settings: dict[str, Any]) -> None:
    """Let a tokenizer set the marks that its settings ask for, if they say anything.

    Source: how transformers reads `add_bos_token` and `add_eos_token`.
    """
    asked = {side: settings.get(f"add_{side}_token") for side in ("bos", "eos")}
    if set(asked.values()) == {None}:
        return
    marks = {
        side: _content(settings[f"{side}_token"])
        for side, wanted in asked.items()
        if wanted and settings.get(f"{side}_token")
    }
    ids = [(mark, tokenizer.token_to_id(mark)) for mark in marks.values()]
    single = " ".join(filter(None, [marks.get("bos"), "$A", marks.get("eos")]))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=single, special_tokens=ids
    )


def _content(token: Any) -> str:
    """Return a token that stands there as text, or with its habits."""
    return str(token["content"] if isinstance(token, dict) else token)
