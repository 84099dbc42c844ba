"""Labelled frames of generated rooms for training the small models, kept in shards.

A shard holds the frames of a few rooms as arrays and, per room, what every instance
is. Scenes of the pipeline have smaller seeds (see `scan`), so nothing that a teacher
is asked about later was seen here.
"""

import dataclasses
import json
import math
import pathlib
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float, UInt8

from sas_jax.artefacts.files import content_key, is_current, read_tensors, write_tensors
from sas_jax.errors import InputError
from sas_jax.rooms.scan.config import FIRST_PRETRAINING_SEED

IGNORE = 255
_SCHEMA = "sas_jax.rooms_frames/1"
_FOCAL = 288.9 / 320
"""Focal length of the rooms' camera in image widths."""


@dataclasses.dataclass(frozen=True)
class FramesConfig:
    """Say which frames to render.

    Attributes:
      first_seed: room seed of the first room; the others follow.
      num_rooms: number of rooms.
      path_views: frames per room along a camera path.
      object_views: frames per room that look at one object, with a random zoom.
      size_wh: frame size.
      rooms_per_shard: rooms in one file.
      designs: furniture, see `catalogue.named_designs`.
      version: raised when the generator's pictures change.
    """

    first_seed: int = FIRST_PRETRAINING_SEED
    num_rooms: int = 300
    path_views: int = 4
    object_views: int = 4
    size_wh: tuple[int, int] = (256, 192)
    rooms_per_shard: int = 20
    designs: str = "typical"
    version: int = 3

    def __post_init__(self) -> None:
        """Check that there is something to render."""
        if min(self.num_rooms, self.rooms_per_shard) < 1:
            raise InputError(
                "frames: at least 1 room is needed, got "
                f"{self.num_rooms} in shards of {self.rooms_per_shard}. "
                "Give more rooms."
            )


@dataclasses.dataclass(frozen=True)
class InstanceInfo:
    """Say what one instance of a room is.

    Attributes:
      class_index: index into the class names.
      design: design id in the catalogue; 0 for walls and floor.
      caption: colour and noun, e.g. "red armchair".
    """

    class_index: int
    design: int
    caption: str


@dataclasses.dataclass(frozen=True)
class RoomFrames:
    """Hold labelled frames of several rooms.

    Attributes:
      rgb: uint8 [n, H, W, 3] with sensor effects.
      label: uint8 [n, H, W]; 255 where nothing was hit.
      instance: uint8 [n, H, W]; 0 where nothing was hit.
      room: int32 [n], seed of each frame's room.
      instances: room seed -> instance id -> what it is.
      key: content key of what they were made from; empty where nobody gave one.
    """

    rgb: UInt8[np.ndarray, "n H W 3"]
    label: UInt8[np.ndarray, "n H W"]
    instance: UInt8[np.ndarray, "n H W"]
    room: np.ndarray
    instances: dict[int, dict[int, InstanceInfo]]
    key: str = ""


def shards(
    config: FramesConfig, folder: pathlib.Path
) -> Iterator[tuple[pathlib.Path, Callable[[], None]]]:
    """Yield every shard that is not on disk yet, and the call that makes it."""
    for first in range(0, config.num_rooms, config.rooms_per_shard):
        count = min(config.rooms_per_shard, config.num_rooms - first)
        seeds = range(config.first_seed + first, config.first_seed + first + count)
        path = _shard_path(config, folder, seeds[0])
        key = _shard_key(config, seeds)
        if not is_current(path, key):

            def make(path=path, key=key, seeds=seeds) -> None:
                _write(render_rooms(config, seeds), path, key)

            yield path, make


def load_frames(config: FramesConfig, folder: pathlib.Path) -> RoomFrames:
    """Read all shards of a configuration into memory.

    Raises:
      DamagedFile: when a shard is missing or changed.
    """
    parts = []
    for first in range(0, config.num_rooms, config.rooms_per_shard):
        parts.append(_read(_shard_path(config, folder, config.first_seed + first)))
    return RoomFrames(
        rgb=np.concatenate([p.rgb for p in parts]),
        label=np.concatenate([p.label for p in parts]),
        instance=np.concatenate([p.instance for p in parts]),
        room=np.concatenate([p.room for p in parts]),
        instances={k: v for p in parts for k, v in p.instances.items()},
        key=content_key(config),
    )


def render_rooms(config: FramesConfig, seeds: range) -> RoomFrames:
    """Make rooms and render their frames.

    Deterministic: every random choice derives from the room's seed.
    """
    from sas_jax.rooms.catalogue import named_designs
    from sas_jax.rooms.layout import RoomConfig, make_room
    from sas_jax.rooms.render.renderer import Renderer
    from sas_jax.rooms.scan.sensor import apply_sensor

    rooms = RoomConfig(designs=named_designs(config.designs))
    rgb, label, instance, owners, infos = [], [], [], [], {}
    for seed in seeds:
        room = make_room(seed, rooms)
        rng = np.random.default_rng([seed, 0x54726169])
        renderer = Renderer(room)
        for pose, intrinsics in _views(room, config, rng):
            rendered = renderer.render(pose, intrinsics, config.size_wh)
            rgb.append(apply_sensor(rendered, rng)[0])
            label.append(rendered.label.astype(np.uint8))
            instance.append(np.clip(rendered.instance, 0, IGNORE).astype(np.uint8))
            owners.append(seed)
        infos[seed] = {
            placed.instance_id: InstanceInfo(
                placed.class_index, placed.object.design, placed.object.caption
            )
            for placed in room.objects
        }
    return RoomFrames(
        np.stack(rgb),
        np.stack(label),
        np.stack(instance),
        np.array(owners, np.int32),
        infos,
    )


def _views(room, config: FramesConfig, rng: np.random.Generator):
    """Yield poses and intrinsics: a walk through the room, then looks at objects."""
    from sas_jax.rooms.scan.camera import camera_path

    for pose in camera_path(room, rng, config.path_views):
        yield pose, intrinsics(config.size_wh)
    targets = list(room.furniture())
    if not targets:
        return
    # Every class has the same chance, so that rare ones are seen as often.
    classes = sorted({placed.class_name for placed in targets})
    for _ in range(config.object_views):
        name = classes[rng.integers(len(classes))]
        same = [placed for placed in targets if placed.class_name == name]
        box = same[rng.integers(len(same))].box.astype(np.float64)
        eye = room.sample_free_position(rng, rng.uniform(1.0, 1.7))
        target = box[0] + rng.uniform(0.3, 0.7, 3) * (box[1] - box[0])
        size = float(np.linalg.norm(box[1] - box[0]))
        filling = _FOCAL * size / max(float(np.linalg.norm(target - eye)), 0.3)
        zoom = np.clip(rng.uniform(0.5, 1.1) / filling, 0.8, 3.0)
        yield look_at(eye, target), intrinsics(config.size_wh, zoom)


def intrinsics(size_wh: tuple[int, int], zoom: float = 1.0) -> Float[np.ndarray, "3 3"]:
    """Return the pinhole matrix of the rooms' camera at another size and zoom."""
    width, height = size_wh
    focal = _FOCAL * width * zoom
    return np.array(
        [[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1.0]]
    )


def look_at(
    eye: Float[np.ndarray, " 3"], target: Float[np.ndarray, " 3"]
) -> Float[np.ndarray, "4 4"]:
    """Return the upright camera pose at `eye` that has `target` in its centre.

    Args:
      eye: camera centre, metres, z up.
      target: another point, not straight above or below.

    Returns:
      f64 world_from_camera, OpenCV axes.
    """
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= max(math.hypot(*right), 1e-9)
    pose = np.eye(4)
    pose[:3, 0], pose[:3, 1] = right, np.cross(forward, right)
    pose[:3, 2], pose[:3, 3] = forward, eye
    return pose


def _shard_path(config: FramesConfig, folder: pathlib.Path, seed: int) -> pathlib.Path:
    return folder / f"rooms_{seed}.safetensors"


def _shard_key(config: FramesConfig, seeds: range) -> str:
    own = dataclasses.replace(config, first_seed=seeds[0], num_rooms=len(seeds))
    return content_key(own)


def _write(frames: RoomFrames, path: pathlib.Path, key: str) -> None:
    table = {
        seed: {i: dataclasses.astuple(info) for i, info in infos.items()}
        for seed, infos in frames.instances.items()
    }
    arrays = {name: getattr(frames, name) for name in ("rgb", "label", "instance")}
    write_tensors(
        path,
        {**arrays, "room": frames.room},
        key=key,
        schema=_SCHEMA,
        meta={"instances": json.dumps(table)},
    )


def _read(path: pathlib.Path) -> RoomFrames:
    tensors, meta = read_tensors(path, schema=_SCHEMA)
    table = {
        int(seed): {int(i): InstanceInfo(*row) for i, row in infos.items()}
        for seed, infos in json.loads(meta["instances"]).items()
    }
    names = ("rgb", "label", "instance", "room")
    rgb, label, instance, room = (tensors[name] for name in names)
    return RoomFrames(rgb, label, instance, room, table)
