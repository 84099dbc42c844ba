"""Files of a capture that is a folder or a zip archive, by their names inside."""

import functools
import pathlib
import zipfile
import zlib

from sas_jax.artefacts.plain_files import plain
from sas_jax.errors import InputError

_MOST_BYTES = 1 << 28
# What zipfile raises on damaged archives, encrypted members and odd compressions.
_DAMAGED = (
    *(OSError, KeyError, ValueError, RuntimeError, EOFError),
    *(NotImplementedError, zipfile.BadZipFile, zlib.error),
)


def member_names(root: pathlib.Path) -> list[str]:
    """Return the names of all files, as an archive writes them.

    Raises:
      InputError: for a damaged archive.
    """
    if root.is_dir():
        files = (file for file in root.rglob("*") if file.is_file())
        return [file.relative_to(root).as_posix() for file in files]
    return _archive(root).namelist()


def read_member(root: pathlib.Path, name: str) -> bytes:
    """Return what a file holds.

    Raises:
      InputError: for a missing or damaged file, and for one of an archive that is, or
        says to be, of more than 256 MB.
    """
    try:
        if root.is_dir():
            return plain(root / name).read_bytes()
        archive = _archive(root)
        if archive.getinfo(name).file_size > _MOST_BYTES:
            raise ValueError(f"{archive.getinfo(name).file_size} bytes")
        return archive.read(name)
    except InputError:
        raise
    except _DAMAGED as error:
        raise InputError(
            f"archive: a readable {name} is required, got {error!r} ({root}). Copy or "
            "export the capture again."
        ) from error


def _archive(path: pathlib.Path) -> zipfile.ZipFile:
    return _opened(path, path.stat().st_mtime_ns if path.is_file() else 0)


@functools.lru_cache(maxsize=2)
def _opened(path: pathlib.Path, stamp: int) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except _DAMAGED as error:
        raise InputError(
            f"archive: a zip archive is required, got {error} ({path}). Copy or export "
            "the capture again."
        ) from error
