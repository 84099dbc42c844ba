"""What must be the same where a run goes on from a checkpoint."""

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32

from sas_jax.artefacts.files import canonical
from sas_jax.artefacts.space import TextSpace, one_space
from sas_jax.artefacts.versions import decided_by
from sas_jax.distill import initial
from sas_jax.distill.checkpoint import Checkpoint
from sas_jax.distill.config import TrainConfig
from sas_jax.distill.setup import TrainSetup, text_of
from sas_jax.errors import InputError

TRAINING = "sas_jax.distill.train"
"""The module where the code of a run begins."""

# A text tower repeats its features up to rounding, 1e-7 between batch sizes; another
# prompt moves them by 1e-2 and more.
_TEXT_TOLERANCE = 1e-5

_log = logging.getLogger(__name__)


def check_config(
    saved: Mapping[str, Any],
    config: TrainConfig,
    where: object,
    except_for: Sequence[str] = (),
) -> None:
    """Refuse to go on with another configuration; see `initial.check_begun`.

    Args:
      saved: what the checkpoint was made with, as JSON values.
      config: what is asked for.
      where: names the checkpoint in the error.
      except_for: fields that may differ.

    Raises:
      InputError: naming the first field that differs, with both values.
    """
    wanted = canonical(config)
    for field in sorted((set(saved) | set(wanted)) - {*except_for, initial.FIELD}):
        if saved.get(field) != wanted.get(field):
            raise InputError(
                f"resume: {field} must be {saved.get(field)} as in the checkpoint, got "
                f"{wanted.get(field)} ({where}). "
                "Restore the setting, or train into another --run."
            )


def check_space(setup: TrainSetup, space: TextSpace, where: object) -> None:
    """Refuse a student that lives in another text space than the run."""
    spaces = {"the texts": setup.classes.texts.space, f"the student in {where}": space}
    one_space("train", spaces)


def check_resume(
    saved: Checkpoint,
    setup: TrainSetup,
    init_from: str | os.PathLike | None,
    where: object,
) -> None:
    """Refuse to go on with other scenes, classes or texts; warn of other code.

    Args:
      saved: the checkpoint.
      setup: what is asked for.
      init_from: whose weights the run is asked to begin with.
      where: names the checkpoint.

    Raises:
      InputError: naming what differs.
    """
    initial.check_begun(saved.config, init_from, where)
    check_space(setup, saved.text_space, where)
    _warn_of_other_code(saved.made_by, where)
    texts = text_of(setup)
    same = {
        "training scenes": list(saved.scenes) == list(setup.scenes),
        "fused features and superpoints": dict(saved.scenes) == dict(setup.scenes),
        "class names": saved.class_names == tuple(setup.classes.vocabulary.names),
        "text features": _near(saved.text_features, texts),
    }
    for name, equal in same.items():
        if not equal:
            raise InputError(
                f"resume: {name} of the checkpoint are required, got others "
                f"({where}). Restore them, train into another --run, or delete that "
                "folder to begin again."
            )


def _warn_of_other_code(made_by: Mapping[str, Mapping], where: object) -> None:
    """Say where a run goes on with code or libraries that may give other numbers.

    Not refused: days of work would be lost for a fix or a faster library. But the
    result is then that of neither.
    """
    changes = [
        f"{name} {was} -> {now.get(name, 'none')}"
        for kind, now in decided_by(TRAINING).items()
        for name, was in made_by.get(kind, {}).items()
        if now.get(name) != was
    ]
    if changes:
        _log.warning(
            "resume: the checkpoint was made with another version of what decides its "
            "numbers, %s (%s). For a result of one version, train into another --run.",
            *(", ".join(changes), where),
        )


def _near(one: Float32[np.ndarray, "K C"], two: Float32[np.ndarray, "J C"]) -> bool:
    return one.shape == two.shape and bool(np.abs(one - two).max() <= _TEXT_TOLERANCE)
