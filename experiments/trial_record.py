"""What lies in the run folder of a trial: what it is, and how it was scored.

A run is known by the flags in `trial.json`; its folder's name is made of their key and
never read.
"""

import functools
import pathlib
from collections.abc import Mapping
from typing import Any

from sas_jax.artefacts.files import content_key, is_current, read_json, write_json
from sas_jax.artefacts.versions import decided_by

LOG = "trial.log"
"""File of a run folder, with all that the stages of the trial print."""
RECORD = "trial.json"
"""File of a run folder, with the flags of the trial."""
_SCORES = "trial_scores.json"
_RECORD_SCHEMA, _SCORES_SCHEMA = "sas_jax.trial/1", "sas_jax.trial_scores/1"


def write(folder: pathlib.Path, record: Mapping[str, Any]) -> None:
    """Write what a trial is.

    Args:
      folder: its run folder.
      record: sweep, label, seed, flags of all stages and of single ones.
    """
    key = content_key(dict(record))
    if not is_current(folder / RECORD, key):
        write_json(folder / RECORD, record, key=key, schema=_RECORD_SCHEMA)


def read(folder: pathlib.Path) -> dict[str, Any]:
    """Return what `write` wrote; raises DamagedFile where it is not there."""
    return read_json(folder / RECORD, schema=_RECORD_SCHEMA)


def write_scores(
    folder: pathlib.Path, state: str, metrics: Mapping[str, float]
) -> None:
    """Write how a trial ended."""
    result = {"state": state, "metrics": dict(metrics)}
    path = folder / _SCORES
    write_json(path, result, key=_key(read(folder)), schema=_SCORES_SCHEMA)


def read_scores(folder: pathlib.Path) -> dict[str, Any] | None:
    """Return `state` and `metrics` of a trial, None where it has to go on."""
    path = folder / _SCORES
    if not path.exists() or not is_current(path, _key(read(folder))):
        return None
    return read_json(path, schema=_SCORES_SCHEMA)


def error(folder: pathlib.Path) -> str:
    """Return the last error in the log of a trial."""
    path = folder / LOG
    text = path.read_text(errors="replace") if path.exists() else ""
    lines = text.replace("\r", "\n").splitlines()
    # Of the stage that failed, and then of the trial, which tells that a stage did.
    told = [x for x in lines if x.startswith("error: ") and "error: stages: " not in x]
    return (told or ["killed, or it could not start"])[-1].removeprefix("error: ")


def _key(record: Mapping[str, Any]) -> str:
    return content_key([dict(record), _made_by()])


@functools.cache
def _made_by() -> dict[str, Any]:
    return decided_by("sas_jax.distill.train", "sas_jax.evaluation.protocol")
