"""Memory that is free, asked before it is taken.

A process that takes more than there is gets killed by the system, or ends inside a
library with its stack: neither tells a user what to change. So whoever knows what a
computation will take asks here first.
"""

import contextlib
import ctypes
import os
import pathlib
import resource
from typing import Any

from sas_jax.errors import InputError

VERSION = 0
"""It decides no numbers; see `artefacts.versions`."""

_CGROUPS = pathlib.Path("/sys/fs/cgroup")
_OWN_CGROUPS = pathlib.Path("/proc/self/cgroup")
# Files of a control group, version 2 and 1: limit, use, and the name of what of that
# use is cache that the system gives back by itself.
_CGROUP_FILES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def available_bytes() -> int | None:
    """Return how much more memory this process can take, or None if nobody knows.

    The least of what the machine has free, what the container allows and what the
    process's own limit (`ulimit -v`) leaves.
    """
    found = (_machine(), _container(), _process_limit())
    known = [n for n in found if n is not None]
    return max(0, min(known)) if known else None


def device_bytes(device: Any) -> int | None:
    """Return how much more a computation may take on a JAX device and beside it."""
    free = available_bytes()
    stats = {} if device.platform == "cpu" else device.memory_stats() or {}
    if "bytes_limit" not in stats:
        return free
    there = max(0, stats["bytes_limit"] - stats.get("bytes_in_use", 0))
    return there if free is None else min(free, there)


def require(needed: int, what: str, free: int | None = None, remedy: str = "") -> None:
    """Refuse what does not fit, before anything is taken.

    Args:
      needed: bytes.
      what: is computed.
      free: bytes; None asks `available_bytes`.
      remedy: what the user can do, a sentence.

    Raises:
      InputError: if more is needed than is free.
    """
    free = available_bytes() if free is None else free
    if free is not None and needed > free:
        raise shortage(needed, what, free, remedy)


def shortage(needed: float, what: str, free: float, remedy: str = "") -> InputError:
    """Return the error of `require`."""
    remedy = remedy or "Use larger voxels (--voxel_size_m)."
    return InputError(
        f"memory: about {gigabytes(needed)} are required for {what}, got "
        f"{gigabytes(free)} free. {remedy}"
    )


def gigabytes(size: float) -> str:
    """Return a size for people."""
    return f"{size / 1e9:.1f} GB"


def give_back() -> None:
    """Return freed memory that the C library holds to the system, where it can."""
    # Not glibc, or no C library by this way: there is nothing to do.
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def _machine() -> int | None:
    try:
        lines = pathlib.Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return _unix_machine()
    fields = dict(line.split(":", 1) for line in lines)
    text = fields.get("MemAvailable")
    return 1024 * int(text.split()[0]) if text else _unix_machine()


def _unix_machine() -> int | None:
    """Return all memory of a machine that does not say what is free."""
    names = ("SC_PAGE_SIZE", "SC_PHYS_PAGES")
    if not all(name in os.sysconf_names for name in names):
        return None
    page, pages = (os.sysconf(name) for name in names)
    return page * pages


def _container() -> int | None:
    """Return what the process's control groups, the innermost and outer ones, leave."""
    folders = [_CGROUPS, _CGROUPS / "memory"]
    try:
        groups = _OWN_CGROUPS.read_text().splitlines()
    except OSError:
        groups = []
    for _, kinds, path in (line.split(":", 2) for line in groups):
        if kinds in ("", "memory"):
            inner = _CGROUPS / kinds / path.lstrip("/")
            folders += [inner, *inner.parents]
    left = [_left_in(folder, files) for folder in folders for files in _CGROUP_FILES]
    return min((n for n in left if n is not None), default=None)


def _left_in(folder: pathlib.Path, files: tuple[str, str, str]) -> int | None:
    limit, usage, cache = files
    try:
        allowed, used = ((folder / name).read_text().strip() for name in (limit, usage))
        stat = dict(
            line.split() for line in (folder / "memory.stat").read_text().splitlines()
        )
    except (OSError, ValueError):
        return None
    if not (allowed.isdigit() and used.isdigit()):
        return None  # "max": no limit
    return int(allowed) - int(used) + int(stat.get(cache, 0))


def _process_limit() -> int | None:
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft == resource.RLIM_INFINITY:
        return None
    try:
        pages = pathlib.Path("/proc/self/statm").read_text().split()[0]
    except OSError:
        return soft
    return soft - int(pages) * resource.getpagesize()
