"""Artefacts on disk: atomic writes, checksums, content keys and a workspace lock.

An artefact is either a safetensors file with a JSON sidecar (`<file>.json`) or one
JSON file. Both carry a schema name, the content key of everything that they were
made from, and a checksum. A file without a matching checksum is never read. Whether a
file is up to date is told by its stamp (see `artefacts.stamps`) where that stands, so
that skipping what is done does not read it.
"""

import contextlib
import dataclasses
import enum
import hashlib
import json
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from sas_jax.artefacts import stamps
from sas_jax.artefacts.owner import this_process
from sas_jax.errors import DamagedFile, InputError

PathLike = str | os.PathLike


def canonical(obj: Any) -> Any:
    """Turn dataclasses, paths, numpy scalars and sets into JSON values, keys sorted.

    Args:
      obj: nested configuration; arrays are replaced by the hash of their bytes.

    Returns:
      A value that `json.dumps(..., sort_keys=True)` writes the same way every time.

    Raises:
      TypeError: for an object with no canonical form, such as a function.
    """
    if dataclasses.is_dataclass(obj) and not isinstance(obj, type):
        return {
            f.name: canonical(getattr(obj, f.name)) for f in dataclasses.fields(obj)
        }
    if isinstance(obj, Mapping):
        return {str(k): canonical(v) for k, v in obj.items()}
    if isinstance(obj, (list, tuple)):
        return [canonical(v) for v in obj]
    if isinstance(obj, (set, frozenset)):
        return sorted(canonical(v) for v in obj)
    if isinstance(obj, np.ndarray):
        digest = hashlib.sha256(np.ascontiguousarray(obj).tobytes()).hexdigest()
        return {"dtype": str(obj.dtype), "shape": list(obj.shape), "sha256": digest}
    if isinstance(obj, np.generic):
        return obj.item()
    if isinstance(obj, enum.Enum):
        return canonical(obj.value)
    if isinstance(obj, os.PathLike):
        return os.fspath(obj)
    if obj is None or isinstance(obj, (bool, int, float, str)):
        return obj
    raise TypeError(f"canonical: no canonical form for {type(obj).__name__}")


def _dump(obj: Any) -> bytes:
    text = json.dumps(canonical(obj), sort_keys=True, separators=(",", ":"))
    return text.encode()


def content_key(obj: Any) -> str:
    """Return the blake2b-128 hex digest of an object's canonical JSON."""
    return hashlib.blake2b(_dump(obj), digest_size=16).hexdigest()


def sha256_file(path: PathLike) -> str:
    """Return the SHA-256 hex digest of a file, read in blocks."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: pathlib.Path) -> None:
    """Flush a file, or a folder's list of names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def writing(path: pathlib.Path) -> Iterator[None]:
    """Turn an OSError of the block into an InputError that names `path`."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"write: could not write ({path}): {error.strerror or error}. "
            "Free disk space or check the path and its permissions, then run the "
            "same command again."
        ) from error


@contextlib.contextmanager
def atomic_path(path: PathLike) -> Iterator[pathlib.Path]:
    """Give a temporary name beside `path`, renamed to `path` when the block succeeds.

    The data is flushed to disk before the rename, so a reader (or a power cut) sees
    the old file or the new one, never a part. On an exception the temporary file is
    removed and `path` stays as it was.

    Raises:
      InputError: when the disk is full or not writable, naming the file.
    """
    path = pathlib.Path(path)
    temporary = this_process().temporary(path)
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            _sync(temporary)
            os.replace(temporary, path)
            _sync(path.parent)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def atomic_write(path: PathLike, data: bytes) -> None:
    """Write bytes to `path` atomically (see `atomic_path`)."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def _sidecar(path: PathLike) -> pathlib.Path:
    path = pathlib.Path(path)
    return path.with_name(path.name + ".json")


def _record(path: pathlib.Path) -> pathlib.Path:
    return path.with_name(f".{path.name}.stamp")


def write_tensors(
    path: PathLike,
    tensors: Mapping[str, np.ndarray],
    *,
    key: str,
    schema: str,
    meta: Mapping[str, str] | None = None,
) -> None:
    """Write arrays as safetensors and, after them, the sidecar that makes them valid.

    Args:
      path: ends in `.safetensors`; the sidecar is `<path>.json`.
      tensors: name -> array, any shape and dtype that safetensors knows.
      key: content key of everything that the tensors were made from.
      schema: name and version of the layout, e.g. `sas_jax.point_features/1`.
      meta: further strings for people and later stages.

    Raises:
      InputError: when the disk is full or not writable, naming the file.
    """
    path = pathlib.Path(path)
    arrays = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    # The file is put together in memory: `save_file` reports a full disk by an error
    # of its own that is no OSError. The same bytes either way.
    data = safetensors.numpy.save(arrays)
    checksum = hashlib.sha256(data).hexdigest()
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
        stamps.set_back(temporary)
        stamp, _ = stamps.stamps_of([temporary], [path.name])
    manifest = {
        "schema": schema,
        "key": key,
        "sha256": checksum,
        "size": len(data),
        "meta": dict(meta or {}),
    }
    atomic_write(_sidecar(path), json.dumps(manifest, indent=1).encode())
    stamps.keep(_record(path), stamp, checksum)


_MANIFEST_FIELDS = {"schema": str, "key": str, "sha256": str, "size": int, "meta": dict}


def read_manifest(path: PathLike) -> dict:
    """Return the manifest that `write_tensors` left beside a file.

    Returns:
      `schema`, `key`, `sha256` and `size` of the file, and the strings of `meta`.

    Raises:
      DamagedFile: when it is missing or no manifest.
    """
    path = pathlib.Path(path)
    try:
        manifest = json.loads(_sidecar(path).read_bytes())
        fields = manifest if isinstance(manifest, dict) else {}
        for name, kind in _MANIFEST_FIELDS.items():
            if not isinstance(fields.get(name), kind):
                raise ValueError(f"no {name}")
        return manifest
    except FileNotFoundError as error:
        raise DamagedFile(
            f"read: an artefact's manifest must exist, got none ({_sidecar(path)}). "
            "Run the stage that makes it again."
        ) from error
    except (ValueError, RecursionError) as error:
        raise DamagedFile(
            "read: a manifest must be a JSON object with "
            f"{', '.join(_MANIFEST_FIELDS)}; got {error} ({_sidecar(path)}). "
            "Delete the file and run the stage that makes it again."
        ) from error


def _verify(path: pathlib.Path, manifest: Mapping) -> None:
    if not path.exists():
        raise DamagedFile(
            f"read: the artefact must exist, got none ({path}). "
            "Run the stage that makes it again."
        )
    size = path.stat().st_size
    if size != manifest["size"] or sha256_file(path) != manifest["sha256"]:
        raise DamagedFile(
            f"read: size and checksum must match the manifest, got {size} bytes of "
            f"{manifest['size']} or another checksum ({path}). "
            "Delete the file and run the stage that makes it again."
        )


class _Meta(dict[str, str]):
    """Strings of a manifest; one that is not there says which file lacks it."""

    def __init__(self, path: pathlib.Path, manifest: Mapping) -> None:
        super().__init__(manifest["meta"], key=manifest["key"])
        self._sidecar = _sidecar(path)

    def __missing__(self, name: str) -> str:
        raise DamagedFile(
            f"read: {name} must be among the strings of a manifest, got "
            f"{', '.join(self)} ({self._sidecar}). Delete the file and run the stage "
            "that makes it again."
        )


def read_tensors(
    path: PathLike, *, schema: str
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read and verify what `write_tensors` wrote.

    Returns:
      The arrays by name, and the `meta` strings together with the content `key`.

    Raises:
      DamagedFile: when file or sidecar is missing, cut short or changed.
      InputError: when the schema differs.
    """
    path = pathlib.Path(path)
    manifest = read_manifest(path)
    _verify(path, manifest)
    _check_schema(path, manifest.get("schema"), schema)
    with safetensors.safe_open(path, framework="numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return tensors, _Meta(path, manifest)


def _check_schema(path: pathlib.Path, got: str | None, wanted: str) -> None:
    if got != wanted:
        raise InputError(
            f"read: schema must be {wanted}, got {got} ({path}). "
            "Run the stage that makes it again with this version."
        )


def write_json(path: PathLike, data: Any, *, key: str, schema: str) -> None:
    """Write one JSON artefact `{schema, key, checksum, data}` atomically."""
    plain = canonical(data)
    record = {
        "schema": schema,
        "key": key,
        "checksum": content_key(plain),
        "data": plain,
    }
    atomic_write(path, json.dumps(record, indent=1).encode())


def _read_record(path: pathlib.Path) -> dict:
    try:
        record = json.loads(path.read_bytes())
        sound = content_key(record["data"]) == record["checksum"]
    except FileNotFoundError as error:
        raise DamagedFile(
            f"read: the artefact must exist, got none ({path}). "
            "Run the stage that makes it."
        ) from error
    except (ValueError, KeyError, TypeError, RecursionError):
        sound = False
    if not sound:
        raise DamagedFile(
            f"read: the checksum must match the data, got a damaged file ({path}). "
            "Delete the file and run the stage that makes it again."
        )
    return record


def read_json(path: PathLike, *, schema: str) -> Any:
    """Read and verify what `write_json` wrote; raises like `read_tensors`."""
    path = pathlib.Path(path)
    record = _read_record(path)
    _check_schema(path, record.get("schema"), schema)
    return record["data"]


def is_current(path: PathLike, key: str, *, verify: bool = False) -> bool:
    """Tell whether an artefact exists, is undamaged and was made from `key`.

    Args:
      path: `.json` for what `write_json` wrote, else what `write_tensors` wrote.
      key: content key of what it should be made from.
      verify: hash the file even if its size, time and inode stand as recorded.
    """
    path = pathlib.Path(path)
    try:
        if path.suffix == ".json":
            return _read_record(path).get("key") == key
        manifest = read_manifest(path)
        if manifest["key"] != key:
            return False
        known = None if verify else stamps.recall(_record(path), [path])
        if known != manifest["sha256"]:
            stamp, _ = stamps.stamps_of([path])
            _verify(path, manifest)
            stamps.keep(_record(path), stamp, manifest["sha256"])
    except DamagedFile:
        return False
    return True
