"""Depth images in metres, from images, EXR files and arrays; contents tell which.

A suffix does not tell what a file is: captures hold TIFF or EXR named `.png`, too.
"""

import pathlib

import numpy as np
from jaxtyping import Float32, Shaped

from sas_jax.artefacts.array_files import DamagedArrays, read_npy, read_npz
from sas_jax.artefacts.plain_files import plain
from sas_jax.errors import InputError
from sas_jax.extras import install_command
from sas_jax.scenes.images import image_size_wh, open_image, unreadable

DEPTH_SUFFIXES = (".webp", ".npz", ".npy", ".exr", ".tiff", ".tif", ".png")
"""What lies in folders of depth; of two files of one name, the last counts."""
_LARGEST_M = 100.0
_NO_READING = 65535
_MOST_PIXELS = 1 << 26
_EXR, _NPY, _ZIP = b"\x76\x2f\x31\x01", b"\x93NUMPY", b"PK\x03\x04"


def read_depth(path: pathlib.Path, depth_scale: float) -> Float32[np.ndarray, "H W"]:
    """Read a depth image in metres, f32; 0 where the sensor gave no reading.

    Sensors write that as 0, or as the largest 16-bit number.

    Args:
      path: 16-bit single-channel PNG or TIFF, `.npy`, the first array of an `.npz`; or
        floats in TIFF, EXR or arrays, which are metres where their median is plausible
        as such (below 100), whatever the scale is.
      depth_scale: stored units per metre (1000 for millimetres, 5000 for TUM).

    Raises:
      InputError: for a missing, empty, truncated or multi-channel file, for 8 bits, and
        for EXR without the package that reads it.
    """
    try:
        with plain(path).open("rb") as file:
            begin = file.read(8)
    except OSError as error:
        raise unreadable("depth", path, error) from error
    if begin.startswith(_EXR):
        raw = _exr(path)
    elif begin.startswith((_NPY, _ZIP)):
        raw = _array(path, begin)
    else:
        raw = np.array(open_image(path, "depth"))
    if raw.ndim != 2 or raw.dtype.kind not in "uif" or raw.dtype.itemsize < 2:
        raise InputError(
            f"depth: a 16-bit single-channel image is required, got shape "
            f"{list(raw.shape)} of {raw.dtype} ({path}). Export depth as 16-bit PNG; "
            "JPEG and WebP hold 8 bits."
        )
    if not raw.size:
        raise unreadable("depth", path, ValueError(f"an array {list(raw.shape)}"))
    return metres(raw, depth_scale)


def depth_size_wh(path: pathlib.Path) -> tuple[int, int]:
    """Return width and height of a depth image; of a PNG, only the header is read.

    Raises:
      InputError: like `read_depth`, and for a damaged header.
    """
    if path.suffix.lower() in (".npy", ".npz", ".exr"):
        height, width = read_depth(path, 1.0).shape
        return width, height
    return image_size_wh(path)


def metres(
    raw: Shaped[np.ndarray, "H W"], depth_scale: float
) -> Float32[np.ndarray, "H W"]:
    """Return stored depth in metres; see `read_depth`."""
    if raw.dtype.kind == "f":
        raw = np.where(np.isfinite(raw) & (raw > 0), raw, np.float32(0))
        if not raw.any() or np.median(raw[raw > 0]) < _LARGEST_M:
            return raw.astype(np.float32)
    else:
        raw = np.where((raw == _NO_READING) | (raw < 0), 0, raw)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        return raw.astype(np.float32) / np.float32(depth_scale)


def _array(path: pathlib.Path, begin: bytes) -> Shaped[np.ndarray, "..."]:
    """Return an array without sides of length 1; nothing is unpickled."""
    try:
        if begin.startswith(_NPY):
            found = read_npy(path)
        else:
            found = next(iter(read_npz(path).values()), np.zeros(0))
    except DamagedArrays as error:
        raise unreadable("depth", path, error) from error
    return np.array(found.squeeze())


def _exr(path: pathlib.Path) -> Shaped[np.ndarray, "H W"]:
    """Return the channel of an EXR file that is named for depth, or the first one."""
    try:
        import OpenEXR
    except ImportError as error:
        raise InputError(
            f"depth: the package OpenEXR is required for EXR images, got none ({path})."
            f" Install it: {install_command('exr')}"
        ) from error
    try:
        # Not by its older InputFile, which ends the process on some damaged headers.
        with OpenEXR.File(str(path), header_only=True) as file:
            low, high = file.header()["dataWindow"]
        width, height = (int(side) + 1 for side in high - low)
        if not (width > 0 and height > 0 and width * height <= _MOST_PIXELS):
            raise ValueError(f"{width} x {height} pixels")
        with OpenEXR.File(str(path), separate_channels=True) as file:
            channels = file.channels()
            pixels = channels[min(channels, key=_depth_first)].pixels
        return np.array(pixels, np.float32)
    # The library raises what its C++ throws.
    except Exception as error:
        raise unreadable("depth", path, error) from error


def _depth_first(channel: str) -> tuple[int, str]:
    last = channel.rpartition(".")[2].lower()
    known = ("z", "depth", "d", "y", "v", "r", "x")
    return (known.index(last) if last in known else len(known)), channel
