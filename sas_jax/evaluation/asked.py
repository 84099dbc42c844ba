"""What is asked: texts that mean the same, exceptions, a list to win against."""

import dataclasses
import re
from collections.abc import Sequence

from sas_jax.errors import InputError
from sas_jax.text.articles import with_article

OR = "|"
"""Between the texts of a question any of which is right."""

_FILE = re.compile(r"\.(txt|csv|json|tsv|ya?ml)$", re.IGNORECASE)
_ARTICLES = ("a", "an", "the", "some", "something", "anything")


@dataclasses.dataclass(frozen=True)
class Question:
    """What is asked.

    Attributes:
      any_of: texts, at least one; what fits any of them answers.
      without: names; what fits one of them better than the text does not answer.
      among: names; the answer is all that the text fits better than each of them, and
        than words that fit anything.
    """

    any_of: tuple[str, ...]
    without: tuple[str, ...] = ()
    among: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The question in words."""
        parts = [f" {OR} ".join(self.any_of)]
        parts += [f"without {', '.join(self.without)}"] * bool(self.without)
        parts += [f"among {', '.join(self.among)}"] * bool(self.among)
        return ", ".join(parts)

    @property
    def texts(self) -> tuple[str, ...]:
        """All that a text tower must know."""
        return (*self.any_of, *self.without, *self.among)

    def stated(self) -> dict[str, object]:
        """Return it for a file of the answer."""
        lists = {"without": self.without, "among": self.among}
        several = {"any_of": list(self.any_of)} if len(self.any_of) > 1 else {}
        return {
            "text": f" {OR} ".join(self.any_of),
            **several,
            **{name: list(names) for name, names in lists.items() if names},
        }


def question(
    text: str, without: Sequence[str] = (), among: Sequence[str] = ()
) -> Question:
    """Return a question from what a user gives.

    Args:
      text: one text, or several with `|` between them.
      without: names, with or without articles.
      among: names; the text itself may be one of them.

    Raises:
      InputError: for a text or name without a word, a file in place of names, and names
        that are all the text itself.
    """
    any_of = _once(text.split(OR))
    lists = {"without": _once(without), "among": _once(among)}
    for each in (*any_of, *lists["without"], *lists["among"]):
        if not any(map(str.isalnum, each)):
            raise InputError(
                f"query: --text, --without and --among must hold a word, got none in "
                f"{each!r} of {text!r}. Say what to look for."
            )
    own = {named(each).lower() for each in any_of}
    for option, names in lists.items():
        if files := [name for name in names if _FILE.search(name)]:
            raise InputError(
                f"query: names are required for --{option}, got a file ({files[0]}). "
                f"Give what is in it: --{option}=wall,floor,chair."
            )
        lists[option] = tuple(n for n in names if named(n).lower() not in own)
        if names and not lists[option]:
            raise InputError(
                f"query: other names than the text are required for --{option}, got "
                f"{', '.join(names)} for {text!r}. Leave it out."
            )
    return Question(any_of, lists["without"], lists["among"])


def _once(texts: Sequence[str]) -> tuple[str, ...]:
    """Return texts without spaces that mean nothing, each once."""
    return tuple(dict.fromkeys(" ".join(text.split()) for text in texts))


def named(name: str) -> str:
    """Return a name as things are asked for, with its article."""
    first = name.partition(" ")[0].lower()
    return name if first in _ARTICLES else with_article(name)
