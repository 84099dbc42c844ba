"""Flagfiles: found wherever a script is started, nested, and never misread.

absl looks for a flagfile in the working directory only, also for one that another
flagfile names, and takes a comment behind a value for a part of it: results would go
to the folder `runs/x # mine`. So arguments are expanded here before absl sees them.
"""

import pathlib
import re
from collections.abc import Iterator, Sequence

from sas_jax.errors import InputError
from sas_jax.stages import flagfile

_NAMED = re.compile(r"--?flagfile(?:=(.*))?", re.DOTALL)
_FLAG = re.compile(r"--?\w+(=.*)?")
_COMMENTS = ("#", "//")


def expanded(
    arguments: Sequence[str], within: tuple[pathlib.Path, ...] = ()
) -> list[str]:
    """Return arguments with what flagfiles hold in their place.

    A flagfile is looked for beside the one that names it, in the working directory, and
    among those of the project.

    Args:
      arguments: of a command line, or the lines of a flagfile.
      within: the flagfiles that they are of, the outermost first.

    Raises:
      InputError: for a flagfile that is not there, is no text or names itself, and for
        a line that is no flag or has a comment behind its value.
    """
    found, rest = [], iter(arguments)
    for argument in rest:
        named = _NAMED.fullmatch(argument)
        if not named:
            found.append(argument)
            continue
        path = _path(next(rest, "") if named[1] is None else named[1], within)
        found += expanded(list(_lines(path)), (*within, path))
    return found


def _path(name: str, within: tuple[pathlib.Path, ...]) -> pathlib.Path:
    given = pathlib.Path(name).expanduser()
    beside = [within[-1].parent / given] if within else []
    for path in (*beside, given, flagfile(name)):
        if path is not None and path.is_file():
            if path.resolve() in [outer.resolve() for outer in within]:
                raise InputError(
                    f"flags: a flagfile must not name itself, got --flagfile={name} "
                    f"({within[-1]}). Take the line out."
                )
            return path
    where = f" ({within[-1]})" if within else ""
    raise InputError(
        f"flags: --flagfile must be a file, got none by the name {name!r}{where}. "
        "Correct the path, or use one of the project's, e.g. rooms.flags."
    )


def _lines(path: pathlib.Path) -> Iterator[str]:
    """Yield the flags of a file, one a line."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"flags: a flagfile must be readable text, got {error} ({path}). Write one "
            "flag a line, as UTF-8."
        ) from error
    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        if not line or line.startswith(_COMMENTS):
            continue
        if not _FLAG.fullmatch(line):
            raise InputError(
                f"flags: a line must be --<flag>=<value> or a comment, got {line!r} "
                f"({path}, line {number}). Correct the line."
            )
        if re.search(r"\s#", line):
            raise InputError(
                f"flags: a comment must have its own line, got {line!r}, of which it "
                f"would be a part ({path}, line {number}). Move it above."
            )
        yield line
