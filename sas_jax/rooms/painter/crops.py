"""Training images of the small diffusion model: small renders of rooms, with facts.

Each image is a square view aimed at one object (the *focus*) and zoomed until it
fills a good part of the image, or an ordinary wide view. Beside it stand the label of
every pixel, for measuring only, and what is visible, for captions.
N images of S x S pixels; labels are class indices, 255 = none.
"""

import dataclasses
import json
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int, UInt8

from sas_jax.artefacts import files
from sas_jax.errors import InputError
from sas_jax.rooms.layout import PlacedObject, Room, RoomConfig, make_room
from sas_jax.rooms.painter.captions import Seen
from sas_jax.rooms.render.renderer import Renderer

SCHEMA = "sas_jax.diffusion_crops/1"
_SHELL = ("wall", "floor")
_GLIMPSE = 24
_WIDE = 255


@dataclasses.dataclass(frozen=True)
class CropConfig:
    """How rooms are turned into training images.

    Attributes:
      image_size: S; larger than the network's, training takes random windows.
      supersample: rays per pixel edge; averaged.
      focus_fraction: least and most share of the image that the focus class covers.
      fill: range of the focus's extent relative to the image's edge.
      shift: the camera aims at most this share of the focus's extent off its middle.
      fov_deg: range of the field of view.
      eye_m: range of the camera's height.
      per_class: images with one focus class in one room.
      wide: ordinary views per room.
      attempts: cameras tried per image.
    """

    image_size: int = 80
    supersample: int = 2
    focus_fraction: tuple[float, float] = (0.1, 0.85)
    fill: tuple[float, float] = (0.45, 1.1)
    shift: float = 0.3
    fov_deg: tuple[float, float] = (18.0, 75.0)
    eye_m: tuple[float, float] = (0.9, 1.7)
    per_class: int = 2
    wide: int = 3
    attempts: int = 6


@dataclasses.dataclass(frozen=True)
class Crops:
    """Hold training images.

    Attributes:
      images: uint8 [N, S, S, 3].
      labels: uint8 [N, S, S].
      focus: uint8 [N], class index of the focus, 255 for a wide view.
      seen: per image the visible things; the focus (or the largest) is first.
      key: content key of what they were made from; empty where nobody gave one.
    """

    images: UInt8[np.ndarray, "N S S 3"]
    labels: UInt8[np.ndarray, "N S S"]
    focus: UInt8[np.ndarray, " N"]
    seen: list[list[Seen]]
    key: str = ""

    def draw(
        self, rng: np.random.Generator, count: int, wide: float = 0.2
    ) -> Int[np.ndarray, " count"]:
        """Draw rows; every focus class is equally likely.

        Args:
          rng: source of the draw.
          count: number of rows.
          wide: share of the wide views.
        """
        kinds, inverse = np.unique(self.focus, return_inverse=True)
        order = np.argsort(inverse, kind="stable")
        start = np.searchsorted(inverse[order], np.arange(len(kinds)))
        size = np.bincount(inverse)
        focused = kinds != _WIDE
        odds = np.where(focused, (1 - wide) / max(1, focused.sum()), wide)
        kind = rng.choice(len(kinds), size=count, p=odds / odds.sum())
        return order[start[kind] + (rng.random(count) * size[kind]).astype(np.int64)]

    def write(self, path: files.PathLike) -> None:
        """Write everything to one safetensors file with its sidecar."""
        seen = [[dataclasses.astuple(thing) for thing in row] for row in self.seen]
        facts = np.frombuffer(json.dumps(seen).encode(), np.uint8)
        tensors = {
            "images": self.images,
            "labels": self.labels,
            "focus": self.focus,
            "seen": facts,
        }
        files.write_tensors(path, tensors, key=self.key, schema=SCHEMA)


def read_crops(path: files.PathLike) -> Crops:
    """Read what `Crops.write` wrote; raises like `files.read_tensors`."""
    tensors, meta = files.read_tensors(path, schema=SCHEMA)
    seen = [
        [Seen(*thing) for thing in row] for row in json.loads(tensors["seen"].tobytes())
    ]
    images, labels, focus = (tensors[name] for name in ("images", "labels", "focus"))
    return Crops(images, labels, focus, seen, meta["key"])


def crops_key(
    seeds: Sequence[int],
    config: CropConfig | None = None,
    room: RoomConfig | None = None,
) -> str:
    """Return the content key of what `make_crops` makes of the same arguments."""
    return files.content_key(
        [list(seeds), config or CropConfig(), room or RoomConfig()]
    )


def make_crops(
    seeds: Sequence[int],
    config: CropConfig | None = None,
    room: RoomConfig | None = None,
    *,
    progress: Callable[[int], None] | None = None,
) -> Crops:
    """Render the training images of many rooms.

    Args:
      seeds: room seeds, from `scan.FIRST_PRETRAINING_SEED` on.
      config: what to render; None means the defaults.
      room: which rooms; None means the defaults.
      progress: called with the number of images after each room.

    Returns:
      The images.

    Raises:
      InputError: when not one image could be made.

    Deterministic: yes, for the same seeds and configurations.
    """
    config = config or CropConfig()
    rows: list[tuple] = []
    for seed in seeds:
        rows.extend(_room_crops(make_room(seed, room), config))
        if progress:
            progress(len(rows))
    if not rows:
        raise InputError(
            "make_crops: at least one image is needed, got 0. Give more room seeds."
        )
    images, labels, focus, seen = zip(*rows, strict=True)
    return Crops(
        np.stack(images),
        np.stack(labels),
        np.array(focus, np.uint8),
        list(seen),
        crops_key(seeds, config, room),
    )


def _room_crops(room: Room, config: CropConfig) -> list[tuple]:
    rng = np.random.default_rng([room.seed, 0x43726F70])
    renderer = Renderer(room)
    by_class: dict[str, list[PlacedObject]] = {}
    for placed in room.objects:
        by_class.setdefault(placed.class_name, []).append(placed)
    rows = []
    for placed_objects in by_class.values():
        for _ in range(config.per_class):
            target = placed_objects[int(rng.integers(len(placed_objects)))]
            row = _focused(room, renderer, target, rng, config)
            if row is not None:
                rows.append(row)
    rows.extend(_wide(room, renderer, rng, config) for _ in range(config.wide))
    return rows


def _focused(room, renderer, target: PlacedObject, rng, config) -> tuple | None:
    low, high = config.focus_fraction
    shell = target.class_name in _SHELL
    for _ in range(config.attempts):
        eye = room.sample_free_position(rng, float(rng.uniform(*config.eye_m)))
        if not shell and not _from_front(target, eye, rng):
            continue
        box = target.box.astype(np.float64)
        if shell:
            aim = rng.uniform(box[0], box[1])
            zoom = np.deg2rad(rng.uniform(40.0, config.fov_deg[1]))
        else:
            shift = rng.uniform(-config.shift, config.shift, 3)
            aim = box.mean(0) + shift * (box[1] - box[0])
            zoom = _zoom(eye, aim, box, rng, config)
        pose = look_at(eye, aim, float(rng.normal(0.0, 0.03)))
        # a thumbnail tells in a thirtieth of the time whether the view will do
        glimpse = renderer.render(pose, _intrinsics(_GLIMPSE, zoom), (_GLIMPSE,) * 2)
        fraction = float((glimpse.label == target.class_index).mean())
        if low <= fraction <= (0.97 if shell else high):
            return _shoot(room, renderer, pose, zoom, target.class_index, config)
    return None


def _from_front(target: PlacedObject, eye, rng) -> bool:
    """Keep views of the front; a quarter of the views of free objects may be others."""
    facing = np.array([-np.sin(target.yaw), np.cos(target.yaw)])
    toward = eye[:2] - np.asarray(target.position_m[:2])
    cosine = float(facing @ toward) / max(float(np.linalg.norm(toward)), 1e-6)
    free = target.object.placement == "floor"
    return cosine > 0.3 or (free and rng.random() < 0.25)


def _zoom(eye, aim, box, rng, config) -> float:
    """Return the field of view in which the box fills the wanted part."""
    corners = np.array(np.meshgrid(*box.T, indexing="ij")).reshape(3, -1).T
    local = (corners - eye) @ look_at(eye, aim, 0.0)[:3, :3]
    depth = np.maximum(local[:, 2], 0.2)
    extent = float(np.abs(local[:, :2] / depth[:, None]).max())
    tangent = extent / rng.uniform(*config.fill)
    low, high = np.deg2rad(config.fov_deg)
    return float(np.clip(2 * np.arctan(tangent), low, high))


def _wide(room, renderer, rng, config) -> tuple:
    eye = room.sample_free_position(rng, float(rng.uniform(*config.eye_m)))
    middle = np.array([room.size_m[0] / 2, room.size_m[1] / 2, 0.6])
    aim = middle + rng.uniform(-1.0, 1.0, 3) * np.array([1.2, 1.2, 0.4])
    if np.linalg.norm(aim[:2] - eye[:2]) < 0.5:
        aim[:2] = middle[:2]
    zoom = np.deg2rad(rng.uniform(55.0, config.fov_deg[1]))
    return _shoot(room, renderer, look_at(eye, aim, 0.0), zoom, None, config)


def _shoot(room, renderer, pose, zoom: float, focus: int | None, config) -> tuple:
    size, fine = config.image_size, config.image_size * config.supersample
    view = renderer.render(pose, _intrinsics(fine, zoom), (fine, fine))
    blocks = view.rgb.reshape(size, config.supersample, size, config.supersample, 3)
    image = blocks.mean((1, 3)).round().astype(np.uint8)
    pick = slice(config.supersample // 2, None, config.supersample)
    label = view.label[pick, pick].astype(np.uint8)
    seen = _seen(room, label, view.instance[pick, pick], focus)
    return image, label, _WIDE if focus is None else focus, seen


def _intrinsics(edge: int, fov: float) -> np.ndarray:
    focal, centre = edge / 2 / np.tan(fov / 2), (edge - 1) / 2
    return np.array([[focal, 0, centre], [0, focal, centre], [0, 0, 1]])


def _seen(room: Room, label, instance, focus: int | None) -> list[Seen]:
    """List the visible classes, each described by its most visible instance."""
    things: dict[int, tuple[int, Seen]] = {}
    objects = {placed.instance_id: placed for placed in room.objects}
    ids, counts = np.unique(instance[instance > 0], return_counts=True)
    for i, count in zip(ids, counts, strict=True):
        placed = objects[int(i)]
        index = placed.class_index
        if index not in things or count > things[index][0]:
            thing = placed.object
            fraction = float((label == index).mean())
            seen = Seen(thing.class_name, thing.noun, thing.color_name, fraction)
            things[index] = (int(count), seen)
    order = sorted(things, key=lambda k: (k != focus, -things[k][1].fraction, k))
    return [things[k][1] for k in order]


def look_at(
    eye: Float[np.ndarray, " 3"], aim: Float[np.ndarray, " 3"], roll: float
) -> Float[np.ndarray, "4 4"]:
    """Return `world_from_camera` (OpenCV axes) of a camera at `eye` facing `aim`."""
    forward = aim - eye
    forward = forward / max(float(np.linalg.norm(forward)), 1e-9)
    if abs(forward[2]) > 0.999:
        forward = np.array([0.03, 0.03, np.sign(forward[2])])
        forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    pose = np.eye(4)
    pose[:3, 0] = np.cos(roll) * right + np.sin(roll) * down
    pose[:3, 1] = np.cos(roll) * down - np.sin(roll) * right
    pose[:3, 2] = forward
    pose[:3, 3] = eye
    return pose
