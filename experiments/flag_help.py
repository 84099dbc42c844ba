"""What `--help` of a script says: its text, its own flags, and those of its stage.

Every script knows every flag, since a flagfile serves all of them. Help shows those
that the stage uses, by the headings of `stage_flags`; `--helpfull` shows all.
"""

import pathlib
import sys
from collections.abc import Iterable, Sequence

import config_flags
from absl import flags

_SHORT, _FULL = ("-h", "-help", "--help", "--helpshort"), ("-helpfull", "--helpfull")


def asked(arguments: Sequence[str]) -> str | None:
    """Return the help that a command line asks for, None where it asks for none."""
    if any(argument in _FULL for argument in arguments):
        return text(full=True)
    return text() if any(argument in _SHORT for argument in arguments) else None


def text(*, full: bool = False) -> str:
    """Return the help of the script that runs.

    Args:
      full: show the flags of all stages.
    """
    script = pathlib.Path(sys.argv[0]).stem
    own = flags.FLAGS.get_key_flags_for_module(sys.argv[0])
    parts = [(sys.modules["__main__"].__doc__ or "").strip()]
    parts += _group(f"Flags of {script} alone", own)
    left = 0
    for title, stages, names in config_flags.headings():
        if full or not stages or script in stages:
            parts += _group(title, [flags.FLAGS[name] for name in names])
        else:
            left += len(names)
    parts.append("Files of flags\n  --flagfile=FILE  One flag a line; see the *.flags.")
    if left:
        parts.append(f"{left} flags of other stages: --helpfull")
    return "\n\n".join(parts)


def _group(title: str, found: Iterable[flags.Flag]) -> list[str]:
    lines = [line for flag in found for line in _lines(flag)]
    return ["\n".join([title, *lines])] if lines else []


def _lines(flag: flags.Flag) -> list[str]:
    name = f"[no]{flag.name}" if flag.boolean else flag.name
    choices = getattr(flag.parser, "enum_values", None)
    value = "" if flag.boolean else f"={'|'.join(choices) if choices else _kind(flag)}"
    told = (flag.help or "").removeprefix(f"<{'|'.join(choices or ())}>: ")
    told = told.replace(".;\n", "; ")  # of a flag that may be repeated
    if flag.default is not None and flag.default_as_str not in ("''", "false"):
        told += f" Default: {flag.default_as_str.strip(chr(39))}."
    return [f"  --{name}{value}", flags.text_wrap(told, 80, "      ")]


def _kind(flag: flags.Flag) -> str:
    kind = flag.flag_type()
    if kind.startswith("multi "):
        kind = kind.removeprefix("multi ")
    return {"int": "N", "float": "X", "string": "TEXT"}.get(kind, "A,B,...")
