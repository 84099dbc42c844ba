"""The trials of a sweep as commands: their flags checked, their places known."""

import dataclasses
import difflib
import pathlib
import re
import sys
from collections.abc import Mapping, Sequence

import config_flags
import settings
import stage_flags
import sweep_layers
import trial_record
from absl import flags
from absl.testing import flagsaver
from stage_process import argument

from sas_jax.artefacts.files import content_key
from sas_jax.artefacts.workspace import Workspace
from sas_jax.errors import InputError
from sas_jax.sweeps.plan import Sweep, Trial

_HERE = pathlib.Path(__file__).parent
_SHARED = ("stage_flags", "config_flags")
_HOW = ("How stages run", "Workers")
_BRANCH = "train.branch_from"


@dataclasses.dataclass(frozen=True, eq=False)
class Planned:
    """A trial with its place.

    Attributes:
      trial: what it is.
      run: name of its run folder.
      workspace: that it works in.
      arguments: of trial.py.
      stages: stage -> flags of that stage alone.
      epochs: of its student; 0 without one.
      after: run that it branches off, None without.
    """

    trial: Trial
    run: str
    workspace: pathlib.Path
    arguments: tuple[str, ...]
    stages: Mapping[str, Mapping[str, object]]
    epochs: int
    after: str | None

    @property
    def name(self) -> str:
        """Words for people."""
        return f"{self.trial.label}, seed {self.trial.seed}"

    @property
    def folder(self) -> pathlib.Path:
        """Its run folder."""
        return Workspace(self.workspace).run(self.run)

    @property
    def command(self) -> list[str]:
        """What runs it."""
        script = str(_HERE / "trial.py")
        return [sys.executable, script, *self.arguments, f"--trial={self.folder}"]


def planned(sweep: Sweep, split: str) -> list[Planned]:
    """Return the trials of a sweep; what each is lies in its run folder then.

    Args:
      sweep: with flags as its file gives them, added to those of this process.
      split: of the scenes that trials are scored on.

    Raises:
      InputError: for a flag or a value that no stage takes.
    """
    base = _given()
    varied = {name for trial in sweep.trials for name in trial.varied}
    found = [_planned(sweep, trial, base, varied, split) for trial in sweep.trials]
    first = sweep.trials[0].seed  # a fusion has no seed: once is enough
    found = [p for p in found if p.epochs or p.trial.seed == first]
    runs = {(p.trial.label, p.trial.seed): p.run for p in found}
    found = [_branched(p, runs) for p in found]
    for each in found:
        _record(sweep, each, base)
    return found


def _planned(
    sweep: Sweep,
    trial: Trial,
    base: Mapping[str, str],
    varied: set[str],
    split: str,
) -> Planned:
    plain = {n: v for n, v in trial.flags.items() if "." not in n}
    stages: dict[str, dict[str, object]] = {}
    for name, value in trial.flags.items():
        stage, _, inner = name.rpartition(".")
        if stage:
            _check_stage(stage, inner, trial)
            stages.setdefault(stage, {})[inner] = value
    facts = [_decides(base), dict(trial.flags), trial.seed]
    run = f"{sweep.name}-{content_key(facts)[:8]}"
    label_space = settings.label_space()
    with flagsaver.flagsaver():
        _set(plain, trial)
        own = {n: trial.flags[n] for n in sorted(varied & trial.flags.keys())}
        keys = sweep_layers.keys(own, label_space)
        epochs = stage_flags.TRAIN.make().epochs if stage_flags.STUDENTS.value else 0
    root = pathlib.Path(stage_flags.WORKSPACE.value)
    workspace, data = sweep_layers.place(root, folder_of(sweep), keys)
    placed = {
        "run": run,
        "seed": trial.seed,
        "workspace": str(workspace),
        "splits": ["train", split],
        "eval_split": split,
        **({"data_root": str(data)} if data else {}),
    }
    both = [argument(n, v) for n, v in {**base, **plain, **placed}.items()]
    after = stages.get("train", {}).get("branch_from")
    named = None if after is None else str(after)
    return Planned(trial, run, workspace, tuple(both), stages, epochs, named)


def folder_of(sweep: Sweep) -> pathlib.Path:
    """Return the folder of a sweep: tables, picture and what only its trials share."""
    return Workspace(stage_flags.WORKSPACE.value).sweep(sweep.name)


def _given() -> dict[str, str]:
    """Return the flags that were given to this process and that stages take."""
    modules = flags.FLAGS.flags_by_module_dict()
    known = [flag for name in _SHARED for flag in modules.get(name, [])]
    text = {}
    for flag in known:
        if flag.present and flag.value is not None:
            text[flag.name] = flag.serialize().partition("=")[2] or _of_switch(flag)
    return text


def _of_switch(flag: flags.Flag) -> str:
    return str(flag.value).lower() if flag.boolean else ""


def _decides(base: Mapping[str, str]) -> dict[str, str]:
    """Return the flags that make another trial, and not how and where it runs."""
    how = next(
        n for title, _, n in config_flags.headings() if title == "How stages run"
    )
    how = {*how, *stage_flags.TRAIN_RUN.names.values()}
    how |= {"workspace", "run", "seed", "splits", "eval_split"}
    return {name: value for name, value in base.items() if name not in how}


def _set(plain: Mapping[str, object], trial: Trial) -> None:
    """Give the flags of this process a trial's values.

    Raises:
      InputError: for an unknown flag, or a value that it does not take.
    """
    modules = flags.FLAGS.flags_by_module_dict()
    known = {flag.name for name in _SHARED for flag in modules.get(name, [])}
    for name, value in plain.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            meant = f" Is {near[0]} meant?" if near else ""
            raise InputError(
                f"sweep: flags of stages are required, got {name} ({trial.label}). "
                f"Correct the file of the sweep.{meant}"
            )
        text = argument(name, value).partition("=")[2]
        try:
            flags.FLAGS[name].parse(text)
        except flags.IllegalFlagValueError as error:
            why = " ".join(str(error).split())
            raise InputError(
                f"sweep: a value that --{name} takes is required, got {text}: {why} "
                f"({trial.label}). Correct the file of the sweep."
            ) from error
    stage_flags.check()


def _check_stage(stage: str, name: str, trial: Trial) -> None:
    if stage not in sweep_layers.STAGES:
        raise InputError(
            f"sweep: a table within another must be of {', '.join(sweep_layers.STAGES)}"
            f", got {stage}. Correct the file of the sweep."
        )
    own = re.findall(r'DEFINE_\w+\(\s*"(\w+)"', (_HERE / f"{stage}.py").read_text())
    if name not in flags.FLAGS and name not in own:
        raise InputError(
            f"sweep: flags of {stage} are required, got {name} ({trial.label}). Those "
            f"of this stage alone: {', '.join(own)}."
        )


def _branched(planned: Planned, runs: Mapping[tuple[str, int], str]) -> Planned:
    """Let a trial branch off another one, which its file names by its label."""
    if planned.after is None:
        return planned
    other = runs.get((planned.after, planned.trial.seed))
    if other is None:
        raise InputError(
            f"sweep: {_BRANCH} must name another setting, got {planned.after} "
            f"({planned.trial.label}). Correct the file of the sweep."
        )
    train = {**planned.stages["train"], "branch_from": other}
    stages = {**planned.stages, "train": train}
    return dataclasses.replace(planned, stages=stages, after=other)


def _record(sweep: Sweep, planned: Planned, base: Mapping[str, str]) -> None:
    trial = planned.trial
    record = {
        "sweep": sweep.name,
        "setting": trial.label,
        "seed": trial.seed,
        "varied": dict(trial.varied),
        "flags": _decides(base) | dict(trial.flags),
        "stages": planned.stages,
    }
    trial_record.write(planned.folder, record)


def waves(trials: Sequence[Planned]) -> list[list[Planned]]:
    """Return trials in the order of who branches off whom."""
    found: list[list[Planned]] = []
    left, known = list(trials), {trial.run for trial in trials}
    while left:
        pending = {trial.run for trial in left}
        ready = [t for t in left if t.after not in known or t.after not in pending]
        if not ready:
            raise InputError(
                f"sweep: {_BRANCH} must not lead in a circle, got "
                f"{left[0].trial.label}. Correct the file of the sweep."
            )
        found.append(ready)
        left = [trial for trial in left if trial not in ready]
    return found
