"""Train and score every setting of a file, side by side: a grid, draws, or a list.

  python experiments/sweep.py --sweep=FILE --flagfile=rooms_full.flags
  python experiments/sweep.py --sweep=FILE --flagfile=scannet.flags --on=slurm
  python experiments/sweep.py --sweep=FILE --flagfile=scannet.flags --on=ray

A trial makes what its student learns from, trains it and scores it on the scenes of
--select_split, which nothing was trained on and no test is of. What trials share is
made once. One that fails is reported and tried again; killed, the same command goes on.

Writes <workspace>/sweeps/<name>/: settings.csv (mean, spread, best), trials.csv and
sweep.png. Each trial is a run of the workspace, <workspace>/train/<run>, with its flags
in trial.json and all that it printed in trial.log; evaluate.py and report.py score it
on other splits, and --run=<run> asks its student.
"""

import pathlib

import settings
import stage_flags
import sweep_engines
import trial_record
from absl import flags
from sweep_plan import Planned, folder_of, planned, waves

from sas_jax import stages
from sas_jax.artefacts.files import atomic_path
from sas_jax.artefacts.lock import workspace_lock
from sas_jax.errors import InputError
from sas_jax.sweeps import picture, plan, table
from sas_jax.sweeps.plan import Sweep
from sas_jax.sweeps.table import Outcome, Row

_SWEEP = flags.DEFINE_string("sweep", None, "TOML file of the sweep.", required=True)
_SELECT_SPLIT = flags.DEFINE_string(
    "select_split", "val", "Split whose scenes say what is best; never the test's."
)
_ON = flags.DEFINE_enum(
    "on", "local", ["local", "slurm", "ray"], "Where trials run: here, or by whom."
)
_PARALLEL = flags.DEFINE_integer("parallel", 1, "Trials at once, at most.", 1)
_RETRIES = flags.DEFINE_integer("retries", 1, "New tries of a trial that fails.", 0)
_GPUS = flags.DEFINE_list(
    "gpus", [], "Of this machine, one for a trial at a time, e.g. 0,1; sets --parallel."
)
_GPUS_PER_TRIAL = flags.DEFINE_float("gpus_per_trial", 0, "With --on=ray.", 0)
_SLURM_OPTIONS = flags.DEFINE_list(
    "slurm_options", [], "name=value as submitit takes them, e.g. timeout_min=600."
)
_CLUSTER = flags.DEFINE_enum(
    "slurm_cluster", "slurm", ["slurm", "local"], "local: jobs without Slurm, to try."
)


def main() -> None:
    """Run the trials that are due, and show what was best."""
    sweep = plan.read(_file())
    _check(sweep)
    trials = planned(sweep, _SELECT_SPLIT.value)
    due = [t for t in trials if _is_due(t)]
    print(f"{sweep.name}: {len(trials)} trials, {len(trials) - len(due)} of them done")
    if stage_flags.DRY_RUN.value:
        for trial in due:
            print(f"{trial.name}: {trial.folder}")
        return
    folder = folder_of(sweep)
    with workspace_lock(folder):
        try:
            _run(trials if _ON.value == "ray" else due, sweep, folder)
        finally:
            outcomes = [_outcome(trial) for trial in trials]
            rows = _write(folder, outcomes, sweep.metric)
    print(f"\n{table.text(rows, sweep.metric)}\n\n{folder.resolve()}/settings.csv")
    failed = [each for each in outcomes if each.state == table.FAILED]
    if failed:
        raise InputError(
            f"sweep: every trial must succeed, got {len(failed)} of {len(outcomes)} "
            f"that failed ({trials[outcomes.index(failed[0])].folder}/"
            f"{trial_record.LOG}). Mend what it says and run this command again; the "
            "others are kept."
        )


def _file() -> pathlib.Path:
    return stages.sweep_file(_SWEEP.value) or pathlib.Path(_SWEEP.value).expanduser()


def _check(sweep: Sweep) -> None:
    split = _SELECT_SPLIT.value
    if split == "test":
        raise InputError(
            "sweep: --select_split must be of validation scenes, got test: what was "
            "chosen by test scenes says nothing of others. Give another split."
        )
    if sweep.early_stopping is not None and _ON.value != "ray":
        raise InputError(
            f"sweep: --on=ray is required for [early_stopping], got --on={_ON.value} "
            f"({_SWEEP.value}). Give it, or take the table out of the file."
        )
    if not stage_flags.MAKE_ROOMS.value:
        settings.scans([split])  # says where there is none


def _is_due(trial: Planned) -> bool:
    verify = stage_flags.VERIFY.value
    return verify or trial_record.read_scores(trial.folder) is None


def _run(trials: list[Planned], sweep: Sweep, folder: pathlib.Path) -> None:
    parallel, retries = _PARALLEL.value, _RETRIES.value
    if _ON.value == "ray":
        import sweep_ray

        gpus = _GPUS_PER_TRIAL.value
        for wave in waves(trials):
            sweep_ray.run(wave, sweep, folder, parallel, retries, {"gpu": gpus})
        return
    if _ON.value == "slurm":
        options = _slurm_options()
        start = sweep_engines.slurm(
            _CLUSTER.value, folder / "jobs", options, sweep.name
        )
    else:
        parallel = len(_GPUS.value) or parallel
        start = sweep_engines.Local(parallel, _GPUS.value)
    for wave in waves(trials):
        sweep_engines.run(wave, start, parallel, retries)


def _slurm_options() -> dict[str, str | int]:
    pairs = [item.partition("=") for item in _SLURM_OPTIONS.value]
    for name, _, value in pairs:
        if not name or not value:
            raise InputError(
                f"sweep: --slurm_options must be name=value, got {name}={value}. "
                "Correct the flag."
            )
    return {n: int(v) if v.isdecimal() else v for n, _, v in pairs}


def _outcome(trial: Planned) -> Outcome:
    found = trial_record.read_scores(trial.folder) or {"state": table.FAILED}
    metrics = found.get("metrics", {})
    place = str(trial.workspace)
    return Outcome(trial.trial, trial.run, found["state"], metrics, place)


def _write(folder: pathlib.Path, outcomes: list[Outcome], metric: str) -> list[Row]:
    rows = table.rows(outcomes, metric)
    table.write_rows(folder / "settings.csv", rows, metric)
    table.write_outcomes(folder / "trials.csv", outcomes)
    if rows[0].values:
        with atomic_path(folder / "sweep.png") as path:
            picture.draw(rows, metric).savefig(path, format="png")
    return rows


if __name__ == "__main__":
    settings.run(main)
