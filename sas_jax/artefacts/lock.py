"""Locks of folders and claims on scenes, on disks that machines and containers share.

A lock is a file with the name of its owner. Owners count up: `.lock.0`, `.lock.1`; the
highest number holds the lock, and a file system lets only one process create it. An
owner on this machine that is dead holds nothing. Of one elsewhere nothing can be known
but that it renews the time of its file, its *lease*: one that is not renewed for
`LEASE_S` seconds holds nothing either.
"""

import contextlib
import dataclasses
import errno
import os
import pathlib
import threading
import time
from collections.abc import Iterator

from sas_jax.artefacts.files import PathLike, writing
from sas_jax.artefacts.owner import Owner, owner_of, this_process
from sas_jax.errors import InputError, WorkspaceBusy

LEASE_S = 120.0
"""A lock of another machine is free when its time is older."""

RENEW_S = 15.0
_TRIES = 10
# What file systems without second names say to one: FAT, some of networks.
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
_POLL_S = 0.5
_DAY_S = 86_400.0


@dataclasses.dataclass(eq=False)
class Lock:
    """A lock that this process holds; made by `take`."""

    path: pathlib.Path
    owner: Owner

    def renew(self) -> bool:
        """Set the time of the lock to now; False when another one has taken it over."""
        with contextlib.suppress(OSError):
            if _read(self.path) == self.owner:
                os.utime(self.path)
                return True
        return False

    def check(self) -> None:
        """Raise InputError if another process has taken the lock over."""
        if not self.renew():
            raise InputError(
                "lock: it must be renewed every two minutes, got one that another "
                f"process took over meanwhile ({self.path.parent}). Was this machine "
                "asleep? Run the same command again."
            )

    def release(self) -> None:
        """Give the lock back."""
        _leases.discard(self)
        with contextlib.suppress(OSError):
            if self.owner == this_process() == _read(self.path):
                self.path.unlink()


def take(base: pathlib.Path) -> Lock | Owner | None:
    """Take a lock, if it is free.

    Args:
      base: `<base>.0`, `<base>.1`, ... are the files; their folder must exist.

    Returns:
      The lock; or who holds it, None if that cannot be told.

    Raises:
      OSError: when the folder cannot be written.
    """
    for _ in range(_TRIES):
        number, holder = _newest(base)
        if holder is not None and _holds(holder):
            return _read(holder)
        path = base.with_name(f"{base.name}.{number + 1}")
        lock = _create(path)
        if lock is None:  # another one was faster
            return _read(path)
        # While this one looked, the lock may have been given back or passed on, so
        # that numbers began anew.
        passed_on = holder is not None and not holder.exists()
        if not passed_on and _newest(base)[1] == path:
            break
        lock.release()
    else:
        return None
    for old in range(number + 1):
        with contextlib.suppress(OSError):
            base.with_name(f"{base.name}.{old}").unlink()
    _leases.add(lock)
    return lock


@contextlib.contextmanager
def turn(base: pathlib.Path) -> Iterator[Lock]:
    """Hold a lock for this process, after whoever holds it now.

    Args:
      base: see `take`; its folder is made.

    Raises:
      InputError: when the folder or the lock cannot be written.
    """
    with writing(base):
        base.parent.mkdir(parents=True, exist_ok=True)
        while not isinstance(lock := take(base), Lock):
            time.sleep(_POLL_S)
    try:
        yield lock
    finally:
        lock.release()


@contextlib.contextmanager
def workspace_lock(folder: PathLike) -> Iterator[Lock]:
    """Hold a folder for this process; the lock goes with the process, even if killed.

    What killed processes left half-written below the folder is removed.

    Raises:
      WorkspaceBusy: when another process holds it, naming that process.
      InputError: when the folder or its lock cannot be written.
    """
    folder = pathlib.Path(folder)
    with writing(folder / ".lock"):
        folder.mkdir(parents=True, exist_ok=True)
        lock = take(folder / ".lock")
    if not isinstance(lock, Lock):
        who = f"{lock.pid} on {lock.host}" if lock else "unknown"
        raise WorkspaceBusy(
            f"workspace: only one run at a time, got a second one while process {who} "
            f"holds it ({folder}). Wait for it or choose another --workspace."
        )
    try:
        remove_left(folder)
        yield lock
    finally:
        lock.release()


def remove_left(folder: pathlib.Path) -> None:
    """Remove unfinished files of processes that have ended, below a folder.

    The lock of a folder does not tell: whoever holds that of a subfolder may be
    writing there. What another machine has not touched for a day is left over too.
    """
    for parent, _, names in os.walk(folder):
        for name in names:
            owner = owner_of(name)
            if owner is None:
                continue
            path, alive = pathlib.Path(parent, name), owner.is_alive()
            with contextlib.suppress(OSError):
                if alive is False or (alive is None and _age_s(path) > _DAY_S):
                    path.unlink()


def _newest(base: pathlib.Path) -> tuple[int, pathlib.Path | None]:
    """Return the highest number of a lock and its file, -1 and None without any."""
    prefix = f"{base.name}."
    names = [n for n in os.listdir(base.parent) if n.startswith(prefix)]
    endings = [name.removeprefix(prefix) for name in names]
    numbers = [int(ending) for ending in endings if ending.isdecimal()]
    if not numbers:
        return -1, None
    return max(numbers), base.with_name(f"{prefix}{max(numbers)}")


def _read(path: pathlib.Path) -> Owner | None:
    """Return the owner that a lock names; None while it is being written."""
    try:
        return Owner.from_record(path.read_bytes())
    except OSError:
        return None


def _holds(path: pathlib.Path) -> bool:
    """Tell whether the owner of a lock still holds it."""
    owner = _read(path)
    alive = owner.is_alive() if owner else None
    if alive is not None:
        return alive
    try:
        return _age_s(path) < LEASE_S
    except FileNotFoundError:  # given back
        return False


def _age_s(path: pathlib.Path) -> float:
    """Return how long ago a file was written, by the clock of its own disk."""
    probe = this_process().temporary(path)
    try:
        probe.touch()
        now = probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)
    return now - path.stat().st_mtime


def _create(path: pathlib.Path) -> Lock | None:
    """Write a new lock, whole or not at all; None where there is one of its number.

    Half of an owner would be nobody's: all had to wait until its lease is over.
    """
    lock = Lock(path, this_process())
    whole = lock.owner.temporary(path)
    try:
        whole.write_bytes(lock.owner.record())
        try:
            os.link(whole, path)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            return lock if _copied(whole, path) else None
    except FileExistsError:
        return None
    finally:
        with contextlib.suppress(OSError):
            whole.unlink()
    return lock


def _copied(whole: pathlib.Path, path: pathlib.Path) -> bool:
    """Write a new lock where files have one name only; False where there is one."""
    try:
        with open(path, "xb") as file:
            file.write(whole.read_bytes())
    except FileExistsError:
        return False
    except OSError:
        with contextlib.suppress(OSError):
            path.unlink()
        raise
    return True


class _Leases:
    """Renew the locks of this process, in a thread that begins with the first one."""

    def __init__(self) -> None:
        self._locks: set[Lock] = set()
        self._thread: threading.Thread | None = None

    def forget(self) -> None:
        """Begin anew: a forked process has neither thread nor locks of its parent."""
        self._locks, self._thread = set(), None

    def add(self, lock: Lock) -> None:
        self._locks.add(lock)
        if self._thread is None:
            self._thread = threading.Thread(target=self._renew, daemon=True)
            self._thread.start()

    def discard(self, lock: Lock) -> None:
        self._locks.discard(lock)

    def _renew(self) -> None:
        while True:
            time.sleep(RENEW_S)
            for lock in tuple(self._locks):
                lock.renew()


_leases = _Leases()
os.register_at_fork(after_in_child=_leases.forget)
