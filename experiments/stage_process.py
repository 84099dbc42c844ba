"""A stage in a process of its own: PyTorch and JAX never share one."""

import csv
import ctypes
import io
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence

from absl import flags

from sas_jax.errors import InputError

_HERE = pathlib.Path(__file__).parent
_SHARED = ("stage_flags", "config_flags")
_PR_SET_PDEATHSIG = 1


def run(script: str, arguments: Sequence[str], *, table: bool = True) -> None:
    """Run a script of this folder and wait for it.

    Args:
      script: name of its file.
      arguments: flags.
      table: show what it prints at its end; progress and errors are always shown.

    Raises:
      InputError: when it fails.
    """
    command = [sys.executable, str(_HERE / script), *arguments]
    status = call(command, stdout=None if table else subprocess.DEVNULL)
    if status == -signal.SIGKILL:
        raise InputError(
            f"stages: {script} must get the memory that it needs, it was killed, which "
            "the system does when memory ends. Close other programs, or give it less: "
            "--dry_run_points, --batch_size, --num_workers=0, --frame_stride."
        )
    if status != 0:
        raise InputError(
            f"stages: every stage must succeed, got exit status {status} from "
            f"{script}. Mend what it says above and run this command again; what is "
            "finished is kept."
        )


def start(
    command: Sequence[str],
    stdout: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen:
    """Start a command that ends with this process, in a process group of its own."""
    parent = os.getpid()
    return subprocess.Popen(
        command,
        process_group=0,
        preexec_fn=lambda: _end_with(parent),
        stdout=stdout,
        env=environment,
    )


def call(command: Sequence[str], stdout: int | None = None) -> int:
    """Run a command and return its exit status.

    It has a process group of its own, so that Ctrl-C reaches it once, from here, and
    this process waits for what it saves.
    """
    with start(command, stdout) as stage:
        try:
            return stage.wait()
        except KeyboardInterrupt:
            stage.send_signal(signal.SIGINT)
            try:
                stage.wait()
            except KeyboardInterrupt:
                stage.kill()
            raise


def shared_flags() -> list[str]:
    """Return the values of all flags that every stage knows, as arguments.

    The default of --run is left out: who is given a run has chosen a student.
    """
    modules = flags.FLAGS.flags_by_module_dict()
    known = [flag for name in _SHARED for flag in modules.get(name, [])]
    given = [f for f in known if f.name != "run" or not f.using_default_value]
    return [flag.serialize() for flag in given if flag.value is not None]


def as_list(items: Iterable[str]) -> str:
    """Return the value of a flag that takes a list; paths may hold commas."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(items)
    return line.getvalue()


def argument(name: str, value: object) -> str:
    """Return a flag and its value as an argument."""
    if isinstance(value, bool):
        value = str(value).lower()
    if isinstance(value, list):
        value = as_list(map(str, value))
    return f"--{name}={value}"


def _end_with(parent: int) -> None:
    """Have the kernel send SIGTERM to this process when its parent is gone (Linux).

    A stage that went on alone would hold its folders against the next run.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(128 + signal.SIGTERM)
