"""Files of torch.save, read without torch and without trust.

Both containers are known: the zip archive of torch 1.6 and later, `<stem>/data.pkl`
beside one entry per storage, and the stream of pickles before it; and a dictionary of
arrays or tensors that pickle.dump wrote. What the pickle may
build is decided by `torch_pickle`; nothing in a file is ever run. Memory stays within a
small multiple of the file: entries are stored, not compressed, and read once.
"""

import io
import os
import pathlib
import struct
import zipfile
from typing import Any

import numpy as np

from sas_jax.artefacts.plain_files import plain
from sas_jax.artefacts.torch_pickle import (
    Refused,
    Storage,
    elements,
    read_object,
)
from sas_jax.errors import InputError

VERSION = 1
"""Raised when its numbers change; see `artefacts.versions`."""

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
# Pickle, storages and bytes that are made of strings: each at most the file once;
# bfloat16 becomes twice as long.
_TIMES_THE_FILE = 4
_DAMAGE = (
    *(ValueError, LookupError, TypeError, AttributeError, ArithmeticError),
    *(OSError, EOFError, MemoryError, RuntimeError, struct.error, zipfile.BadZipFile),
)


def read_torch(path: str | os.PathLike, *, strangers: bool = False) -> Any:
    """Return the object that torch.save wrote to a file.

    Tensors and numpy arrays come as read-only numpy arrays of their dtype, bfloat16 as
    the f32 of the same values; containers and numbers as Python's own.

    Args:
      path: of the file.
      strangers: see `torch_pickle.read_object`; for checkpoints of trainers, of which
        the tensors are wanted.

    Raises:
      InputError: for a file that is damaged, cut short or compressed, and for one that
        holds anything but containers, numbers, strings, tensors and numpy arrays of
        numbers, naming it.
    """
    path = pathlib.Path(path)
    try:
        with plain(path).open("rb") as file:
            budget = _TIMES_THE_FILE * os.fstat(file.fileno()).st_size + 4096
            if zipfile.is_zipfile(file):
                return _read_zip(file, budget, strangers)
            file.seek(0)
            if file.read(1) != b"\x80":  # before all of it is taken into memory
                raise ValueError("an empty file or something else")
            file.seek(0)
            return _read_pickles(file.read(), budget, strangers)
    except FileNotFoundError as error:
        raise InputError(
            f"torch file: a file is required, got none ({path}). Check the path."
        ) from error
    except Refused as error:
        raise InputError(
            "torch file: containers, numbers, strings, tensors and arrays of numbers "
            f"are required, got {error} ({path}). Nothing of the file was run. Save "
            "its tensors alone."
        ) from error
    except _DAMAGE as error:
        raise InputError(
            f"torch file: a complete file of torch.save is required, got {error} "
            f"({path}). Copy or download it again."
        ) from error


def _read_zip(file: io.BufferedIOBase, budget: int, strangers: bool) -> Any:
    with zipfile.ZipFile(file) as archive:
        entries = {info.filename: info for info in archive.infolist()}
        pickles = [n for n in entries if n == "data.pkl" or n.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError(f"{len(pickles)} entries data.pkl")
        stem = pickles[0].removesuffix("data.pkl")
        left = budget

        def content(name: str) -> bytes:
            nonlocal left
            info = entries[stem + name]
            left -= info.file_size
            if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
                raise Refused("a compressed or encrypted archive")
            if left < 0 or info.file_size != info.compress_size:
                raise Refused("entries of more bytes than the file has")
            return archive.read(info)

        if stem + "byteorder" in entries and content("byteorder") != b"little":
            raise Refused("tensors of another byte order")
        known: dict[str, np.ndarray] = {}

        def storage(identity: tuple[Any, ...]) -> np.ndarray:
            kind, key, count = _identity(identity)
            if key not in known:
                known[key] = _stored(content(f"data/{key}"), kind, count)
            return known[key]

        data = io.BytesIO(content("data.pkl"))
        return read_object(data, storage, left, strangers=strangers)


def _stored(data: bytes | memoryview, kind: Storage, count: int) -> np.ndarray:
    flat = elements(data, kind)
    if len(flat) < count:
        raise ValueError(f"{len(flat)} of {count} elements")
    return flat


def _identity(identity: tuple[Any, ...]) -> tuple[Storage, str, int]:
    """Return kind, key and number of elements of a tensor's storage."""
    what, kind, key, _, count = identity[:5]
    sound = isinstance(kind, Storage) and isinstance(key, str)
    if what != "storage" or not sound or not isinstance(count, int) or count < 0:
        raise ValueError("a storage of no known kind")
    if len(identity) > 5 and identity[5] is not None:
        raise Refused("a view of another storage")
    return kind, key, count


def _read_pickles(data: bytes, budget: int, strangers: bool) -> Any:
    """Return a dictionary that is one pickle, or what the old torch.save wrote."""

    def inner(part: bytes) -> Any:
        return _read_legacy(part, budget, strangers=False)

    first = read_object(io.BytesIO(data), _none, budget, inner, strangers=strangers)
    if isinstance(first, dict):
        return first
    return _read_legacy(data, budget, strangers)


def _read_legacy(data: bytes, budget: int, strangers: bool) -> Any:
    """Read the pickles, then the storages in the order of a list of their keys.

    Where a storage lies follows from the sizes of all before it, which stand in the
    object: so that is read twice, the first time without any element.
    """
    file = io.BytesIO(data)
    if _plain(file) != _LEGACY_MAGIC:
        raise ValueError("something else")
    if _plain(file) != _LEGACY_PROTOCOL:
        raise Refused("another version of the format")
    if not (isinstance(system := _plain(file), dict) and system.get("little_endian")):
        raise Refused("tensors of another byte order")
    start, kinds = file.tell(), {}

    def note(identity: tuple[Any, ...]) -> np.ndarray:
        kind, key, count = _identity(identity)
        kinds[key] = kind
        # Any index is right in what has no elements of its own.
        return np.broadcast_to(elements(b"\0" * 8, kind)[:1], count)

    read_object(file, note, budget, strangers=strangers)
    keys = _plain(file)
    places, view = {}, memoryview(data)
    at = file.tell()
    for key in keys:
        (count,) = struct.unpack_from("<q", data, at)
        size = count * _width(kinds[key])
        places[key] = view[at + 8 : at + 8 + size]
        if count < 0 or len(places[key]) != size:
            raise ValueError("a storage that is cut short")
        at += 8 + size
    known = {key: elements(place, kinds[key]) for key, place in places.items()}

    def storage(identity: tuple[Any, ...]) -> np.ndarray:
        _, key, count = _identity(identity)
        if len(known[key]) < count:
            raise ValueError(f"{len(known[key])} of {count} elements")
        return known[key]

    file.seek(start)
    return read_object(file, storage, budget, strangers=strangers)


def _width(kind: Storage) -> int:
    """Return the bytes of an element as the file holds it."""
    return {"bfloat16": 2, "bool": 1}.get(kind) or np.dtype(str(kind)).itemsize


def _plain(file: io.BytesIO) -> Any:
    """Read a pickle without tensors."""
    return read_object(file, _none, 4096)


def _none(identity: tuple[Any, ...]) -> np.ndarray:
    raise ValueError("a tensor in the wrong place")
