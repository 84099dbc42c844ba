"""What a worker does in the tests: a file of each scene, as the test lets it.

`made` in the folder has a line for every start of making a scene. A scene with a pipe
`hold-<name>` beside it is held: its maker waits until a writer has opened the pipe and
closed it. One called `dies` kills its worker, one called `full` meets a full disk, and
one called `wrong` has a fault.
"""

import errno
import functools
import json
import os
import pathlib
import signal
import sys

import numpy as np

from sas_jax.artefacts import dispatch, files, stage
from sas_jax.artefacts.dispatch import Answer, Crew, Task, spread
from sas_jax.errors import InputError

dispatch.POLL_S = 0.01


def path_of(folder, name):
    return pathlib.Path(folder) / f"{name}.safetensors"


def begin(folder, threads):
    facts = {
        "pid": os.getpid(),
        "threads": threads,
        "omp": os.environ.get("OMP_NUM_THREADS"),
        "gpus": os.environ.get("CUDA_VISIBLE_DEVICES"),
    }

    def work(name):
        job, tally = stage.Job(name, path_of(folder, name), "key"), stage.Tally()
        make = functools.partial(_make, pathlib.Path(folder), facts)
        left = stage.try_group([job], make, tally)
        return Answer(tally.made, busy=bool(left))

    return work


def _make(folder, facts, due):
    (job,) = due
    with open(folder / "made", "a") as log:
        log.write(json.dumps({"name": job.name, **facts}) + "\n")
    if (held := folder / f"hold-{job.name}").exists():
        held.read_bytes()
    if job.name == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if job.name == "wrong":
        raise InputError("scan: a whole one is required, got half. Mend it.")
    if job.name == "full":
        files._sync = _full
    files.write_tensors(job.path, {"a": np.arange(3)}, key="key", schema="s/1")


def _full(path):
    raise OSError(errno.ENOSPC, "No space left on device", str(path))


def run(folder, names, crew):
    """Do scenes, the first ones cost most; return (name, made, busy) of each answer."""
    tasks = [Task(name, name, -i) for i, name in enumerate(names)]
    found = spread(tasks, functools.partial(begin, str(folder)), crew)
    return [(task.name, answer.result, answer.busy) for task, answer in found]


if __name__ == "__main__":  # a driver of its own: folder, workers, Ray's address, names
    folder, workers, ray, *names = sys.argv[1:]
    found = run(folder, names, Crew(int(workers), 2, ray or None))
    finished = {name for name, _, busy in found if not busy}
    print(sum(made for _, made, _ in found), len(finished), flush=True)
