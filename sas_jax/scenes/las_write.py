"""LAS and LAZ files with classes: a scanner's own records, or points alone.

What is written is LAS 1.4, whose newer records have a byte for the class: older ones
have five bits of it, and are made new without loss but for wave packets. Codes of
classes begin at 64, where the standard leaves them to the user; points without a class
have 1, "unclassified".
"""

import pathlib
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Float, UInt8

from sas_jax.artefacts.files import atomic_path
from sas_jax.errors import InputError
from sas_jax.extras import install_command
from sas_jax.scenes.las import LASZIP_NOTE, RGB_AT, Header, read_header, record_reader

SUFFIXES = (".las", ".laz")
UNCLASSIFIED = 1
_FIRST_CODE, _LAST_STANDARD, _CODES = 64, 22, 256
_HEADER, _NOTE = 375, 54
_LONGEST_NOTE = 0xFFFF
_AT_ONCE = 1 << 18
_STEP = 1e-4  # of coordinates of points alone
_WKT_NOTE, _WKT_BIT = (b"LASF_Projection", 2112), 1 << 4
# Bytes of the fields that all records of one kind have, and where a class stands.
_LENGTHS = (20, 28, 26, 34, 57, 63, 30, 36, 38, 59, 67)
_GPS_AT = {1: 20, 3: 20, 4: 20, 5: 20}
_NEW_CLASS, _NEW_GPS, _NEW_RGB = 16, 22, 30
_DEGREES = 0.006  # of a step of the newer scan angle


def class_codes(num_classes: int) -> int:
    """Return the code of class 0; the others follow.

    Raises:
      InputError: for more classes than a byte has codes for.
    """
    first = min(_FIRST_CODE, _CODES - num_classes)
    if first <= _LAST_STANDARD:
        raise InputError(
            f"las: at most {_CODES - _LAST_STANDARD - 1} classes are required, got "
            f"{num_classes}. Write a PLY file: --out=<name>.ply"
        )
    return first


def write_classified(
    path: pathlib.Path, source: pathlib.Path, codes: UInt8[np.ndarray, " P"]
) -> None:
    """Write a scanner's file again with other classes; all else stays.

    Args:
      path: target, LAS or LAZ by its suffix; written atomically.
      source: LAS or LAZ of P points.
      codes: a class of each of its points.

    Raises:
      InputError: for a file of other points, and as `las.read_las`.
    """
    with source.open("rb") as file:
        header = read_header(file)
        if header.points != len(codes):
            raise InputError(
                f"las: a class for each of {header.points} points is required, got "
                f"{len(codes)} ({source}). Leave --thin_m out, or write a PLY file."
            )
        file.seek(0)
        head = bytearray(file.read(_HEADER).ljust(_HEADER, b"\0"))
        file.seek(header.at)
        kind = header.format if header.format >= 6 else 6 + (header.format in RGB_AT)
        extra = header.length - _LENGTHS[header.format]
        notes = {key: note for key, note in header.notes.items() if key != LASZIP_NOTE}
        blocks = _records(file, header, source, codes)
        scale = header.scale, header.offset
        _write(path, head, kind, _LENGTHS[kind] + extra, notes, scale, blocks)


def write_las(
    path: pathlib.Path,
    points: Float[np.ndarray, "P 3"],
    codes: UInt8[np.ndarray, " P"],
    colors: UInt8[np.ndarray, "P 3"] | None = None,
) -> None:
    """Write points with classes.

    Args:
      path: target, LAS or LAZ by its suffix; written atomically.
      points: f64, rounded to a tenth of a thousandth of their unit.
      codes: a class of each.
      colors: sRGB, or None.
    """
    offset = np.floor(points.min(axis=0))
    kind = 6 if colors is None else 7

    def blocks() -> Iterator[UInt8[np.ndarray, "N L"]]:
        for first in range(0, len(points), _AT_ONCE):
            rows = slice(first, first + _AT_ONCE)
            place = np.round((points[rows] - offset) / _STEP).astype("<i4")
            block = np.zeros((len(place), _LENGTHS[kind]), np.uint8)
            block[:, :12] = place.view(np.uint8).reshape(-1, 12)
            block[:, 14] = 0x11  # the only echo
            block[:, _NEW_CLASS] = codes[rows]
            if colors is not None:
                wide = (colors[rows].astype(np.uint16) * 257).astype("<u2")
                block[:, _NEW_RGB : _NEW_RGB + 6] = wide.view(np.uint8)
            yield block

    head = bytearray(_HEADER)
    head[:4] = b"LASF"
    head[58:65] = b"sas_jax"
    scale = np.full(3, _STEP), offset
    _write(path, head, kind, _LENGTHS[kind], {}, scale, blocks())


def _records(
    file: BinaryIO, header: Header, source: pathlib.Path, codes: np.ndarray
) -> Iterator[UInt8[np.ndarray, "N L"]]:
    """Yield the records of a file with other classes, made new where they are old."""
    fill, form = record_reader(file, header, source), header.format
    for first in range(0, header.points, _AT_ONCE):
        block = np.empty(
            (min(_AT_ONCE, header.points - first), header.length), np.uint8
        )
        try:
            fill(block)
        except ValueError as error:
            raise InputError(
                f"las: complete records are required, got {error} ({source}). Copy or "
                "export the file again."
            ) from error
        block = block if form >= 6 else _renewed(block, form)
        block[:, _NEW_CLASS] = codes[first : first + len(block)]
        yield block


def _renewed(old: UInt8[np.ndarray, "N L"], form: int) -> UInt8[np.ndarray, "N M"]:
    """Return records of formats 0 to 5 in format 6, or 7 with colours."""
    kind = 6 + (form in RGB_AT)
    more = old[:, _LENGTHS[form] :]
    new = np.zeros((len(old), _LENGTHS[kind] + more.shape[1]), np.uint8)
    new[:, :14] = old[:, :14]
    bits, flags = old[:, 14], old[:, 15]
    new[:, 14] = (bits & 7) | (bits >> 3 & 7) << 4
    overlap = ((flags & 31) == 12).astype(np.uint8)
    new[:, 15] = flags >> 5 | overlap << 3 | bits & 0xC0
    new[:, 17] = old[:, 17]
    angle = np.round(old[:, 16].view(np.int8) / _DEGREES).astype("<i2")
    new[:, 18:20] = angle.view(np.uint8).reshape(-1, 2)
    new[:, 20:22] = old[:, 18:20]
    for places, at, size in ((_GPS_AT, _NEW_GPS, 8), (RGB_AT, _NEW_RGB, 6)):
        if form in places:
            new[:, at : at + size] = old[:, places[form] : places[form] + size]
    new[:, _LENGTHS[kind] :] = more
    return new


def _write(
    path: pathlib.Path,
    head: bytearray,
    kind: int,
    length: int,
    notes: dict[tuple[bytes, int], bytes],
    scale: tuple[Float[np.ndarray, " 3"], Float[np.ndarray, " 3"]],
    blocks: Iterator[UInt8[np.ndarray, "N L"]],
) -> None:
    """Write header, notes and records.

    Args:
      path: target.
      head: 375 bytes, of which those that follow from the records are replaced.
      kind: format of the records, 6 or higher.
      length: of a record, bytes.
      notes: (user, number) -> content.
      scale: step and offset of coordinates.
      blocks: the records.
    """
    how = _laszip(kind, length) if path.suffix.lower() == ".laz" else None
    notes = {k: note for k, note in notes.items() if len(note) <= _LONGEST_NOTE}
    if how is not None:
        notes[LASZIP_NOTE] = bytes(how.record_data())
    at = _HEADER + sum(_NOTE + len(note) for note in notes.values())
    with atomic_path(path) as temporary, open(temporary, "w+b") as file:
        file.write(bytes(head))
        for (user, number), content in notes.items():
            file.write(struct.pack("<2x16sHH32x", user, number, len(content)))
            file.write(content)
        packed = _packer(file, how)
        count, returns = 0, np.zeros(16, np.int64)
        low, high = np.full(3, 2**31 - 1), np.full(3, -(2**31))
        for block in blocks:
            packed.write(block)
            place = np.ascontiguousarray(block[:, :12]).view("<i4")
            low = np.minimum(low, place.min(axis=0))
            high = np.maximum(high, place.max(axis=0))
            returns += np.bincount(block[:, 14] & 15, minlength=16)
            count += len(block)
        packed.done()
        head[24:26] = bytes([1, 4])
        wkt = _WKT_BIT if _WKT_NOTE in notes else 0
        head[6:8] = struct.pack("<H", struct.unpack_from("<H", head, 6)[0] | wkt)
        form = kind | (0x80 if how is not None else 0)
        sizes = (_HEADER, at, len(notes), form, length)
        struct.pack_into("<HIIBH24x", head, 94, *sizes)
        struct.pack_into("<6d", head, 131, *scale[0], *scale[1])
        ends = np.stack([high, low], axis=1) * scale[0][:, None] + scale[1][:, None]
        struct.pack_into("<6d", head, 179, *ends.ravel())
        struct.pack_into("<QQIQ15Q", head, 227, 0, 0, 0, count, *returns[1:])
        file.seek(0)
        file.write(bytes(head))


class _Plain:
    """Records as they are."""

    def __init__(self, file: BinaryIO):
        self._file = file

    def write(self, block: UInt8[np.ndarray, "N L"]) -> None:
        self._file.write(block.tobytes())

    def done(self) -> None:
        """Nothing is left to be written."""


class _Zipped:
    """Records compressed by lazrs."""

    def __init__(self, file: BinaryIO, how: Any):
        import lazrs

        self._compressor = lazrs.LasZipCompressor(file, how)

    def write(self, block: UInt8[np.ndarray, "N L"]) -> None:
        self._compressor.compress_many(np.ascontiguousarray(block).reshape(-1))

    def done(self) -> None:
        self._compressor.done()


def _packer(file: BinaryIO, how: Any) -> _Plain | _Zipped:
    return _Plain(file) if how is None else _Zipped(file, how)


def _laszip(kind: int, length: int) -> Any:
    try:
        import lazrs
    except ImportError as error:
        raise InputError(
            f"las: the package lazrs is required for LAZ, got none. Run "
            f"{install_command('las')}, or write LAS."
        ) from error
    return lazrs.LazVlr.new_for_compression(kind, length - _LENGTHS[kind])
