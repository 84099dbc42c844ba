"""The students that answer: of a run or of a file, loaded once in a process.

A name is that of a run, the folder of one, or a file (`student_names`).
"""

import functools

import numpy as np
import settings
import stage_flags
from student_names import checkpoints_of, short_name, student_file
from tqdm import tqdm

from sas_jax.artefacts import files
from sas_jax.artefacts.features import Features, load_features, save_features
from sas_jax.artefacts.space import TextSpace
from sas_jax.artefacts.versions import decided_by
from sas_jax.distill.checkpoint_files import (
    complete_steps,
    metadata_path,
    text_space_of,
)
from sas_jax.errors import InputError
from sas_jax.gaussians.files.rewrite import SplatFile
from sas_jax.models.config import StudentConfig
from sas_jax.models.student_card import read_card
from sas_jax.scenes.scene import Scene
from sas_jax.stages import command


def trained() -> tuple[list[str], list[str]]:
    """Return the names of the runs that have a checkpoint, and of those without."""
    names = settings.workspace().runs()
    has = {n: bool(complete_steps(settings.workspace().checkpoints(n))) for n in names}
    return [n for n in names if has[n]], [n for n in names if not has[n]]


def state(name: str) -> list:
    """Return what identifies a student: its file, or a run's newest checkpoint.

    Of checkpoints, those count that look complete.

    Raises:
      InputError: when there is none, with the command that makes one.
    """
    if (file := student_file(name)) is not None:
        read_card(file)  # says what is wrong with it
        return ["file", files.sha256_file(file), *_precision()]
    folder = checkpoints_of(name)
    steps = complete_steps(folder)
    if not steps:
        raise InputError(
            f"student: a trained student is required, got no complete checkpoint "
            f"({folder}). Copy all of its files, or train one: {command('train')} "
            "--flagfile=<your flags>"
        )
    return _state(name, steps[0])


def loaded_state(name: str) -> list:
    """Return what identifies what answers: of checkpoints, the newest readable one.

    What is damaged inside of a checkpoint shows only when it is read.
    """
    chosen = state(name)
    if student_file(name) is not None:
        return chosen
    return _state(name, _predictor(name).student.step)


def _state(run_name: str, step: int) -> list:
    path = metadata_path(checkpoints_of(run_name), step)
    made_by = decided_by("sas_jax.models.student")
    return [str(path), files.sha256_file(path), made_by, *_precision()]


def _precision() -> list[str]:
    """Return what it adds to the identity of a student: nothing where it is f32."""
    chosen = stage_flags.STUDENT_PRECISION.value
    return [] if chosen == "f32" else [chosen]


@functools.cache
def _predictor(name: str):
    # Imported here: a query from cached features needs neither flax nor orbax.
    from sas_jax.distill.checkpoint import load_student
    from sas_jax.models.student import Predictor
    from sas_jax.models.student_file import read_student

    precision = stage_flags.STUDENT_PRECISION.value
    if (file := student_file(name)) is not None:
        return Predictor(read_student(file), precision)
    return Predictor(load_student(checkpoints_of(name)), precision)


def space(name: str) -> TextSpace:
    """Return the text space of a student, without reading its weights."""
    if (file := student_file(name)) is not None:
        return read_card(file).text_space
    folder = checkpoints_of(name)
    state(name)  # says what to do where there is none
    return text_space_of(folder, complete_steps(folder)[0])


def takes_gaussians(name: str) -> bool:
    """Tell whether a student is one of Gaussians, without reading a file's weights."""
    if (file := student_file(name)) is not None:
        card = read_card(file)
        return StudentConfig(card.arch, card.in_channels).takes_gaussians
    state(name)  # says what to do where there is none
    return _predictor(name).student.config.takes_gaussians


def splat_features(name: str, file: SplatFile) -> Features:
    """Return a student's features of Gaussians, in the axes of their file."""
    from sas_jax.gaussians.student import inputs_named, raw_inputs

    found = _predictor(name)
    which = inputs_named(found.student.config.in_channels)
    return found.features(file.splats.means, inputs=raw_inputs(file, which))


def features(name: str, points: np.ndarray, shift: np.ndarray | int = 0) -> Features:
    """Return a student's features of points; see `Predictor.features`."""
    return _predictor(name).features(points, shift)


def scene_features(name: str, scene: Scene) -> Features:
    """Return a student's features of a scene, from the workspace or computed now."""
    path = settings.workspace().scene_features(short_name(name), scene.name)
    for state_of in (state, loaded_state):
        key = files.content_key([state_of(name), scene.points])
        if settings.is_current(path, key):
            return load_features(path)
    with tqdm(total=1, desc="student", unit="scene") as bar:
        save_features(path, _predictor(name).features(scene.points), key=key)
        bar.update()
    return load_features(path)
