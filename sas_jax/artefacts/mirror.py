"""A copy of a workspace on object storage (S3, GCS, Azure, a folder): pushed, pulled.

Beside every object lies `<name>.sha256`, put after it: an object without one, or of
another sum, is not finished, so that a copy which is cut short is never taken for one.
What is there already is skipped; nothing is ever deleted. Sidecars and the commits of
checkpoints, which make files valid, are copied after all others. Hidden names (claims,
temporary files, stamps) stay.
"""

import concurrent.futures
import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from sas_jax.artefacts.files import atomic_path, sha256_file
from sas_jax.errors import InputError
from sas_jax.extras import install_command

_SUM = ".sha256"
_LAST = (".json", "/_CHECKPOINT_METADATA")
_UNFINISHED = "orbax-checkpoint-tmp"
_TRIES = 3
_CHUNK_BYTES = 8 << 20
_MOVING = "moving"


@dataclasses.dataclass
class Copied:
    """What a copy did.

    Attributes:
      files: that were copied.
      current: that were there already.
      moving: that changed all the time, such as a log; they are not copied.
      bytes: of those that were copied.
    """

    files: int = 0
    current: int = 0
    moving: int = 0
    bytes: int = 0


class Mirror:
    """The copy of one workspace under an address.

    Credentials and endpoints are those of the environment, by the names that each
    service's own tools use (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT`, ...).
    """

    def __init__(self, root: pathlib.Path, url: str, *, at_once: int = 8):
        """Take the workspace and the address of its copy.

        Args:
          root: the workspace.
          url: `s3://bucket/prefix`, `gs://...`, `az://...` or `file:///folder`.
          at_once: files that are copied at the same time.

        Raises:
          InputError: where the extra is missing or the address is none.
        """
        try:
            import obstore
        except ImportError:
            raise InputError(
                f"mirror: the package obstore is required, got none. Install it: "
                f"{install_command('cloud')}"
            ) from None
        self._api, self._url, self._root, self._at_once = obstore, url, root, at_once
        made: Any = {"mkdir": True} if url.startswith("file:") else {}
        self._store = self._told(lambda: obstore.store.from_url(url, **made))
        self._there: dict[str, str] | None = None
        self._hashed: dict[str, tuple[tuple[int, int], str]] = {}

    def push(
        self, only: Iterable[str] = (), progress: Callable[[str], None] = lambda _: None
    ) -> Copied:
        """Copy to the address what is not there; see `pull` for the arguments.

        What lies there is asked for once, and files that have not changed are not read
        again: a mirror may push every few minutes.
        """
        if self._there is None:
            self._there = self._sums()
        there = self._there
        names = [name for name in _finished(self._root) if _asked(name, only)]
        return self._all(names, lambda name: self._push(name, there), progress)

    def pull(
        self, only: Iterable[str] = (), progress: Callable[[str], None] = lambda _: None
    ) -> Copied:
        """Copy from the address what is not here.

        Args:
          only: first parts of paths, such as `features` or `train/full-seed0`; empty:
            everything.
          progress: called with the name of every file that is done.

        Raises:
          InputError: where the storage fails, or a sum does not fit.
        """
        there = {n: s for n, s in self._sums().items() if _asked(n, only)}
        return self._all(there, lambda name: self._pull(name, there[name]), progress)

    def _all(self, names, copy, progress) -> Copied:
        done = Copied()
        # What makes a file valid comes after all files.
        rounds = [
            [n for n in names if n.endswith(_LAST) is last] for last in (False, True)
        ]
        with concurrent.futures.ThreadPoolExecutor(self._at_once) as pool:
            for some in rounds:
                for name, size in zip(some, pool.map(copy, some), strict=True):
                    done.moving += size is _MOVING
                    done.current += size is None
                    if isinstance(size, int):
                        done.files, done.bytes = done.files + 1, done.bytes + size
                    progress(name)
        return done

    def _sums(self) -> dict[str, str]:
        """Return name -> SHA-256 of what is finished at the address."""

        def read(name: str) -> str:
            got = self._told(lambda: self._api.get(self._store, name).bytes())
            return bytes(got).decode("ascii", "replace")

        pages = self._told(lambda: list(self._api.list(self._store)))
        names = [entry["path"] for page in pages for entry in page]
        sums = sorted(name for name in names if name.endswith(_SUM))
        with concurrent.futures.ThreadPoolExecutor(self._at_once) as pool:
            return {
                name.removesuffix(_SUM): text
                for name, text in zip(sums, pool.map(read, sums), strict=True)
            }

    def _push(self, name: str, there: dict[str, str]) -> int | str | None:
        """Put a file and then its sum.

        Returns:
          Its size; None where it is there or is gone here, `_MOVING` where it changed
          whenever it was copied: without a sum, it is not finished there.
        """
        path = self._root / name
        try:
            for _ in range(_TRIES):
                before = _state(path)
                known, found = self._hashed.get(name, (None, ""))
                if known != before:
                    found = sha256_file(path)
                if there.get(name) != found:
                    self._put(name, path)
                if _state(path) == before:
                    self._hashed[name] = before, found
                    if there.get(name) == found:
                        return None
                    self._put(name + _SUM, found.encode())
                    there[name] = found
                    return before[0]
        except (FileNotFoundError, InputError):
            if path.exists():
                raise
            return None  # an older checkpoint, that made room
        return _MOVING

    def _pull(self, name: str, wanted: str) -> int | None:
        """Get a file that fits its sum; return its size, None where it is here."""
        path = self._root / _plain(name, self._url)
        if path.is_file() and sha256_file(path) == wanted:
            return None
        found = hashlib.sha256()
        with atomic_path(path) as temporary:
            with open(temporary, "wb") as file:
                for chunk in self._chunks(name):
                    found.update(chunk)
                    file.write(chunk)
            if found.hexdigest() != wanted:
                raise InputError(
                    f"mirror: bytes of SHA-256 {wanted} are required, got others "
                    f"({self._url}/{name}). Pull again; if that does not help, push it "
                    "again."
                )
        return path.stat().st_size

    def _put(self, name: str, data: pathlib.Path | bytes) -> None:
        self._told(lambda: self._api.put(self._store, name, data))

    def _chunks(self, name: str) -> Iterator[bytes]:
        found = self._told(lambda: self._api.get(self._store, name))
        stream = iter(found.stream(min_chunk_size=_CHUNK_BYTES))
        while (chunk := self._told(lambda: next(stream, None))) is not None:
            yield bytes(chunk)

    def _told(self, ask: Callable[[], Any]) -> Any:
        """Return what the storage answers; its errors are InputError."""
        try:
            return ask()
        except (self._api.exceptions.BaseError, ValueError, OSError) as error:
            first = str(error).strip().splitlines()[:1]
            raise InputError(
                f"mirror: object storage that answers is required, got "
                f"{type(error).__name__}: {''.join(first)} ({self._url}). Correct "
                "the address, or the credentials and endpoint in the environment."
            ) from error


def _finished(root: pathlib.Path) -> list[str]:
    """Return the names of a workspace's files that are not in the making."""
    names = []
    for folder, below, files in os.walk(root):
        below[:] = sorted(n for n in below if n[0] != "." and _UNFINISHED not in n)
        here = pathlib.Path(folder).relative_to(root)
        kept = (n for n in sorted(files) if n[0] != "." and not n.endswith(_SUM))
        names += [(here / name).as_posix() for name in kept]
    return names


def _asked(name: str, only: Iterable[str]) -> bool:
    asked = [pathlib.PurePosixPath(part).parts for part in only]
    parts = pathlib.PurePosixPath(name).parts
    return not asked or any(parts[: len(first)] == first for first in asked)


def _plain(name: str, url: str) -> str:
    """Return the name of an object; raises InputError where it leads elsewhere."""
    parts = name.split("/")
    if any(part in ("", ".", "..") or "\\" in part for part in parts):
        raise InputError(
            f"mirror: names inside of the workspace are required, got {name} ({url}). "
            "Is this the copy of a workspace?"
        )
    return name


def _state(path: pathlib.Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns
