"""What to say of a folder that no data set knows: what lies there, what is nearest."""

import collections
import os
import pathlib
from collections.abc import Iterator, Sequence

from sas_jax.datasets.contracts import Dataset

VERSION = 0
"""It decides no numbers; see `artefacts.versions`."""

_KINDS = 6
# Large trees are not walked to their end, nor are all folders of a data set compared.
_MOST_FILES = 20_000
_MOST_FOLDERS = 20


def contents(path: pathlib.Path) -> str:
    """Return what lies in a folder, counted by kind and place, the most first."""
    if not path.exists():
        return "nothing"
    if path.is_file():
        return f"a file of kind {path.suffix or '(no suffix)'}"
    kinds: collections.Counter[tuple[str, str]] = collections.Counter()
    for number, (folder, suffix) in enumerate(_files(path)):
        if number == _MOST_FILES:
            break
        kinds[folder, suffix] += 1
    if not kinds:
        return "no files"
    said = [
        f"{count}{'+' * (kinds.total() == _MOST_FILES)} {suffix or 'without suffix'}"
        + (f" in {folder}/" if folder else "")
        for (folder, suffix), count in kinds.most_common(_KINDS)
    ]
    more = len(kinds) - len(said)
    return ", ".join(said) + (f" and {more} kinds more" if more > 0 else "")


def _files(path: pathlib.Path) -> Iterator[tuple[str, str]]:
    """Yield the first folder below `path` that each file is in, and its suffix."""
    for where, folders, names in os.walk(path):
        folders.sort()
        below = pathlib.Path(where).relative_to(path).parts
        for name in names:
            if not name.startswith("."):
                yield "".join(below[:1]), pathlib.Path(name).suffix.lower()


def nearest(path: pathlib.Path, datasets: Sequence[Dataset]) -> str | None:
    """Return the layout that a folder, or one in it, lacks least of; None without any.

    Args:
      path: of a scan, or of a folder of scans.
      datasets: that say what they need.
    """
    if not path.is_dir():
        return None
    folders = [path, *sorted(p for p in path.iterdir() if p.is_dir())[:_MOST_FOLDERS]]
    best, said = (0.0, 0), None
    for dataset in datasets:
        for folder in folders:
            lacks = [n for n in dataset.needs if next(folder.glob(n), None) is None]
            there = len(dataset.needs) - len(lacks)
            score = (there / max(len(dataset.needs), 1), there)
            if lacks and score > best:
                inside = "" if folder == path else f" in {folder.name}/"
                best = score
                said = f"Nearest: {dataset.name}, lacks {' and '.join(lacks)}{inside}"
    return said
