"""The stages of the method as commands: `sas-jax <stage>` and the scripts behind it.

A stage is a script of `experiments/`. A clone has that folder at its root; an installed
package carries a copy, with the flagfiles, so that `sas-jax` works in any folder. Flags
are read by the scripts, never here.
"""

import ast
import pathlib
import runpy
import shlex
import sys
from collections.abc import Sequence

VERSION = 0
"""It decides no numbers; see `artefacts.versions`."""

_PACKAGE = pathlib.Path(__file__).resolve().parent
_CLONE = _PACKAGE.parent
_SWEEPS = "sweeps"
_MAIN = 'if __name__ == "__main__":'
_USAGE = """\
usage: sas-jax <stage> --flagfile=<file> [--flag=value ...]
       sas-jax <stage> --help
"""


def folder() -> pathlib.Path:
    """Return the folder of the scripts: the clone's, or the package's copy."""
    own = _CLONE / "experiments"
    return own if (own / "pipeline.py").is_file() else _PACKAGE / "experiments"


def flagfile(name: str) -> pathlib.Path | None:
    """Return a flagfile that comes with the project, None for any other name.

    Args:
      name: of a file at the root.
    """
    root = folder() if folder().parent == _PACKAGE else _CLONE
    found = root / name
    known = pathlib.PurePath(name).name == name and found.suffix == ".flags"
    return found if known and found.is_file() else None


def sweep_file(name: str) -> pathlib.Path | None:
    """Return the file of a sweep that comes with the project, None for any other name.

    Args:
      name: its path, `experiments/sweeps/<file>`, from wherever.
    """
    path = pathlib.PurePath(name)
    found = folder() / _SWEEPS / path.name
    known = path.parts[:-1] == ("experiments", _SWEEPS)
    return found if known and found.is_file() else None


def stages() -> dict[str, str]:
    """Return every stage with what it does, in one line."""
    found = {}
    for path in sorted(folder().glob("*.py")):
        text = path.read_text(encoding="utf-8")
        if _MAIN in text:  # the others are imported by these
            said = ast.get_docstring(ast.parse(text)) or ""
            found[path.stem] = said.partition("\n")[0]
    return found


def command(stage: str) -> str:
    """Return what to type to run a stage, here.

    In a clone its path, whose folder need not be the working one; `sas-jax` otherwise.
    """
    if folder().parent == _PACKAGE:
        return f"sas-jax {stage}"
    path = folder() / f"{stage}.py"
    if path.parent.parent == pathlib.Path.cwd():
        path = path.relative_to(pathlib.Path.cwd())
    return f"python {shlex.quote(str(path))}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the stage that the command line names, or list all.

    Args:
      arguments: without the program's name; None takes those of the process.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    stage, *flags = arguments or [""]
    raise SystemExit(_run(stage, flags))


def _run(stage: str, flags: Sequence[str]) -> int | None:
    known = stages()
    name = stage.replace("-", "_")
    if name in known:
        script = folder() / f"{name}.py"
        # As Python itself would start it: the scripts import each other.
        sys.argv = [str(script), *flags]
        sys.path.insert(0, str(script.parent))
        runpy.run_path(str(script), run_name="__main__")
        return None
    lines = [f"  {name:<20}{what}" for name, what in known.items()]
    print("\n".join([_USAGE, "stages:", *lines]))
    if stage in ("", "-h", "--help", "help"):
        return None
    print(
        f"error: sas-jax: a stage of those above is required, got {stage}. Correct it.",
        file=sys.stderr,
    )
    return 1
