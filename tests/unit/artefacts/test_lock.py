"""The lock of a folder: refused, freed by a kill, and what killed processes left."""

import errno
import os
import subprocess
import sys

import pytest

from sas_jax.artefacts import lock
from sas_jax.artefacts.lock import workspace_lock
from sas_jax.errors import InputError, WorkspaceBusy


def test_second_run_in_one_workspace_is_refused_and_a_kill_frees_it(tmp_path):
    code = (
        "import sys, time\nfrom sas_jax.artefacts.lock import workspace_lock\n"
        "with workspace_lock(sys.argv[1]):\n print('held', flush=True)\n"
        " sys.stdin.readline()\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout.readline().strip() == "held"
        with (
            pytest.raises(WorkspaceBusy, match=str(holder.pid)),
            workspace_lock(tmp_path),
        ):
            pass
    finally:
        holder.kill()
        holder.communicate()
    with workspace_lock(tmp_path):
        pass


def test_workspace_that_cannot_be_written_is_one_clear_line(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with (
            pytest.raises(InputError, match=rf"could not write \({place}/\.lock\)"),
            workspace_lock(place),
        ):
            pass

    def full(file, folder):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(lock, "_take", full)
    with (
        pytest.raises(InputError, match=r"\.lock\): No space left"),
        workspace_lock(tmp_path),
    ):
        pass


def test_lock_whose_process_cannot_be_noted_is_one_clear_line(tmp_path):
    code = (
        "import resource, signal, sys\n"
        "from sas_jax.errors import InputError\n"
        "from sas_jax.artefacts.lock import workspace_lock\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "try:\n"
        "    with workspace_lock(sys.argv[1]):\n"
        "        pass\n"
        "except InputError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "/.lock): File too large" in done.stdout


def test_errors_of_the_work_pass_the_lock_unchanged(tmp_path):
    with pytest.raises(FileNotFoundError), workspace_lock(tmp_path):
        raise FileNotFoundError


def test_lock_removes_what_killed_processes_left(tmp_path):
    code = (
        "import os, signal, sys\nfrom sas_jax.artefacts import files\n"
        "with files.atomic_path(sys.argv[1]) as temporary:\n"
        "    temporary.write_bytes(b'half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = tmp_path / "deep" / "x.bin"
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    (left,) = os.listdir(path.parent)
    assert left.startswith(".x.bin.")
    # Process 1 is alive; it belongs to another user, or to this one in a container.
    keep = {".x.bin.1.0123abcd.tmp", f".x.bin.{os.getpid()}.0123abcd.tmp", ".x.tmp"}
    for name in keep:
        (path.parent / name).write_bytes(b"")
    with workspace_lock(tmp_path):
        assert set(os.listdir(path.parent)) == keep
