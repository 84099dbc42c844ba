"""What was found out about files once, as long as their size, time and inode stand.

Hashing a workspace of 1,500 scenes takes an hour, looking at its files a few seconds.
So a value that follows from the content of files, such as a checksum, is kept in a
*record* beside a digest of their stamps, and found out again when one has changed.

A stamp may stand although a file has changed: times go in ticks, and what is written
twice in one tick keeps its time. So files that are hardly older than their record are
not trusted, as git does not trust them either ("racy" index entries).
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Sequence

from sas_jax.artefacts.owner import this_process

TICK_NS = 2_000_000_000
"""Longest tick of a file system's times that is in use: FAT's two seconds."""


def stamps_of(
    paths: Sequence[pathlib.Path], names: Sequence[str] | None = None
) -> tuple[str, int]:
    """Return a digest of names, sizes, times and inodes, and the newest time in ns.

    Args:
      paths: in an order that is always the same; an absent file counts as absent.
      names: names that the files are going to have, where they are not those of now.
    """
    stamps: list[list[str | int]] = []
    newest = 0
    for path, name in zip(paths, names or [p.name for p in paths], strict=True):
        try:
            stat = path.stat()
        except OSError:
            stamps.append([name])
            continue
        stamps.append([name, stat.st_size, stat.st_mtime_ns, stat.st_ino])
        newest = max(newest, stat.st_mtime_ns)
    text = json.dumps(stamps, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest(), newest


def recall(record: pathlib.Path, paths: Sequence[pathlib.Path]) -> str | None:
    """Return the value that a record holds of files, None unless it can be trusted.

    Args:
      record: as `keep` wrote it; may be absent or damaged.
      paths: as they were given to `keep`.
    """
    try:
        kept = json.loads(record.read_bytes())
        digest, value = kept["stamps"], kept["value"]
        written = record.stat().st_mtime_ns
    except (OSError, ValueError, KeyError, TypeError):
        return None
    now, newest = stamps_of(paths)
    trusted = digest == now and newest + TICK_NS <= written
    return value if trusted and isinstance(value, str) else None


def keep(record: pathlib.Path, stamps: str, value: str) -> None:
    """Write a record; where that is not possible, the value is found out again.

    Args:
      record: its time says when the value was known.
      stamps: digest of the files from `stamps_of`, taken *before* they were read.
      value: what was found out.
    """
    # Neither flushed nor locked: a record that is lost or torn costs one more look.
    data = json.dumps({"stamps": stamps, "value": value}).encode()
    temporary = this_process().temporary(record)
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        temporary.replace(record)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()


def set_back(path: pathlib.Path) -> None:
    """Let a file that its writer knows look a tick old, so that its stamp is trusted.

    Whoever changes the file later gives it a later time, even within this tick.
    """
    with contextlib.suppress(OSError):  # without, it is hashed once more
        stat = path.stat()
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns - 2 * TICK_NS))


@dataclasses.dataclass(frozen=True)
class Memo:
    """Values of groups of files, by name.

    Attributes:
      folder: of the records; None keeps none.
      verify: whether everything is found out again.
    """

    folder: pathlib.Path | None = None
    verify: bool = False

    def value(
        self, name: str, paths: Sequence[pathlib.Path], find: Callable[[], str]
    ) -> str:
        """Return `find()`, or what it returned while the same files stood there.

        Args:
          name: of the value, different for values of different kinds.
          paths: all files that the value follows from.
          find: reads the files.
        """
        if self.folder is None:
            return find()
        record = self.folder / f"{name}.stamp"
        value = None if self.verify else recall(record, paths)
        if value is None:
            stamps, _ = stamps_of(paths)
            value = find()
            keep(record, stamps, value)
        return value


NO_MEMO = Memo()
"""Remembers nothing."""
