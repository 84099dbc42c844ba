"""Which names SEEM is asked for, and which of them are things, stuff and void.

The names are data, in `vocabulary.json`: COCO's 80 things and 53 kinds of stuff, the
six that SAS adds for rooms, and the sentences that a name is asked for in: the 80 that
CLIP used on ImageNet, and the bare name.
"""

import dataclasses
import functools
import importlib.resources
import json
from collections.abc import Sequence

from sas_jax.errors import InputError
from sas_jax.registry import Compat
from sas_jax.text.wording import clean_label

_BACKGROUND = "background"
_NUM_COCO = 133


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """The names of one run.

    Attributes:
      names: asked for; the last stands for all else and is no answer of the semantic
        map.
      things: those whose objects are masks of their own; the others' are merged.
      void: whose masks are dropped.
    """

    names: tuple[str, ...]
    things: frozenset[str]
    void: str


def default_vocabulary(compat: Compat = "paper") -> Vocabulary:
    """Return COCO's panoptic names and the six of SAS.

    Args:
      compat: `paper` drops masks of `others`, the last name, and sees a thing in all
        that COCO does not call stuff. `official` does what the authors' code does: it
        takes the name after COCO's, `sofa`, for the void, keeps `others`, and only
        COCO's things are things.
    """
    names = tuple(clean_label(name) for name in _all_names())
    if compat == "official":
        coco_things = frozenset(_lists()["coco_things"])
        return Vocabulary(names, coco_things, void=names[_NUM_COCO])
    return Vocabulary(names, frozenset(names) - _stuff(), void=names[-1])


def vocabulary_of(names: Sequence[str]) -> Vocabulary:
    """Return a vocabulary of one's own, with a name for all else.

    What COCO calls stuff is merged, every other name is a thing.

    Raises:
      InputError: for no name but that one, an empty one, or one that stands twice.
    """
    clean = tuple(clean_label(name) for name in names)
    twice = [name for i, name in enumerate(clean) if name in clean[:i]]
    asked = (*(name for name in clean if name != _BACKGROUND), _BACKGROUND)
    if twice or len(asked) == 1 or not all(name.strip() for name in clean):
        none = "none" if len(asked) == 1 else "an empty one"
        raise InputError(
            f"masks: a vocabulary of different names is required, got "
            f"{f'{twice[0]} twice' if twice else none}. Correct the list of classes."
        )
    return Vocabulary(asked, frozenset(asked) - _stuff(), void=_BACKGROUND)


def templates() -> tuple[str, ...]:
    """Return the sentences, with one `{}` each, whose vectors are averaged."""
    return _lists()["templates"]


def _all_names() -> tuple[str, ...]:
    lists = _lists()
    return (*lists["coco_things"], *lists["coco_stuff"], *lists["sas"])


@functools.cache
def _stuff() -> frozenset[str]:
    return frozenset(clean_label(name) for name in _lists()["coco_stuff"])


@functools.cache
def _lists() -> dict[str, tuple[str, ...]]:
    file = importlib.resources.files(__package__) / "vocabulary.json"
    read = json.loads(file.read_text(encoding="utf-8"))
    return {kind: tuple(values) for kind, values in read.items()}
