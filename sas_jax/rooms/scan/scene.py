"""Scan one room and write it to disk, all or nothing.

A scene is written into a hidden temporary folder, flushed, and renamed as a whole, so
a folder with the scene's name is complete. Its manifest holds the content key of the
room and the settings, and the size of every file: an unchanged scene is skipped, a
damaged one is made again.
"""

import os
import pathlib
import shutil
from dataclasses import dataclass
from typing import Any

import numpy as np

from sas_jax.artefacts.files import content_key, read_json, write_json
from sas_jax.artefacts.versions import decided_by
from sas_jax.errors import DamagedFile, InputError
from sas_jax.rooms.layout import Room
from sas_jax.rooms.render.renderer import Renderer
from sas_jax.rooms.scan.camera import camera_path, default_intrinsics
from sas_jax.rooms.scan.config import WriteConfig
from sas_jax.rooms.scan.scannet_files import (
    write_annotations,
    write_cameras,
    write_frame,
    write_mesh,
)
from sas_jax.rooms.scan.sensor import apply_sensor
from sas_jax.rooms.scan.surface import scan_surface

SCHEMA = "sas_jax.room_scene/1"
_MANIFEST = "manifest.json"


@dataclass(frozen=True)
class SceneSummary:
    """What a written scene holds; one row of a table."""

    name: str
    kind: str
    num_frames: int
    num_points: int
    num_objects: int
    megabytes: float
    written: bool


def scene_key(room: Room, config: WriteConfig) -> str:
    """Return the content key of a scene: its geometry, lights and settings."""
    joined = room.joined
    return content_key(
        {
            "schema": SCHEMA,
            "made_by": decided_by(__name__),
            "seed": room.seed,
            "size_m": room.size_m,
            "mesh": joined.mesh,
            "face_class": joined.face_class,
            "face_instance": joined.face_instance,
            "lights": room.lights,
            "ambient": room.ambient,
            "config": config,
        }
    )


def is_finished(folder: str | os.PathLike, key: str | None = None) -> bool:
    """Tell whether a folder holds a complete scene (made from `key`, if given)."""
    folder = pathlib.Path(folder)
    try:
        manifest = read_json(folder / _MANIFEST, schema=SCHEMA)
    except (DamagedFile, InputError):
        return False
    if key is not None and manifest["key"] != key:
        return False
    return all(
        (folder / name).is_file() and (folder / name).stat().st_size == size
        for name, size in manifest["files"].items()
    )


def write_scene(
    room: Room, folder: str | os.PathLike, config: WriteConfig | None = None
) -> SceneSummary:
    """Scan a room and write it in ScanNet's layout.

    Args:
      room: what to scan.
      folder: `<root>/scans/<id>`; its name becomes the name of the scene.
      config: settings; None means the defaults.

    Returns:
      What the scene holds. Nothing is done for a finished scene of the same key.
      Deterministic: the same room and settings give the same bytes.

    Raises:
      InputError: when the disk is full or not writable, or the room has no free floor.
    """
    folder, config = pathlib.Path(folder), config or WriteConfig()
    key = scene_key(room, config)
    if is_finished(folder, key):
        facts = read_json(folder / _MANIFEST, schema=SCHEMA)["facts"]
        return SceneSummary(**facts, written=False)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        facts = _write_files(room, temporary, folder.name, config)
        sizes = {
            path.relative_to(temporary).as_posix(): path.stat().st_size
            for path in sorted(temporary.rglob("*"))
            if path.is_file()
        }
        facts["megabytes"] = round(sum(sizes.values()) / 1e6, 2)
        record = {"key": key, "files": sizes, "facts": facts}
        write_json(temporary / _MANIFEST, record, key=key, schema=SCHEMA)
        _flush(temporary)
        _replace_folder(temporary, folder)
    except OSError as error:
        raise InputError(
            f"write_scene: could not write ({folder}): {error.strerror or error}. "
            "Free disk space or check the permissions, then run the same command again."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return SceneSummary(**facts, written=True)


def _flush(folder: pathlib.Path) -> None:
    """Force every file and folder to disk before the rename makes them visible."""
    for path in [*sorted(folder.rglob("*")), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _replace_folder(temporary: pathlib.Path, folder: pathlib.Path) -> None:
    """Put the new scene in place of an outdated or damaged one."""
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old.tmp")
    if folder.exists():
        folder.rename(old)
    temporary.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _write_files(
    room: Room, folder: pathlib.Path, name: str, config: WriteConfig
) -> dict[str, Any]:
    """Write frames, mesh and annotations; return the facts of the summary."""
    streams = np.random.SeedSequence([room.seed, 7]).spawn(3)
    walk_rng, sensor_rng, noise_rng = (np.random.default_rng(s) for s in streams)
    renderer = Renderer(room)
    intrinsics = default_intrinsics(config.size_wh)
    walk = camera_path(room, walk_rng, config.num_frames * config.walk_factor)
    write_cameras(folder, name, intrinsics, config.size_wh, config.num_frames)
    for number, pose in enumerate(walk[:: config.walk_factor]):
        rendered = renderer.render(pose, intrinsics, config.size_wh)
        rgb, depth_m = apply_sensor(rendered, sensor_rng, config.sensor)
        write_frame(folder, number, rgb, depth_m, pose, config.jpeg_quality)
    mesh = scan_surface(
        room, renderer, walk, intrinsics, config.size_wh, noise_rng, config.surface
    )
    write_mesh(mesh, folder, name)
    write_annotations(room, mesh, folder, name)
    return {
        "name": name,
        "kind": room.kind,
        "num_frames": config.num_frames,
        "num_points": len(mesh.vertices),
        "num_objects": len(np.unique(mesh.instances)),
    }
