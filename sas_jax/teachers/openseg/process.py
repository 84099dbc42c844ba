"""A worker process behind pipes: bounded waits, errors in one line, no orphans.

The worker ends when its input does, so it outlives this process by no more than a
moment, however that ends.
"""

import contextlib
import os
import selectors
import signal
import struct
import subprocess
import tempfile
import time
import weakref
from collections.abc import Mapping, Sequence
from typing import IO

from sas_jax.errors import InputError

VERSION = 0
"""It decides no numbers; see `artefacts.versions`."""

# Of a feature grid in half precision; anything longer is no length.
_MOST = 1 << 34
_HEADER = struct.Struct("<cQ")
_PATIENCE_AT_END = 5.0
_LOOK_AFTER = 1.0
"""Seconds after which a silent worker is looked after."""


class Worker:
    """One process, one question at a time.

    Attributes:
      runs_on: what it says that it computes with.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        start_seconds: float,
    ):
        """Start the process and wait until it says that it is ready.

        Args:
          name: of the teacher, begins every error.
          command: program and arguments; it speaks the frames of `worker.py`.
          environment: its environment variables.
          start_seconds: most to wait for it to load.

        Raises:
          InputError: when it cannot be started, says an error, ends, says something
            else or is late.
        """
        self._name = name
        # On disk: a pipe that nobody reads would stop whoever writes to it.
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                env=dict(environment),
                bufsize=0,
                start_new_session=True,  # Ctrl-C ends us, and with us the input
            )
        except OSError as error:
            self._log.close()
            raise InputError(
                f"{name}: an interpreter that can be started is required, got {error} "
                f"({command[0]}). Correct $SAS_OPENSEG_PYTHON."
            ) from error
        self._stop = weakref.finalize(self, _stop, self._process, self._log)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
        try:
            ready = self._receive(b"r", time.monotonic() + start_seconds, "be ready")
            self.runs_on = ready.decode(errors="replace")
        except InputError:
            self.close()  # a worker that has no model answers nothing
            raise

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def ask(self, content: bytes, *, seconds: float) -> bytes:
        """Send a question and return the answer.

        Args:
          content: of the question.
          seconds: most to wait; a worker that is late is ended.

        Raises:
          InputError: with the worker's own error, after which it can be asked again;
            when it ends, says something else or is late, and when it was closed.
        """
        if not self._stop.alive:
            raise InputError(
                f"{self._name}: a worker that runs is required, got one that has "
                "ended. Load the teacher again."
            )
        until = time.monotonic() + seconds
        self._send(_HEADER.pack(b"q", len(content)) + content, until)
        return self._receive(b"f", until, "answer")

    def close(self) -> None:
        """End the process and wait for it; a second time does nothing."""
        self._stop()

    def _send(self, data: bytes, until: float) -> None:
        pipe, left = self._process.stdin, memoryview(data)
        assert pipe is not None
        while left:
            self._wait(pipe, selectors.EVENT_WRITE, until, "take an image")
            try:
                left = left[os.write(pipe.fileno(), left) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                raise self._ended() from None

    def _receive(self, want: bytes, until: float, what: str) -> bytes:
        kind, size = _HEADER.unpack(self._read(_HEADER.size, until, what))
        if kind not in (want, b"e") or size > _MOST:
            self.close()
            raise InputError(
                f"{self._name}: the worker must speak frames of this version, got "
                f"{kind!r} and {size} bytes. Check what $SAS_OPENSEG_PYTHON prints "
                "when it starts."
            )
        content = self._read(size, until, what)
        if kind == b"e":
            raise InputError(
                f"{self._name}: the worker must {what}, got "
                f"{content.decode(errors='replace')}. {self._remedy(content)}"
            )
        return content

    def _read(self, size: int, until: float, what: str) -> bytes:
        pipe, data = self._process.stdout, bytearray()
        assert pipe is not None
        while len(data) < size:
            self._wait(pipe, selectors.EVENT_READ, until, what)
            try:
                part = os.read(pipe.fileno(), min(size - len(data), 1 << 20))
            except BlockingIOError:
                continue
            if not part:
                raise self._ended()
            data += part
        return bytes(data)

    def _wait(self, pipe: IO[bytes], event: int, until: float, what: str) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, event)
            while (left := until - time.monotonic()) > 0:
                if selector.select(min(left, _LOOK_AFTER)):
                    return
                # The pipe stays open while anything that it started lives.
                if self._process.poll() is not None and not selector.select(0):
                    raise self._ended()
        self._process.kill()
        self.close()
        raise InputError(
            f"{self._name}: the worker must {what} in time, got nothing; it was ended. "
            "Use a GPU (--device=cuda:0) or smaller images."
        )

    def _ended(self) -> InputError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_PATIENCE_AT_END)
        status, last = self._process.poll(), self._last_words()
        self.close()
        return InputError(
            f"{self._name}: the worker must stay alive, got its end (status {status}"
            f"{'; ' + last if last else ''}). A negative status is a signal; -9 often "
            "means that memory ran out. Free some, or use smaller images."
        )

    def _last_words(self) -> str:
        """Return the last line that the worker wrote to standard error."""
        end = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, end - 2000))
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def _remedy(self, error: bytes) -> str:
        if error.startswith((b"ModuleNotFoundError", b"ImportError")):
            return (
                "Set $SAS_OPENSEG_PYTHON to the interpreter of an environment that has "
                "tensorflow and numpy."
            )
        return "Check the SavedModel, or download it again."


def _stop(process: subprocess.Popen, log: IO[bytes]) -> None:
    """End a worker by its input, and by force if it does not care."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    try:
        process.wait(_PATIENCE_AT_END)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)  # what it started and left
    log.close()
