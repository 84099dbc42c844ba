"""Training: stage 1 distils fused features, stage 2 adds temporal ensembling.

A run that is killed at any moment and started again ends with the same parameters,
bit for bit: a batch follows from its step alone, and a checkpoint holds the rest.
"""

import contextlib
import dataclasses
import os
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import jax
import numpy as np
from jaxtyping import PyTree

from sas_jax.artefacts.files import content_key, write_json
from sas_jax.artefacts.lock import Lock
from sas_jax.artefacts.workspace import CHECKPOINTS, CONFIG, TENSORBOARD
from sas_jax.distill import loader, processes, step
from sas_jax.distill.checkpoint import Checkpoints
from sas_jax.distill.config import RunConfig, TrainConfig
from sas_jax.distill.data import SceneSource
from sas_jax.distill.footprint import check_memory, compiled_without_a_trace
from sas_jax.distill.history import History
from sas_jax.distill.objective import StepInputs, step_config
from sas_jax.distill.progress import Progress
from sas_jax.distill.schedule import Stage, learning_rate
from sas_jax.distill.second_stage import first_history
from sas_jax.distill.setup import (
    EncodedVocabulary,
    TrainSetup,
    make_setup,
    scaled_text,
)
from sas_jax.distill.shared_batches import agreed
from sas_jax.distill.start import start, to_checkpoint
from sas_jax.sparse.kernel_map import leaf
from sas_jax.sparse.native import neighbours as native_neighbours

CONFIG_SCHEMA = "sas_jax.train_config/1"
_NO_RANK = 1e5
# A checkpoint that is this many times `checkpoint_minutes` late is saved anywhere.
_LATE = 5
# Several processes agree every so many steps, and at the end of epochs.
_MEET_STEPS = 10

# Called with the student's variables and the step; returns values to log.
Validate = Callable[[PyTree, int], Mapping[str, float]]


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """What a run achieved.

    Attributes:
      checkpoints: folder for `load_student`.
      step: steps done.
      completed: False if it was stopped early.
      means: losses over the last epoch, or over what was done of it since the run was
        started, and what validation returned.
      speed: seconds per step, voxels per second, waits and waste in percent, number
        of programs (array shapes times stages), minutes.
    """

    checkpoints: pathlib.Path
    step: int
    completed: bool
    means: Mapping[str, float]
    speed: Mapping[str, float]

    def table(self) -> str:
        """Return a summary for people."""
        state = "completed" if self.completed else "stopped; start again to go on"
        lines = [f"{'step':<24}{self.step:>12}  {state}"]
        for name, value in {**self.means, **self.speed}.items():
            lines.append(f"{name:<24}{value:>12.5g}")
        return "\n".join([*lines, f"checkpoints: {self.checkpoints}"])


def train(
    config: TrainConfig,
    sources: Sequence[SceneSource],
    classes: EncodedVocabulary,
    folder: str | os.PathLike,
    *,
    run: RunConfig | None = None,
    init_from: str | os.PathLike | None = None,
    branch_from: str | os.PathLike | None = None,
    validate: Validate | None = None,
    stop: Callable[[], bool] = lambda: False,
    devices: Sequence[jax.Device] | None = None,
) -> TrainResult:
    """Train a student, or go on with a run that was interrupted.

    Args:
      config: what to learn.
      sources: training scenes, with distinct names.
      classes: of the pseudo labels; also stored with the student.
      folder: of the run; gets `config.json`, `checkpoints/` and `tensorboard/`.
      run: how to carry it out.
      init_from: student's file, or checkpoint folder, whose weights to begin with. A
        run that goes on does not read it.
      branch_from: checkpoint folder of a run that differs in its second stage only:
        what both share is taken from there, with the same result, bit for bit.
      validate: called every `run.validate_epochs` epochs. Off by default: a
        checkpoint that labels chose is not zero-shot.
      stop: asked after every step; True saves a checkpoint and returns.
      devices: defaults to all, of all processes.

    Returns:
      Means, speed and where the checkpoints are.

    Raises:
      InputError: for inconsistent scenes, another configuration than the checkpoint's,
        a step that memory has no room for or a loss that is not finite.

    Several processes: all call this with the same arguments (see `jax.distributed`);
    the primary one holds the folder's lock and writes. The result is, bit for bit, that
    of one process with as many devices.
    Source: SAS sections 3.4 and 3.5.
    """
    folder = pathlib.Path(folder).resolve()
    with processes.lock_of_primary(folder) as lock:
        setup = make_setup(config, sources, classes, run or RunConfig(), devices)
        check_memory(config, setup.policy.bucket(0), setup.devices)
        # Runs that share the first stage branch off at its end.
        keep = (setup.schedule.first_self_step,)
        with Checkpoints(folder / CHECKPOINTS, setup.run, keep) as checkpoints:
            started = start(setup, checkpoints, init_from, branch_from)
            running = _running(folder, started, checkpoints, lock)
            with contextlib.closing(running.progress), compiled_without_a_trace():
                running.go(stop, validate)
        return running.result()


def _running(
    folder: pathlib.Path,
    started: tuple[step.TrainState, History, TrainSetup],
    checkpoints: Checkpoints,
    lock: Lock | None,
) -> "_Run":
    """Return the run that goes on from here; what `start` returned says where."""
    state, history, setup = started
    if processes.is_primary():
        _write_config(folder, setup)
    done = int(state.step)
    total = setup.schedule.total_steps
    progress = Progress(folder / TENSORBOARD, setup.run, done, total)
    text = step.replicate(scaled_text(setup), setup.own_devices)
    return _Run(setup, checkpoints, progress, state, history, done, text, lock)


def _write_config(folder: pathlib.Path, setup: TrainSetup) -> None:
    """Write the resolved configuration beside the results."""
    write_json(
        folder / CONFIG,
        {"train": setup.config, "run": setup.run, "scenes": setup.scenes},
        key=content_key([setup.config, setup.scenes]),
        schema=CONFIG_SCHEMA,
    )


@dataclasses.dataclass
class _Run:
    """One run under way."""

    setup: TrainSetup
    checkpoints: Checkpoints
    progress: Progress
    state: step.TrainState
    history: History
    done: int
    text: jax.Array
    lock: Lock | None
    means: dict[str, float] = dataclasses.field(default_factory=dict)
    began: float = dataclasses.field(default_factory=time.monotonic)
    saved_at: float = dataclasses.field(default_factory=time.monotonic)

    def go(self, stop: Callable[[], bool], validate: Validate | None) -> None:
        """Run all steps that are left, or until told to stop."""
        setup = self.setup
        # A worker process must not ask for the device, so it is told.
        source = loader.BatchSource(
            *(setup.cache, setup.schedule, setup.policy, len(setup.devices)),
            own=processes.own(setup.devices),
            build_plans=not native_neighbours.is_available(),
        )
        batches = loader.make_loader(source, setup.run, self.done)
        batches = agreed(batches, source, setup.devices)
        for stage in setup.schedule.stages:
            if self.done >= stage.first_step + stage.num_steps:
                continue
            train_step = self._enter(stage)
            while self.done < stage.first_step + stage.num_steps:
                self._advance(stage, train_step, batches)
                stopped = self._meets() and processes.any_of(stop())
                if stopped or self._at_end_of_epoch():
                    self._close_epoch(validate)
                if stopped or self._save_due():
                    self._save(stage)
                if stopped:
                    return

    def result(self) -> TrainResult:
        """Summarise the run."""
        speed = self.progress.speed()
        speed["programs"] = self.progress.programs
        speed["minutes"] = (time.monotonic() - self.began) / 60
        return TrainResult(
            checkpoints=self.checkpoints.folder,
            step=self.done,
            completed=self.done >= self.setup.schedule.total_steps,
            means=self.means,
            speed=speed,
        )

    def _enter(self, stage: Stage) -> Callable:
        """Prepare a stage, whether it begins or goes on, and return its step."""
        setup = self.setup
        begins = stage.number == 2 and self.done == stage.first_step
        if begins and setup.config.compat == "official":
            fresh = step.optimizer().init(self.state.params)
            self.state = dataclasses.replace(
                self.state, opt_state=step.replicate(fresh, setup.own_devices)
            )
        if stage.ensemble and not len(self.history):
            self.history = first_history(setup, self.state)
        return step.make_train_step(
            setup.network, step_config(setup.config, stage), setup.devices
        )

    def _advance(self, stage: Stage, train_step: Callable, batches: Iterator) -> None:
        """Run one step."""
        waiting = time.perf_counter()
        shards, info = next(batches)
        wait_s = time.perf_counter() - waiting
        self.progress.announce(info)
        if stage.ensemble:
            own = processes.own(self.setup.devices)
            shards = self.history.attach(shards, info.scene_rows, own)
        batch = step.to_devices(shards, self.setup.own_devices)
        inputs = self._inputs(stage)
        self.state, metrics, updated = train_step(self.state, batch, inputs)
        if stage.ensemble:
            self.history.push(info.scene_rows, updated)
        self.progress.push(info, stage.number, metrics, wait_s)
        self.done += 1

    def _inputs(self, stage: Stage) -> StepInputs:
        setup = self.setup
        total = setup.schedule.total_steps
        rate = learning_rate(setup.config, stage, total, self.done)
        alpha = setup.config.ema_alpha
        return StepInputs(leaf(np.float32(rate)), leaf(np.float32(alpha)), self.text)

    def _close_epoch(self, validate: Validate | None) -> None:
        """Take the means of the epoch, or of what was done of it, and validate."""
        every = self.setup.run.validate_epochs
        self.means = self.progress.epoch_means()
        epoch, rest = divmod(self.done, self.setup.schedule.steps_per_epoch)
        if validate is not None and rest == 0 and epoch % every == 0:
            variables = {
                "params": self.state.params,
                "batch_stats": self.state.batch_stats,
            }
            self.means |= validate(jax.device_get(variables), self.done)
        self.progress.scalars(
            {f"epoch/{name}": mean for name, mean in self.means.items()}, self.done
        )

    def _at_end_of_epoch(self) -> bool:
        return self.done % self.setup.schedule.steps_per_epoch == 0

    def _meets(self) -> bool:
        """Say whether all processes agree here on what depends on clocks and signals.

        To agree, they wait for the devices; a process alone need not.
        """
        alone = jax.process_count() == 1
        return alone or self.done % _MEET_STEPS == 0 or self._at_end_of_epoch()

    def _save_due(self) -> bool:
        """Say whether to save here; `RunConfig` has the rule."""
        run, schedule = self.setup.run, self.setup.schedule
        if self.done in (schedule.first_self_step, schedule.total_steps):
            return True
        # The history with which stage 2 begins, if it took long, is saved after the
        # first step: before, the last checkpoint of stage 1 has its place.
        regular = self.done % (run.checkpoint_epochs * schedule.steps_per_epoch) == 0
        minutes = run.checkpoint_minutes * (1 if regular else _LATE)
        late = time.monotonic() - self.saved_at >= 60 * minutes
        return self._meets() and bool(processes.of_primary(np.array(late)))

    def _save(self, stage: Stage) -> None:
        self.progress.settle()  # refuses to save what is not finite
        if self.lock is not None:
            self.lock.check()
        # Means over some of the scenes say nothing about which checkpoint is best.
        means = self.means if self._at_end_of_epoch() else {}
        rank = means.get(self.setup.run.best_metric, _NO_RANK)
        self.checkpoints.save(
            to_checkpoint(self.setup, self.state, self.history),
            {**means, "stage": stage.number, "rank": rank},
        )
        self.saved_at = time.monotonic()
