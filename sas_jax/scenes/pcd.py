"""PCD files of the Point Cloud Library: text, binary and compressed rows."""

import dataclasses
import logging
import math
import pathlib
import struct

import numpy as np
from jaxtyping import Float, Shaped, UInt8

from sas_jax.errors import InputError
from sas_jax.scenes.mesh import Mesh, byte_colors, checked_mesh
from sas_jax.scenes.text_numbers import parse_numbers

_POSITION = ("x", "y", "z")
_NORMAL = ("normal_x", "normal_y", "normal_z")
_PACKED = ("rgb", "rgba")
_TYPES = {"I": "i", "U": "u", "F": "f"}
_FORMS = ("ascii", "binary", "binary_compressed")
_LONGEST_HEADER = 1 << 16
# Three bytes of LZF stand for at most 264.
_LZF_GROWTH = 88


@dataclasses.dataclass(frozen=True)
class _Field:
    """A column, or several of one name."""

    name: str
    dtype: np.dtype
    count: int


@dataclasses.dataclass(frozen=True)
class _Header:
    """What a file declares; `size` is that of the header in bytes."""

    fields: list[_Field]
    points: int
    form: str
    viewpoint: list[float]
    size: int


def read_pcd(path: pathlib.Path) -> Mesh:
    """Read a point cloud.

    Args:
      path: PCD file with fields x y z; normal_x ..., rgb or rgba (packed into one
        number, float or not), r g b and label are taken where present. Points without
        a reading (NaN) are left out, and counted in a warning.

    Raises:
      InputError: for a missing, damaged or empty file, which it names.
    """
    try:
        data = path.read_bytes()
        header = _parse_header(data)
        columns = _columns(header, memoryview(data)[header.size :])
    except (OSError, ValueError, LookupError, MemoryError) as error:
        raise InputError(
            "pcd: a complete PCD file is required, got "
            f"{str(error) or type(error).__name__} ({path}). Copy or export the file "
            "again."
        ) from error
    points = _together(columns, _POSITION)
    if points is None:
        raise InputError(
            f"pcd: fields x, y, z are required, got {' '.join(columns)} ({path}). Is "
            "this a point cloud?"
        )
    if header.viewpoint not in ([], [0, 0, 0, 1, 0, 0, 0]):
        logging.warning(
            "pcd: the points are taken as they stand, not moved to the VIEWPOINT of "
            "the header (%s)",
            path,
        )
    label = columns.get("label")
    return _without_unread(
        path,
        points,
        _together(columns, _NORMAL),
        _colors(columns, is_text=header.form == "ascii"),
        label if label is not None and label.ndim == 1 else None,
    )


def _without_unread(
    path: pathlib.Path,
    points: Float[np.ndarray, "P 3"],
    normals: Float[np.ndarray, "P 3"] | None,
    colors: UInt8[np.ndarray, "P 3"] | None,
    label: Shaped[np.ndarray, " P"] | None,
) -> Mesh:
    """Return the cloud without the pixels that had no reading."""
    read = ~np.isnan(points).any(axis=1)
    if not read.all():
        logging.warning(
            "pcd: %d of %d points are NaN, no reading, and left out (%s)",
            *(len(read) - read.sum(), len(read), path),
        )

    def kept(rows: np.ndarray | None) -> np.ndarray | None:
        return rows if rows is None or read.all() else rows[read]

    return checked_mesh(
        points if read.all() else points[read],
        f"pcd ({path})",
        normals=kept(normals),
        colors=kept(colors),
        label=kept(label),
    )


def _parse_header(data: bytes) -> _Header:
    """Return what a file declares; ValueError where it is no PCD file."""
    words: dict[str, list[str]] = {}
    at = 0
    while "DATA" not in words:
        end = data.find(b"\n", at, _LONGEST_HEADER)
        if end < 0:
            raise ValueError("no header that ends with DATA")
        line = data[at:end].decode("utf-8", "replace").split("#")[0].split()
        at = end + 1
        if line:
            words[line[0].upper()] = line[1:]
    form = " ".join(words["DATA"]).lower()
    if form not in _FORMS:
        raise ValueError(f"DATA {form[:40]!r}")
    names = words.get("FIELDS", words.get("COLUMNS", []))
    counts = words.get("COUNT", ["1"] * len(names))
    rows = [names, words.get("TYPE", []), words.get("SIZE", []), counts]
    if not names or any(len(row) != len(names) for row in rows):
        raise ValueError("FIELDS, TYPE, SIZE and COUNT that do not agree")
    fields = [_field(*row) for row in zip(*rows, strict=True)]
    if "POINTS" in words:
        points = int(words["POINTS"][0])
    else:
        points = math.prod(int(words[key][0]) for key in ("WIDTH", "HEIGHT"))
    if points < 0:
        raise ValueError(f"{points} points")
    viewpoint = [float(number) for number in words.get("VIEWPOINT", [])]
    return _Header(fields, points, form, viewpoint, at)


def _field(name: str, kind: str, size: str, count: str) -> _Field:
    if kind not in _TYPES or size not in ("1", "2", "4", "8") or kind + size == "F1":
        raise ValueError(f"the type {kind[:9]}{size[:9]} of field {name[:40]!r}")
    if not count.isdecimal() or len(count) > 9:
        raise ValueError(f"a count of {count[:40]} of field {name[:40]!r}")
    return _Field(name.lower(), np.dtype(f"<{_TYPES[kind]}{size}"), int(count))


def _columns(header: _Header, body: memoryview) -> dict[str, np.ndarray]:
    """Return field -> [P] or [P, count]; ValueError for a file that is too short."""
    fields, points = header.fields, header.points
    if header.form == "ascii":
        width = sum(field.count for field in fields)
        numbers = parse_numbers(bytes(body))
        if len(numbers) != points * width:
            raise ValueError(
                f"{len(numbers)} numbers where {points} points have {width} each"
            )
        table, found, at = numbers.reshape(points, width), {}, 0
        for field in fields:
            found[field.name] = _flat(table[:, at : at + field.count])
            at += field.count
        return found
    record = sum(field.dtype.itemsize * field.count for field in fields)
    if header.form == "binary_compressed":
        body = memoryview(_decompressed(body, record * points))
    if record * points > len(body):
        raise ValueError(f"{len(body)} bytes where {points} points have {record} each")
    found, at = {}, 0
    for field in fields:
        shape, size = (points, field.count), field.dtype.itemsize
        if header.form == "binary":
            strides, start = (record, size), at
        else:  # field after field
            strides, start = (size * field.count, size), at * points
        rows = np.ndarray(shape, field.dtype, body, start, strides)
        found[field.name] = _flat(rows)
        at += size * field.count
    return found


def _flat(rows: Shaped[np.ndarray, "P C"]) -> np.ndarray:
    return rows[:, 0] if rows.shape[1] == 1 else rows


def _decompressed(body: memoryview, size: int) -> bytearray:
    """Return what LZF packed; ValueError unless it is exactly so many bytes."""
    if len(body) < 8:
        raise ValueError("no compressed rows")
    packed, stated = struct.unpack_from("<II", body)
    if stated != size or packed > len(body) - 8 or size > _LZF_GROWTH * packed:
        raise ValueError(
            f"{packed} compressed bytes for {stated}, where the file has "
            f"{len(body) - 8} and the points have {size}"
        )
    return lzf_decompress(bytes(body[8 : 8 + packed]), size)


def lzf_decompress(data: bytes, size: int) -> bytearray:
    """Return `size` bytes that LZF packed.

    A byte below 32 begins a run of that many and one more literal bytes. Any other one
    holds a length in its upper three bits (7: the next byte is added) and, with the
    byte that follows, how far back what is repeated begins.

    Raises:
      ValueError: for data that is cut short, or gives more or fewer bytes.
    """
    out, at, end = bytearray(), 0, len(data)
    try:
        while at < end and len(out) <= size:
            control = data[at]
            at += 1
            if control < 32:
                out += data[at : at + control + 1]
                at += control + 1
                continue
            length = control >> 5
            if length == 7:
                length += data[at]
                at += 1
            back = ((control & 31) << 8) + data[at] + 1
            at += 1
            length += 2
            start = len(out) - back
            if start < 0:
                raise IndexError
            piece = out[start : start + length]
            out += (piece * (length // len(piece) + 1))[:length]
    except IndexError:
        raise ValueError("compressed rows that make no sense") from None
    if at != end or len(out) != size:
        raise ValueError("compressed rows of another size than stated")
    return out


def _together(
    columns: dict[str, np.ndarray], names: tuple[str, ...]
) -> Shaped[np.ndarray, "P C"] | None:
    found = [columns[name] for name in names if name in columns]
    if len(found) < len(names) or any(column.ndim != 1 for column in found):
        return None
    return np.stack(found, axis=1).astype(np.result_type(*found, np.float32))


def _colors(
    columns: dict[str, np.ndarray], *, is_text: bool
) -> UInt8[np.ndarray, "P 3"] | None:
    for name in _PACKED:
        packed = columns.get(name)
        if packed is None or packed.ndim != 1:
            continue
        bits = _packed_bits(packed, is_text=is_text)
        if bits is not None:
            shifts = np.array([16, 8, 0], np.uint32)
            return (bits[:, None] >> shifts & np.uint32(255)).astype(np.uint8)
    channels = [columns.get(name) for name in ("r", "g", "b")]
    if any(channel is None or channel.ndim != 1 for channel in channels):
        return None
    return byte_colors(np.stack(channels, axis=1))  # type: ignore[arg-type]


def _packed_bits(
    packed: Shaped[np.ndarray, " P"], *, is_text: bool
) -> Shaped[np.ndarray, " P"] | None:
    """Return 0xRRGGBB of numbers that are it, or are floats of these bits."""
    if not is_text:
        return packed.view(np.uint32) if packed.dtype.itemsize == 4 else None
    finite = packed[np.isfinite(packed)]
    if len(finite) and finite.max() >= 1:  # floats of three bytes are below 1e-37
        low, high = finite.min(), finite.max()
        if len(finite) < len(packed) or low < 0 or high >= 1 << 32:
            return None
        return packed.astype(np.uint32)
    return packed.astype(np.float32).view(np.uint32)
