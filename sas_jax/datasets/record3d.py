"""Record3D: recordings (.r3d, an archive, also unpacked) and their export as EXR.

    <scan>.r3d or <scan>/  metadata, rgbd/N.jpg, N.depth, N.conf (LZFSE: f32 metres, u8)
    <scan>/ or <scan>/EXR_RGBD/  metadata.json, rgb/N.jpg|png, depth/N.exr (f32 metres)

The metadata are JSON: `w h` of the colour images that `K` (by columns) or, for every
frame, `perFrameIntrinsicCoeffs` (fx fy cx cy) are for; `dw dh` of depth; `poses`, each
qx qy qz qw tx ty tz: world_from_camera, OpenGL axes, of the image as it is stored, in
ARKit's world, whose y is up. Confidence is 0 low, 1, 2 high.
"""

import dataclasses
import functools
import importlib
import math
import pathlib
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float32, UInt8

from sas_jax.datasets.capture import Capture, CaptureDataset
from sas_jax.errors import InputError
from sas_jax.extras import install_command
from sas_jax.scenes.archive import member_names, read_member
from sas_jax.scenes.camera_files import checked_intrinsics
from sas_jax.scenes.depth_files import metres
from sas_jax.scenes.frames import list_depth, list_frames
from sas_jax.scenes.image_files import (
    depth_file,
    json_object,
    pose_of_quaternion,
    read_json,
)
from sas_jax.scenes.images import decode_color
from sas_jax.scenes.views import Camera, View, ViewFrames

_EXR = ("", "EXR_RGBD")


@dataclasses.dataclass(frozen=True)
class Record3D(CaptureDataset):
    """Recordings of Record3D; see the module and `CaptureDataset`."""

    name: ClassVar = "record3d"
    layout: ClassVar = "<scan>.r3d, unpacked or exported as EXR with metadata.json"
    needs: ClassVar = ("metadata", "rgbd/*")

    def is_scan(self, path: pathlib.Path) -> bool:
        """Tell whether it is a recording, or a folder with one."""
        if path.is_file():
            return path.suffix.lower() == ".r3d"
        is_raw = (path / "metadata").is_file() and (path / "rgbd").is_dir()
        return is_raw or _exported(path) is not None

    def capture(self, path: pathlib.Path) -> Capture:
        """Return the frames that have a pose."""
        exported = None if path.is_file() else _exported(path)
        if exported is None:
            stated = json_object(read_member(path, "metadata"), path, "record3d")
            index = (path / "metadata",) if path.is_dir() else (path,)
            frames = _raw_frames(path, stated)
        else:
            index = (exported / "metadata.json",)
            stated = read_json(index[0], "record3d")
            frames = _exr_frames(exported)
        views = []
        try:
            poses = np.array(stated["poses"], np.float64).reshape(-1, 7)
            for number, color, depth, files in frames:
                if number < len(poses):
                    pose = pose_of_quaternion(poses[number, 4:], poses[number, :4])
                    camera = _camera(stated, number, path)
                    views.append(
                        View(str(number), pose, camera, color, depth, files=files)
                    )
        except (KeyError, TypeError, ValueError, IndexError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                "record3d: metadata with w, h, K and poses of seven numbers are "
                f"required, got {error!r} ({path}). Export the recording again."
            ) from error
        if not views:
            raise InputError(
                f"record3d: images with a pose are required, got {len(poses)} poses "
                f"and none of their images ({path}). Export the recording again."
            )
        return Capture(ViewFrames(path, tuple(views), convention="opengl"), "y", index)


def _exported(path: pathlib.Path) -> pathlib.Path | None:
    """Return the folder of an export as EXR."""
    for folder in (path / name for name in _EXR):
        parts = (folder / "rgb").is_dir() and (folder / "depth").is_dir()
        if parts and (folder / "metadata.json").is_file():
            return folder
    return None


def _camera(stated: dict[str, Any], number: int, path: pathlib.Path) -> Camera:
    per_frame = stated.get("perFrameIntrinsicCoeffs")
    if per_frame:
        fx, fy, cx, cy = map(float, per_frame[number][:4])
        matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    else:
        matrix = np.array(stated["K"], np.float64).reshape(3, 3).T
        if matrix[2, :2].any():  # written by rows, as other programs do
            matrix = matrix.T
    size_wh = int(stated["w"]), int(stated["h"])
    if min(size_wh) < 1:
        raise ValueError(f"images of {size_wh}")
    return Camera(checked_intrinsics(matrix, path), size_wh)


def _exr_frames(folder: pathlib.Path):
    depth = list_depth(folder / "depth")
    for name, color in list_frames(folder / "rgb").items():
        if name.isdecimal() and name in depth:
            read = depth_file(depth[name], 1.0)
            yield int(name), color, read, (color, depth[name])


def _raw_frames(root: pathlib.Path, stated: dict[str, Any]):
    names = set(member_names(root))
    numbers = (n[5:-4] for n in names if n.startswith("rgbd/") and n.endswith(".jpg"))
    for number in sorted(int(n) for n in numbers if n.isdecimal()):
        color, depth, sure = (
            f"rgbd/{number}.{end}" for end in ("jpg", "depth", "conf")
        )
        if depth not in names:
            continue
        level = sure if sure in names else None
        read = functools.partial(_depth, root, depth, level, _size(stated))
        members = [name for name in (color, depth, sure) if name in names]
        files = tuple(root / name for name in members) if root.is_dir() else (root,)
        yield number, functools.partial(_color, root, color), read, files


def _size(stated: dict[str, Any]) -> tuple[int, int] | None:
    """Return width and height of depth where they are stated: not by old versions."""
    width, height = stated.get("dw"), stated.get("dh")
    if isinstance(width, int) and isinstance(height, int) and min(width, height) > 0:
        return width, height
    return None


def _color(root: pathlib.Path, name: str) -> UInt8[np.ndarray, "H W 3"]:
    return decode_color(read_member(root, name), root / name)


def _depth(root, name, confidence, size_wh) -> Float32[np.ndarray, "H W"]:
    depth_m = metres(_pixels(root, name, size_wh, np.dtype("<f4")), 1.0)
    if confidence is None:
        return depth_m
    sure = _pixels(root, confidence, depth_m.shape[::-1], np.dtype("u1"))
    return np.where(sure > 0, depth_m, np.float32(0))


def _pixels(
    root: pathlib.Path, name: str, size_wh: tuple[int, int] | None, kind: np.dtype
) -> np.ndarray:
    """Return an array that is stored by LZFSE, of a portrait image if nothing tells."""
    data = _decompress()(read_member(root, name))
    count, rest = divmod(len(data), kind.itemsize)
    # LiDAR: 192 x 256, the front camera: 480 x 640.
    short = math.isqrt(count * 3 // 4)
    width, height = size_wh or (short, short * 4 // 3)
    if rest or width * height != count:
        raise InputError(
            f"record3d: {width} x {height} numbers of {kind.itemsize} bytes are "
            f"required, got {len(data)} bytes ({root / name}). Export the recording "
            "again."
        )
    return np.frombuffer(data, kind).reshape(height, width)


def _decompress() -> Callable[[bytes], bytes]:
    for name in ("lzfse", "liblzfse"):
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        return functools.partial(_checked, module)
    raise InputError(
        "record3d: the package lzfse is required for depth of .r3d files, got none. "
        f"Install it: {install_command('phones')}"
    )


def _checked(module, data: bytes) -> bytes:
    try:
        return module.decompress(data)
    except module.error as error:
        raise InputError(
            f"record3d: data of LZFSE are required, got {error}. Export the recording "
            "again."
        ) from error
