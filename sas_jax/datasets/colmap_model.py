"""COLMAP's sparse models: `cameras`, `images` and `points3D`, binary or text.

Little-endian records behind a count of 64 bits; in text, a line each, two for an image,
of which the second may be empty:

    camera  id, model, width, height, parameters
    image   id, qw qx qy qz tx ty tz (camera_from_world), camera, name, its 2-D points
    point   id, x y z, r g b, reprojection error, track: (image, index of its 2-D point)

The centre of the first pixel is (0.5, 0.5); here it is (0, 0). Nothing is allocated
that the size of the file does not justify: counts only end loops.
"""

import dataclasses
import pathlib
import struct
from collections.abc import Iterator
from typing import Literal

import numpy as np
from jaxtyping import Float, Float64, Int64, UInt8

from sas_jax.errors import InputError
from sas_jax.scenes.image_files import pose_of_quaternion
from sas_jax.scenes.undistort import Distortion
from sas_jax.scenes.views import Camera

# Number, name, parameters and the lens that they are of.
_MODELS: dict[int, tuple[str, str, Literal["opencv", "fisheye"]]] = {
    0: ("SIMPLE_PINHOLE", "f cx cy", "opencv"),
    1: ("PINHOLE", "fx fy cx cy", "opencv"),
    2: ("SIMPLE_RADIAL", "f cx cy k1", "opencv"),
    3: ("RADIAL", "f cx cy k1 k2", "opencv"),
    4: ("OPENCV", "fx fy cx cy k1 k2 p1 p2", "opencv"),
    5: ("OPENCV_FISHEYE", "fx fy cx cy k1 k2 k3 k4", "fisheye"),
    6: ("FULL_OPENCV", "fx fy cx cy k1 k2 p1 p2 k3 k4 k5 k6", "opencv"),
    8: ("SIMPLE_RADIAL_FISHEYE", "f cx cy k1", "fisheye"),
    9: ("RADIAL_FISHEYE", "f cx cy k1 k2", "fisheye"),
}
_UNREAD = {7: "FOV", 10: "THIN_PRISM_FISHEYE", 11: "RAD_TAN_THIN_PRISM_FISHEYE"}
_LENS = {
    "opencv": ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6"),
    "fisheye": ("k1", "k2", "k3", "k4"),
}
_CAMERA, _IMAGE = struct.Struct("<iiQQ"), struct.Struct("<i7di")
_COUNT = struct.Struct("<Q")
_POINT = np.dtype(
    [("id", "<u8"), ("xyz", "<f8", 3), ("rgb", "u1", 3), ("e", "<f8"), ("n", "<u8")]
)
_KEYPOINT_BYTES, _TRACK_BYTES = 24, 8


@dataclasses.dataclass(frozen=True, eq=False)
class Image:
    """A registered image.

    Attributes:
      name: path below the folder of images.
      pose: [4, 4] f64 camera_from_world; NaN for a quaternion of length zero.
      camera: that took it.
    """

    name: str
    pose: Float[np.ndarray, "4 4"]
    camera: Camera


@dataclasses.dataclass(frozen=True, eq=False)
class Points:
    """Triangulated points, and which images they were matched in.

    Attributes:
      xyz: [P, 3] f64, units of the model.
      rgb: [P, 3] u8.
      track_image: [T] i64 ids of images.
      track_point: [T] i64 rows of `xyz` that these see.
    """

    xyz: Float64[np.ndarray, "P 3"]
    rgb: UInt8[np.ndarray, "P 3"]
    track_image: Int64[np.ndarray, " T"]
    track_point: Int64[np.ndarray, " T"]


def model_file(folder: pathlib.Path, part: str) -> pathlib.Path | None:
    """Return the file of a part, binary before text; None without either."""
    files = (folder / f"{part}{suffix}" for suffix in (".bin", ".txt"))
    return next((file for file in files if file.is_file()), None)


def is_model(folder: pathlib.Path) -> bool:
    """Tell whether a folder holds the cameras and images of a model."""
    return all(model_file(folder, part) for part in ("cameras", "images"))


def read_images(folder: pathlib.Path) -> dict[int, Image]:
    """Read the images of a model with their cameras, by their ids.

    Raises:
      InputError: for missing, truncated or damaged files, camera models that are not
        known and cameras that make no sense.
    """
    path, read = _part(folder, "cameras")
    cameras = read(path, _binary_cameras, _text_cameras)
    path, read = _part(folder, "images")
    images = {}
    for number, pose, camera, name in read(path, _binary_images, _text_images):
        if camera not in cameras:
            raise InputError(
                f"colmap: a camera for every image is required, got none of number "
                f"{camera} for {name[:80]} ({path}). Export the model again."
            )
        images[number] = Image(name, pose, cameras[camera])
    return images


def read_points(folder: pathlib.Path) -> Points:
    """Read the points of a model; raises like `read_images`."""
    path, read = _part(folder, "points3D")
    return read(path, _binary_points, _text_points)


def _part(folder: pathlib.Path, part: str):
    """Return the file of a part, and what applies one of two readers to it."""
    path = model_file(folder, part)
    if path is None:
        raise InputError(
            f"colmap: {part}.bin or {part}.txt is required, got neither ({folder}). "
            "Export the model again."
        )

    def read(path, binary, text):
        try:
            if path.suffix == ".bin":
                return binary(path.read_bytes(), path)
            return text(path.read_text(encoding="utf-8").split("\n"), path)
        except InputError:
            raise
        except (OSError, ValueError, IndexError, struct.error, OverflowError) as error:
            raise InputError(
                f"colmap: a whole {path.name} is required, got "
                f"{str(error) or 'damaged data'} ({path}). Export the model again."
            ) from error

    return path, read


def _camera(
    number: int, model: int | str, size_wh: tuple[int, int], values, path: pathlib.Path
) -> Camera:
    """Return a camera of ours; `values` are its parameters, or what reads as many."""
    names = {name: key for key, (name, _, _) in _MODELS.items()}
    key = names.get(model, -1) if isinstance(model, str) else model
    if key not in _MODELS:
        raise InputError(
            f"colmap: a camera model of {', '.join(names)} is required, got "
            f"{_UNREAD.get(key, model)} ({path}). Take the lens out of the images "
            "first: colmap image_undistorter."
        )
    _, order, lens = _MODELS[key]
    values = values(len(order.split())) if callable(values) else values
    given = dict(zip(order.split(), values, strict=True))
    fx, fy = (given[name if name in given else "f"] for name in ("fx", "fy"))
    sound = np.isfinite(list(given.values())).all() and min(fx, fy, *size_wh) > 0
    if not sound or max(size_wh) > 1 << 20:
        raise InputError(
            f"colmap: cameras of finite numbers, positive focal lengths and a size are "
            f"required, got {size_wh[0]} x {size_wh[1]} with {list(given.values())} "
            f"for camera {number} ({path}). Export the model again."
        )
    matrix = [[fx, 0, given["cx"] - 0.5], [0, fy, given["cy"] - 0.5], [0, 0, 1]]
    coefficients = tuple(given.get(name, 0.0) for name in _LENS[lens])
    return Camera(np.array(matrix), size_wh, Distortion(lens, coefficients))


def _pose(numbers) -> Float[np.ndarray, "4 4"]:
    w, x, y, z, *position = numbers
    return pose_of_quaternion(np.array(position), np.array([x, y, z, w]))


def _binary_cameras(data: bytes, path: pathlib.Path) -> dict[int, Camera]:
    (count,), at = _COUNT.unpack_from(data), _COUNT.size
    cameras = {}
    for _ in range(count):
        number, model, *size = _CAMERA.unpack_from(data, at)
        at += _CAMERA.size

        def values(length, at=at):
            return struct.unpack_from(f"<{length}d", data, at)

        cameras[number] = _camera(number, model, (size[0], size[1]), values, path)
        at += 8 * len(_MODELS[model][1].split())
    return cameras


def _binary_images(data: bytes, path: pathlib.Path) -> Iterator[tuple]:
    (count,), at = _COUNT.unpack_from(data), _COUNT.size
    images = []
    for _ in range(count):
        number, *pose, camera = _IMAGE.unpack_from(data, at)
        at += _IMAGE.size
        end = data.index(0, at)
        name = data[at:end].decode("utf-8")
        (keypoints,) = _COUNT.unpack_from(data, end + 1)
        at = end + 1 + _COUNT.size + _KEYPOINT_BYTES * keypoints
        if at > len(data):
            raise ValueError(f"{keypoints} 2-D points that are not there")
        images.append((number, _pose(pose), camera, name))
    return iter(images)


def _binary_points(data: bytes, path: pathlib.Path) -> Points:
    (count,), at = _COUNT.unpack_from(data), _COUNT.size
    starts, length_at = [], _POINT.itemsize - _COUNT.size
    for _ in range(count):
        starts.append(at)
        (length,) = _COUNT.unpack_from(data, at + length_at)
        at += _POINT.itemsize + _TRACK_BYTES * length
        if at > len(data):
            raise ValueError(f"a track of {length} images that are not there")
    start = np.array(starts, np.int64)
    rows = _records(data, start, _POINT)
    length = rows["n"].astype(np.int64)
    point = np.repeat(np.arange(len(rows)), length)
    within = np.arange(len(point)) - np.repeat(np.cumsum(length) - length, length)
    begin = start[point] + _POINT.itemsize + _TRACK_BYTES * within
    image = _records(data, begin, np.dtype("<i4"))
    return Points(rows["xyz"].copy(), rows["rgb"].copy(), image.astype(np.int64), point)


def _records(data: bytes, start: Int64[np.ndarray, " N"], kind: np.dtype):
    """Return the records that begin at some bytes; copies no more than these."""
    if not len(start):
        return np.zeros(0, kind)
    raw = np.frombuffer(data, np.uint8)
    windows = np.lib.stride_tricks.sliding_window_view(raw, kind.itemsize)
    return windows[start].view(kind)[:, 0]


def _lines(lines: list[str]) -> Iterator[list[str]]:
    for line in lines:
        if line.strip() and not line.lstrip().startswith("#"):
            yield line.split()


def _text_cameras(lines: list[str], path: pathlib.Path) -> dict[int, Camera]:
    cameras = {}
    for number, model, width, height, *values in _lines(lines):
        size_wh, numbers = (int(width), int(height)), [float(v) for v in values]
        cameras[int(number)] = _camera(int(number), model, size_wh, numbers, path)
    return cameras


def _text_images(lines: list[str], path: pathlib.Path) -> Iterator[tuple]:
    images, rest = [], iter(lines)
    for line in rest:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        number, *words = line.strip().split(maxsplit=9)
        *pose, camera, name = words
        images.append((int(number), _pose([float(v) for v in pose]), int(camera), name))
        next(rest, None)  # its 2-D points, perhaps none
    return iter(images)


def _text_points(lines: list[str], path: pathlib.Path) -> Points:
    xyz, rgb, image, point = [], [], [], []
    for row, words in enumerate(_lines(lines)):
        xyz.append([float(v) for v in words[1:4]])
        rgb.append([int(v) for v in words[4:7]])
        track = [int(v) for v in words[8::2]]
        image += track
        point += [row] * len(track)
    return Points(
        np.array(xyz, np.float64).reshape(-1, 3),
        np.array(rgb, np.uint8).reshape(-1, 3),
        np.array(image, np.int64),
        np.array(point, np.int64),
    )
