"""Lists of classes by name, and what belongs to each class (numpy is not needed).

All lists stand in `class_lists.json`, each once. What a data set is scored by composes
them with colours and ids (`scenes.labels`), what a student learns from with text
features (`distill.setup`).
"""

import dataclasses
import functools
import importlib.resources
import json
from collections.abc import Mapping
from typing import Any

from sas_jax.errors import ContractError, InputError

VERSION = 0
"""Names stand in keys by value, or count with the version of who reads a list.

The record of `make versions` holds a hash of the lists beside those versions.
"""


_OTHER = "other_index"


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """Name classes, in index order.

    Attributes:
      name: identifier that goes into artefacts.
      names: class names; index = class.
      other_index: index of the collecting class, or None.
    """

    name: str
    names: tuple[str, ...]
    other_index: int | None = None


def vocabulary(name: str) -> Vocabulary:
    """Return a known list.

    Raises:
      InputError: for an unknown name, listing the known ones.
    """
    known = entry(name)
    return Vocabulary(name, tuple(known["names"]), known["other_index"])


def per_class(name: str, what: str) -> tuple[Any, ...]:
    """Return what belongs to each class of a known list, in its order.

    Args:
      name: of the list.
      what: `palette` (sRGB, three of 0..255), `groups` (head, common, tail), `answers`
        (the class of another list that a name answers for), or `<numbering>_ids`: the
        ids of a class in a data set's files.

    Raises:
      InputError: for an unknown list.
      ContractError: where the list says nothing of the kind.
    """
    known = entry(name)
    if what not in known:
        raise ContractError(f"classes: {what} of {name} is required, got none. Add it.")
    return tuple(known[what])


def entry(name: str) -> Mapping[str, Any]:
    """Return all that a known list says; see `per_class`.

    Raises:
      InputError: for an unknown list.
    """
    lists = _lists()
    if name not in lists:
        raise InputError(
            f"vocabulary: name must be one of {', '.join(sorted(lists))}, got {name}. "
            "Correct the flag."
        )
    found = lists[name]
    if "same_as" in found:
        return lists[found["same_as"]]
    if "of" in found:
        return _part(entry(found["of"]), found)
    return found


def _part(longer: Mapping[str, Any], part: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the first classes of a list, or those without some."""
    names = longer["names"]
    if "first" in part:
        kept = list(range(part["first"]))
    else:
        kept = [i for i, name in enumerate(names) if name not in part["without"]]
    other = longer[_OTHER]
    return {
        **{k: [v[i] for i in kept] for k, v in longer.items() if k != _OTHER},
        _OTHER: kept.index(other) if other in kept else None,
    }


@functools.cache
def _lists() -> dict[str, dict[str, Any]]:
    file = importlib.resources.files("sas_jax") / "class_lists.json"
    return json.loads(file.read_text(encoding="utf-8"))["lists"]
