"""Gaussians of any common file format: a format is a reader and a line here."""

import pathlib
from collections.abc import Callable
from typing import TypeVar

from sas_jax.errors import InputError
from sas_jax.gaussians.files.gsplat import read_checkpoint, read_npz
from sas_jax.gaussians.files.ply import read_ply, write_plain_ply
from sas_jax.gaussians.files.spz import read_spz, write_spz
from sas_jax.gaussians.splats import Splats

_Row = TypeVar("_Row")

READERS: dict[str, Callable[[pathlib.Path], Splats]] = {
    ".ply": read_ply,
    ".spz": read_spz,
    ".npz": read_npz,
    **dict.fromkeys((".pt", ".pth", ".ckpt"), read_checkpoint),
}
"""Suffix -> reader, which raises InputError for a bad file and names it."""
WRITERS: dict[str, Callable[[str | pathlib.Path, Splats], None]] = {
    ".ply": write_plain_ply,
    ".spz": write_spz,
}
"""Suffix -> writer; writing is atomic."""


def read_splats(path: str | pathlib.Path) -> Splats:
    """Read Gaussians; the suffix tells the format, axes stay as they are in the file.

    Args:
      path: a file of `READERS`.

    Raises:
      InputError: for another suffix, a missing, damaged or empty file, and numbers
        that make no sense; the file is named.
    """
    path = pathlib.Path(path)
    reader = _by_suffix(path, READERS)
    if not path.is_file():
        raise InputError(
            f"splats: the file must exist, got none ({path}). Check the path."
        )
    return reader(path)


def write_splats(path: str | pathlib.Path, splats: Splats) -> None:
    """Write Gaussians; the suffix, one of `WRITERS`, tells the format.

    Raises:
      InputError: for another suffix, for what the format does not hold, and when the
        disk is full or not writable; the file is named.
    """
    _by_suffix(pathlib.Path(path), WRITERS)(path, splats)


def _by_suffix(path: pathlib.Path, table: dict[str, _Row]) -> _Row:
    found = table.get(path.suffix.lower())
    if found is None:
        raise InputError(
            f"splats: a file of {', '.join(table)} is required, got {path.name} "
            f"({path}). Export it in one of these formats."
        )
    return found
