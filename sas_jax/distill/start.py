"""Where a run starts: own checkpoint, another run's first stage, weights, scratch."""

import dataclasses
import logging
import os

import jax
import numpy as np

from sas_jax.artefacts.files import canonical
from sas_jax.artefacts.versions import decided_by
from sas_jax.distill import initial, resume, step
from sas_jax.distill.checkpoint import (
    Checkpoint,
    Checkpoints,
    read_first_stage,
)
from sas_jax.distill.history import History
from sas_jax.distill.setup import TrainSetup, text_of

_log = logging.getLogger(__name__)
_SECOND_STAGE = (
    "self_distillation",
    "keep_distillation",
    "ema_alpha",
    "logit_scale",
)


def start(
    setup: TrainSetup,
    checkpoints: Checkpoints,
    init_from: str | os.PathLike | None,
    branch_from: str | os.PathLike | None = None,
) -> tuple[step.TrainState, History, TrainSetup]:
    """Return state, history and setup in the order resume, branch, init, scratch.

    The setup is that of the caller, but a run that goes on from a checkpoint keeps the
    text features of that one, to the bit.

    Raises:
      InputError: if a checkpoint was made with another configuration, other scenes,
        another vocabulary or other initial weights, or `init_from` holds those of
        another network.
    """
    saved = checkpoints.restore_latest(setup.schedule.total_steps)
    if saved is not None:
        resume.check_config(saved.config, setup.config, checkpoints.folder)
        resume.check_resume(saved, setup, init_from, checkpoints.folder)
        step_done = int(saved.state.step)
        _log.info("resumed at step %d (%s)", step_done, checkpoints.folder)
        state = step.replicate(saved.state, setup.own_devices)
        return state, History(saved.history), _as_saved(setup, saved)
    if branch_from is not None:
        saved = _first_stage(setup, branch_from, init_from)
        if saved is not None:
            _log.info("branched off at step %d (%s)", saved.state.step, branch_from)
            state = step.replicate(saved.state, setup.own_devices)
            return state, History(), _as_saved(setup, saved)
        _log.info("no shared first stage, from the beginning (%s)", branch_from)
    state = step.create_state(setup.network, setup.config)
    if init_from is not None:
        student, config = initial.load_initial(init_from, setup.config)
        setup = dataclasses.replace(setup, config=config)
        resume.check_space(setup, student.text_space, init_from)
        if student.config.in_channels != config.student.in_channels:
            student = initial.of_gaussians(student, _some_inputs(setup))
        initial.check_arrays(state, student.variables, init_from)
        state = dataclasses.replace(state, **student.variables)
        _log.info("started from the weights of %s", init_from)
    return step.replicate(state, setup.own_devices), History(), setup


def _some_inputs(setup: TrainSetup) -> list[np.ndarray]:
    """Return the raw Gaussians of the first scenes."""
    scenes = [setup.cache.load(i) for i in range(min(8, len(setup.scenes)))]
    return [s.inputs for s in scenes if s.inputs is not None]


def _first_stage(
    setup: TrainSetup, folder: str | os.PathLike, init_from: str | os.PathLike | None
) -> Checkpoint | None:
    """Return the newest checkpoint of another run that this run would pass too.

    Only steps without Eq. 13 in both runs are shared, so what belongs to it may
    differ. With a poly schedule the rates depend on where stage 2 begins: none are.

    Raises:
      InputError: if anything else differs.
    """
    if setup.config.schedule != "linear":
        return None
    saved = read_first_stage(folder, setup.schedule.first_self_step)
    if saved is not None:
        resume.check_config(saved.config, setup.config, folder, _SECOND_STAGE)
        resume.check_resume(saved, setup, init_from, folder)
    return saved


def to_checkpoint(
    setup: TrainSetup, state: step.TrainState, history: History
) -> Checkpoint:
    """Return all that `start` needs to go on from here."""
    host_state = jax.device_get(state)
    return Checkpoint(
        state=host_state,
        history=history.arrays(),
        text_features=text_of(setup),
        text_space=setup.classes.texts.space,
        class_names=tuple(setup.classes.vocabulary.names),
        scenes=setup.scenes,
        iterator={"next_index": int(host_state.step)},
        config=canonical(setup.config),
        made_by=decided_by(resume.TRAINING),
    )


def _as_saved(setup: TrainSetup, saved: Checkpoint) -> TrainSetup:
    """Return the setup with the text features and the beginning of a checkpoint."""
    texts = dataclasses.replace(setup.classes.texts, rows=saved.text_features)
    classes = dataclasses.replace(setup.classes, texts=texts)
    began = saved.config.get(initial.FIELD)
    config = dataclasses.replace(setup.config, initial_weights=began)
    return dataclasses.replace(setup, classes=classes, config=config)
