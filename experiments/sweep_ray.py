"""Trials on Ray Tune, which ends those early that learn worse than others (ASHA).

What Tune compares is what training writes for TensorBoard: the mean of each epoch. A
trial that ended before is told to Tune again from there, so that a sweep that goes on
stops others as it would have.
"""

import os
import pathlib
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Any

import stage_process
import trial_record
from sweep_plan import Planned

from sas_jax.artefacts.workspace import TENSORBOARD
from sas_jax.errors import InputError
from sas_jax.extras import install_command
from sas_jax.sweeps import table
from sas_jax.sweeps.plan import EarlyStopping, Sweep
from sas_jax.view.scalars import read_scalars

try:
    import ray
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler, FIFOScheduler
except ImportError as error:
    raise InputError(
        "sweep: Ray Tune is required for --on=ray, got none in this environment. "
        f"Run: {install_command('ray')}"
    ) from error

_POLL_S = 0.5
_GRACE_S = 60.0
_WITHOUT = EarlyStopping("loss", 1, 2)


class _Trial(tune.Trainable):
    """One trial: its process, and what it writes of every epoch."""

    def setup(self, config: dict[str, Any]) -> None:
        told = config["trial"]
        os.chdir(told["cwd"])  # of the sweep, where paths of flags begin
        self._folder, self._metric = pathlib.Path(told["folder"]), told["metric"]
        self._told = 0
        self._process = None
        if trial_record.read_scores(self._folder) is None:
            environment = {**os.environ, "TQDM_DISABLE": "1"}
            command = told["command"]
            self._process = stage_process.start(command, None, environment)

    def step(self) -> dict[str, Any]:
        """Return the mean of the next epoch; `done` when the trial has ended."""
        while True:
            ended = self._process is None or self._process.poll() is not None
            curves = read_scalars(self._folder / TENSORBOARD)
            _, values = curves.get(f"epoch/{self._metric}", ((), ()))
            if len(values) > self._told:
                self._told += 1
                self._last = float(values[self._told - 1])
                return {"epoch": self._told, self._metric: self._last}
            if ended:
                return self._end()
            time.sleep(_POLL_S)

    def _end(self) -> dict[str, Any]:
        if trial_record.read_scores(self._folder) is None:
            raise RuntimeError(trial_record.error(self._folder))
        last = getattr(self, "_last", 0.0)
        return {"epoch": self._told, self._metric: last, "done": True}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Save nothing: a trial goes on from what lies in its run folder."""

    def load_checkpoint(self, checkpoint: object) -> None:
        """Load nothing; see `save_checkpoint`."""

    def cleanup(self) -> None:
        """End the trial's process where Tune ends the trial."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()


def _scheduler(stopping: EarlyStopping | None, epochs: int) -> Any:
    if stopping is None:
        return FIFOScheduler()
    return ASHAScheduler(
        time_attr="epoch",
        metric=stopping.metric,
        mode="min",
        max_t=max(epochs, 1),
        grace_period=stopping.first_epoch,
        reduction_factor=stopping.keep_one_in,
    )


def run(
    trials: Sequence[Planned],
    sweep: Sweep,
    folder: pathlib.Path,
    parallel: int,
    retries: int,
    resources: Mapping[str, float],
) -> None:
    """Run trials, so many at once; each is scored, stopped early, or has failed.

    Args:
      trials: all of the sweep, also those that ended.
      sweep: that they are of.
      folder: of the sweep; Tune keeps its own books in `ray` below it.
      parallel: trials at once, at most.
      retries: new tries of one that fails.
      resources: what each takes of Ray beside a CPU: `gpu`.
    """
    stopping = sweep.early_stopping
    metric = (stopping or _WITHOUT).metric
    by_run = {trial.run: trial for trial in trials}
    common = {"cwd": str(pathlib.Path.cwd()), "metric": metric}
    configs = [
        {**common, "run": t.run, "folder": str(t.folder), "command": t.command}
        for t in trials
    ]
    if not ray.is_initialized():
        ray.init(include_dashboard=False, log_to_driver=False, logging_level="error")
    results = tune.Tuner(
        tune.with_resources(_Trial, {"cpu": 1, **resources}),
        param_space={"trial": tune.grid_search(configs)},
        tune_config=tune.TuneConfig(
            scheduler=_scheduler(stopping, max(trial.epochs for trial in trials)),
            max_concurrent_trials=parallel,
        ),
        run_config=tune.RunConfig(
            name="ray",
            storage_path=str(folder.resolve()),
            failure_config=tune.FailureConfig(max_failures=retries),
            verbose=0,
        ),
    ).fit()
    for result in results:
        trial = by_run[result.config["trial"]["run"]]
        if result.error is None and trial_record.read_scores(trial.folder) is None:
            trial_record.write_scores(trial.folder, table.STOPPED, {})
