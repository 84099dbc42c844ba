"""Camera paths of a hand-held scan, and the camera of the embedded rooms.

A walk leads through the free floor past *stops*, some of them close to an object. At a
stop the camera turns through one or more views, chosen so that together they show
everything. Between these *keys* position, height and direction change
smoothly. Frames are spread evenly over the walk, so a few frames already show
different parts of the room and many frames form a smooth film.

Poses are `world_from_camera` with OpenCV axes (x right, y down, z forward).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from sas_jax.errors import InputError
from sas_jax.rooms.geometry.cast import Caster
from sas_jax.rooms.layout import Room
from sas_jax.rooms.scan.walk import FreeFloor, Routes, free_floor, routes, spread_cells

EYE_M = (1.2, 1.75)
DOWN_RAD = (np.deg2rad(4.0), np.deg2rad(30.0))
FOCAL_PER_WIDTH = 288.9 / 320.0
_VIEW_M = 4.5
_VIEWS = 24
_STEPS_PER_LEG = 24


@dataclass(frozen=True)
class Key:
    """A view that the path passes through: stop, yaw and downward angle, eye height."""

    stop: int
    yaw: float
    down: float
    eye_m: float


def default_intrinsics(
    size_wh: tuple[int, int] = (320, 240),
) -> Float[np.ndarray, "3 3"]:
    """Return the pinhole matrix of a 58 degree camera, integer pixel centres.

    Args:
      size_wh: width and height in pixels.

    Returns:
      f64 [3, 3]; 320 x 240 has focal length 288.9 and centre (159.5, 119.5).
    """
    width, height = size_wh
    focal = FOCAL_PER_WIDTH * width
    return np.array(
        [[focal, 0.0, (width - 1) / 2], [0.0, focal, (height - 1) / 2], [0.0, 0.0, 1.0]]
    )


def look(
    eye: Float[np.ndarray, "N 3"],
    yaw: Float[np.ndarray, " N"],
    down: Float[np.ndarray, " N"],
    roll: Float[np.ndarray, " N"] | float = 0.0,
) -> Float[np.ndarray, "N 4 4"]:
    """Return poses from positions and angles.

    Args:
      eye: f64, camera positions in metres.
      yaw: f64, radians; 0 looks along +x, pi / 2 along +y.
      down: f64, radians below the horizon.
      roll: f64, radians, positive turns the image's right side down.

    Returns:
      world_from_camera, f64.
    """
    zero = np.zeros_like(yaw)
    forward = np.stack(
        [np.cos(yaw) * np.cos(down), np.sin(yaw) * np.cos(down), -np.sin(down)], -1
    )
    level = np.stack([np.sin(yaw), -np.cos(yaw), zero], -1)
    below = np.cross(forward, level)
    c, s = np.cos(roll + zero)[..., None], np.sin(roll + zero)[..., None]
    pose = np.tile(np.eye(4), (len(eye), 1, 1))
    pose[:, :3, 0] = c * level + s * below
    pose[:, :3, 1] = c * below - s * level
    pose[:, :3, 2] = forward
    pose[:, :3, 3] = eye
    return pose


def camera_path(
    room: Room, rng: np.random.Generator, num_frames: int
) -> Float[np.ndarray, "N 4 4"]:
    """Walk through a room and look at everything.

    Args:
      room: to be scanned.
      rng: source of every random choice.
      num_frames: number of poses, at least 1.

    Returns:
      world_from_camera, f64 [num_frames, 4, 4]; eyes 1.2 to 1.75 m above the floor, 4
      to 30 degrees down, never inside the box of an object. Deterministic.

    Raises:
      InputError: for `num_frames` < 1, or a room without free floor.
    """
    if num_frames < 1:
        raise InputError(
            f"camera_path: num_frames must be at least 1, got {num_frames}. "
            "Ask for one frame or more."
        )
    floor = free_floor(room, EYE_M[1])
    caster = Caster(room.joined.mesh.vertices, room.joined.mesh.faces)
    num_stops = int(np.clip(round(room.size_m[0] * room.size_m[1] / 2.0), 5, 10))
    near = _close_up_cells(room, floor, rng)
    stops = np.concatenate([spread_cells(floor, num_stops, rng), near])
    ways = routes(floor, stops)
    keys = _choose_keys(room, floor, ways, caster, rng)
    return _film(floor, ways, keys, rng, num_frames)


def _close_up_cells(
    room: Room, floor: FreeFloor, rng: np.random.Generator
) -> np.ndarray:
    """Return the free cells nearest to a few objects."""
    things = room.furniture()
    count = min(len(things), 4)
    picked: Iterable[int] = (
        rng.choice(len(things), count, replace=False) if count else []
    )
    cells = [floor.nearest(things[int(i)].box.mean(0)[:2]) for i in picked]
    return np.array(cells, int)


def _interest(room: Room, rng: np.random.Generator) -> Float[np.ndarray, "M 3"]:
    """Draw surface points: the same number for every object, more on the shell."""
    points = []
    for placed in room.objects:
        area = placed.mesh.areas()
        count = {"floor": 150, "wall": 50}.get(placed.class_name, 16)
        face = rng.choice(len(area), count, p=area / area.sum())
        corners = placed.mesh.vertices[placed.mesh.faces[face]]
        weight = rng.dirichlet(np.ones(3), count)
        points.append((corners * weight[:, :, None]).sum(1))
    return np.concatenate(points)


def _in_view(
    offset: Float[np.ndarray, "M 3"], yaw: float, down: float
) -> Bool[np.ndarray, " M"]:
    """Tell which offsets from the eye fall into the image."""
    axes = look(np.zeros((1, 3)), np.array([yaw]), np.array([down]))[0, :3, :3]
    x, y, z = (offset @ axes).T
    half = 0.5 / FOCAL_PER_WIDTH
    return (z > 0.1) & (np.abs(x) < half * z) & (np.abs(y) < 0.75 * half * z)


def _views(
    ground_m: Float[np.ndarray, "S 2"],
    points: Float[np.ndarray, "M 3"],
    caster: Caster,
    rng: np.random.Generator,
) -> tuple[list[Key], Bool[np.ndarray, "N M"]]:
    """Return possible views, `_VIEWS` a stop, and which points each of them shows."""
    keys, shown = [], []
    for stop, place in enumerate(ground_m):
        eye_m = float(rng.uniform(*EYE_M))
        offset = points - np.array([*place, eye_m])
        near = np.sqrt((offset**2).sum(1)) < _VIEW_M
        eyes = np.tile([*place, eye_m], (len(points), 1))
        clear = near & ~caster.blocked(eyes, offset, 0.98)
        start = rng.uniform(0.0, 2 * np.pi)
        for view in range(_VIEWS):
            down = float(rng.uniform(*DOWN_RAD) if view % 2 else DOWN_RAD[1])
            key = Key(stop, float(start + view * 2 * np.pi / _VIEWS), down, eye_m)
            keys.append(key)
            shown.append(clear & _in_view(offset, key.yaw, down))
    return keys, np.array(shown)


def _choose_keys(
    room: Room,
    floor: FreeFloor,
    ways: Routes,
    caster: Caster,
    rng: np.random.Generator,
) -> list[Key]:
    """Choose one view a stop and more until nearly everything is seen, in tour order.

    Always the view is taken that shows most points not seen so far.
    """
    points = _interest(room, rng)
    keys, shown = _views(floor.position_m(floor.cells[ways.stops]), points, caster, rng)
    # A point counts less with every view of it, but bare walls never win.
    worth = np.ones(len(points))
    tour = ways.tour()
    chosen: list[list[Key]] = [[] for _ in tour]
    for turn in range(3 * len(tour)):
        gain = shown @ worth
        if turn < len(tour):
            of_stop = np.arange(len(keys)) // _VIEWS == tour[turn]
            gain = np.where(of_stop, gain, -1.0)
        best = int(np.argmax(gain))
        if turn >= len(tour) and gain[best] < 0.006 * len(points):
            break
        worth[shown[best]] *= 0.15
        chosen[keys[best].stop].append(keys[best])
    return [key for stop in tour for key in sorted(chosen[stop], key=lambda k: k.yaw)]


def _wobble(rng: np.random.Generator, steps: int, size: float) -> np.ndarray:
    """Return the smooth random motion of a hand, about `size` large."""
    knots = rng.normal(0.0, size, max(2, steps // 6) + 1)
    return np.interp(
        np.linspace(0, len(knots) - 1, steps), np.arange(len(knots)), knots
    )


def _film(
    floor: FreeFloor,
    ways: Routes,
    keys: list[Key],
    rng: np.random.Generator,
    num_frames: int,
) -> Float[np.ndarray, "N 4 4"]:
    """Interpolate the keys and pick frames evenly."""
    ground, angles = [], []
    for a, b in zip(keys, keys[1:] + keys[-1:], strict=True):
        cells = floor.position_m(floor.cells[ways.walk(a.stop, b.stop)])
        part = np.linspace(0.0, 1.0, _STEPS_PER_LEG, endpoint=False)
        knots = np.linspace(0.0, 1.0, len(cells))
        ground.append(np.stack([np.interp(part, knots, axis) for axis in cells.T], 1))
        turn = (b.yaw - a.yaw + np.pi) % (2 * np.pi) - np.pi
        change = np.array([turn, b.down - a.down, b.eye_m - a.eye_m])
        ease = part * part * (3.0 - 2.0 * part)
        angles.append(np.array([a.yaw, a.down, a.eye_m]) + ease[:, None] * change)
    walked = np.concatenate(ground)
    smooth = ndimage.gaussian_filter1d(walked, 5.0, axis=0, mode="nearest")
    # A smoothed corner may cut through furniture: walk around it there.
    walked = np.where(floor.contains(smooth)[:, None], smooth, walked)
    yaw, down, eye_m = np.concatenate(angles).T
    steps = len(yaw)
    yaw = yaw + _wobble(rng, steps, 0.03)
    down = np.clip(down + _wobble(rng, steps, 0.02), *DOWN_RAD)
    eye_m = np.clip(eye_m + _wobble(rng, steps, 0.01), *EYE_M)
    roll = _wobble(rng, steps, 0.02)
    poses = look(np.column_stack([walked, eye_m]), yaw, down, roll)
    last = steps - _STEPS_PER_LEG
    phase = rng.random() if num_frames > 1 else 0.5
    picked = (np.arange(num_frames) + phase) * (last / num_frames)
    return poses[picked.astype(int)]
