"""Where a run starts: own checkpoint, another run's first stage, weights, scratch."""

import dataclasses
import logging
import os

import jax

from sas_jax.artefacts.files import canonical
from sas_jax.artefacts.versions import decided_by
from sas_jax.distill import initial, resume, step
from sas_jax.distill.checkpoint import (
    Checkpoint,
    Checkpoints,
    read_first_stage,
)
from sas_jax.distill.history import History
from sas_jax.distill.setup import World, text_of

_log = logging.getLogger(__name__)
_SECOND_STAGE = (
    "self_distillation",
    "keep_distillation",
    "ema_alpha",
    "logit_scale",
)


def start(
    world: World,
    checkpoints: Checkpoints,
    init_from: str | os.PathLike | None,
    branch_from: str | os.PathLike | None = None,
) -> tuple[step.TrainState, History, World]:
    """Return state, history and world in the order resume, branch, init, scratch.

    The world is the one given, but a run that goes on from a checkpoint keeps the text
    features of that one, to the bit.

    Raises:
      InputError: if a checkpoint was made with another configuration, other scenes,
        another vocabulary or other initial weights, or `init_from` holds those of
        another network.
    """
    saved = checkpoints.restore_latest(world.schedule.total_steps)
    if saved is not None:
        resume.check_config(saved.config, world.config, checkpoints.folder)
        resume.check_resume(saved, world, init_from, checkpoints.folder)
        step_done = int(saved.state.step)
        _log.info("resumed at step %d (%s)", step_done, checkpoints.folder)
        state = step.replicate(saved.state, world.own_devices)
        return state, History(saved.history), _as_saved(world, saved)
    if branch_from is not None:
        saved = _first_stage(world, branch_from, init_from)
        if saved is not None:
            _log.info("branched off at step %d (%s)", saved.state.step, branch_from)
            state = step.replicate(saved.state, world.own_devices)
            return state, History(), _as_saved(world, saved)
        _log.info("no shared first stage, from the beginning (%s)", branch_from)
    state = step.create_state(world.network, world.config)
    if init_from is not None:
        student, config = initial.load_initial(init_from, world.config)
        world = dataclasses.replace(world, config=config)
        resume.check_space(world, student.text_space, init_from)
        initial.check_arrays(state, student.variables, init_from)
        state = dataclasses.replace(state, **student.variables)
        _log.info("started from the weights of %s", init_from)
    return step.replicate(state, world.own_devices), History(), world


def _first_stage(
    world: World, folder: str | os.PathLike, init_from: str | os.PathLike | None
) -> Checkpoint | None:
    """Return the newest checkpoint of another run that this run would pass too.

    Only steps without Eq. 13 in both runs are shared, so what belongs to it may
    differ. With a poly schedule the rates depend on where stage 2 begins: none are.

    Raises:
      InputError: if anything else differs.
    """
    if world.config.schedule != "linear":
        return None
    saved = read_first_stage(folder, world.schedule.first_self_step)
    if saved is not None:
        resume.check_config(saved.config, world.config, folder, _SECOND_STAGE)
        resume.check_resume(saved, world, init_from, folder)
    return saved


def to_checkpoint(world: World, state: step.TrainState, history: History) -> Checkpoint:
    """Return all that `start` needs to go on from here."""
    host_state = jax.device_get(state)
    return Checkpoint(
        state=host_state,
        history=history.arrays(),
        text_features=text_of(world),
        text_space=world.vocabulary.space,
        class_names=tuple(world.vocabulary.names),
        scenes=world.scenes,
        iterator={"next_index": int(host_state.step)},
        config=canonical(world.config),
        made_by=decided_by(resume.TRAINING),
    )


def _as_saved(world: World, saved: Checkpoint) -> World:
    """Return the world with the text features and the beginning of a checkpoint."""
    vocabulary = dataclasses.replace(world.vocabulary, features=saved.text_features)
    began = saved.config.get(initial.FIELD)
    config = dataclasses.replace(world.config, initial_weights=began)
    return dataclasses.replace(world, vocabulary=vocabulary, config=config)
