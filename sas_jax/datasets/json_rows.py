"""Tables in JSON, row by row: those of nuScenes hold millions."""

import json
import pathlib
import re
from collections.abc import Iterator
from typing import Any

from sas_jax.errors import InputError

_READ_CHARS = 1 << 20
_LONGEST_ROW_CHARS = 1 << 24  # a row of these tables has less than a thousand
_SPACE, _BETWEEN = re.compile(r"\s*"), re.compile(r"[\s,]*")


def rows_of(path: pathlib.Path) -> Iterator[Any]:
    """Yield the rows of a table, a JSON list, with a megabyte of it in memory.

    Raises:
      InputError: for a missing file and for anything but a list.
    """
    decode = json.JSONDecoder().raw_decode
    try:
        with path.open(encoding="utf-8") as file:
            text, more = file.read(_READ_CHARS), True
            at = _after(_SPACE, text)
            if text[at : at + 1] != "[":
                raise ValueError(f"{text[at : at + 20]!r} at its beginning")
            at += 1
            while text[at : at + 1] != "]":
                try:
                    row, end = decode(text, at)
                    # A number may go on where the text ends.
                    if end < len(text) or not more:
                        yield row
                        at = _after(_BETWEEN, text, end)
                        if at < len(text):
                            continue
                except json.JSONDecodeError:
                    if not more or len(text) - at > _LONGEST_ROW_CHARS:
                        raise
                added = file.read(_READ_CHARS)
                text, more = text[at:] + added, bool(added)
                at = _after(_BETWEEN, text)
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise damaged(path, reason) from error


def _after(what: re.Pattern, text: str, at: int = 0) -> int:
    """Return where a text goes on after what may stand at a place."""
    found = what.match(text, at)
    return found.end() if found else at


def damaged(path: pathlib.Path, got: str) -> InputError:
    """Return the error of a table that holds something else."""
    return InputError(
        f"nuscenes: a table as the official download has it is required, got {got} "
        f"({path}). Extract the metadata of this version again."
    )
