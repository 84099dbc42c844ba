"""What names a student: a run, a file of weights and card, or one of the package's."""

import pathlib

import stage_flags
from absl import flags, logging

from sas_jax.artefacts.workspace import Workspace
from sas_jax.distill.checkpoint_files import complete_steps
from sas_jax.errors import InputError
from sas_jax.models import shipped
from sas_jax.models.student_card import SUFFIX

_DEFAULT = "rooms"


def student_file(name: str) -> pathlib.Path | None:
    """Return the file that a student is named by, None for the name of a run."""
    if (own := shipped.find(name)) is not None:
        return own
    return pathlib.Path(name) if name.endswith(SUFFIX) else None


def chosen_file() -> pathlib.Path | None:
    """Return the file that --student gives, None without it.

    Raises:
      InputError: when it names neither a file nor a student of the package.
    """
    name = stage_flags.STUDENT.value
    if not name:
        return None
    if (file := student_file(name)) is None:
        raise InputError(
            f"flags: --student must be {' or '.join(shipped.STUDENTS)}, which come "
            f"with this package, or a file that ends in {SUFFIX}, got {name!r}. "
            "Name a run by --run."
        )
    return file


def chosen() -> str:
    """Return the name of the student that answers.

    It is --student's, else that of --run. Where no run is named and there is none, it
    is a student that comes with the package.
    """
    if (file := chosen_file()) is not None:
        return str(file)
    run = stage_flags.RUN.value
    workspace = Workspace(stage_flags.WORKSPACE.value)
    if flags.FLAGS["run"].present or complete_steps(workspace.checkpoints(run)):
        return run
    logging.warning(
        "No student was trained in %s; the one that comes with this package answers. "
        "It learned from procedural rooms.",
        workspace.root,
    )
    return str(shipped.find(_DEFAULT))
