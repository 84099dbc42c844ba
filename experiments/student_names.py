"""What names a student: a training run, or a file of weights and card."""

import pathlib

import stage_flags

from sas_jax.errors import InputError
from sas_jax.models.student_card import SUFFIX


def student_file(name: str) -> pathlib.Path | None:
    """Return the file that a student is named by, None for the name of a run."""
    return pathlib.Path(name) if name.endswith(SUFFIX) else None


def chosen_file() -> pathlib.Path | None:
    """Return the file that --student gives, None without it.

    Raises:
      InputError: when it is not named like one.
    """
    name = stage_flags.STUDENT.value
    if name is not None and student_file(name) is None:
        raise InputError(
            f"flags: --student must be a file that ends in {SUFFIX}, got {name!r}. "
            "Name a run by --run."
        )
    return name and pathlib.Path(name)


def chosen(run_name: str) -> str:
    """Return the name of the student that answers: --student's file, else a run."""
    return str(chosen_file() or run_name)
