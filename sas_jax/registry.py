"""Models by name: tables of `module:function`, and what the functions are told.

A table is plain text, so that listing names imports nothing; the module of a model is
imported when the model is loaded. A new one is a file and a line in its table.
"""

import dataclasses
import importlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from sas_jax.errors import InputError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

VERSION = 0
"""It decides no numbers; see `artefacts.versions`."""

Config = TypeVar("Config", bound="DataclassInstance")
Compat = Literal["paper", "official"]
Precision = Literal["f32", "bf16", "f16"]


@dataclasses.dataclass(frozen=True)
class LoadOptions:
    """What every loader is told; a model uses what it knows.

    Attributes:
      weights: file, folder or hub id; `random:<seed>` where a model can be tried
        without training. None means the model's own.
      device: `cpu` or `cuda:<n>`.
      download: whether published weights that are not here may be fetched.
      compat: which recipe, for models where paper and authors' code differ.
      label_space: text space that a mask teacher's labels are encoded in; None means
        the model's own.
      vocabulary: names that a teacher of any names is asked for; none means its own.
      settings: the model's configuration, of its own class; None means its defaults.
      precision: of what a teacher computes with images; loaders need not know it.
    """

    weights: str | None = None
    device: str = "cpu"
    download: bool = False
    compat: Compat = "paper"
    label_space: str | None = None
    vocabulary: tuple[str, ...] = ()
    settings: Any = None
    precision: Precision = "f32"


def said(config: Config, **values: object) -> Config:
    """Return a frozen configuration with those of the values that are not None."""
    known = {name: value for name, value in values.items() if value is not None}
    return dataclasses.replace(config, **known)


def check_name(name: str, known: Iterable[str], what: str, flag: str) -> None:
    """Raise InputError, listing the known names, unless a name is one of them.

    Args:
      name: asked for.
      known: all names.
      what: says what they name, e.g. "a synthesizer".
      flag: where users say it.
    """
    known = list(known)
    if name not in known:
        raise InputError(
            f"registry: {what} must be one of {', '.join(known)}, got {name}. "
            f"Correct {flag}."
        )


def load(
    table: Mapping[str, str], name: str, options: Any, *, what: str, flag: str
) -> Any:
    """Load what a table names.

    Args:
      table: name -> `module:function`.
      name: a key of it.
      options: handed to the function.
      what: see `check_name`.
      flag: see `check_name`.

    Raises:
      InputError: for an unknown name, and as the function says.
    """
    check_name(name, table, what, flag)
    return function_of(table[name])(options)


def function_of(loader: str) -> Any:
    """Import `module:function`, or a class, and return it.

    Raises:
      InputError: when the module is not found; what it imports may be absent otherwise.
    """
    module, function = loader.split(":")
    try:
        return getattr(importlib.import_module(module), function)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):
            raise
        raise InputError(
            f"registry: a module that Python finds is required, got {module} of the "
            f"entry {loader}. Put its folder on PYTHONPATH, or correct the entry."
        ) from error
