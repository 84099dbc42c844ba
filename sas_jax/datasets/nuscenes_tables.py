"""The tables of nuScenes, joined: which files, poses and calibrations make a scan.

A version (`v1.0-mini/` ...) is thirteen JSON files of rows that name each other by
tokens, and `lidarseg.json` where the points have labels. Seven of them say what is
needed here; rows are read one by one, since the tables of the whole data set hold
millions. Numbers that belong to one shot (a sweep or an image) are checked when it is
used, so that a fault names the scan.
"""

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from sas_jax.artefacts.workspace import plain_name
from sas_jax.datasets.json_rows import damaged, rows_of
from sas_jax.errors import InputError

LIDAR = "LIDAR_TOP"
TABLES = (
    *("scene", "sample", "sample_data", "ego_pose"),
    *("calibrated_sensor", "sensor", "category"),
)
"""What must be there; `lidarseg` may."""
LABELS = "lidarseg"
CATEGORIES = (
    *("noise", "animal", "human.pedestrian.adult", "human.pedestrian.child"),
    *("human.pedestrian.construction_worker", "human.pedestrian.personal_mobility"),
    *("human.pedestrian.police_officer", "human.pedestrian.stroller"),
    *("human.pedestrian.wheelchair", "movable_object.barrier", "movable_object.debris"),
    *("movable_object.pushable_pullable", "movable_object.trafficcone"),
    *("static_object.bicycle_rack", "vehicle.bicycle", "vehicle.bus.bendy"),
    *("vehicle.bus.rigid", "vehicle.car", "vehicle.construction"),
    *("vehicle.emergency.ambulance", "vehicle.emergency.police", "vehicle.motorcycle"),
    *("vehicle.trailer", "vehicle.truck", "flat.driveable_surface", "flat.other"),
    *("flat.sidewalk", "flat.terrain", "static.manmade", "static.other"),
    *("static.vegetation", "vehicle.ego"),
)
"""Names of the lidarseg ids 0..31."""

_OF_SHOTS: dict[str, type] = {
    **{"token": str, "sample_token": str, "ego_pose_token": str},
    **{"calibrated_sensor_token": str, "filename": str, "timestamp": int},
    **{"is_key_frame": bool, "width": int, "height": int},
}
_Value = TypeVar("_Value")


@dataclasses.dataclass(frozen=True)
class Shot:
    """A sweep of the LiDAR or an image of a camera.

    Attributes:
      channel: name of the sensor.
      file: relative to the root.
      timestamp_us: when it was taken, microseconds.
      ego: translation (3, metres) and quaternion (w, x, y, z), world_from_ego then.
      mount: the same of ego_from_sensor.
      intrinsics: nine numbers of a camera's matrix, row by row; none of a LiDAR.
      size_wh: of the image that they are for.
    """

    channel: str
    file: str
    timestamp_us: int
    ego: tuple[float, ...]
    mount: tuple[float, ...]
    intrinsics: tuple[float, ...] = ()
    size_wh: tuple[int, int] = (0, 0)


@dataclasses.dataclass(frozen=True)
class Keyframe:
    """An annotated moment.

    Attributes:
      sweep: its row in `Drive.sweeps`.
      images: of the cameras, by channel.
      labels: file of one lidarseg id per point, relative to the root; None without.
    """

    sweep: int
    images: tuple[Shot, ...]
    labels: str | None


@dataclasses.dataclass(frozen=True)
class Drive:
    """What nuScenes calls a scene: 20 seconds, of which a moment is a scan here.

    Attributes:
      sweeps: all, by time.
      keyframes: by time.
    """

    sweeps: tuple[Shot, ...]
    keyframes: tuple[Keyframe, ...]


@dataclasses.dataclass(frozen=True)
class Version:
    """All drives of a version.

    Attributes:
      drives: by name, `scene-0061` ...
      lidarseg_ids: stored label -> id in `CATEGORIES`; they differ where the version's
        own `category` table counts in another order.
    """

    drives: Mapping[str, Drive]
    lidarseg_ids: tuple[int, ...]


def read_version(folder: pathlib.Path) -> Version:
    """Join the tables of a version.

    Args:
      folder: of the tables.

    Raises:
      InputError: for a missing or damaged table, and for a token without a row.

    Takes about a minute and 0.8 GB for v1.0-trainval, 2.6 million rows of sample_data.
    """
    names, samples = {}, {}
    for token, name in _rows(folder, "scene", token=str, name=str):
        names[token] = plain_name("the name of a scene", name)
    for token, scene in _rows(folder, "sample", token=str, scene_token=str):
        samples[token] = _of(names, scene, folder, "sample", "scene")
    shots, keyframes = _shots(folder, samples)
    labels = _label_files(folder)
    drives = {name: _drive(shots[name], keyframes[name], labels) for name in shots}
    return Version(drives, _lidarseg_ids(folder))


_Keyframes = dict[str, dict[str, list[tuple[str, Shot]]]]
"""Scene -> sample -> its keyframe shots with their tokens."""


def _shots(
    folder: pathlib.Path, samples: Mapping[str, str]
) -> tuple[dict[str, list[Shot]], _Keyframes]:
    """Return the sweeps of each scene, and what belongs to each of its keyframes."""
    mounts = _mounts(folder)
    taken: list[tuple] = []
    for row in _rows(folder, "sample_data", **_OF_SHOTS):
        channel, modality, *_ = _of(
            mounts, row[3], folder, "sample_data", "calibrated_sensor"
        )
        if channel == LIDAR or (modality == "camera" and row[6]):
            taken.append(row)
    wanted = {row[2] for row in taken}
    poses = {
        row[0]: (*row[1], *row[2])
        for row in _rows(folder, "ego_pose", token=str, translation=3, rotation=4)
        if row[0] in wanted
    }
    sweeps: dict[str, list[Shot]] = {name: [] for name in samples.values()}
    keyframes: _Keyframes = {name: {} for name in samples.values()}
    for token, sample, ego, mounted, file, time, is_keyframe, *size in taken:
        name = _of(samples, sample, folder, "sample_data", "sample")
        channel, _, mount, intrinsics = mounts[mounted]
        pose = _of(poses, ego, folder, "sample_data", "ego_pose")
        inside = _inside(file, folder)
        shot = Shot(channel, inside, time, pose, mount, intrinsics, tuple(size))
        if channel == LIDAR:
            sweeps[name].append(shot)
        if is_keyframe:
            keyframes[name].setdefault(sample, []).append((token, shot))
    return sweeps, keyframes


def _mounts(folder: pathlib.Path) -> dict[str, tuple]:
    """Return token -> channel, modality, place and intrinsics of a mounted sensor."""
    rows = _rows(folder, "sensor", token=str, channel=str, modality=str)
    sensors = {token: rest for token, *rest in rows}
    fields = {"token": str, "sensor_token": str, "translation": 3, "rotation": 4}
    mounts = {}
    for token, sensor, *place, matrix in _rows(
        folder, "calibrated_sensor", **fields, camera_intrinsic=list
    ):
        channel, modality = _of(sensors, sensor, folder, "calibrated_sensor", "sensor")
        try:
            numbers = tuple(float(v) for row in matrix for v in row)
            if len(numbers) not in (0, 9) or (modality == "camera" and not numbers):
                raise ValueError(f"{len(numbers)} numbers")
        except (TypeError, ValueError) as error:
            raise damaged(
                folder / "calibrated_sensor.json", f"camera_intrinsic: {error}"
            ) from error
        mounts[token] = channel, modality, (*place[0], *place[1]), numbers
    return mounts


def _drive(
    sweeps: list[Shot],
    keyframes: Mapping[str, list[tuple[str, Shot]]],
    labels: Mapping[str, str],
) -> Drive:
    ordered = sorted(sweeps, key=lambda shot: (shot.timestamp_us, shot.file))
    row_of = {shot.file: row for row, shot in enumerate(ordered)}
    found = []
    for shots in keyframes.values():
        lidar = [(token, shot) for token, shot in shots if shot.channel == LIDAR]
        images = [shot for _, shot in shots if shot.channel != LIDAR]
        images.sort(key=lambda shot: (shot.channel, shot.file))
        for token, shot in lidar[:1]:
            found.append(Keyframe(row_of[shot.file], tuple(images), labels.get(token)))
    found.sort(key=lambda keyframe: keyframe.sweep)
    return Drive(tuple(ordered), tuple(found))


def _label_files(folder: pathlib.Path) -> dict[str, str]:
    """Return token of a sweep -> file of its labels; empty without labels."""
    if not (folder / f"{LABELS}.json").exists():
        return {}
    rows = _rows(folder, LABELS, sample_data_token=str, filename=str)
    return {token: _inside(file, folder) for token, file in rows}


def _lidarseg_ids(folder: pathlib.Path) -> tuple[int, ...]:
    """Return stored label -> id, by the names that the version's own table gives."""
    path, plain = folder / "category.json", tuple(range(len(CATEGORIES)))
    if not (folder / f"{LABELS}.json").exists():
        return plain
    stored = {}
    for row in rows_of(path):
        # Tables from before lidarseg have no index.
        if not isinstance(row, dict) or "index" in row:
            index, name = _taken(row, {"index": int, "name": str}, path)
            if name not in CATEGORIES or not 0 <= index < len(CATEGORIES):
                raise damaged(path, f"category {index} {name!r}")
            stored[index] = CATEGORIES.index(name)
    return tuple(stored.get(index, index) for index in plain)


def _of(
    table: Mapping[str, _Value], token: str, folder: pathlib.Path, row: str, of: str
) -> _Value:
    """Return the row of a token in another table."""
    if token not in table:
        raise InputError(
            f"nuscenes: a row of {of}.json is required for each that {row}.json names, "
            f"got none with token {token!r} ({folder}). Take all tables of one "
            "version."
        )
    return table[token]


def _inside(file: str, folder: pathlib.Path) -> str:
    """Return the name of a file, which must lie below the root."""
    path = pathlib.PurePosixPath(file)
    if path.is_absolute() or ".." in path.parts or "\0" in file or not path.parts:
        raise damaged(folder, f"file name {file!r}")
    return file


def _rows(folder: pathlib.Path, table: str, **fields: Any) -> Iterator[tuple]:
    """Yield some fields of every row of a table; see `_taken`."""
    path = folder / f"{table}.json"
    return (_taken(row, fields, path) for row in rows_of(path))


def _taken(row: object, fields: Mapping[str, Any], path: pathlib.Path) -> tuple:
    """Return the fields of a row.

    Args:
      row: of a table.
      fields: name -> type, or how many numbers are in it.
      path: for the error.
    """
    values = []
    for name, kind in fields.items():
        value = row.get(name) if isinstance(row, dict) else None
        if isinstance(kind, int):
            numbers = value if isinstance(value, list) else []
            sound = len(numbers) == kind and all(
                isinstance(v, (int, float)) and not isinstance(v, bool) for v in numbers
            )
            value = tuple(numbers)
        else:
            sound = isinstance(value, kind)
        if not sound:
            wanted = f"{kind} numbers" if isinstance(kind, int) else kind.__name__
            raise damaged(path, f"{name} = {str(value)[:60]!r}, {wanted} wanted")
        values.append(value)
    return tuple(values)
