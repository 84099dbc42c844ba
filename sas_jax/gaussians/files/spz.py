"""Niantic's .spz, versions 2 and 3: 16 bytes a Gaussian and one a coefficient.

A gzip stream: u32 magic, version, number; u8 degree, fractional bits, flags, 0; then
attribute by attribute (source: the format's README and reference, MIT): positions
(i24 / 2^bits), opacities (u8 / 255), colours ((u8 / 255 - 0.5) / 0.15), logarithms of
scales (u8 / 16 - 10), rotations, coefficients above degree 0 ((u8 - 128) / 128).
"""

import dataclasses
import gzip
import pathlib
import struct
import zlib

import numpy as np
from jaxtyping import Float32, UInt8

from sas_jax.artefacts.files import atomic_path
from sas_jax.artefacts.plain_files import plain
from sas_jax.errors import InputError
from sas_jax.gaussians.files.activations import log_of_scale, scale_of_log
from sas_jax.gaussians.files.compressed_ply import with_largest
from sas_jax.gaussians.splats import COEFFICIENTS, Splats, checked_splats

_MAGIC, _HEADER = 0x5053474E, struct.Struct("<IIIBBBB")
_FINEST, _LARGEST = 12, (1 << 23) - 1
_COLOUR, _ANTIALIASED = np.float32(0.15), 1
_ROTATION_BYTES = {2: 3, 3: 4}
# Rounding of coefficients, coarser than bytes so that gzip finds repetitions: 5 bits
# at degree 1, 4 above.
_STEP_1, _STEP_REST = 8, 16
_COEFFICIENT = (np.arange(256, dtype=np.float32) - 128) / 128


@dataclasses.dataclass(frozen=True)
class _Header:
    version: int
    num: int
    degree: int
    bits: int
    flags: int

    @property
    def sizes(self) -> list[int]:
        """Bytes of a Gaussian in each block."""
        rest = 3 * (COEFFICIENTS[self.degree] - 1)
        return [9, 1, 3, 3, _ROTATION_BYTES[self.version], rest]


def read_spz(path: pathlib.Path) -> Splats:
    """Read a file, in its own axes: right, up, back, unless its writer kept others.

    `splats.half_turn` leads to those of PLY files.

    Raises:
      InputError: for a missing, damaged or empty file and for another version; the
        file is named.
    """
    try:
        with plain(path).open("rb") as file:
            return _decode(file.read(), f"spz ({path})")
    except InputError:
        raise
    except (OSError, ValueError, MemoryError, zlib.error) as error:
        raise InputError(
            f"spz: a complete file of version 2 or 3 is required, got {error} ({path})."
            " Copy it again, or save it as a PLY file."
        ) from error


def _decode(packed: bytes, where: str) -> Splats:
    if packed[:4] == struct.pack("<I", _MAGIC):
        raise ValueError("a file of version 4 or later")
    stream = zlib.decompressobj(wbits=31)
    start = stream.decompress(packed, _HEADER.size)
    if len(start) < _HEADER.size:
        raise ValueError(f"{len(start)} bytes instead of a header")
    header = _parse(start)
    size = header.num * sum(header.sizes)
    # gzip makes nothing smaller than a thousandth.
    if size > 1100 * len(packed):
        raise ValueError(f"{header.num} Gaussians in {len(packed)} bytes")
    data = stream.decompress(stream.unconsumed_tail, size) if size else b""
    if len(data) < size:
        raise ValueError(f"{len(data)} bytes for {header.num} Gaussians of {size}")
    flat, blocks, at = np.frombuffer(data, np.uint8), [], 0
    for width in header.sizes:
        blocks.append(flat[at : at + width * header.num].reshape(header.num, width))
        at += width * header.num
    places, opacities, colours, scales, rotations, rest = blocks
    sh = np.empty((header.num, COEFFICIENTS[header.degree], 3), np.float32)
    sh[:, 0] = (colours / np.float32(255) - np.float32(0.5)) / _COLOUR
    sh[:, 1:] = _COEFFICIENT[rest].reshape(sh[:, 1:].shape)
    return checked_splats(
        _positions(places) / np.float32(1 << header.bits),
        scale_of_log(scales / np.float32(16) - 10),
        _first_three(rotations) if header.version == 2 else _smallest_three(rotations),
        opacities[:, 0] / np.float32(255),
        sh,
        where,
        antialiased=bool(header.flags & _ANTIALIASED),
    )


def _parse(start: bytes) -> _Header:
    magic, version, num, degree, bits, flags, _ = _HEADER.unpack(start)
    if magic != _MAGIC:
        raise ValueError("a gzip stream of something else")
    if version not in _ROTATION_BYTES:
        raise ValueError(f"version {version}")
    if degree >= len(COEFFICIENTS) or bits > 24:
        raise ValueError(f"degree {degree} and {bits} fractional bits")
    return _Header(version, num, degree, bits, flags)


def _positions(codes: UInt8[np.ndarray, "G 9"]) -> Float32[np.ndarray, "G 3"]:
    """Return signed numbers of 24 bits, the lowest byte first."""
    wide = np.zeros((len(codes), 3, 4), np.uint8)
    wide[..., 1:] = codes.reshape(-1, 3, 3)
    return (wide.view("<i4")[..., 0] >> 8).astype(np.float32)


def _first_three(codes: UInt8[np.ndarray, "G 3"]) -> Float32[np.ndarray, "G 4"]:
    xyz = codes / np.float32(127.5) - 1
    left = 1 - np.einsum("gi,gi->g", xyz, xyz)
    return np.concatenate([np.sqrt(np.maximum(left, 0))[:, None], xyz], axis=1)


def _smallest_three(codes: UInt8[np.ndarray, "G 4"]) -> Float32[np.ndarray, "G 4"]:
    """Return (w, x, y, z) from three signed numbers and the largest's place in xyzw."""
    word = np.ascontiguousarray(codes).view("<u4")[:, 0]
    parts = [(word >> np.uint32(shift)) & np.uint32(1023) for shift in (20, 10, 0)]
    three = np.stack(parts, axis=1)
    size = (three & np.uint32(511)).astype(np.float32) / np.float32(511 * 2**0.5)
    three = np.where(three & np.uint32(512), -size, size)
    xyzw = with_largest(three, (word >> np.uint32(30)).astype(np.int64))
    return np.roll(xyzw, 1, axis=1)


def write_spz(path: str | pathlib.Path, splats: Splats, version: int = 3) -> None:
    """Write a file, without turning its axes; equal input gives equal bytes.

    Positions are rounded to 1/4096 m, or coarser where some are beyond 2048 m; colours
    are cut at 3.3; labels and features are not kept.

    Args:
      path: target; written atomically.
      splats: of degree 3 at most.
      version: 2 or 3, which keeps rotations twenty times as well.

    Raises:
      InputError: for what the format does not hold, and when the disk is full or not
        writable, naming the file.
    """
    extent = float(np.abs(splats.means).max())
    if version not in _ROTATION_BYTES or splats.degree > 3 or extent > _LARGEST:
        raise InputError(
            "spz: version 2 or 3, degree 3 at most and positions within 8,388 km are "
            f"required, got {version}, {splats.degree} and {extent:g} m ({path}). "
            "Write a PLY file."
        )
    bits = int(min(_FINEST, np.floor(np.log2(_LARGEST / max(extent, 1e-3)))))
    places = np.rint(splats.means.astype(np.float64) * 2**bits).astype("<i4")
    encode = _encode_first_three if version == 2 else _encode_smallest_three
    coefficients = np.rint(splats.sh[:, 1:] * 128 + 128)
    step = np.full((coefficients.shape[1], 1), _STEP_REST, np.float32)
    step[:3] = _STEP_1
    coefficients = np.floor((coefficients + step / 2) / step) * step
    flags = _ANTIALIASED if splats.antialiased else 0
    blocks = [
        places[..., None].view(np.uint8)[..., :3],
        _bytes(splats.opacities * 255),
        _bytes(splats.sh[:, 0] * (_COLOUR * 255) + np.float32(127.5)),
        _bytes((log_of_scale(splats.scales) + 10) * 16),
        encode(splats.rotations),
        _bytes(coefficients),
    ]
    header = (_MAGIC, version, len(splats), splats.degree, bits, flags, 0)
    data = _HEADER.pack(*header) + b"".join(block.tobytes() for block in blocks)
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        file.write(gzip.compress(data, 6, mtime=0))


def _bytes(numbers: Float32[np.ndarray, "..."]) -> UInt8[np.ndarray, "..."]:
    return np.clip(np.rint(numbers), 0, 255).astype(np.uint8)


def _encode_first_three(
    rotations: Float32[np.ndarray, "G 4"],
) -> UInt8[np.ndarray, "G 3"]:
    sign = np.where(rotations[:, :1] < 0, -1, 1).astype(np.float32)
    return _bytes(rotations[:, 1:] * sign * np.float32(127.5) + np.float32(127.5))


def _encode_smallest_three(
    rotations: Float32[np.ndarray, "G 4"],
) -> UInt8[np.ndarray, "G 4"]:
    xyzw = np.roll(rotations, -1, axis=1)
    largest = np.abs(xyzw).argmax(1)[:, None]
    negative = np.take_along_axis(xyzw, largest, 1) < 0
    place = np.arange(3)[None] + (np.arange(3)[None] >= largest)
    three = np.take_along_axis(xyzw, place, 1)
    size = np.rint(np.abs(three) * np.float32(511 * 2**0.5)).astype(np.uint32)
    codes = np.minimum(size, 511) | ((three < 0) ^ negative).astype(np.uint32) << 9
    word = largest[:, 0].astype(np.uint32)
    for i in range(3):
        word = word << np.uint32(10) | codes[:, i]
    return word.astype("<u4")[:, None].view(np.uint8)
