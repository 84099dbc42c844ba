"""A version of nuScenes as it is looked up: by scene, kept on disk once it was joined.

Joining the tables of the whole data set takes a minute, and every process of every
stage needs a few rows of the result. It is kept as one file for each scene.
"""

import dataclasses
import functools
import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from sas_jax.artefacts.files import (
    content_key,
    is_current,
    read_tensors,
    sha256_file,
    write_tensors,
)
from sas_jax.artefacts.stamps import Memo, stamps_of
from sas_jax.artefacts.versions import decided_by
from sas_jax.datasets.nuscenes_tables import (
    LABELS,
    TABLES,
    Drive,
    Keyframe,
    Shot,
    read_version,
)
from sas_jax.errors import InputError

_SCHEMA = "sas_jax.nuscenes_index/1"
_HEAD = "index.safetensors"


@dataclasses.dataclass(frozen=True)
class Index:
    """Where the scans of a version are.

    Attributes:
      scans: scene -> file of the sweep of each of its keyframes, relative to the root.
      lidarseg_ids: see `nuscenes_tables.Version`.
      drive: returns a scene by its name.
    """

    scans: Mapping[str, tuple[str, ...]]
    lidarseg_ids: tuple[int, ...]
    drive: Callable[[str], Drive]

    @functools.cached_property
    def place_of(self) -> dict[str, tuple[str, int]]:
        """File of a keyframe's sweep -> its scene and number."""
        return {
            file: (name, number)
            for name, files in self.scans.items()
            for number, file in enumerate(files)
        }


def index_of(tables: pathlib.Path, keep: pathlib.Path | None, memo: Memo) -> Index:
    """Return the index of a version, joined now where it is not kept or not current.

    Args:
      tables: folder of the version.
      keep: folder for the result; None keeps it in memory alone.
      memo: where checksums of the tables are remembered.

    Raises:
      InputError: as `read_version` does.
    """
    paths = [tables / f"{name}.json" for name in (*TABLES, LABELS)]
    stamps, _ = stamps_of(paths)
    return _index(tables, keep, memo, tuple(paths), stamps)


@functools.lru_cache(maxsize=4)
def _index(
    tables: pathlib.Path,
    keep: pathlib.Path | None,
    memo: Memo,
    paths: tuple[pathlib.Path, ...],
    stamps: str,
) -> Index:
    """Return the index; the stamps are there to tell apart what has changed."""
    if missing := [path for path in paths[:-1] if not path.is_file()]:
        raise InputError(
            f"nuscenes: the tables {', '.join(TABLES)} are required, got no "
            f"{missing[0].name} ({missing[0]}). Extract the metadata of "
            f"{tables.name} into {tables.parent}."
        )
    if keep is None:
        version = read_version(tables)
        return Index(
            {name: _scans(drive) for name, drive in version.drives.items()},
            version.lidarseg_ids,
            version.drives.__getitem__,
        )
    folder = keep / f"nuscenes-{tables.name}"
    sums = memo.value(f"nuscenes-{tables.name}", paths, lambda: _sums(paths))
    key = content_key([sums, decided_by(read_version.__module__)])
    if not is_current(folder / _HEAD, key):
        _write(tables, folder, key)
    found = _read_json(folder / _HEAD)
    return Index(
        {name: tuple(files) for name, files in found["scans"].items()},
        tuple(found["lidarseg_ids"]),
        functools.lru_cache(maxsize=32)(functools.partial(_read_drive, folder)),
    )


def _sums(paths: tuple[pathlib.Path, ...]) -> str:
    return content_key([path.is_file() and sha256_file(path) for path in paths])


def _write(tables: pathlib.Path, folder: pathlib.Path, key: str) -> None:
    version = read_version(tables)
    for name, drive in version.drives.items():
        _write_json(folder / f"{name}.safetensors", drive, key)
    scans = {name: _scans(drive) for name, drive in version.drives.items()}
    head = {"scans": scans, "lidarseg_ids": version.lidarseg_ids}
    _write_json(folder / _HEAD, head, key)


def _scans(drive: Drive) -> tuple[str, ...]:
    return tuple(drive.sweeps[frame.sweep].file for frame in drive.keyframes)


def _read_drive(folder: pathlib.Path, name: str) -> Drive:
    found = _read_json(folder / f"{name}.safetensors")
    keyframes = [
        Keyframe(row["sweep"], tuple(map(_shot, row["images"])), row["labels"])
        for row in found["keyframes"]
    ]
    return Drive(tuple(map(_shot, found["sweeps"])), tuple(keyframes))


def _shot(row: dict[str, Any]) -> Shot:
    values: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in row.items()
    }
    return Shot(**values)


def _write_json(path: pathlib.Path, value: object, key: str) -> None:
    """Write values as text in a tensor: the canonical form of `write_json` is slow."""
    text = json.dumps(value, default=vars).encode()
    rows = {"json": np.frombuffer(text, np.uint8)}
    write_tensors(path, rows, key=key, schema=_SCHEMA)


def _read_json(path: pathlib.Path) -> Any:
    tensors, _ = read_tensors(path, schema=_SCHEMA)
    return json.loads(tensors["json"].tobytes())
