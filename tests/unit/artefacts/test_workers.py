"""Several workers at one stage: every scene made once, whoever dies on the way."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest

from sas_jax.artefacts import files, lock, stage
from sas_jax.artefacts.owner import Owner
from sas_jax.artefacts.stage import Job, Tally, run_groups, run_jobs
from sas_jax.errors import InputError

# Makes scenes and notes who made them; one scene keeps its maker until it is let go.
WORKER = """
import os, pathlib, sys, time
import numpy as np
from sas_jax.artefacts import files
from sas_jax.artefacts import stage
stage.POLL_S = 0.01
folder, name, count, stuck = sys.argv[1:]
folder = pathlib.Path(folder)
jobs = [
    stage.Job(str(i), folder / f"{i}.safetensors", "key") for i in range(int(count))
]
def make(job):
    with open(folder / "made", "a") as log:
        log.write(f"{job.name} {name}\\n")
    if job.name == stuck:
        print("stuck", flush=True)
        sys.stdin.readline()
    files.write_tensors(job.path, {"a": np.arange(3)}, key=job.key, schema="s/1")
tally = stage.run_jobs(jobs, make)
print(tally.made, tally.current, flush=True)
"""


def start(folder, name, count, stuck="none"):
    command = [sys.executable, "-c", WORKER, str(folder), name, str(count), stuck]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def made(folder):
    """Return (scene, worker) of every start of making one."""
    path = folder / "made"
    text = path.read_text() if path.exists() else ""
    return [tuple(line.split()) for line in text.splitlines()]


def test_two_workers_make_every_scene_once_and_both_wait_for_all(tmp_path):
    first = start(tmp_path, "first", 12, stuck="0")
    second = None
    try:
        assert first.stdout.readline().strip() == "stuck"
        second = start(tmp_path, "second", 12)
        deadline = time.monotonic() + 60
        while len(made(tmp_path)) < 12:  # all but the one that the first is at
            assert time.monotonic() < deadline and second.poll() is None
            time.sleep(0.01)
        assert {scene for scene, worker in made(tmp_path) if worker == "second"} == {
            str(i) for i in range(1, 12)
        }
        tallies = []
        assert second.poll() is None  # scene 0 is not done
        first.stdin.write("\n")
        first.stdin.flush()
        tallies = [p.communicate(timeout=60)[0].split() for p in (first, second)]
    finally:
        for process in filter(None, (first, second)):
            process.kill()
            process.communicate()
    assert len(made(tmp_path)) == 12
    assert tallies == [["1", "11"], ["11", "1"]]
    for i in range(12):
        assert files.is_current(tmp_path / f"{i}.safetensors", "key", verify=True)
    assert os.listdir(tmp_path / ".claims") == []


def test_the_scene_of_a_killed_worker_is_made_by_another(tmp_path):
    first = start(tmp_path, "first", 3, stuck="1")
    second = None
    try:
        assert first.stdout.readline().strip() == "stuck"
        second = start(tmp_path, "second", 3)
        deadline = time.monotonic() + 60
        while ("2", "second") not in made(tmp_path):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        first.kill()
        first.communicate()
        output, _ = second.communicate(timeout=60)
    finally:
        for process in filter(None, (first, second)):
            process.kill()
            process.communicate()
    assert made(tmp_path) == [
        ("0", "first"),
        ("1", "first"),
        ("2", "second"),
        ("1", "second"),
    ]
    assert output.split() == ["2", "1"]
    assert files.is_current(tmp_path / "1.safetensors", "key")


def jobs_of(folder, count=3):
    return [Job(str(i), folder / f"{i}.safetensors", "key") for i in range(count)]


def write(job):
    files.write_tensors(job.path, {"a": np.arange(3)}, key=job.key, schema="s/1")


def test_what_is_current_is_skipped_and_what_is_damaged_made_again(tmp_path):
    ticks = []
    jobs = jobs_of(tmp_path)
    assert run_jobs(jobs, write, progress=lambda: ticks.append(0)) == Tally(made=3)
    assert len(ticks) == 3
    (tmp_path / "1.safetensors").write_bytes(b"")
    assert run_jobs(jobs, write) == Tally(made=1, current=2)


def test_verify_finds_what_a_stamp_does_not_show(tmp_path):
    (job,) = jobs = jobs_of(tmp_path, 1)
    run_jobs(jobs, write)
    stat = job.path.stat()
    data = bytearray(job.path.read_bytes())
    data[-1] ^= 1
    with open(job.path, "r+b") as file:
        file.write(data)
    os.utime(job.path, ns=(stat.st_mtime_ns, stat.st_mtime_ns))
    assert run_jobs(jobs, write) == Tally(current=1)
    assert run_jobs(jobs, write, verify=True) == Tally(made=1)


def test_a_claim_of_another_machine_is_waited_for_while_it_is_renewed(
    tmp_path, monkeypatch
):
    """Its maker is known by its lease alone: alive at first, then silent too long."""
    monkeypatch.setattr(stage, "POLL_S", 0.0)
    claim = tmp_path / ".claims" / "1.safetensors.0"
    claim.parent.mkdir()
    claim.write_bytes(Owner("0123456789ab", 1, 7).record())
    seen = []

    def make(job):
        seen.append(job.name)
        if job.name == "2":
            then = time.time() - lock.LEASE_S - 60
            os.utime(claim, (then, then))
        write(job)

    assert run_jobs(jobs_of(tmp_path), make) == Tally(made=3)
    assert seen == ["0", "2", "1"]


def test_an_error_gives_the_claim_back(tmp_path):
    def fail(job):
        raise InputError("no.")

    with pytest.raises(InputError, match=r"no\."):
        run_jobs(jobs_of(tmp_path), fail)
    assert os.listdir(tmp_path / ".claims") == []
    assert run_jobs(jobs_of(tmp_path), write) == Tally(made=3)


def groups_of(folder, scenes="01", parts="ab"):
    return [
        [Job(s, folder / p / f"{s}.safetensors", "key") for p in parts] for s in scenes
    ]


def test_of_a_group_what_is_due_is_made_together(tmp_path):
    groups, ticks, seen = groups_of(tmp_path), [], []

    def make(due):
        seen.append([job.path.parent.name + job.name for job in due])
        for job in due:
            write(job)

    write(groups[1][0])
    tally = run_groups(groups, make, progress=lambda: ticks.append(0))
    assert (tally, len(ticks)) == (Tally(made=3, current=1), 2)
    assert seen == [["a0", "b0"], ["b1"]]
    assert run_groups(groups, make) == Tally(current=4) and len(seen) == 2


@pytest.mark.parametrize("claimed", ["a", "b"])
def test_of_a_group_nothing_is_made_twice(tmp_path, monkeypatch, claimed):
    """Who has the first artefact makes the others too; another one is waited for."""
    monkeypatch.setattr(stage, "POLL_S", 0.0)
    groups, seen, polls = groups_of(tmp_path, "0"), [], []
    jobs = {job.path.parent.name: job for job in groups[0]}
    base = jobs[claimed].path.parent / ".claims" / jobs[claimed].path.name
    base.parent.mkdir(parents=True)
    claim = lock.take(base)

    def make(due):
        seen.append([job.path.parent.name for job in due])
        for job in due:
            write(job)

    def sleep(seconds):
        polls.append(list(seen))
        for name in "ab" if claimed == "a" else "b":
            write(jobs[name])
        claim.release()

    monkeypatch.setattr(stage.time, "sleep", sleep)
    tally = run_groups(groups, make)
    if claimed == "a":
        assert (seen, polls, tally) == ([], [[]], Tally(current=2))
    else:
        assert (seen, tally) == ([["a"]], Tally(made=1, current=1))
