"""Which command brings what the package can do without, in the place it runs from."""

import importlib.metadata
import pathlib
import re
import shlex
import sys

VERSION = 0
"""It decides no numbers; see `artefacts.versions`."""

_DISTRIBUTION = "sas-jax"
PIP = f"{shlex.quote(sys.executable or 'python')} -m pip install"
"""Installs into the environment of the interpreter that runs."""
_ROOT = pathlib.Path(__file__).resolve().parent.parent


def install_command(extra: str) -> str:
    """Return the command that installs an extra for the interpreter that runs.

    No package index has this project, so its name alone would bring nothing: a clone
    is installed by its path, and an installed package names what the extra stands for.

    Args:
      extra: name of a group of optional dependencies in pyproject.toml.
    """
    if (_ROOT / "pyproject.toml").is_file():
        return f"{PIP} -e {shlex.quote(f'{_ROOT}[{extra}]')}"
    needs = _requirements(extra)
    if needs:
        return " ".join([PIP, *map(shlex.quote, needs)])
    return f"{PIP} -e '.[{extra}]' in a clone of the repository"


def _requirements(extra: str) -> list[str]:
    """Return the requirements of an extra as the installed package states them."""
    try:
        stated = importlib.metadata.requires(_DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        return []
    pairs = [requirement.partition(";") for requirement in stated]
    named = re.compile(rf"""\bextra\s*==\s*["']{re.escape(extra)}["']""")
    return [name.strip() for name, _, marker in pairs if named.search(marker)]
