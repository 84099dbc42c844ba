"""Dicts of arrays as torch.load reads them, with `weights_only=True` too."""

import os
import struct
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from sas_jax.artefacts.files import atomic_path
from sas_jax.errors import ContractError

_STEM = "archive"
_TIME = (1980, 1, 1, 0, 0, 0)  # equal contents are equal bytes
_KINDS = {
    "float16": "HalfStorage",
    "float32": "FloatStorage",
    "float64": "DoubleStorage",
    "uint8": "ByteStorage",
    "int8": "CharStorage",
    "int16": "ShortStorage",
    "int32": "IntStorage",
    "int64": "LongStorage",
    "bool": "BoolStorage",
}


def write_torch(path: str | os.PathLike, data: Mapping[str, Any]) -> None:
    """Write a dict atomically as a file of torch.save.

    Args:
      path: ends in `.pt`, `.pth` or `.pth.tar` by custom.
      data: strings -> arrays, which torch reads as tensors; or whole numbers that 64
        bits hold, floats, strings, None, or dicts of all these.

    Raises:
      InputError: when the disk is full or not writable, naming the file.
      ContractError: for anything else in it.
    """
    arrays: list[np.ndarray] = []
    pickle = b"\x80\x02" + _pickled(data, arrays) + b"."
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        _add(archive, "data.pkl", pickle)
        _add(archive, "byteorder", b"little")
        for index, array in enumerate(arrays):
            _add(archive, f"data/{index}", array.tobytes())
        _add(archive, "version", b"3\n")


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    info = zipfile.ZipInfo(f"{_STEM}/{name}", _TIME)
    info.file_size = len(content)
    with archive.open(info, "w") as entry:
        entry.write(content)


def _pickled(item: Any, arrays: list[np.ndarray]) -> bytes:
    """Return the operations that build an item; its arrays are added to the list."""
    if item is None:
        return b"N"
    if isinstance(item, bool):
        return b"\x88" if item else b"\x89"
    if isinstance(item, str):
        text = item.encode()
        return b"X" + struct.pack("<I", len(text)) + text
    if isinstance(item, int):
        return b"\x8a\x08" + item.to_bytes(8, "little", signed=True)
    if isinstance(item, float):
        return b"G" + struct.pack(">d", item)
    if isinstance(item, Mapping):
        parts = (_pickled(part, arrays) for pair in item.items() for part in pair)
        return b"}(" + b"".join(parts) + b"u"
    if isinstance(item, np.ndarray) and item.dtype.name in _KINDS:
        return _tensor(item, arrays)
    raise ContractError(f"torch file: an array or a number is required, got {item!r}.")


def _tensor(array: np.ndarray, arrays: list[np.ndarray]) -> bytes:
    key, little = str(len(arrays)), array.dtype.newbyteorder("<")
    arrays.append(np.asarray(array, little, order="C"))
    strides = [step // array.itemsize for step in arrays[-1].strides]
    storage = _called_by_name("torch", _KINDS[array.dtype.name])
    return b"".join(
        [
            _called_by_name("torch._utils", "_rebuild_tensor_v2"),
            b"((",
            *(_pickled("storage", []), storage, _pickled(key, [])),
            *(_pickled("cpu", []), _pickled(array.size, []), b"tQ"),
            *(_pickled(0, []), _numbers(array.shape), _numbers(strides), b"\x89"),
            *(_called_by_name("collections", "OrderedDict"), b")RtR"),
        ]
    )


def _called_by_name(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def _numbers(numbers: Any) -> bytes:
    return b"(" + b"".join(_pickled(int(n), []) for n in numbers) + b"t"
