"""What the runs of a workspace are, by the settings that each keeps in `config.json`.

The name of a run says nothing: runs that differ in their seed alone are one method.
"""

import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import settings
import trial_record

from sas_jax.artefacts.files import content_key, read_json
from sas_jax.artefacts.workspace import CONFIG
from sas_jax.errors import DamagedFile
from sas_jax.evaluation import protocol

_KINDS = ("student", "ensemble")


def methods(names: Sequence[str]) -> dict[str, str]:
    """Return name of an evaluation -> method, the same for the seeds of one student.

    A student of a variant of Table 3 is `student/<variant>` where no other one is of
    it, or else named by its first run.

    Args:
      names: of evaluations.
    """
    groups: dict[str, list[str]] = {}
    for run in sorted({_run_of(name) for name in names if _config(_run_of(name))}):
        groups.setdefault(_key(run), []).append(run)
    variants = [variant(runs[0]) for runs in groups.values()]
    called = {}
    for kind, runs in zip(variants, groups.values(), strict=True):
        called |= dict.fromkeys(runs, kind if variants.count(kind) == 1 else runs[0])
    found = {}
    for name in names:
        run = _run_of(name)
        found[name] = name.replace(run, called[run], 1) if run in called else name
    return found


def variant(run: str) -> str | None:
    """Return which student of Table 3 a run is: point, superpoint or full."""
    config = _config(run)
    if config is None:
        return None
    train = config["train"]
    if train["level"] == "point":
        return "point"
    return "full" if train["self_distillation"] else "superpoint"


def setting(run: str) -> str | None:
    """Return words for the trial of a sweep, None for another run."""
    try:
        return trial_record.read(settings.workspace().run(run))["setting"]
    except DamagedFile:
        return None


def _run_of(name: str) -> str:
    """Return the run that an evaluation is of; "" where it is of none."""
    kind, _, run = name.removesuffix(protocol.SUPERPOINTS).partition("/")
    return run if kind in _KINDS else ""


def _key(run: str) -> str:
    """Return what two runs share that differ in their seed alone."""
    config = _config(run) or {}
    train = {k: v for k, v in config["train"].items() if k != "seed"}
    return content_key([train, config["scenes"]])


@functools.cache
def _config(run: str) -> Mapping[str, Any] | None:
    # Imported here: it loads JAX.
    from sas_jax.distill.train import CONFIG_SCHEMA

    if not run or run not in settings.workspace().runs():
        return None
    path: pathlib.Path = settings.workspace().run(run) / CONFIG
    try:
        return read_json(path, schema=CONFIG_SCHEMA)
    except DamagedFile:
        return None
