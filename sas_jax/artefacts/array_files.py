"""Arrays in numpy's files: nothing is unpickled, no size is believed unseen."""

import io
import pathlib
import zipfile

import numpy as np
from jaxtyping import Shaped

from sas_jax.artefacts.plain_files import plain

VERSION = 0
"""It decides no numbers; see `artefacts.versions`."""

# What zip may compress at most, 1,032 to 1, and an allowance for small members.
_MOST_TIMES, _SMALL_BYTES = 1032, 1 << 20


class DamagedArrays(ValueError):
    """Say why a file of arrays cannot be read; its caller names the file."""


def read_npy(path: pathlib.Path) -> Shaped[np.ndarray, "..."]:
    """Return the array of an `.npy` file, mapped.

    Raises:
      DamagedArrays: for a missing or damaged file, and one of other things.
    """
    try:
        _check_header(plain(path))
        # No more is taken than the file has, whatever its header says.
        found = np.load(plain(path), mmap_mode="r", allow_pickle=False)
        if not isinstance(found, np.ndarray):
            raise ValueError("an archive")
        return found
    except Exception as error:  # as below
        raise DamagedArrays(str(error) or type(error).__name__) from error


def _check_header(path: pathlib.Path) -> None:
    """Raise ValueError for a header of more bytes than there are: numpy takes them."""
    with path.open("rb") as file:
        start = file.read(12)
    length = int.from_bytes(start[8 : 10 if start[6:7] == b"\1" else 12], "little")
    if start.startswith(b"\x93NUMPY") and length > path.stat().st_size:
        raise ValueError(f"a header of {length} bytes in {path.stat().st_size}")


def read_npz(path: pathlib.Path) -> dict[str, Shaped[np.ndarray, "..."]]:
    """Return the arrays of an `.npz` file by their names.

    Raises:
      DamagedArrays: for a missing or damaged file, and one of other things.
    """
    try:
        with plain(path).open("rb") as file, zipfile.ZipFile(file) as members:
            return {
                info.filename.removesuffix(".npy"): _array(members, info)
                for info in members.infolist()
            }
    # zipfile, zlib and numpy's parser of headers fail in ways of their own.
    except Exception as error:
        what = str(error) or type(error).__name__
        raise DamagedArrays(what) from error


def _array(
    members: zipfile.ZipFile, info: zipfile.ZipInfo
) -> Shaped[np.ndarray, "..."]:
    if info.file_size > _SMALL_BYTES + _MOST_TIMES * info.compress_size:
        raise ValueError(f"{info.file_size} bytes packed in {info.compress_size}")
    data = io.BytesIO(members.read(info))
    major, _ = np.lib.format.read_magic(data)
    header = getattr(np.lib.format, f"read_array_header_{major}_0", None)
    if header is None:
        raise ValueError(f"version {major} of the format")
    shape, _, dtype = header(data)
    num_bytes = dtype.itemsize
    for side in shape:
        num_bytes *= side
    if num_bytes > len(data.getvalue()) - data.tell():
        raise ValueError(f"an array {list(shape)} of {dtype} in {info.file_size} bytes")
    data.seek(0)
    return np.load(data, allow_pickle=False)
