"""Locks: refused, freed by a kill, never by a stranger; what killed processes left."""

import errno
import os
import pathlib
import subprocess
import sys
import time

import pytest

from sas_jax.artefacts import lock, owner
from sas_jax.artefacts.lock import Lock, take, workspace_lock
from sas_jax.artefacts.owner import Owner, owner_of, this_process
from sas_jax.errors import InputError, WorkspaceBusy

HOLD = (
    "import sys\nfrom sas_jax.artefacts.lock import workspace_lock\n"
    "with workspace_lock(sys.argv[1]):\n print('held', flush=True)\n"
    " sys.stdin.readline()\n"
)
ELSEWHERE = Owner("0123456789ab", 1, 7, "another")


def hold(folder, before=""):
    """Start a process that holds a folder until it reads a line."""
    holder = subprocess.Popen(
        [sys.executable, "-c", before + HOLD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout.readline().strip() == "held"
    return holder


def end(process):
    process.kill()
    process.communicate()


def set_age(path, seconds):
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_second_run_in_one_workspace_is_refused_and_a_kill_frees_it(tmp_path):
    holder = hold(tmp_path)
    try:
        with (
            pytest.raises(WorkspaceBusy, match=str(holder.pid)),
            workspace_lock(tmp_path),
        ):
            pass
    finally:
        end(holder)
    for _ in range(2):  # takes it over, then finds it given back
        with workspace_lock(tmp_path):
            pass
    assert os.listdir(tmp_path) == []


def test_a_killed_process_that_nobody_waited_for_holds_nothing(tmp_path):
    holder = hold(tmp_path)
    holder.kill()
    stat = pathlib.Path(f"/proc/{holder.pid}/stat")
    try:
        while stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.001)  # polling a process, not waiting for luck
        with workspace_lock(tmp_path):
            pass
    finally:
        holder.communicate()


def test_a_number_that_was_given_again_is_another_process(tmp_path):
    mine = this_process()
    assert mine.is_alive() and mine.start > 0
    assert not Owner(mine.machine, mine.pid, mine.start - 1).is_alive()
    (tmp_path / ".lock.0").write_bytes(
        Owner(mine.machine, mine.pid, mine.start - 1).record()
    )
    with workspace_lock(tmp_path):
        assert os.listdir(tmp_path) == [".lock.1"]


@pytest.mark.parametrize("text", [ELSEWHERE.record(), b"", b"[]", b'{"pid": 1}'])
def test_a_lock_of_another_machine_holds_while_its_lease_is_renewed(tmp_path, text):
    file = tmp_path / ".lock.3"
    file.write_bytes(text)  # half a record is one that is being written
    set_age(file, lock.LEASE_S - 60)
    with pytest.raises(WorkspaceBusy), workspace_lock(tmp_path):
        pass
    set_age(file, lock.LEASE_S + 60)
    with workspace_lock(tmp_path):
        assert os.listdir(tmp_path) == [".lock.4"]


def test_leases_are_renewed_while_the_process_works(tmp_path):
    before = "from sas_jax.artefacts import lock\nlock.RENEW_S = 0.01\n"
    holder = hold(tmp_path, before)
    try:
        file = tmp_path / ".lock.0"
        set_age(file, 1000)
        deadline = time.monotonic() + 60
        while time.time() - file.stat().st_mtime > 500:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        end(holder)


def test_whoever_lost_its_lease_is_told_and_frees_nothing(tmp_path):
    with workspace_lock(tmp_path) as held:
        held.check()
        (tmp_path / ".lock.0").rename(tmp_path / ".lock.1")
        (tmp_path / ".lock.1").write_bytes(ELSEWHERE.record())
        with pytest.raises(InputError, match="took over"):
            held.check()
    assert os.listdir(tmp_path) == [".lock.1"]


def test_of_many_contenders_for_a_dead_lock_one_wins(tmp_path):
    mine = this_process()
    dead = Owner(mine.machine, mine.pid, mine.start - 1)
    code = (
        "import pathlib, sys\nfrom sas_jax.artefacts.lock import Lock, take\n"
        "print('ready', flush=True)\nsys.stdin.readline()\n"
        "print(isinstance(take(pathlib.Path(sys.argv[1])), Lock), flush=True)\n"
        "sys.stdin.readline()\n"
    )
    base = tmp_path / "claim"
    (tmp_path / "claim.5").write_bytes(dead.record())
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(base)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(6)
    ]
    try:
        assert {p.stdout.readline().strip() for p in processes} == {"ready"}
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        assert sorted(p.stdout.readline().strip() for p in processes) == [
            *["False"] * 5,
            "True",
        ]
    finally:
        for process in processes:
            end(process)


def test_numbers_that_began_anew_while_one_looked_are_noticed(tmp_path, monkeypatch):
    """A slow process sees lock 2 of a dead one; before it acts, 3 comes and goes."""
    mine = this_process()
    base, dead = tmp_path / "claim", tmp_path / "claim.2"
    dead.write_bytes(Owner(mine.machine, mine.pid, mine.start - 1).record())
    create, others = lock._create, []

    def slow(path):
        if not others:
            monkeypatch.setattr(lock, "_create", create)
            others.append(take(base))
            others[0].release()
            others.append(take(base))  # the numbers begin anew
        return create(path)

    monkeypatch.setattr(lock, "_create", slow)
    assert take(base) == mine  # this process holds it: not taken a second time
    assert isinstance(others[1], Lock) and others[1].renew()
    assert os.listdir(tmp_path) == ["claim.0"]


def test_workspace_that_cannot_be_written_is_one_clear_line(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with (
            pytest.raises(InputError, match=rf"could not write \({place}/\.lock\)"),
            workspace_lock(place),
        ):
            pass

    def full(base):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(lock, "take", full)
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
    assert os.listdir(tmp_path) == []


def test_errors_of_the_work_pass_the_lock_unchanged(tmp_path):
    with pytest.raises(FileNotFoundError), workspace_lock(tmp_path):
        raise FileNotFoundError


def test_lock_removes_what_killed_processes_left_and_nothing_else(tmp_path):
    code = (
        "import os, signal, sys\nfrom sas_jax.artefacts import files\n"
        "with files.atomic_path(sys.argv[1]) as temporary:\n"
        "    temporary.write_bytes(b'half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = tmp_path / "deep" / "x.bin"
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    (left,) = os.listdir(path.parent)
    assert owner_of(left).machine == this_process().machine
    living = [this_process().temporary(path), ELSEWHERE.temporary(path)]
    keep = {*(p.name for p in living), ".x.tmp", ".x.bin.1.0123abcd.tmp"}
    old = ELSEWHERE.temporary(path)
    for name in (*keep, old.name):
        (path.parent / name).write_bytes(b"")
    set_age(old, 100_000)
    with workspace_lock(tmp_path):
        assert set(os.listdir(path.parent)) == keep


@pytest.mark.parametrize("part", ["hostname", "boot_id", "pid"])
def test_a_machine_is_a_host_a_boot_and_a_namespace(tmp_path, monkeypatch, part):
    def machine():
        owner._machine.cache_clear()
        try:
            return this_process().machine
        finally:
            owner._machine.cache_clear()

    (tmp_path / "sys/kernel/random").mkdir(parents=True)
    (tmp_path / "self/ns").mkdir(parents=True)
    (tmp_path / "sys/kernel/random/boot_id").write_text("a\n")
    (tmp_path / "self/ns/pid").symlink_to("pid:[1]")
    monkeypatch.setattr(owner, "_PROC", tmp_path)
    monkeypatch.setattr(owner.platform, "node", lambda: "a")
    before = machine()
    assert before == machine()
    match part:
        case "hostname":
            monkeypatch.setattr(owner.platform, "node", lambda: "b")
        case "boot_id":
            (tmp_path / "sys/kernel/random/boot_id").write_text("b\n")
        case "pid":
            (tmp_path / "self/ns/pid").unlink()
            (tmp_path / "self/ns/pid").symlink_to("pid:[2]")
    assert machine() != before
