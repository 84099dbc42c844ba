"""Where trials run: on this machine, or as jobs of Slurm.

Both start one command for a trial and look whether it has ended; `run` does the rest.
"""

import abc
import collections
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import stage_process
import trial_record
from sweep_plan import Planned
from tqdm import tqdm

from sas_jax.errors import InputError
from sas_jax.extras import install_command

_POLL_S = 0.2


class Job(abc.ABC):
    """A trial that was started."""

    @abc.abstractmethod
    def has_ended(self) -> bool:
        """Tell whether it has ended, well or not."""

    @abc.abstractmethod
    def stop(self) -> None:
        """End it, and wait for what it saves."""


Start = Callable[[Planned], Job]


def run(trials: Sequence[Planned], start: Start, parallel: int, retries: int) -> None:
    """Run trials, so many at once; those that fail again, as often as it is said.

    A trial has succeeded when its scores are there, whatever its process says.
    """
    waiting = collections.deque((trial, retries) for trial in trials)
    running: dict[Planned, tuple[Job, int]] = {}
    try:
        with tqdm(total=len(trials), desc="sweep", unit="trial") as bar:
            while waiting or running:
                while waiting and len(running) < parallel:
                    trial, left = waiting.popleft()
                    running[trial] = start(trial), left
                for trial in [t for t, (job, _) in running.items() if job.has_ended()]:
                    _, left = running.pop(trial)
                    failed = trial_record.read_scores(trial.folder) is None
                    if failed:
                        again = "; it is tried again" if left else ""
                        why = trial_record.error(trial.folder)
                        tqdm.write(f"failed: {trial.name}: {why}{again}", sys.stderr)
                    if failed and left:
                        waiting.append((trial, left - 1))
                    else:
                        bar.update()
                time.sleep(_POLL_S)
    finally:
        for job, _ in running.values():
            job.stop()


class Local:
    """Runs trials as processes of this machine, each on its own device.

    Args:
      parallel: how many at once.
      gpus: names of GPUs for CUDA_VISIBLE_DEVICES, one a trial; none are set without.
    """

    def __init__(self, parallel: int, gpus: Sequence[str]):
        self._threads = max(1, (os.cpu_count() or 1) // parallel)
        self._gpus: dict[str, _Process | None] = dict.fromkeys(gpus)

    def __call__(self, trial: Planned) -> Job:
        """Start a trial."""
        environment = {**os.environ, "TQDM_DISABLE": "1"}
        free = [g for g, job in self._gpus.items() if job is None or job.has_ended()]
        if free:
            environment["CUDA_VISIBLE_DEVICES"] = free[0]
        environment.setdefault("OMP_NUM_THREADS", str(self._threads))
        job = _Process(stage_process.start(trial.command, None, environment))
        if free:
            self._gpus[free[0]] = job
        return job


class _Process(Job):
    def __init__(self, process: subprocess.Popen):
        self._process = process

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def stop(self) -> None:
        if not self.has_ended():
            self._process.send_signal(signal.SIGINT)
        self._process.wait()


def slurm(
    cluster: str, folder: pathlib.Path, options: Mapping[str, Any], name: str
) -> Start:
    """Return what starts trials as jobs of Slurm, through submitit.

    Args:
      cluster: "slurm"; "local" and "debug" run the same jobs on this machine.
      folder: of scripts and logs of the jobs, on a disk that all machines share.
      options: of submitit: timeout_min, gpus_per_node, slurm_partition, ...
      name: of the jobs.

    Raises:
      InputError: without submitit or Slurm, or for an option that is none.
    """
    try:
        import submitit
    except ModuleNotFoundError as error:
        raise InputError(
            f"sweep: submitit is required for --on=slurm, got none in this "
            f"environment. Run: {install_command('slurm')}"
        ) from error
    try:
        executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
        executor.update_parameters(name=name, **options)
    except (RuntimeError, NameError, TypeError, ValueError) as error:
        raise InputError(
            f"sweep: Slurm and options that submitit takes are required, got "
            f"{error}. Run this where sbatch is, and correct --slurm_options."
        ) from error

    def start(trial: Planned) -> Job:
        command = ["env", "TQDM_DISABLE=1", *trial.command]
        function = submitit.helpers.CommandFunction(command, verbose=False)
        return _Submitted(executor.submit(function))

    return start


class _Submitted(Job):
    def __init__(self, job: Any):
        self._job = job

    def has_ended(self) -> bool:
        return self._job.done()

    def stop(self) -> None:
        """Leave it: a job goes on, and a sweep that is started again waits for it."""
