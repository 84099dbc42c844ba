"""Checkpoints: everything that a run needs to go on as if nothing had happened.

One Orbax folder per saved step, written in the background and renamed when complete,
so a kill leaves the old checkpoint or the new one. Items:

    state     params, batch_stats, optimiser, step
    history   the running mean of logits of every scene (second stage)
    text      names and text features of the vocabulary
    run       JSON: resolved configuration, position of the data iterator
"""

import contextlib
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import jax
import numpy as np
import orbax.checkpoint as ocp
from jaxtyping import PyTree
from orbax.checkpoint import checkpoint_managers

from sas_jax.distill import checkpoint_files, checkpoint_items, processes
from sas_jax.distill.checkpoint_items import Checkpoint
from sas_jax.distill.config import RunConfig, TrainConfig
from sas_jax.distill.schedule import Schedule
from sas_jax.distill.step import TrainState
from sas_jax.errors import InputError
from sas_jax.models.config import StudentConfig
from sas_jax.models.student import Student
from sas_jax.stages import command


class Checkpoints:
    """The checkpoints of one run: saves, restores, keeps the last ones and the best.

    Args:
      folder: where they are.
      run: how many of the last ones to keep.
      keep: steps whose checkpoints stay for good.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        run: RunConfig | None = None,
        keep: Sequence[int] = (),
    ):
        keep_last = (run or RunConfig()).keep_last
        options = ocp.CheckpointManagerOptions(
            best_fn=_quality,
            preservation_policy=checkpoint_managers.AnyPreservationPolicy(
                [
                    checkpoint_managers.LatestN(keep_last),
                    checkpoint_managers.CustomSteps(keep),
                    checkpoint_managers.BestN(get_metric_fn=_quality, n=1),
                ]
            ),
            cleanup_tmp_directories=True,
        )
        self.folder = pathlib.Path(folder).resolve()
        self._manager = ocp.CheckpointManager(self.folder, options=options)
        self._written: int | None = None

    def latest_step(self) -> int | None:
        """Return the step of the newest complete checkpoint, or None."""
        return self._manager.latest_step()

    def best_step(self) -> int | None:
        """Return the step of the best complete checkpoint, or None."""
        return self._manager.best_step()

    def save(self, checkpoint: Checkpoint, metrics: Mapping[str, float]) -> None:
        """Write a checkpoint in the background.

        Args:
          checkpoint: what to keep; its arrays must not change afterwards.
          metrics: "stage" and "rank" choose the best one: a later stage first, then
            the lower rank. Further entries are for people.

        Raises:
          InputError: where the disk refuses it, or did not keep the one before.
        """
        record = {
            "config": dict(checkpoint.config),
            "iterator": checkpoint.iterator,
            "class_names": list(checkpoint.class_names),
            "text_space": checkpoint.text_space.id,
            "made_by": checkpoint.made_by,
            "scenes": dict(checkpoint.scenes),
        }
        items = {
            "state": ocp.args.PyTreeSave(_plain(checkpoint.state)),
            "text": ocp.args.PyTreeSave({"features": checkpoint.text_features}),
            "run": ocp.args.JsonSave(record),
        }
        if checkpoint.history:
            items["history"] = ocp.args.PyTreeSave(dict(checkpoint.history))
        self.wait()  # as saving would
        step = int(checkpoint.state.step)
        with _told(self._manager.directory):
            written = self._manager.save(
                step,
                args=ocp.args.Composite(**items),
                metrics={name: float(value) for name, value in metrics.items()},
            )
        self._written = step if written else None

    def restore(self, step: int) -> Checkpoint:
        """Read the checkpoint of a step."""
        return checkpoint_items.restore(self._manager, step)

    def restore_latest(self, last_step: int | None = None) -> Checkpoint | None:
        """Read the newest checkpoint that is complete; None where none was begun.

        Newer ones, which would keep their steps from being saved again, are set aside.

        Args:
          last_step: of the run; its checkpoint is read without the history, most of
            its bytes, which nothing needs any more.

        Raises:
          InputError: if all are incomplete.
        """
        steps = sorted(self._manager.all_steps(), reverse=True)
        if not steps:
            return None
        over = steps[0] == last_step
        checkpoint = checkpoint_items.newest(self._manager, steps, history=not over)
        if over and int(checkpoint.state.step) != last_step:  # which was incomplete
            checkpoint = self.restore(int(checkpoint.state.step))
        newer = [step for step in steps if step > int(checkpoint.state.step)]
        for step in newer if processes.is_primary() else ():
            checkpoint_files.set_aside(checkpoint_items.folder(self._manager, step))
        if newer:
            processes.wait_for_all()
            self._manager.reload()
        return checkpoint

    def wait(self) -> None:
        """Return when everything is on disk; raises InputError where it refuses."""
        with _told(self._manager.directory):
            self._manager.wait_until_finished()
        step, self._written = self._written, None
        if step is None or not processes.is_primary():
            return
        # Orbax leaves one without its commit where it could not read what it wrote, or
        # where its threads were late by the clock.
        path = checkpoint_items.folder(self._manager, step)
        if (lacks := checkpoint_files.fault(path)) is not None:
            raise InputError(
                f"checkpoint: a disk that keeps what is written is required, got one "
                f"with {lacks} ({path}). Check the disk, or stop a clock that jumps, "
                "then run the same command again."
            )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type | None, *rest: object) -> None:
        # Closing waits for all processes, and one may be gone.
        if kind is None or jax.process_count() == 1:
            self.close()

    def close(self) -> None:
        """Finish writing, as `wait` does, and release the manager's threads."""
        try:
            self.wait()
        finally:
            with _told(self._manager.directory):
                self._manager.close()


@contextlib.contextmanager
def _told(folder: os.PathLike) -> Iterator[None]:
    """Tell in one line what the disk says to those who write a checkpoint.

    Orbax writes on threads; what its native part is told comes as a ValueError.
    """
    try:
        yield
    except (OSError, ValueError) as error:
        got = getattr(error, "strerror", None) or str(error)
        if isinstance(error, ValueError):
            if "writing" not in got:
                raise
            got = got.rpartition(": ")[2].partition(" [")[0]
        if isinstance(error, TimeoutError):
            got = "one that takes too long, or a clock that jumps"
        raise InputError(
            f"checkpoint: a disk that takes it is required, got {got} ({folder}). "
            "Free space on it or check its permissions, then run the same command "
            "again."
        ) from error


def load_student(
    folder: str | os.PathLike, which: Literal["last", "best"] = "last"
) -> Student:
    """Read the network of a run's checkpoint folder.

    Args:
      folder: the run's `checkpoints` folder.
      which: the newest checkpoint, or the best one by training loss. The next newest
        is taken, and that is said, where this one is incomplete.

    Raises:
      InputError: if the folder holds no complete checkpoint.
    """
    path = pathlib.Path(folder).resolve()
    if not path.is_dir():
        raise _no_checkpoint(path)
    with _reader(path) as manager:
        steps = sorted(manager.all_steps(), reverse=True)
        if not steps:
            raise _no_checkpoint(path)
        if which == "best" and (best := manager.best_step()) is not None:
            steps.insert(0, best)
        checkpoint = checkpoint_items.newest(
            manager, list(dict.fromkeys(steps)), history=False
        )
    return Student(
        config=StudentConfig(**checkpoint.config["student"]),
        variables={
            "params": checkpoint.state.params,
            "batch_stats": checkpoint.state.batch_stats,
        },
        voxel_size_m=checkpoint.config["voxel_size_m"],
        text_features=checkpoint.text_features,
        text_space=checkpoint.text_space,
        class_names=checkpoint.class_names,
        step=int(checkpoint.state.step),
    )


def read_first_stage(folder: str | os.PathLike, up_to: int) -> Checkpoint | None:
    """Read another run's newest checkpoint of stage 1 that is not past a step, if any.

    Args:
      folder: that run's `checkpoints` folder; need not exist.
      up_to: the largest step wanted.
    """
    path = pathlib.Path(folder).resolve()
    if not path.is_dir():
        return None
    with _reader(path) as manager:
        steps = checkpoint_files.complete_steps(path)
        if not steps:
            return None
        newest = checkpoint_items.read(manager, steps[0], run=ocp.args.JsonRestore())
        last = min(up_to, _first_self_step(newest["run"]))
        steps = [step for step in steps if step <= last]
        return checkpoint_items.newest(manager, steps, history=False) if steps else None


def _reader(path: pathlib.Path) -> ocp.CheckpointManager:
    """Open an existing folder, which may belong to a run under way, for reading."""
    options = ocp.CheckpointManagerOptions(create=False, best_fn=_quality)
    return ocp.CheckpointManager(path, options=options)


def _first_self_step(record: Mapping[str, Any]) -> int:
    """Return the last step of stage 1 of the run that wrote a record."""
    names = ("epochs", "self_distillation", "loop", "batch_size")
    config = TrainConfig(**{name: record["config"][name] for name in names})
    return Schedule(len(record["scenes"]), config).first_self_step


def _plain(state: TrainState) -> dict[str, PyTree]:
    """Return the state as nested dicts of host arrays."""
    tree = {
        "params": state.params,
        "batch_stats": state.batch_stats,
        "adam": state.opt_state._asdict(),
        "step": state.step,
    }
    # Copies: on CPU device_get returns views of buffers that the next step reuses.
    return jax.tree.map(np.array, tree)


def _quality(metrics: Mapping[str, float]) -> float:
    # Losses of different stages have different terms: the later stage is better.
    return metrics["stage"] * 1e6 - metrics["rank"]


def _no_checkpoint(path: pathlib.Path) -> InputError:
    return InputError(
        f"checkpoint: a complete checkpoint is required, got none ({path}). "
        f"Train first: {command('train')} --flagfile=..."
    )
