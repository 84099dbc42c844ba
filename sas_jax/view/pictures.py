"""Pictures of point clouds: an outside view of a room, splatted with a z-buffer.

Colours are sRGB u8. Cameras follow OpenCV (x right, y down, z forward); the world's
z axis points up.
"""

import itertools
from collections.abc import Sequence

import matplotlib
import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image, ImageDraw, ImageFont

from sas_jax.view.cutaway import Cutaway, cutaway

BACKGROUND = (255, 255, 255)


def heat_colors(
    values: Float[np.ndarray, " P"], *, low: float = 0.0, high: float = 1.0
) -> UInt8[np.ndarray, "P 3"]:
    """Map values to the `turbo` colours; `low` and below is dark blue, `high` red."""
    scaled = np.clip((values - low) / max(high - low, 1e-9), 0, 1)
    rgba = matplotlib.colormaps["turbo"](scaled)
    return np.round(rgba[:, :3] * 255).astype(np.uint8)


def outside_view(
    points: Float[np.ndarray, "P 3"],
    *,
    azimuth_deg: float,
    elevation_deg: float = 40.0,
    lens_deg: float = 40.0,
    size_wh: tuple[int, int] = (640, 480),
) -> tuple[Float[np.ndarray, "4 4"], Float[np.ndarray, "3 3"]]:
    """Place a camera outside the cloud so that all of it is in the picture.

    Args:
      points: metres, at least one.
      azimuth_deg: direction from the centre to the camera, counter-clockwise from +x.
      elevation_deg: height of the camera above the horizon, below 90.
      lens_deg: angle of view; one degree is as good as a parallel projection.
      size_wh: picture size in pixels.

    Returns:
      `world_from_camera` and `intrinsics`.
    """
    low, high = np.percentile(points, [0.5, 99.5], axis=0)
    centre, half = (low + high) / 2, np.maximum((high - low) / 2, 0.05)
    azimuth, elevation = np.deg2rad([azimuth_deg, elevation_deg])
    outward = np.array(
        [
            np.cos(azimuth) * np.cos(elevation),
            np.sin(azimuth) * np.cos(elevation),
            np.sin(elevation),
        ]
    )
    forward = -outward
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    focal = min(size_wh) / 2 / np.tan(np.deg2rad(lens_deg / 2))
    # Every corner of the box asks for a distance at which it is inside the picture.
    signs = np.array(list(itertools.product((-1, 1), repeat=3)))
    corner = (signs * half) @ pose[:3, :3]
    wanted = np.abs(corner[:, :2]) * focal / (np.array(size_wh) / 2) - corner[:, 2:]
    pose[:3, 3] = centre + outward * 1.04 * wanted.max()
    intrinsics = np.array(
        [[focal, 0, (size_wh[0] - 1) / 2], [0, focal, (size_wh[1] - 1) / 2], [0, 0, 1]]
    )
    return pose, intrinsics


def render_points(
    points: Float[np.ndarray, "P 3"],
    colors: UInt8[np.ndarray, "P 3"],
    world_from_camera: Float[np.ndarray, "4 4"],
    intrinsics: Float[np.ndarray, "3 3"],
    size_wh: tuple[int, int],
    *,
    opened: Cutaway | None = None,
    spacing_m: float = 0.04,
) -> UInt8[np.ndarray, "H W 3"]:
    """Splat points as squares of about their spacing, nearest first.

    Args:
      points: metres.
      colors: sRGB.
      world_from_camera: camera pose.
      intrinsics: pinhole matrix for `size_wh`.
      size_wh: picture size in pixels.
      opened: what is in the way and left out; the rest is shaded. None draws all.
      spacing_m: distance between neighbouring points, metres.

    Returns:
      The picture; white where no point falls.
    """
    width, height = size_wh
    rotation, origin = world_from_camera[:3, :3], world_from_camera[:3, 3]
    local = (points - origin) @ rotation
    keep = local[:, 2] > 0.05
    shade = np.ones(len(points))
    if opened is not None:
        towards = origin - points
        towards /= np.linalg.norm(towards, axis=1, keepdims=True)
        keep &= opened.shown(towards)
        # Of what has no normal nothing is known: it is drawn as if it faced the camera.
        facing = np.abs(np.einsum("pi,pi->p", opened.normals, towards))
        shade = 0.55 + 0.45 * np.where(opened.normals.any(axis=1), facing, 1)
    local, shade, colors = local[keep], shade[keep], colors[keep]
    if not len(local):
        return np.full((height, width, 3), BACKGROUND, np.uint8)
    focal = intrinsics[0, 0]
    col = np.round(intrinsics[0, 0] * local[:, 0] / local[:, 2] + intrinsics[0, 2])
    row = np.round(intrinsics[1, 1] * local[:, 1] / local[:, 2] + intrinsics[1, 2])
    radius = int(
        np.clip(np.ceil(0.5 * spacing_m * focal / np.median(local[:, 2])), 1, 6)
    )
    shaded = (colors * shade[:, None]).astype(np.uint8)
    return _splat(row, col, local[:, 2], shaded, radius, (height, width))


def _splat(row, col, depth, colors, radius, shape) -> UInt8[np.ndarray, "H W 3"]:
    height, width = shape
    order = np.argsort(-depth, kind="stable")  # far points first: near ones overwrite
    row, col = row[order].astype(np.int64), col[order].astype(np.int64)
    owner = np.full(height * width, -1, np.int64)
    rank = np.arange(len(order))
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            y, x = row + dy, col + dx
            inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
            np.maximum.at(owner, (y * width + x)[inside], rank[inside])
    image = np.full((height * width, 3), BACKGROUND, np.uint8)
    covered = owner >= 0
    image[covered] = colors[order[owner[covered]]]
    return image.reshape(height, width, 3)


def render_views(
    points: Float[np.ndarray, "P 3"],
    colors: UInt8[np.ndarray, "P 3"],
    *,
    normals: Float[np.ndarray, "P 3"] | None = None,
    faces: Int[np.ndarray, "F 3"] | None = None,
    azimuths_deg: Sequence[float] = (45.0, 225.0),
    size_wh: tuple[int, int] = (640, 480),
    spacing_m: float = 0.04,
) -> list[UInt8[np.ndarray, "H W 3"]]:
    """Render a cloud from outside, one picture per azimuth, without what is in the way.

    Args:
      points: metres, z up.
      colors: sRGB.
      normals: of either side, or None; see `cutaway`.
      faces: of the points, or None.
      azimuths_deg: see `outside_view`.
      size_wh: of each picture, pixels.
      spacing_m: distance between neighbouring points, metres.
    """
    opened, pictures = cutaway(points, normals, faces), []
    for azimuth in azimuths_deg:
        pose, intrinsics = outside_view(points, azimuth_deg=azimuth, size_wh=size_wh)
        pictures.append(
            render_points(
                points,
                colors,
                pose,
                intrinsics,
                size_wh,
                opened=opened,
                spacing_m=spacing_m,
            )
        )
    return pictures


def contact_sheet(
    images: Sequence[UInt8[np.ndarray, "H W 3"]],
    columns: int,
    *,
    captions: Sequence[str] | None = None,
    caption_px: int = 18,
    gap: int = 4,
) -> UInt8[np.ndarray, "H W 3"]:
    """Arrange equally large pictures in rows, each with an optional caption below."""
    if not images:
        return np.full((1, 1, 3), 255, np.uint8)
    height, width = images[0].shape[:2]
    text = round(1.4 * caption_px) if captions else 0
    rows = -(-len(images) // columns)
    sheet = Image.new(
        "RGB",
        (columns * (width + gap) - gap, rows * (height + text + gap) - gap),
        BACKGROUND,
    )
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(caption_px)
    for index, image in enumerate(images):
        x = index % columns * (width + gap)
        y = index // columns * (height + text + gap)
        sheet.paste(Image.fromarray(image), (x, y))
        if captions:
            draw.text((x + 2, y + height), captions[index], (0, 0, 0), font=font)
    return np.asarray(sheet)
