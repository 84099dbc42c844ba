"""The weights that a run begins with: where they are, whether they fit, whose they are.

They decide what is learned, so a run's configuration names them
(`TrainConfig.initial_weights`), and a run does not go on as one that began otherwise.
"""

import dataclasses
import logging
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Float32, PyTree

from sas_jax.artefacts.files import content_key, sha256_file
from sas_jax.distill import processes
from sas_jax.distill.checkpoint import load_student
from sas_jax.distill.config import TrainConfig
from sas_jax.distill.step import TrainState
from sas_jax.errors import InputError
from sas_jax.models.minkunet import STEM
from sas_jax.models.student import Student
from sas_jax.models.student_card import SUFFIX
from sas_jax.models.student_file import read_student

FIELD = "initial_weights"
_log = logging.getLogger(__name__)


def load_initial(
    path: str | os.PathLike, config: TrainConfig
) -> tuple[Student, TrainConfig]:
    """Return a student to begin with and the configuration that names its weights.

    A student of Gaussians may begin with one of points, which `of_gaussians` makes
    into one.

    Args:
      path: a student's file, or the checkpoint folder of a run.
      config: of the run that begins.

    Raises:
      InputError: if the file or folder is unreadable or holds another network.
    """
    path = pathlib.Path(path)
    if path.suffix == SUFFIX:
        student, key = read_student(path), sha256_file(path)
    else:
        student = load_student(path)
        key = content_key(jax.tree.map(np.asarray, student.variables))
    _check_network(student, config, path)
    if student.config.in_channels != config.student.in_channels:
        _log.info("init: all layers but the first one are those of a student of points")
    if student.voxel_size_m != config.voxel_size_m:
        _log.warning(
            "init: weights for voxels of %g m go on with voxels of %g m (%s)",
            *(student.voxel_size_m, config.voxel_size_m, path),
        )
    return student, dataclasses.replace(config, initial_weights=key)


def of_gaussians(
    student: Student, inputs: Sequence[Float32[np.ndarray, "G C_in"]]
) -> Student:
    """Return a student of points as one of Gaussians, whose answers are about the same.

    Its first layer sees ones. The new one takes, of each Gaussian, the combination of
    its inputs that is nearest to one by least squares over all given; it learns from
    there what else they tell. All other layers are as they were.

    Args:
      student: of points.
      inputs: raw Gaussians of some scenes.
    """
    rows = np.concatenate(inputs).astype(np.float64)
    square, to_one = rows.T @ rows, rows.sum(axis=0)
    mix = np.linalg.lstsq(square, to_one, rcond=1e-9)[0]
    mix = processes.of_primary(mix.astype(np.float32))
    params = dict(student.variables["params"])
    kernel = np.asarray(params[STEM]["kernel"]).sum(axis=1)
    params[STEM] = {"kernel": mix[None, :, None] * kernel[:, None]}
    return dataclasses.replace(
        student,
        config=dataclasses.replace(student.config, in_channels=len(mix)),
        variables={**student.variables, "params": params},
    )


def check_begun(
    saved: Mapping[str, Any], init_from: str | os.PathLike | None, where: object
) -> None:
    """Refuse to go on with a run that began otherwise than it is asked to.

    Its weights are in the checkpoint by now, so none are read. A file that is still
    there is compared; a run's folder may hold newer weights and is not.

    Args:
      saved: configuration of the checkpoint, as JSON values.
      init_from: what the run is asked to begin with.
      where: names the checkpoint in the error.

    Raises:
      InputError: with both.
    """
    if FIELD not in saved:  # of a version that did not note it
        return
    began = saved[FIELD]
    now = None if init_from is None else _key_now(init_from)
    if (init_from is None) != (began is None) or now not in (began, None):
        raise InputError(
            f"resume: initial weights must be {_words(began)} as in the checkpoint, "
            f"got {_words(now)} by --init_from={init_from} ({where}). "
            "Give the same --init_from, or train into another --run."
        )


def check_arrays(
    state: TrainState, variables: Mapping[str, PyTree], where: object
) -> None:
    """Refuse arrays of other names or shapes than the network's.

    Args:
      state: of the network.
      variables: params and batch_stats that are to take its place.
      where: names what holds them in the error.
    """
    wanted = {"params": state.params, "batch_stats": state.batch_stats}
    if jax.tree.map(np.shape, wanted) != jax.tree.map(np.shape, dict(variables)):
        raise InputError(
            "init: arrays of the same architecture are required, got others "
            f"({where}). Train that student again, or begin from scratch."
        )


def _key_now(path: str | os.PathLike) -> str | None:
    """Return what identifies a file that is still there, None where nothing does."""
    path = pathlib.Path(path)
    return sha256_file(path) if path.suffix == SUFFIX and path.is_file() else None


def _words(key: str | None) -> str:
    return "none" if key is None else f"those with hash {key[:12]}"


def _check_network(student: Student, config: TrainConfig, where: object) -> None:
    of_points = not student.config.takes_gaussians
    channels = config.student.in_channels
    if config.student.takes_gaussians and of_points:
        channels = student.config.in_channels
    wanted, got = (
        f"{arch} with {channels} input channels and out_dim {out_dim}"
        for arch, channels, out_dim in (
            (config.student.arch, channels, config.student.out_dim),
            (student.config.arch, student.config.in_channels, student.config.out_dim),
        )
    )
    if wanted != got:
        raise InputError(
            f"init: weights of {wanted} are required, got those of {got} ({where}). "
            "Set --arch as in that student and use its text tower, or begin from "
            "scratch: --init_from="
        )
