"""Colour that was not taken as depth was: turned, or by a camera of another shape.

Phones store pixels as the sensor lies and note how to turn them (EXIF). Depth, poses
and intrinsics are for the sensor or for the turned image; sizes tell which.
"""

import dataclasses
import logging
import pathlib

import numpy as np
from jaxtyping import Float, Float32, UInt8

from sas_jax.errors import InputError
from sas_jax.scenes.camera_files import is_central, read_intrinsics, read_pose
from sas_jax.scenes.images import ColorInterpolation, resize_color, scale_intrinsics
from sas_jax.scenes.scene import BadFrame, Frame

# EXIF orientation -> clockwise quarter turns that show the stored pixels upright.
# Mirrored ones (5, 7) are no motion of a camera.
CLOCKWISE = {6: 1, 8: 3}
# ScanNet's colour and depth differ by 0.4 %, 16:9 and 4:3 by 33 %.
_SHAPE_TOLERANCE = 0.02
# Seen along or against gravity, nothing tells which edge of an image is up.
_LEAST_TILT = 0.35
_TURN = np.array([[0.0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


def is_sideways(orientation: int) -> bool:
    """Tell whether an EXIF orientation exchanges width and height."""
    return orientation >= 5


def shape_difference(a_wh: tuple[int, int], b_wh: tuple[int, int]) -> float:
    """Return by which share the aspects of two images differ; 0 for the same."""
    ratio = (a_wh[0] * b_wh[1]) / (a_wh[1] * b_wh[0])
    return max(ratio, 1 / ratio) - 1


def same_shape(a_wh: tuple[int, int], b_wh: tuple[int, int]) -> bool:
    """Tell whether two images have the same aspect within 2 %."""
    return shape_difference(a_wh, b_wh) <= _SHAPE_TOLERANCE


def lying_as(size_wh: tuple[int, int], example_wh: tuple[int, int]) -> tuple[int, int]:
    """Return a size as wide or as high as an example: portrait for portrait."""
    if (size_wh[0] - size_wh[1]) * (example_wh[0] - example_wh[1]) < 0:
        return size_wh[1], size_wh[0]
    return size_wh


def fitted(box_wh: tuple[int, int] | None, size_wh: tuple[int, int]) -> tuple[int, int]:
    """Return the size of a resized image: the box where it has the image's aspect.

    Args:
      box_wh: asked for; None keeps the size.
      size_wh: of the image.

    Returns:
      A size as wide as the box is long where the aspects differ.
    """
    if box_wh is None:
        return size_wh
    box_wh = lying_as(box_wh, size_wh)
    if same_shape(box_wh, size_wh):
        return box_wh
    ratio = max(box_wh) / max(size_wh)
    return max(1, round(size_wh[0] * ratio)), max(1, round(size_wh[1] * ratio))


def quarters_to_z(world_from_camera: Float[np.ndarray, "4 4"]) -> int:
    """Return the clockwise quarter turns after which z is nearest to the upper edge.

    0 for a camera that looks along or against it.
    """
    right, down = world_from_camera[2, :2]
    if np.hypot(right, down) < _LEAST_TILT:
        return 0
    # The angle of z from the upper edge, clockwise; turning takes it back.
    angle = np.degrees(np.arctan2(right, -down))
    return int(np.rint(-angle / 90)) % 4


def turned_pose(
    world_from_camera: Float[np.ndarray, "4 4"], clockwise: int
) -> Float[np.ndarray, "4 4"]:
    """Return the pose of the camera whose image is turned by quarters, clockwise."""
    for _ in range(clockwise):
        world_from_camera = world_from_camera @ _TURN
    return world_from_camera


def turned_frame(frame: Frame, clockwise: int) -> Frame:
    """Turn a frame by quarters: pixels, depth, intrinsics and camera.

    The pixel (u, v) of an image of height H goes to (H - 1 - v, u).
    """
    intrinsics, depth_m = frame.intrinsics, frame.depth_m
    if depth_m is not None:
        depth_m = np.ascontiguousarray(np.rot90(depth_m, -clockwise))
    height, width = frame.size_hw
    for _ in range(clockwise):
        pixel = np.array([[0.0, -1, height - 1], [1, 0, 0], [0, 0, 1]])
        intrinsics = pixel @ intrinsics @ _TURN[:3, :3]
        height, width = width, height
    return dataclasses.replace(
        frame,
        rgb=np.ascontiguousarray(np.rot90(frame.rgb, -clockwise)),
        depth_m=depth_m,
        intrinsics=intrinsics,
        world_from_camera=turned_pose(frame.world_from_camera, clockwise),
    )


@dataclasses.dataclass(frozen=True)
class ColorCamera:
    """The camera of colour images that differ in shape from depth.

    Attributes:
      intrinsics: [3, 3] f64 for the colour images as stored.
      color_from_depth: [4, 4] f64 rigid, from depth camera to colour camera.
    """

    intrinsics: Float[np.ndarray, "3 3"]
    color_from_depth: Float[np.ndarray, "4 4"]


def read_color_camera(path: pathlib.Path | None) -> ColorCamera | None:
    """Read intrinsics and, beside them, `color_from_depth.txt`; None without the first.

    Raises:
      InputError: for files that hold no such matrices.
    """
    if path is None or not path.exists():
        return None
    place = path.with_name("color_from_depth.txt")
    if place.exists():
        try:
            return ColorCamera(read_intrinsics(path), read_pose(place))
        except BadFrame as error:  # it would be every frame
            raise InputError(str(error)) from error
    logging.warning(
        "colour and depth differ in shape, and no %s tells where the colour camera is: "
        "it is taken to be where the depth camera is.",
        place,
    )
    return ColorCamera(read_intrinsics(path), np.eye(4))


def missing_for(
    camera: ColorCamera | None, color_wh: tuple[int, int], depth_wh: tuple[int, int]
) -> str | None:
    """Say what colour of another shape than depth must have; None where it has it."""
    if camera is None:
        return "the depth's shape, {} x {} (within 2 %)".format(*depth_wh)
    if not is_central(camera.intrinsics, color_wh):
        size = 2 * camera.intrinsics[:2, 2] + 1
        return "the size of its intrinsics, about {:.0f} x {:.0f}".format(*size)
    return None


def color_of_depth(
    rgb: UInt8[np.ndarray, "h w 3"],
    camera: ColorCamera,
    depth_m: Float32[np.ndarray, "H W"],
    intrinsics: Float[np.ndarray, "3 3"],
    interpolation: ColorInterpolation,
) -> tuple[UInt8[np.ndarray, "H W 3"], Float32[np.ndarray, "H W"]]:
    """Look up the colour of what each depth pixel sees.

    Args:
      rgb: what the colour camera saw.
      camera: its intrinsics and place.
      depth_m: metres, 0 = no reading.
      intrinsics: of the depth image.
      interpolation: how colour of a higher resolution is made smaller first.

    Returns:
      Colour, black where the colour camera does not look; and the depth, 0 there. A
      pixel without a reading gets the colour far along its ray.
    """
    height, width = rgb.shape[:2]
    scale = min(1.0, float(intrinsics[0, 0] / camera.intrinsics[0, 0]))
    size_wh = max(1, round(width * scale)), max(1, round(height * scale))
    matrix = scale_intrinsics(camera.intrinsics, (width, height), size_wh)
    rgb = resize_color(rgb, size_wh, interpolation)
    v, u = np.indices(depth_m.shape)
    x = (u - intrinsics[0, 2]) / intrinsics[0, 0]
    y = (v - intrinsics[1, 2]) / intrinsics[1, 1]
    z = depth_m.astype(np.float64)
    moved = camera.color_from_depth
    # Homogeneous: without a reading, the point at infinity.
    weight = np.where(z > 0, 1.0, 0.0)
    z = np.where(z > 0, z, 1.0)
    at = [
        z * (x * moved[i, 0] + y * moved[i, 1] + moved[i, 2]) + weight * moved[i, 3]
        for i in range(3)
    ]
    front = at[2] > 1e-6
    depth = np.where(front, at[2], 1.0)
    column = np.rint(at[0] / depth * matrix[0, 0] + matrix[0, 2])
    row = np.rint(at[1] / depth * matrix[1, 1] + matrix[1, 2])
    seen = front & (column >= 0) & (column < size_wh[0])
    seen &= (row >= 0) & (row < size_wh[1])
    colors = np.zeros((*depth_m.shape, 3), np.uint8)
    colors[seen] = rgb[row[seen].astype(np.intp), column[seen].astype(np.intp)]
    return colors, np.where(seen, depth_m, np.float32(0))
