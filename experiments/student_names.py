"""What names a student: a run, a file of weights and card, or one of the package's."""

import functools
import pathlib

import stage_flags
from absl import flags, logging

from sas_jax.artefacts.workspace import CHECKPOINTS, Workspace, name_of_place
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


def checkpoints_of(name: str) -> pathlib.Path:
    """Return the checkpoints of a run: of a name in this workspace, or of a path."""
    if "/" not in name:
        return Workspace(stage_flags.WORKSPACE.value).checkpoints(name)
    path = pathlib.Path(name).expanduser()
    return path / CHECKPOINTS if (path / CHECKPOINTS).is_dir() else path


def short_name(name: str) -> str:
    """Return the name that a student has among results: run, file, or run@workspace."""
    if (file := student_file(name)) is not None:
        return file.name
    if "/" not in name:
        return name
    path = checkpoints_of(name).absolute()
    run = path.parent if path.name == CHECKPOINTS else path
    home = run.parent.parent if run.parent.name == "train" else run.parent
    return f"{run.name}@{home.name}"


def chosen_student() -> str | None:
    """Return the student that --student names, as a file or a run's path; None without.

    Raises:
      InputError: when it names neither, nor a student of the package.
    """
    name = stage_flags.STUDENT.value
    if not name:
        return None
    if (file := student_file(name)) is not None:
        return str(file)
    if "/" in name and complete_steps(checkpoints_of(name)):
        return name
    raise InputError(
        f"flags: --student must be {' or '.join(shipped.STUDENTS)}, which come "
        f"with this package, a file that ends in {SUFFIX}, or the folder of a run with "
        f"checkpoints, <workspace>/train/<run>, got {name!r}. A run of this workspace "
        "is named by --run."
    )


def chosen(*, tell: bool = True) -> str:
    """Return the name of the student that answers.

    It is that of --run where that is given: a flagfile may hold --student. Else it is
    --student's, else that of the default run or of the only one that was trained, and
    where there is none a student that comes with the package.

    Args:
      tell: say so where nobody was trained or chosen.

    Raises:
      InputError: where several runs were trained and none was chosen.
    """
    run = stage_flags.RUN.value
    check_run(run)
    student = chosen_student()
    if flags.FLAGS["run"].present:
        return run
    if student is not None:
        return student
    if (trained := _trained()) is not None:
        return trained
    if tell:
        _say_who_answers(Workspace(stage_flags.WORKSPACE.value).root)
    return str(shipped.find(_DEFAULT))


def _trained() -> str | None:
    """Return the run that is meant where none is named; None without any."""
    workspace, run = Workspace(stage_flags.WORKSPACE.value), stage_flags.RUN.value
    if complete_steps(workspace.checkpoints(run)):
        return run
    runs = [r for r in workspace.runs() if complete_steps(workspace.checkpoints(r))]
    if len(runs) > 1:
        raise InputError(
            f"flags: --run must name one of the students that were trained here, "
            f"{', '.join(runs)}; got none ({workspace.root}). Name one."
        )
    return runs[0] if runs else None


@functools.cache
def _say_who_answers(root: pathlib.Path) -> None:
    logging.warning(
        "No student was trained in %s; the one that comes with this package answers. "
        "It learned from procedural rooms.",
        root,
    )


def title(name: str) -> str:
    """Return a student's name for people and for files, another one for each."""
    file = student_file(name)
    if file is None:
        place = pathlib.Path(name).expanduser()
        return name_of_place(place) if "/" in name else name
    known = [own for own in shipped.STUDENTS if shipped.find(own) == file]
    return known[0] if known else name_of_place(file)


def is_chosen() -> bool:
    """Tell whether a student was chosen by a flag, or trained in this workspace."""
    given = any(flags.FLAGS[name].present for name in ("run", "student"))
    return given or _trained() is not None


def check_run(name: str) -> None:
    """Refuse the name of a run that would name another student.

    Raises:
      InputError: for a student of the package, or a file.
    """
    if student_file(name) is not None:
        raise InputError(
            f"flags: --run must be another name than that of a student of the package "
            f"or of a file, got {name!r}. Choose another one; who is meant to answer "
            "instead of a run is named by --student."
        )


def begun_from(name: str | None) -> pathlib.Path | None:
    """Return whose weights --init_from names, None for nobody's.

    Args:
      name: a student's file or one of the package, a run's name, or its path.

    Raises:
      InputError: for a run that has no checkpoint, unless --run goes on with its own.
    """
    if not name:
        return None
    if (file := student_file(name)) is not None:
        return file
    path, own = checkpoints_of(name), checkpoints_of(stage_flags.RUN.value)
    if not (complete_steps(path) or complete_steps(own)):
        raise InputError(
            f"flags: --init_from must be {' or '.join(shipped.STUDENTS)}, which come "
            f"with this package, a file that ends in {SUFFIX}, or a run, got {name!r}, "
            f"which has no checkpoint ({path}). Correct the name, or begin from "
            "scratch: --init_from="
        )
    return path
