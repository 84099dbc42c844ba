"""Colour images of a frame; resizing colour and depth with their intrinsics.

Pixels are (u, v) = (column, row) with integer centres: the image covers
[-0.5, W - 0.5] x [-0.5, H - 0.5]. Depth is never interpolated, since a mean of two
surfaces is a point on neither.
"""

import contextlib
import io
import pathlib
import struct
from collections.abc import Iterator
from typing import Literal

import numpy as np
from jaxtyping import Float, Shaped, UInt8
from PIL import ExifTags, Image, ImageOps

from sas_jax.artefacts.plain_files import plain
from sas_jax.errors import InputError, system_error

ColorInterpolation = Literal["nearest", "area"]
# What Pillow raises on damaged files, besides OSError: SyntaxError (broken PNG
# chunks), ValueError (bad header values), DecompressionBombError (absurd sizes).
DAMAGED = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
_ORIENTATION = ExifTags.Base.Orientation
# Any image may be as large; beyond, a photograph has more bytes, a bomb has not.
_MOST_PIXELS, _PIXELS_PER_BYTE = 1 << 26, 32


def open_image(path: pathlib.Path, what: str) -> Image.Image:
    """Return a decoded image; raises InputError, which begins with `what`."""
    try:
        with _opened(path) as image:
            image.load()
            return image
    except DAMAGED as error:
        raise unreadable(what, path, error) from error


def unreadable(what: str, path: pathlib.Path, error: Exception) -> InputError:
    """Return what to raise for an image that cannot be read."""
    return InputError(
        f"{what}: a readable image is required, got {str(error) or 'damaged data'} "
        f"({path}). Export this frame again or delete it."
    )


@contextlib.contextmanager
def _opened(path: pathlib.Path) -> Iterator[Image.Image]:
    """Open an image; raises what is `DAMAGED`."""
    size = plain(path).stat().st_size
    with Image.open(path) as image:
        _check_size(image, size)
        if image.format == "EPS":
            raise ValueError("PostScript, a program")
        yield image


def _check_size(image: Image.Image, num_bytes: int) -> None:
    """Raise ValueError for more pixels than a file of so many bytes may stand for."""
    most = max(_MOST_PIXELS, _PIXELS_PER_BYTE * num_bytes)
    if image.width * image.height > most:
        raise ValueError(f"{image.width} x {image.height} pixels of {num_bytes} bytes")


def image_size_wh(path: pathlib.Path) -> tuple[int, int]:
    """Return width and height as the header states them; pixels are not read.

    Raises:
      InputError: for a missing or empty file and a damaged header.
    """
    try:
        with _opened(path) as image:
            return image.size
    except DAMAGED as error:
        raise unreadable("image", path, error) from error


def exif_orientation(path: pathlib.Path) -> int:
    """Return how the stored pixels must be turned to be shown: 1 (as they are) to 8.

    Anything but a readable image that says so counts as 1.

    Raises:
      InputError: when the system cannot read the file, which says nothing about it.
    """
    try:
        with _opened(path) as image:
            # For its metadata, Pillow decodes the pixels of a PNG.
            if image.format == "PNG" and not _may_tell(path.read_bytes()):
                return 1
            return _orientation(image)
    except DAMAGED as error:
        if cause := system_error(error):
            raise unreadable("image", path, cause) from cause
        return 1


def _may_tell(data: bytes) -> bool:
    """Tell whether a PNG holds metadata that an orientation may stand in."""
    return any(kind in data for kind in (b"eXIf", b"Orientation", b"XML:", b"Raw pro"))


def _orientation(image: Image.Image) -> int:
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    # What Pillow raises on damaged EXIF data, besides what it does on images.
    except (*DAMAGED, ArithmeticError, LookupError, TypeError, struct.error):
        return 1
    return orientation if orientation in range(1, 9) else 1


def read_color(
    path: pathlib.Path, *, upright: bool = True
) -> UInt8[np.ndarray, "H W 3"]:
    """Read a colour image as sRGB u8; grey, palette and alpha images are converted.

    16-bit grey gives its high byte, and grey floats are shares of white.

    Args:
      path: any image that Pillow reads.
      upright: turn the pixels as the image's EXIF orientation says; else as stored.

    Raises:
      InputError: for a missing, empty or truncated file.
    """
    image = open_image(path, "colour")
    try:
        if upright and _orientation(image) != 1:
            image = ImageOps.exif_transpose(image)
    except DAMAGED as error:
        raise unreadable("colour", path, error) from error
    return _as_rgb(image, path)


def decode_color(
    data: bytes, path: pathlib.Path, size_wh: tuple[int, int] | None = None
) -> UInt8[np.ndarray, "H W 3"]:
    """Decode a colour image that lies in a file with others, as stored.

    Args:
      data: of one PNG or JPEG.
      path: that they come from, for messages.
      size_wh: that the image must have; None for any.

    Raises:
      InputError: for damaged data and for another size.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as image:
            if size_wh is not None and image.size != size_wh:
                raise ValueError(f"{image.size}, not {size_wh}")
            _check_size(image, len(data))
            image.load()
    except DAMAGED as error:
        raise unreadable("colour", path, error) from error
    return _as_rgb(image, path)


def _as_rgb(image: Image.Image, path: pathlib.Path) -> UInt8[np.ndarray, "H W 3"]:
    try:
        return np.array(_eight_bits(image).convert("RGB"))
    except DAMAGED as error:
        raise InputError(
            f"colour: an image convertible to RGB is required, got {error} ({path}). "
            "Export this frame again or delete it."
        ) from error


def _eight_bits(image: Image.Image) -> Image.Image:
    """Return grey of more than 8 bits as 8 bits, which Pillow would clip."""
    if image.mode.startswith("I"):
        grey = np.clip(np.array(image).astype(np.int64) >> 8, 0, 255)
    elif image.mode == "F":
        grey = np.rint(np.clip(np.nan_to_num(np.array(image)), 0, 1) * 255)
    else:
        return image
    return Image.fromarray(grey.astype(np.uint8))


def _nearest_index(old: int, new: int) -> Shaped[np.ndarray, " new"]:
    return ((np.arange(new) + 0.5) * old / new).astype(np.intp)


def resize_nearest(
    image: Shaped[np.ndarray, "H W *C"], size_wh: tuple[int, int]
) -> Shaped[np.ndarray, "h w *C"]:
    """Resize by taking the source pixel that holds each new pixel's centre."""
    width, height = size_wh
    if image.shape[:2] == (height, width):
        return image
    rows = _nearest_index(image.shape[0], height)
    columns = _nearest_index(image.shape[1], width)
    return image[rows[:, None], columns[None, :]]


def resize_color(
    image: UInt8[np.ndarray, "H W 3"],
    size_wh: tuple[int, int],
    interpolation: ColorInterpolation = "nearest",
) -> UInt8[np.ndarray, "h w 3"]:
    """Resize a colour image.

    Args:
      image: sRGB.
      size_wh: new width and height, pixels.
      interpolation: "nearest" is what the original pipeline does to ScanNet frames;
        "area" averages the covered pixels, without the aliasing of "nearest".
    """
    if image.shape[1::-1] == tuple(size_wh):
        return image
    if interpolation == "nearest":
        return resize_nearest(image, size_wh)
    resized = Image.fromarray(image).resize(size_wh, Image.Resampling.BOX)
    return np.array(resized)


def scale_intrinsics(
    intrinsics: Float[np.ndarray, "3 3"],
    old_wh: tuple[int, int],
    new_wh: tuple[int, int],
) -> Float[np.ndarray, "3 3"]:
    """Return the pinhole matrix of the resized image.

    Focal lengths scale by new/old, the principal point by (new - 1)/(old - 1), so
    that a centred one stays centred. Source: OpenScene `adjust_intrinsic`, which
    SAS uses.
    """
    (old_w, old_h), (new_w, new_h) = old_wh, new_wh
    if old_wh == new_wh:
        return np.array(intrinsics, np.float64)
    scaled = np.array(intrinsics, np.float64)
    scaled[0, :2] *= new_w / old_w
    scaled[1, :2] *= new_h / old_h
    scaled[0, 2] *= (new_w - 1) / max(old_w - 1, 1)
    scaled[1, 2] *= (new_h - 1) / max(old_h - 1, 1)
    return scaled
