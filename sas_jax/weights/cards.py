"""Cards of models: facts for people, and the files that a model is made of."""

import dataclasses
import functools
import pathlib
import tomllib
from collections.abc import Mapping
from typing import Any, Literal, get_args

from sas_jax.errors import InputError

Kind = Literal["dense", "mask", "heat", "captioner", "text", "synthesizer", "prompter"]
_FOLDER = pathlib.Path(__file__).with_name("cards")


@dataclasses.dataclass(frozen=True)
class WeightsFile:
    """One file of a model, or a whole repository of the hub.

    Attributes:
      name: of the file; `*` is a folder as `save_pretrained` writes it.
      what: it holds.
      licence: of the weights.
      size_gb: 10^9 bytes; 0 where nobody has said.
      url: page where people get it.
      hub: repository of the Hugging Face hub that holds it, or nothing.
      download: address of the file itself, or nothing.
      package: of the Python index that holds it, `name==version`, or nothing.
      sha256: of the published file, where it is known.
      optional: whether the model works without it.
    """

    name: str
    what: str
    licence: str
    size_gb: float = 0.0
    url: str = ""
    hub: str = ""
    download: str = ""
    package: str = ""
    sha256: str = ""
    optional: bool = False

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder, not a file."""
        return self.name == "*"

    @property
    def title(self) -> str:
        """What to call it: the file's name, or the hub's."""
        return self.hub if self.is_folder else self.name


@dataclasses.dataclass(frozen=True)
class Card:
    """What people ask about a model before they use it.

    Attributes:
      name: in the registries.
      title: as its authors call it.
      kind: of model.
      summary: what it does, a sentence or two.
      text_space: that its features or labels end up in; empty where there is none.
      paper: where it is described.
      code_licence: of the authors' code.
      trained_on: 2-D data and labels that it has seen; comparisons without these are
        unfair.
      memory: of weights and of a frame.
      verified: how this implementation was compared with the original.
      notes: what else matters, a paragraph each.
      needs: modules beyond the package's own dependencies.
      files: that it is made of; none where they come with the package.
    """

    name: str
    title: str
    kind: Kind
    summary: str
    text_space: str = ""
    paper: str = ""
    code_licence: str = ""
    trained_on: str = ""
    memory: str = ""
    verified: str = ""
    notes: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    files: tuple[WeightsFile, ...] = ()

    def file(self, name: str) -> WeightsFile:
        """Return one of the files.

        Raises:
          KeyError: for another name.
        """
        return {each.name: each for each in self.files}[name]


@functools.cache
def cards() -> Mapping[str, Card]:
    """Return all cards by name, in alphabetical order."""
    return {path.stem: _read(path) for path in sorted(_FOLDER.glob("*.toml"))}


def card(name: str) -> Card | None:
    """Return a model's card, None for one without."""
    return cards().get(name)


def _read(path: pathlib.Path) -> Card:
    try:
        stated: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        files = tuple(WeightsFile(**each) for each in stated.pop("files", ()))
        stated |= {key: tuple(stated.get(key, ())) for key in ("notes", "needs")}
        found = Card(path.stem, files=files, **stated)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"cards: a card of the fields of Card is required, got {error} ({path}). "
            "Correct the file."
        ) from error
    if found.kind not in get_args(Kind):
        raise InputError(
            f"cards: a kind of {', '.join(get_args(Kind))} is required, got "
            f"{found.kind} ({path}). Correct the file."
        )
    return found
