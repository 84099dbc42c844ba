"""`.sens` files: all images of a capture in one file (BundleFusion, ScanNet).

    <scan>.sens, or <scan>/ with one such file and no mesh

Little endian, version 4: the sensor's name; 4x4 intrinsics and extrinsics of colour and
of depth; codecs, sizes, depth units per metre and the number of frames; then of each
frame the pose (world_from_camera of colour, -inf where tracking was lost), two times,
two lengths, the compressed colour and the compressed depth. What follows them (IMU) is
of no use here. An extrinsic maps its camera to the base, which is colour's as a rule.

A file holds gigabytes: one pass over the frames' heads finds where each one lies, and a
frame is read from there when it is asked for.
"""

import dataclasses
import functools
import pathlib
import struct
import zlib
from typing import BinaryIO, ClassVar

import numpy as np
from jaxtyping import Float, Float32, UInt8

from sas_jax.datasets.capture import Capture, CaptureDataset
from sas_jax.errors import InputError
from sas_jax.scenes.camera_files import checked_intrinsics, rigid_fault
from sas_jax.scenes.depth_files import metres
from sas_jax.scenes.images import decode_color
from sas_jax.scenes.poses import inverse
from sas_jax.scenes.views import Camera, View, ViewFrames

_VERSION = 4
_HEAD = struct.Struct("<64f 2i 4I f Q")
_FRAME = struct.Struct("<16f 4Q")
_COLOR_CODECS = {0: "raw", 1: "png", 2: "jpeg"}
_DEPTH_CODECS = {0: "raw_ushort", 1: "zlib_ushort"}
_OCCI = 2
_MOST_PIXELS = 1 << 26
# No codec makes an image larger; a length beyond is damage.
_MOST_BYTES_PER_PIXEL, _LEAST_BYTES = 8, 1 << 16
# Cameras whose pixels differ by less are one.
_SAME_PX = 0.5


@dataclasses.dataclass(frozen=True)
class Sens(CaptureDataset):
    """Captures of one `.sens` file; see the module and `CaptureDataset`."""

    name: ClassVar = "sens"
    layout: ClassVar = "<scan>.sens"

    def is_scan(self, path: pathlib.Path) -> bool:
        """Tell whether it is such a file, or a folder of one without a mesh."""
        return sens_file(path) is not None and not any(path.glob("*_vh_clean_2.ply"))

    def capture(self, path: pathlib.Path) -> Capture:
        """Return all frames of the file."""
        file = sens_file(path)
        if file is None:
            raise InputError(
                f"sens: one .sens file is required, got none or several ({path}). Give "
                "the file itself."
            )
        return Capture(sens_frames(file, self.depth_scale), index=(file,))


def sens_file(path: pathlib.Path) -> pathlib.Path | None:
    """Return the `.sens` file at a path: itself, or the only one in a folder."""
    files = [path] if path.is_file() else sorted(path.glob("*.sens"))
    found = [file for file in files if file.suffix.lower() == ".sens"]
    return found[0] if len(found) == 1 else None


def sens_frames(path: pathlib.Path, depth_scale: float | None = None) -> ViewFrames:
    """Return the frames of a `.sens` file; images are not read yet.

    Depth and colour are seen by two cameras where the file's calibration tells them
    apart; frames are what depth sees. Names are those of the exporter: 0, 1, 2, ...

    Args:
      path: of the file.
      depth_scale: stored units per metre; None takes the file's.

    Raises:
      InputError: for another version or an unknown codec, for sizes and matrices that
        make no sense, and for a file that ends too early. No more is read than the
        file's size allows.
    """
    try:
        stamp = path.stat()
        return _frames(path, stamp.st_size, stamp.st_mtime_ns, depth_scale)
    except OSError as error:
        raise InputError(
            f"sens: a readable file is required, got {error} ({path}). Check the path."
        ) from error


@dataclasses.dataclass(frozen=True)
class _Images:
    """Where images of a file are, how they are compressed, and their sizes."""

    path: pathlib.Path
    color_codec: int
    depth_codec: int
    color_wh: tuple[int, int]
    depth_wh: tuple[int, int]
    depth_scale: float


# A capture is opened several times in a run; its heads are read once.
@functools.lru_cache(maxsize=4)
def _frames(
    path: pathlib.Path, size: int, changed_ns: int, depth_scale: float | None
) -> ViewFrames:
    with path.open("rb") as file:
        matrices, images, count = _head(file, path, size)
        if depth_scale is not None:
            images = dataclasses.replace(images, depth_scale=depth_scale)
        color, depth, color_from_depth = _cameras(matrices, images)
        views = []
        for i in range(count):
            pose, begin, lengths = _frame_head(file, path, size, i, count)
            places = (begin, lengths[0]), (begin + lengths[0], lengths[1])
            read_color = functools.partial(_color, images, *places[0])
            read_depth = functools.partial(_depth, images, *places[1])
            views.append(
                View(
                    name=str(i),
                    pose=pose,
                    camera=color,
                    color=read_color,
                    depth=read_depth if lengths[1] else None,
                    depth_camera=depth,
                    color_from_depth=color_from_depth,
                )
            )
    return ViewFrames(path, tuple(views), depth_scale=images.depth_scale)


def _head(
    file: BinaryIO, path: pathlib.Path, size: int
) -> tuple[Float[np.ndarray, "4 4 4"], _Images, int]:
    """Return colour's and depth's matrices, what images are like, and their number."""
    version, length = struct.unpack("<IQ", _read(file, 12, path, "its head"))
    if version != _VERSION:
        raise InputError(
            f"sens: version {_VERSION} is required, got {version} ({path}). Is it a "
            ".sens file? Older ones are converted by the ScanNet tools."
        )
    if length > size - file.tell():
        raise _cut_off(path, "the sensor's name")
    file.seek(length, 1)
    values = _HEAD.unpack(_read(file, _HEAD.size, path, "its head"))
    matrices = np.array(values[:64]).reshape(4, 4, 4)
    color_codec, depth_codec, cw, ch, dw, dh, scale, count = values[64:]
    if depth_codec == _OCCI:
        raise InputError(
            "sens: depth compressed by zlib or not at all is required, got occi_ushort "
            f"({path}). Its decoder is not free: convert the file with the tools of "
            "its sensor."
        )
    if color_codec not in _COLOR_CODECS or depth_codec not in _DEPTH_CODECS:
        raise InputError(
            f"sens: colour must be of codec {_COLOR_CODECS} and depth of "
            f"{_DEPTH_CODECS}, got {color_codec} and {depth_codec} ({path}). Copy or "
            "convert the file again."
        )
    if not (0 < cw * ch <= _MOST_PIXELS and 0 < dw * dh <= _MOST_PIXELS):
        raise InputError(
            f"sens: images of 1 to {_MOST_PIXELS} pixels are required, got colour "
            f"{cw} x {ch} and depth {dw} x {dh} ({path}). Copy the file again."
        )
    if not 0 < scale < float("inf"):
        raise InputError(
            f"sens: positive depth units per metre are required, got {scale} ({path}). "
            "Copy the file again."
        )
    if count > (size - file.tell()) // _FRAME.size:
        raise _cut_off(path, f"frame {(size - file.tell()) // _FRAME.size} of {count}")
    images = _Images(path, color_codec, depth_codec, (cw, ch), (dw, dh), scale)
    return matrices, images, count


def _frame_head(
    file: BinaryIO, path: pathlib.Path, size: int, i: int, count: int
) -> tuple[Float[np.ndarray, "4 4"], int, tuple[int, int]]:
    """Return pose, place of the images and their lengths; goes on behind them."""
    where = f"frame {i} of {count}"
    values = _FRAME.unpack(_read(file, _FRAME.size, path, where))
    begin, lengths = file.tell(), (values[18], values[19])
    if sum(lengths) > size - begin:
        raise _cut_off(path, where)
    file.seek(begin + sum(lengths))
    return np.array(values[:16]).reshape(4, 4), begin, lengths


def _cameras(
    matrices: Float[np.ndarray, "4 4 4"], images: _Images
) -> tuple[Camera, Camera | None, Float[np.ndarray, "4 4"] | None]:
    """Return the cameras of colour and depth, and colour from depth; None if equal."""
    color_k, base_from_color, depth_k, base_from_depth = matrices
    color, depth = (
        Camera(checked_intrinsics(matrix[:3, :3], images.path), wh)
        for matrix, wh in ((color_k, images.color_wh), (depth_k, images.depth_wh))
    )
    base_from_color, base_from_depth = (
        _extrinsic(motion, images.path) for motion in (base_from_color, base_from_depth)
    )
    moved = inverse(base_from_color) @ base_from_depth
    color_from_depth = None if np.allclose(moved, np.eye(4), atol=1e-6) else moved
    width, height = images.depth_wh
    corners = np.array([[0, 0, 1], [width - 1, height - 1, 1]]).T
    scaled = np.diag([width / images.color_wh[0], height / images.color_wh[1], 1])
    rays = np.linalg.solve(depth.intrinsics, corners)
    apart = np.abs(scaled @ color.intrinsics @ rays - corners).max()
    if color_from_depth is None and apart < _SAME_PX:
        return color, None, None
    return color, depth, color_from_depth


def _extrinsic(
    motion: Float[np.ndarray, "4 4"], path: pathlib.Path
) -> Float[np.ndarray, "4 4"]:
    if not motion.any():  # never set
        return np.eye(4)
    fault = rigid_fault(motion)
    if fault is not None:
        raise InputError(
            f"sens: rigid extrinsic matrices are required, got {fault} ({path}). Copy "
            "or convert the file again."
        )
    return motion


def _color(images: _Images, begin: int, length: int) -> UInt8[np.ndarray, "H W 3"]:
    width, height = images.color_wh
    data = _image(images, begin, length, width * height)
    if _COLOR_CODECS[images.color_codec] != "raw":
        return decode_color(data, images.path, images.color_wh)
    channels, rest = divmod(length, width * height)
    if rest or channels not in (3, 4):
        raise _wrong(images, f"{length} bytes of raw colour for {width} x {height}")
    pixels = np.frombuffer(data, np.uint8).reshape(height, width, channels)
    return np.ascontiguousarray(pixels[..., :3])


def _depth(images: _Images, begin: int, length: int) -> Float32[np.ndarray, "H W"]:
    width, height = images.depth_wh
    data = _image(images, begin, length, width * height)
    size = 2 * width * height
    if _DEPTH_CODECS[images.depth_codec] == "zlib_ushort":
        try:
            data = zlib.decompressobj().decompress(data, size + 1)
        except zlib.error as error:
            raise _wrong(images, str(error)) from error
    if len(data) != size:
        raise _wrong(images, f"other than {size} bytes for {width} x {height}")
    raw = np.frombuffer(data, "<u2").reshape(height, width)
    return metres(raw, images.depth_scale)


def _image(images: _Images, begin: int, length: int, num_pixels: int) -> bytes:
    if length > _MOST_BYTES_PER_PIXEL * num_pixels + _LEAST_BYTES:
        raise _wrong(images, f"{length} bytes for {num_pixels} pixels")
    with images.path.open("rb") as file:
        file.seek(begin)
        return _read(file, length, images.path, "an image")


def _read(file: BinaryIO, length: int, path: pathlib.Path, what: str) -> bytes:
    data = file.read(length)
    if len(data) < length:
        raise _cut_off(path, what)
    return data


def _cut_off(path: pathlib.Path, what: str) -> InputError:
    return InputError(
        f"sens: a complete file is required, it ends within {what} ({path}). Copy or "
        "download it again."
    )


def _wrong(images: _Images, got: str) -> InputError:
    return InputError(
        f"sens: a complete image is required, got {got} ({images.path}). Copy the file "
        "again."
    )
