"""Whose a file or a lock is, and whether that process still lives.

Several machines and containers may work on one disk, and their process numbers mean
nothing to each other: process 17 of another container is alive or dead whatever
process 17 is here. So an owner is named by its machine (host name, boot and process
namespace together) and by number and start time, as numbers are given again.
"""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import platform
import re
import uuid

_PROC = pathlib.Path("/proc")
_NAME = r"([0-9a-f]{12})-(\d+)-(\d+)"
_TEMPORARY = re.compile(rf"\..+\.{_NAME}-[0-9a-f]{{8}}\.tmp", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Owner:
    """A process of some machine.

    Attributes:
      machine: within which process numbers mean the same; 12 hexadecimal digits.
      pid: process number there.
      start: when it started, in ticks of its kernel; 0 where that is not known.
      host: name of the machine, for people.
    """

    machine: str
    pid: int
    start: int
    host: str = "another host"

    def is_alive(self) -> bool | None:
        """Tell whether the process lives; None for one of another machine."""
        if self.machine != _machine():
            return None
        try:
            os.kill(self.pid, 0)
        except (ProcessLookupError, OverflowError):
            return False
        except PermissionError:  # another user's
            pass
        state, start = _state(self.pid)
        if state == "Z":  # ended, its parent has not looked yet
            return False
        return start == self.start or 0 in (start, self.start)

    def temporary(self, path: pathlib.Path) -> pathlib.Path:
        """Return a new name beside a path that tells whose it is (see `owner_of`)."""
        name = f"{self.machine}-{self.pid}-{self.start}-{uuid.uuid4().hex[:8]}"
        return path.with_name(f".{path.name}.{name}.tmp")

    def record(self) -> bytes:
        """Return the owner as the text of a lock."""
        return json.dumps(dataclasses.asdict(self)).encode()

    @classmethod
    def from_record(cls, text: bytes) -> "Owner | None":
        """Return what `record` wrote; None for anything else, such as half of it."""
        try:
            owner = cls(**json.loads(text))
        except (ValueError, TypeError):
            return None
        kinds = (owner.machine, str), (owner.pid, int), (owner.start, int)
        return owner if all(isinstance(v, kind) for v, kind in kinds) else None


def this_process() -> Owner:
    """Return the owner of what this process writes."""
    pid = os.getpid()
    return Owner(_machine(), pid, _state(pid)[1], platform.node())


def owner_of(name: str) -> Owner | None:
    """Return whose temporary file has a name, None for any other file."""
    found = _TEMPORARY.fullmatch(name)
    return Owner(found[1], int(found[2]), int(found[3])) if found else None


@functools.cache
def _machine() -> str:
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        namespace = str((_PROC / "self/ns/pid").readlink())
    except OSError:  # no Linux: the machine alone
        boot, namespace = f"{uuid.getnode():x}", ""
    text = "\n".join((platform.node(), boot, namespace))
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def _state(pid: int) -> tuple[str, int]:
    """Return the state of a process and when it started; "" and 0 if not known."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return "", 0
    # After the name in brackets, which may hold anything: fields 3 and 22 of proc(5).
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[19])
