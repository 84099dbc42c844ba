"""Flags made from the frozen dataclasses of the library.

A field gives a flag its name, type, choices and help, all of them written once, in the
library. A flag that is not given is None and leaves the field to its default.
"""

import dataclasses
import functools
import inspect
import re
import types
import typing
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from absl import flags

from sas_jax.errors import InputError

Named = Callable[..., Any]
"""Makes a field's value from one name, its only parameter, which has a default."""


class _Values(NamedTuple):
    """What a flag takes."""

    kind: type
    choices: tuple[str, ...]


_known: dict[str, _Values] = {}
_headings: list[tuple[str, tuple[str, ...], int]] = []


def heading(title: str, *stages: str) -> None:
    """Begin a group of flags in the help of scripts; it ends where the next begins.

    Args:
      title: of the group.
      stages: scripts that use the flags; all, if none given.
    """
    _headings.append((title, stages, len(list(flags.FLAGS))))


def headings() -> list[tuple[str, tuple[str, ...], list[str]]]:
    """Return the groups: title, stages, names of the flags."""
    known = list(flags.FLAGS)
    ends = [first for *_, first in _headings[1:]]
    return [
        (title, stages, known[first:end])
        for (title, stages, first), end in zip(_headings, ends, strict=False)
    ]


@dataclasses.dataclass(frozen=True)
class ConfigFlags:
    """The flags of one dataclass.

    Attributes:
      config: the dataclass.
      names: field -> flag.
      named: field -> function that makes its value from the flag's name.
    """

    config: type
    names: Mapping[str, str]
    named: Mapping[str, Named]

    def values(self) -> dict[str, Any]:
        """Return the fields whose flags have a value.

        Raises:
          InputError: for a list of another length or of other things than the field's.
        """
        hints, values = typing.get_type_hints(self.config), {}
        for field, flag in self.names.items():
            value = flags.FLAGS[flag].value
            if field in self.named:
                make = self.named[field]
                values[field] = make() if value is None else make(value)
            elif value is not None:
                values[field] = _from_list(flag, hints[field], value)
        return values

    def make(self, **fields: Any) -> Any:
        """Return the dataclass: flags, what no flag says, and defaults.

        Args:
          **fields: further fields; they win.
        """
        return self.config(**{**self.values(), **fields})

    def name(self, field: str) -> str:
        """Return the name that a named field has, by its flag or by default."""
        value = flags.FLAGS[self.names[field]].value
        return _parameter(self.named[field]).default if value is None else value


def define(
    config: type,
    *,
    only: Collection[str] = (),
    leave_out: Collection[str] = (),
    names: Mapping[str, str] | None = None,
    named: Mapping[str, Named] | None = None,
    helps: Mapping[str, str] | None = None,
) -> ConfigFlags:
    """Define a flag for every field of a dataclass.

    Args:
      config: a dataclass whose docstring lists its fields under "Attributes:".
      only: the fields that get flags; all, if none given.
      leave_out: fields without a flag.
      names: field -> flag, where they differ.
      named: field -> function that makes its value from a name.
      helps: field -> help, where the docstring's would be too special for a flag that
        several dataclasses share.

    Fields of several dataclasses that have one name and type share one flag.
    """
    names, named = names or {}, dict(named or {})
    hints, texts = typing.get_type_hints(config), _attributes(config)
    texts |= helps or {}
    chosen = {}
    for field in dataclasses.fields(config):
        if field.name in leave_out or (only and field.name not in only):
            continue
        flag = chosen[field.name] = names.get(field.name, field.name)
        if field.name in named:
            parameter = _parameter(named[field.name])
            kind, default = parameter.annotation, parameter.default
            text = _section(named[field.name], "Args")[parameter.name]
        else:
            kind, default = hints[field.name], field.default
            text = texts[field.name]
        listed = field.metadata.get("choices", ())
        _define(flag, kind, listed, _help(text, default))
    return ConfigFlags(config, chosen, named)


def _define(flag: str, annotation: Any, listed: tuple[str, ...], text: str) -> None:
    """Define a flag, or check that it is the same as one of this name."""
    kind, choices = _values(annotation)
    choices = tuple(listed) or choices
    values = _Values(kind, choices)
    if _known.setdefault(flag, values) != values:
        raise TypeError(f"--{flag} takes {_known[flag]} and {values}")
    if flag in flags.FLAGS:
        return
    if choices:
        flags.DEFINE_enum(flag, None, choices, text)
    else:
        makers = {
            bool: flags.DEFINE_bool,
            int: flags.DEFINE_integer,
            float: flags.DEFINE_float,
            str: flags.DEFINE_string,
            tuple: flags.DEFINE_list,
        }
        makers[kind](flag, None, text)


def _values(annotation: Any) -> _Values:
    """Return what a flag takes for a field of this type."""
    annotation = _without_none(annotation)
    origin = typing.get_origin(annotation)
    if origin is typing.Literal:
        return _Values(str, typing.get_args(annotation))
    return _Values(tuple if origin is tuple else annotation, ())


def _without_none(annotation: Any) -> Any:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        parts = [a for a in typing.get_args(annotation) if a is not type(None)]
        return functools.reduce(lambda a, b: a | b, parts)
    return annotation


def _from_list(flag: str, annotation: Any, value: Any) -> Any:
    """Return a flag's value as the field takes it: a list becomes a tuple."""
    annotation = _without_none(annotation)
    if typing.get_origin(annotation) is not tuple:
        return value
    kinds = typing.get_args(annotation)
    if kinds[-1] is Ellipsis:
        kinds = kinds[:1] * len(value)
    try:
        return tuple(k(v) for k, v in zip(kinds, value, strict=True))
    except ValueError:
        wanted = ",".join(f"<{kind.__name__}>" for kind in kinds)
        raise InputError(
            f"flags: --{flag}={wanted} is required, got {','.join(value)}. "
            "Correct the flag."
        ) from None


def _parameter(function: Named) -> inspect.Parameter:
    return next(iter(inspect.signature(function).parameters.values()))


def _help(text: str, default: object) -> str:
    text = text[:1].upper() + text[1:].rstrip(".") + "."
    if default is None or default is dataclasses.MISSING:
        return text
    shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
    return f"{text} Default: {shown}."


def _attributes(config: type) -> dict[str, str]:
    """Return what the docstring says of every field."""
    found = _section(config, "Attributes")
    fields = [field.name for field in dataclasses.fields(config)]
    if without := [name for name in fields if name not in found]:
        raise TypeError(f"{config.__name__}: no help for {', '.join(without)}")
    return found


def _section(documented: object, title: str) -> dict[str, str]:
    """Return name -> text of a section of a docstring."""
    lines = (inspect.getdoc(documented) or "").splitlines()
    if f"{title}:" not in lines:
        name = getattr(documented, "__qualname__", documented)
        raise TypeError(
            f"{name}: a docstring that says what each flag does is required, got none "
            f"with a section '{title}:'. Write it, and below it '  name: text'."
        )
    start = lines.index(f"{title}:") + 1
    found, name = {}, ""
    for line in lines[start:]:
        if line and not line.startswith(" "):
            break
        entry = re.match(r" {2}([\w, ]+): (.*)", line)
        if entry:
            for name in entry[1].split(", "):
                found[name] = entry[2]
        elif line.strip():
            found[name] = f"{found[name]} {line.strip()}"
    return found
