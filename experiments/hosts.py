"""Join the processes of a run on several hosts, and end with the first that ends.

JAX finds out when a process is gone: at once where a connection breaks, else by a
heartbeat. It then aborts the others from a thread of its own, with pages of native text
and no chance to say anything. Hence, for as long as processes are joined, what native
code prints goes to a log, and a watcher, a small process, says the one line where this
one ends without a word.
"""

import contextlib
import io
import os
import pathlib
import re
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import NoReturn

import jax
import launch
from absl import logging

from sas_jax.distill.processes import wait_for_all
from sas_jax.errors import InputError

AUTO = "auto"
"""In place of an address: whatever JAX knows of the cluster."""

HEARTBEAT_S = 60
"""A process that is not heard of for so long counts as gone."""

_LEAVE_S = 10  # so long one that ends waits for the others to end too
# What runtimes say where another process is gone.
_GONE = re.compile(
    "gloo|nccl|coordination|heartbeat|barrier|socket closed|connection (reset|closed)"
    "|UNAVAILABLE|DEADLINE_EXCEEDED",
    re.IGNORECASE,
)
# Reads until this process says goodbye or is no more.
_WATCH = "import sys; sys.stdin.buffer.read() or sys.stderr.write(sys.argv[1])"


@contextlib.contextmanager
def joined(
    address: str, count: int | None, number: int | None, logs: pathlib.Path
) -> Iterator[None]:
    """Be one of several processes, before JAX looks for devices.

    Args:
      address: host:port where process 0 is reached, or AUTO for all three.
      count: number of processes.
      number: which this one is.
      logs: folder for what native code prints; nothing stays there if all goes well.

    Raises:
      InputError: when flags are missing, or the others cannot be reached.
    """
    known: dict = {}
    if address != AUTO:
        if count is None or number is None or number >= count:
            raise InputError(
                "train: --coordinator=host:port needs --num_processes and a "
                f"--process_id below it, got {count} and {number}. Give all three, or "
                f"--coordinator={AUTO} under Slurm, on a TPU pod or on GKE."
            )
        known = {
            "coordinator_address": address,
            "num_processes": count,
            "process_id": number,
        }
    with _native_text_in(logs) as log, _watched(log) as goodbye:
        try:
            jax.distributed.initialize(
                **known,
                heartbeat_timeout_seconds=HEARTBEAT_S,
                shutdown_timeout_seconds=_LEAVE_S,
            )
        except (ValueError, RuntimeError, KeyError, OSError) as error:
            raise _not_joined(address, error) from error
        try:
            yield
            wait_for_all()
        except (RuntimeError, ValueError) as error:
            if isinstance(error, InputError) or not _GONE.search(str(error)):
                raise
            goodbye()
            _end(log)


def _not_joined(address: str, error: Exception) -> InputError:
    reason = " ".join(str(error).split())[:200]
    remedy = (
        "Start this with srun, on all workers of a TPU pod, or as a JobSet; or give "
        "--coordinator=host:port, --num_processes and --process_id."
        if address == AUTO
        else "Start all processes within five minutes; the host and port of process 0 "
        "must be reached from all."
    )
    return InputError(
        f"train: the other processes must be reached by --coordinator={address}, got "
        f"{reason}. {remedy}"
    )


def _line(log: pathlib.Path) -> str:
    return (
        "error: train: all processes must go on together, got one that ended, this or "
        f"another ({log}). Start all of them again: the run goes on from its last "
        "checkpoint.\n"
    )


def _end(log: pathlib.Path) -> NoReturn:
    """Say what happened, and end without waiting for threads that wait for others."""
    traceback.print_exc(file=sys.__stderr__)  # the log, by now
    launch.end_bars()
    sys.stderr.write(_line(log))
    for stream in (sys.stdout, sys.stderr, sys.__stderr__):
        stream.flush()
    os._exit(1)


@contextlib.contextmanager
def _watched(log: pathlib.Path) -> Iterator[Callable[[], None]]:
    """Have the line said where this process is killed or aborts before goodbye."""
    watchers, ours = os.pipe()
    subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _WATCH, "\n" + _line(log)],
        stdin=watchers,
        stderr=sys.stderr.fileno(),
        start_new_session=True,  # Ctrl-C is for this process
    )
    os.close(watchers)
    said: list[int] = []

    def goodbye() -> None:
        if not said:
            said.append(os.write(ours, b"goodbye"))
            os.close(ours)

    try:
        yield goodbye
    finally:
        goodbye()


@contextlib.contextmanager
def _native_text_in(logs: pathlib.Path) -> Iterator[pathlib.Path]:
    """Send what native code prints to a file; Python prints where it did.

    Until the process ends: JAX has more to say when it leaves.
    """
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / f"train-{socket.gethostname()}-{os.getpid()}.log"
    with open(log, "ab") as file:
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            stream.flush()
            shown = os.fdopen(os.dup(stream.fileno()), "wb", 0)
            text = io.TextIOWrapper(
                shown, errors="backslashreplace", write_through=True
            )
            setattr(sys, name, text)
            os.dup2(file.fileno(), stream.fileno())
    logging.get_absl_handler().python_handler.stream = sys.stderr
    yield log
    log.unlink(missing_ok=True)  # nothing happened
