"""LAS and LAZ files of laser scanners: points, colours, and what their CRS says.

Plain LAS is read here; LAZ, its compressed form, needs the package lazrs, in the extra
[las]. Records are read in blocks, so that only what is kept of them is in memory.
"""

import dataclasses
import io
import logging
import pathlib
import struct
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Float64, UInt8

from sas_jax import memory
from sas_jax.errors import InputError
from sas_jax.extras import install_command
from sas_jax.scenes.las_units import LinearUnits, stated_units
from sas_jax.scenes.mesh import Mesh, byte_colors, checked_mesh

LASZIP_NOTE = (b"laszip encoded", 22204)
# Where red, green, blue (u16) stand in a record, and how long it is, by its format.
RGB_AT = {2: 20, 3: 28, 5: 28, 7: 30, 8: 30, 10: 30}
_LEAST_LENGTH = (20, 28, 26, 34, 57, 63, 30, 36, 38, 59, 67)
_COMPRESSED = 0x80
_LEAST_HEADER = 227
_BYTES_AT_ONCE = 1 << 23
# Coordinates in f64 and once more while they are moved to their origin, and colours.
_BYTES_A_POINT = 60


@dataclasses.dataclass(frozen=True)
class Header:
    """What a file declares.

    Attributes:
      format: of the records, 0..10.
      compressed: LAZ.
      length: of a record, bytes.
      points: number of records.
      at: where the records begin, bytes.
      scale: [3] f64.
      offset: [3] f64; scale * integer + offset are the coordinates.
      notes: (user, number) -> content of the variable length records.
    """

    format: int
    compressed: bool
    length: int
    points: int
    at: int
    scale: Float64[np.ndarray, " 3"]
    offset: Float64[np.ndarray, " 3"]
    notes: dict[tuple[bytes, int], bytes]


def read_las(path: pathlib.Path) -> Mesh:
    """Read a point cloud, z up, in the unit of its CRS; metres where it names none.

    Args:
      path: LAS 1.0 to 1.4, or LAZ.

    Raises:
      InputError: for a missing, damaged or empty file, coordinates in degrees, and LAZ
        without the package that reads it; the file is named.
    """
    try:
        with path.open("rb") as file:
            header = read_header(file)
            units = stated_units(header.notes)
            if units is not None:
                _check_units(units, path)
            memory.require(
                _BYTES_A_POINT * header.points,
                f"the {header.points} points of {path.name}",
                remedy="Thin or cut the scan with the program that wrote it.",
            )
            points, colors = _read(file, header, path)
    except InputError:
        raise
    except (OSError, ValueError, MemoryError, struct.error) as error:
        raise InputError(
            "las: a complete LAS or LAZ file is required, got "
            f"{str(error)[:200] or type(error).__name__} ({path}). Copy or export the "
            "file again."
        ) from error
    mesh = checked_mesh(points, f"las ({path})", colors=colors)
    return dataclasses.replace(mesh, unit_m=units.horizontal_m if units else 1, up="z")


def _check_units(units: LinearUnits, path: pathlib.Path) -> None:
    if units.horizontal_m is None:
        raise InputError(
            f"las: coordinates in a unit of length are required, got degrees ({path}). "
            "Reproject the scan, e.g. to UTM."
        )
    if units.vertical_m not in (None, units.horizontal_m):
        logging.warning(
            "las: heights have another unit (%g m) than x and y (%g m) and are taken "
            "for the latter (%s)",
            *(units.vertical_m, units.horizontal_m, path),
        )


def read_header(file: BinaryIO) -> Header:
    """Return the header of an open file.

    Raises:
      ValueError: where it is none.
      struct.error: where it is cut short.
    """
    head = file.read(375)
    if head[:4] != b"LASF":
        raise ValueError("no signature LASF")
    if len(head) < _LEAST_HEADER:
        raise ValueError(f"a header of {len(head)} bytes")
    major, minor = head[24], head[25]
    if (major, minor) < (1, 0) or (major, minor) > (1, 4):
        raise ValueError(f"version {major}.{minor}")
    size, at, num_notes, kind, length, points = struct.unpack_from("<HIIBHI", head, 94)
    scale, offset = np.array(struct.unpack_from("<6d", head, 131)).reshape(2, 3)
    late_at = num_late = 0
    if minor >= 4:
        late_at, num_late, points = struct.unpack_from("<QIQ", head, 235)
    form = kind & 0x3F
    if form >= len(_LEAST_LENGTH) or length < _LEAST_LENGTH[form]:
        raise ValueError(f"records of format {form} with {length} bytes")
    if not (np.isfinite(scale).all() and np.isfinite(offset).all()):
        raise ValueError("a scale or an offset that is no number")
    if not scale.all():
        raise ValueError("a scale of 0, which makes all coordinates one")
    if not _LEAST_HEADER <= size <= at:
        raise ValueError(f"a header of {size} bytes with points at byte {at}")
    notes = _notes(file, size, num_notes, extended=False)
    notes |= _notes(file, late_at, num_late, extended=True)
    compressed = bool(kind & _COMPRESSED)
    if not compressed:
        there = max(file.seek(0, io.SEEK_END) - at, 0) // length
        if there < points:
            raise ValueError(f"{points} points in the header, {there} in the file")
    return Header(form, compressed, length, points, at, scale, offset, notes)


def _notes(
    file: BinaryIO, at: int, count: int, *, extended: bool
) -> dict[tuple[bytes, int], bytes]:
    """Return the variable length records; those behind the points are extended."""
    form = "<2x16sHQ32x" if extended else "<2x16sHH32x"
    file.seek(0, io.SEEK_END)
    end, found = file.tell(), {}
    for _ in range(count):
        if at + struct.calcsize(form) > end:
            break  # some writers count records that they leave out
        file.seek(at)
        user, number, length = struct.unpack(form, file.read(struct.calcsize(form)))
        at += struct.calcsize(form) + length
        if at <= end:
            content = file.read(min(length, 1 << 20))
            found[user.rstrip(b"\0"), number] = content
    return found


def _read(
    file: BinaryIO, header: Header, path: pathlib.Path
) -> tuple[Float64[np.ndarray, "P 3"], UInt8[np.ndarray, "P 3"] | None]:
    file.seek(header.at)
    fill = record_reader(file, header, path)
    at_once = max(1, _BYTES_AT_ONCE // header.length)
    block = np.empty((min(at_once, header.points), header.length), np.uint8)
    # A file that says more than it has ends here, before memory is taken for it.
    fill(block)
    points = np.empty((header.points, 3))
    rgb_at = RGB_AT.get(header.format)
    rgb = np.empty((header.points, 3), np.uint16) if rgb_at is not None else None
    for first in range(0, header.points, at_once):
        rows = slice(first, min(first + at_once, header.points))
        if first:
            block = block[: rows.stop - first]
            fill(block)
        whole = np.ascontiguousarray(block[:, :12]).view("<i4")
        points[rows] = whole * header.scale + header.offset
        if rgb is not None and rgb_at is not None:
            channels = np.ascontiguousarray(block[:, rgb_at : rgb_at + 6])
            rgb[rows] = channels.view("<u2")
    # Formats with colours are also written where there are none: all black.
    return points, byte_colors(rgb) if rgb is not None and rgb.any() else None


def record_reader(
    file: BinaryIO, header: Header, path: pathlib.Path
) -> Callable[[UInt8[np.ndarray, "N L"]], None]:
    """Return what fills a block with the next records; ValueError where it cannot.

    Args:
      file: where the records begin.
      header: of the file.
      path: of the file, for errors.
    """
    if not header.compressed:

        def fill(block: UInt8[np.ndarray, "N L"]) -> None:
            data = file.read(block.size)
            if len(data) < block.size:
                raise ValueError("records that end too early")
            block[:] = np.frombuffer(data, np.uint8).reshape(block.shape)

        return fill
    if LASZIP_NOTE not in header.notes:
        raise ValueError("compressed records without the record that says how")
    decompressor = _laz(file, header.notes[LASZIP_NOTE], path)

    def unpack(block: UInt8[np.ndarray, "N L"]) -> None:
        _guarded(lambda: decompressor.decompress_many(block.reshape(-1)))

    return unpack


def _laz(file: BinaryIO, how: bytes, path: pathlib.Path) -> Any:
    try:
        import lazrs
    except ImportError as error:
        raise InputError(
            f"las: the package lazrs is required for LAZ, got none ({path}). Run "
            f"{install_command('las')}, or export LAS."
        ) from error
    _check_chunks(file)
    return _guarded(lambda: lazrs.LasZipDecompressor(file, how))


def _check_chunks(file: BinaryIO) -> None:
    """Refuse a table of more chunks than there are bytes; the file stays where it is.

    lazrs takes memory for what the table says, and where it gets none the process ends.
    The table's place stands before the first chunk, or, for -1, at the end of the file.
    """
    start, end = file.tell(), file.seek(0, io.SEEK_END)
    for place in (start, end - 8):
        file.seek(max(place, 0))
        (table,) = struct.unpack("<q", file.read(8).ljust(8, b"\0"))
        if table != -1:
            break
    file.seek(min(max(table, 0), end))
    _, chunks = struct.unpack("<II", file.read(8).ljust(8, b"\0"))
    file.seek(start)
    if chunks > end:
        raise ValueError(f"{chunks} chunks in {end} bytes")


def _guarded(step: Callable[[], Any]) -> Any:
    """Do a step of lazrs; its errors for damaged files, panics too, are ValueError."""
    try:
        return step()
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic is no Exception
        raise ValueError(f"compressed records that make no sense: {error}") from error
