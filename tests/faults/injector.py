"""Faults in files and clocks of this process, at a chosen moment; seeds repeat them.

Every call that changes a file below one of the watched folders is a moment, counted
from 0: opening to write, each write of the kernel's, flushing, renaming, removing, a
new folder. Reads are counted by themselves. What native libraries write by themselves
is no moment; a process can be killed there by a timer (`timed`), and a limit of the
size of files (`limit`) lets their writes fail.

    kill    SIGKILL at a moment, in the middle of a write
    timed   SIGKILL after a number of milliseconds
    full    from a moment on the disk is full: half of a write, then ENOSPC
    unwritten   one change of a file fails with EIO
    unread  one read fails with EIO
    limit   no file may grow past a number of bytes (EFBIG)
    short   reads and writes move fewer bytes than asked for, as the kernel may
    clock   the time of day jumps by up to ten years with every look at it
"""

import builtins
import errno
import io
import os
import random
import resource
import signal
import threading
import time

KINDS = ("kill", "timed", "full", "unwritten", "unread", "limit", "short", "clock")
_TEN_YEARS_S = 3.2e8
# Names of a folder or file, and whether they make room rather than need it.
_CHANGES = {
    "fsync": False,
    "replace": False,
    "rename": False,
    "mkdir": False,
    "link": False,
    "symlink": False,
    "utime": False,
    "truncate": False,
    "unlink": True,
    "remove": True,
    "rmdir": True,
}


class Injector:
    """One fault of a kind; `at` is its moment, or the number that it takes."""

    def __init__(self, kind, at, seed, folders):
        self.kind, self.at = kind, at
        self.folders = tuple(os.path.abspath(folder) + os.sep for folder in folders)
        self.random = random.Random(seed)
        self.changes = self.reads = 0
        self._lock = threading.Lock()

    def watches(self, path):
        """Tell whether a path, or what a number of a file stands for, is watched."""
        if isinstance(path, int):
            try:
                path = os.readlink(f"/proc/self/fd/{path}")
            except OSError:
                return False
        path = os.fsdecode(path)
        return os.path.abspath(path).startswith(self.folders)

    def change(self, what, path, *, frees=False):
        """Count a change; return the error that it ends with, None where it goes on."""
        with self._lock:
            number = self.changes
            self.changes += 1
        if self.kind == "full" and number >= self.at and not frees:
            return self._error(errno.ENOSPC, what, path)
        if number == self.at and self.kind == "unwritten":
            return self._error(errno.EIO, what, path)
        return None

    def kills(self):
        """Tell whether the change that was counted last is the one to die in."""
        return self.kind == "kill" and self.changes == self.at + 1

    def read(self, path):
        """Count a read, and fail if it is the one to fail."""
        with self._lock:
            number = self.reads
            self.reads += 1
        if self.kind == "unread" and number == self.at:
            raise self._error(errno.EIO, "read", path)

    def part(self, size):
        """Return how many bytes of `size` are moved at once."""
        if self.kind != "short" or size < 2:
            return size
        return self.random.randint(1, size)

    def _error(self, number, what, path):
        text = os.strerror(number)
        if what in ("read", "write", "fsync"):  # as the kernel: they know no names
            return OSError(number, text)
        return OSError(number, text, str(path))


def die():
    """End as by `kill -9`: nothing is cleaned up."""
    os.kill(os.getpid(), signal.SIGKILL)


def install(injector):
    """Let the fault happen in this process from now on."""
    _patch_files(injector)
    _patch_calls(injector)
    if injector.kind == "timed":
        timer = threading.Timer(injector.at / 1000, die)
        timer.daemon = True
        timer.start()
    elif injector.kind == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (injector.at, injector.at))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    elif injector.kind == "clock":
        _patch_clock(injector)


def _patch_files(injector):
    plain_open = io.open

    class FaultyFile(io.FileIO):
        """A file below a watched folder, as the kernel sees it."""

        def write(self, data):
            data = memoryview(data).cast("B")
            error = injector.change("write", self.name)
            if error or injector.kills():
                super().write(data[: len(data) // 2])
            if injector.kills():
                die()
            if error:
                raise error
            return super().write(data[: injector.part(len(data))])

        def readinto(self, buffer):
            injector.read(self.name)
            buffer = memoryview(buffer).cast("B")
            return super().readinto(buffer[: injector.part(len(buffer))])

        def read(self, size=-1):
            injector.read(self.name)
            return super().read(injector.part(size) if size > 0 else size)

        def readall(self):
            injector.read(self.name)
            return super().readall()

    def faulty_open(
        file, mode="r", buffering=-1, encoding=None, errors=None, newline=None,
        closefd=True, opener=None,
    ):  # fmt: skip
        if isinstance(file, int) or not injector.watches(file):
            return plain_open(
                file, mode, buffering, encoding, errors, newline, closefd, opener
            )
        binary = mode.replace("b", "").replace("t", "")
        if set(binary) & set("wax+"):
            _moment(injector, "open", file)
        raw = FaultyFile(file, binary, closefd, opener)
        if buffering == 0:
            return raw
        kind = io.BufferedReader
        if "+" in mode:
            kind = io.BufferedRandom
        elif "r" not in mode:
            kind = io.BufferedWriter
        buffered = kind(raw) if buffering < 2 else kind(raw, buffering)
        if "b" in mode:
            return buffered
        text = io.TextIOWrapper(buffered, encoding, errors, newline, buffering == 1)
        text.mode = mode
        return text

    io.open = builtins.open = faulty_open


def _moment(injector, what, path, *, frees=False):
    error = injector.change(what, path, frees=frees)
    if injector.kills():
        die()
    if error:
        raise error


def _patch_calls(injector):
    def patched(name, frees):
        plain = getattr(os, name)

        def call(path, *args, **kwargs):
            if injector.watches(path):
                _moment(injector, name, path, frees=frees)
            return plain(path, *args, **kwargs)

        setattr(os, name, call)

    for name, frees in _CHANGES.items():
        patched(name, frees)
    plain_open, plain_write, plain_read = os.open, os.write, os.read

    def open_(path, flags, *args, **kwargs):
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and injector.watches(path):
            _moment(injector, "open", path)
        return plain_open(path, flags, *args, **kwargs)

    def write(descriptor, data):
        if injector.watches(descriptor):
            _moment(injector, "write", descriptor)
            data = memoryview(data).cast("B")[: injector.part(len(data))]
        return plain_write(descriptor, data)

    def read(descriptor, size):
        if injector.watches(descriptor):
            injector.read(descriptor)
            size = injector.part(size)
        return plain_read(descriptor, size)

    os.open, os.write, os.read = open_, write, read


def _patch_clock(injector):
    now, now_ns = time.time, time.time_ns

    def jump():
        return injector.random.uniform(-_TEN_YEARS_S, _TEN_YEARS_S)

    time.time = lambda: now() + jump()
    time.time_ns = lambda: now_ns() + int(jump() * 1e9)
