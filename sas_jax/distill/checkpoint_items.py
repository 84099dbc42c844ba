"""What a checkpoint holds, read from Orbax's items: whole, or an error names it."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optax
import orbax.checkpoint as ocp
from jaxtyping import Float32

from sas_jax.artefacts.space import TextSpace
from sas_jax.distill import checkpoint_files
from sas_jax.distill.step import TrainState
from sas_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds, all in host memory.

    Attributes:
      state: parameters, statistics, optimiser and step.
      history: running mean of logits, [P, K] f32 per scene; empty in stage 1, and
        where a reader left it out.
      text_features: [K, C] f32, T.
      text_space: that they and the student's features live in.
      class_names: the K names.
      scenes: content key of each training scene, by name, in order.
      iterator: position of the data iterator.
      config: the `TrainConfig` as JSON values.
      made_by: versions of code and libraries (see `artefacts.versions`).
    """

    state: TrainState
    history: Mapping[str, Float32[np.ndarray, "P K"]]
    text_features: Float32[np.ndarray, "K C"]
    text_space: TextSpace
    class_names: tuple[str, ...]
    scenes: Mapping[str, str]
    iterator: Mapping[str, Any]
    config: Mapping[str, Any]
    made_by: Mapping[str, Mapping[str, int | str]] = dataclasses.field(
        default_factory=dict
    )


def newest(
    manager: ocp.CheckpointManager, steps: Sequence[int], *, history: bool
) -> Checkpoint:
    """Read the first of these checkpoints that is complete, and say what was not.

    Raises:
      InputError: if none is, about the first.
    """
    faults: dict[int, InputError] = {}
    for step in steps:
        try:
            checkpoint = restore(manager, step, history=history)
        except InputError as error:
            faults[step] = error
            continue
        for other in faults:
            path = folder(manager, other)
            what = checkpoint_files.fault(path, history=history)
            what = what or "data that cannot be read"
            checkpoint_files.warn_of(path, what, step)
        return checkpoint
    raise faults[steps[0]]


def restore(
    manager: ocp.CheckpointManager, step: int, *, history: bool = True
) -> Checkpoint:
    """Read a checkpoint; the history, most of its bytes, only where it is wanted.

    Raises:
      InputError: if it is incomplete.
    """
    fault = checkpoint_files.fault(folder(manager, step), history=history)
    if fault is not None:
        raise _incomplete(manager, step, fault)
    items: dict = {
        "state": ocp.args.PyTreeRestore(),
        "text": ocp.args.PyTreeRestore(),
        "run": ocp.args.JsonRestore(),
    }
    if history and (folder(manager, step) / "history").exists():
        items["history"] = ocp.args.PyTreeRestore()
    found = read(manager, step, **items)
    state, run = found["state"], found["run"]
    adam = optax.ScaleByAdamState(**state["adam"])
    return Checkpoint(
        state=TrainState(
            state["params"], state.get("batch_stats") or {}, adam, state["step"]
        ),
        history=dict(found["history"]) if "history" in items else {},
        text_features=found["text"]["features"],
        text_space=TextSpace.parse(run.get("text_space"), folder(manager, step)),
        class_names=tuple(run["class_names"]),
        scenes=run["scenes"],
        iterator=run["iterator"],
        config=run["config"],
        made_by=run.get("made_by", {}),
    )


def read(
    manager: ocp.CheckpointManager, step: int, **items: ocp.args.CheckpointArgs
) -> Mapping[str, Any]:
    """Read these items of a checkpoint and no others.

    Raises:
      InputError: if one of them is absent or damaged.
    """
    try:
        return manager.restore(step, args=ocp.args.Composite(**items))
    except (ValueError, OSError, KeyError) as error:
        raise _incomplete(manager, step, repr(error)) from error


def _incomplete(manager: ocp.CheckpointManager, step: int, got: str) -> InputError:
    return InputError(
        f"checkpoint: a complete checkpoint is required, got {got} "
        f"({folder(manager, step)}). Copy it again. Delete this folder to go on from "
        "the one before, where there is one."
    )


def folder(manager: ocp.CheckpointManager, step: int) -> pathlib.Path:
    """Return the folder of a step."""
    return pathlib.Path(manager.directory) / str(step)
