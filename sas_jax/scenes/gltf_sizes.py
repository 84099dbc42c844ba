"""Sizes that a glTF file states, against the bytes that it has.

The library that reads it takes memory for what is stated before it looks.
"""

import json
import pathlib
import struct
from typing import Any

_HEAD, _CHUNK = 12, 8
# Of one element: 16 numbers of 4 bytes.
_ELEMENT_BYTES = 64


def check_sizes(path: pathlib.Path) -> None:
    """Raise ValueError where a GLB or glTF file states more than it holds.

    Chunks beyond the end, and accessors that are zeros because no buffer belongs to
    them: their number is bounded by the file as if they had one.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        text = file.read() if path.suffix.lower() == ".gltf" else _chunks(file, size)
    described = json.loads(text)
    accessors = described.get("accessors") if isinstance(described, dict) else None
    for accessor in accessors if isinstance(accessors, list) else ():
        if isinstance(accessor, dict) and "bufferView" not in accessor:
            count = accessor.get("count")
            if not isinstance(count, int) or not 0 <= count * _ELEMENT_BYTES <= size:
                raise ValueError(f"{count} elements in no buffer, of {size} bytes")


def _chunks(file: Any, size: int) -> bytes:
    """Return the first chunk of a GLB file, whose chunks must lie in it."""
    at, first = _HEAD, b""
    while at + _CHUNK <= size:
        file.seek(at)
        (length,) = struct.unpack("<I4x", file.read(_CHUNK))
        if at + _CHUNK + length > size:
            raise ValueError(f"a chunk of {length} bytes in a file of {size}")
        if at == _HEAD:
            first = file.read(length)
        at += _CHUNK + length
    return first
