"""One run at a time in a folder, and nothing left over from runs that were killed."""

import contextlib
import fcntl
import os
import pathlib
from collections.abc import Iterator
from typing import BinaryIO

from sas_jax.artefacts.files import TEMPORARY, PathLike, writing
from sas_jax.errors import WorkspaceBusy


@contextlib.contextmanager
def workspace_lock(folder: PathLike) -> Iterator[None]:
    """Hold a folder for this process; the lock goes with the process, even if killed.

    What killed processes left half-written below the folder is removed.

    Raises:
      WorkspaceBusy: when another process holds it, naming that process.
      InputError: when the folder or its lock cannot be written.
    """
    folder = pathlib.Path(folder)
    with contextlib.ExitStack() as stack:
        with writing(folder / ".lock"):
            folder.mkdir(parents=True, exist_ok=True)
            # Unbuffered: a failed write must not fail a second time when closing.
            lock = stack.enter_context(open(folder / ".lock", "ab+", buffering=0))
            _take(lock, folder)
        _remove_left(folder)
        yield


def _take(lock: BinaryIO, folder: pathlib.Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.seek(0)
        owner = lock.read().decode(errors="replace").strip() or "unknown"
        raise WorkspaceBusy(
            "workspace: only one run at a time, got a second one while process "
            f"{owner} holds it ({folder}). "
            "Wait for it or choose another --workspace."
        ) from error
    lock.truncate(0)
    lock.write(str(os.getpid()).encode())


def _remove_left(folder: pathlib.Path) -> None:
    """Remove unfinished files of processes that have ended.

    The lock does not tell: whoever holds that of a subfolder may be writing there.
    """
    for parent, _, names in os.walk(folder):
        for name in names:
            left = TEMPORARY.fullmatch(name)
            if left and not _is_alive(int(left[1])):
                with contextlib.suppress(OSError):
                    pathlib.Path(parent, name).unlink()


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True
