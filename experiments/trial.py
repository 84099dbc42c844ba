"""Run one trial of a sweep: what its student learns from, its training, its scores.

  python experiments/trial.py --trial=<run folder> ...   # as sweep.py starts it

Every stage is skipped where it is up to date, and made once where trials share it: who
comes second waits, and a trial that was killed goes on. A trial without --students is
one of its fusion. Scores are those of --eval_split, and lie in the run folder.
"""

import contextlib
import os
import pathlib
import sys
from collections.abc import Mapping

import pipeline
import settings
import stage_flags
import stage_process
import trial_record
from absl import flags

from sas_jax.artefacts.lock import turn
from sas_jax.evaluation import protocol
from sas_jax.sweeps import table

_TRIAL = flags.DEFINE_string("trial", None, "Run folder of the trial.", required=True)
_OF_THIS_SCRIPT = ("--trial",)


def main() -> None:
    """Run the stages of the trial that are due, and keep its scores."""
    folder = pathlib.Path(_TRIAL.value)
    with turn(folder / ".trial"):
        record = trial_record.read(folder)
        if not stage_flags.VERIFY.value and trial_record.read_scores(folder):
            return
        _log_to(folder / trial_record.LOG)
        stage_flags.check()
        pipeline.check_later_stages()
        for script, extra in _stages():
            own = record["stages"].get(pathlib.Path(script).stem, {})
            asked = [stage_process.argument(name, value) for name, value in own.items()]
            given = [a for a in sys.argv[1:] if not a.startswith(_OF_THIS_SCRIPT)]
            with _turn(script):
                stage_process.run(script, [*given, *extra, *asked])
        trial_record.write_scores(folder, table.DONE, _scores())


def _stages() -> list[tuple[str, list[str]]]:
    before = pipeline.preparation([stage_flags.strategy()])
    stages = [(script, extra) for _, script, extra in before]
    if stage_flags.STUDENTS.value:
        stages.append(("train.py", []))
    stages.append(("evaluate.py", [f"--methods={_method()}", "--noper_class"]))
    return stages


def _method() -> str:
    if stage_flags.STUDENTS.value:
        return f"student/{stage_flags.RUN.value}"
    return f"fused/{settings.fused_name()}"


def _turn(script: str) -> contextlib.AbstractContextManager:
    """Return what to hold while a stage runs that is one process at a time.

    The others claim what they make, and wait for what others have claimed.
    """
    folders = {
        "make_rooms.py": settings.data_root(),
        "measure_capability.py": settings.workspace().capability,
    }
    if script not in folders:
        return contextlib.nullcontext()
    place = folders[script].resolve()
    return turn(place.with_name(f".{place.name}.turn"))


def _log_to(path: pathlib.Path) -> None:
    """Let this process and its stages write to a file what they print."""
    with open(path, "ab", buffering=0) as log:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(log.fileno(), stream.fileno())


def _scores() -> Mapping[str, float]:
    path = settings.workspace().scores(settings.score_folder(), _method())
    evaluation = protocol.load(path)
    found, seen = evaluation.scores(), evaluation.scores(unseen="ignored")
    metrics = {"miou": found.miou, "macc": found.macc, "overall": found.overall}
    metrics["miou_seen"] = seen.miou
    for group, classes in evaluation.groups.items():
        metrics[f"miou_{group}"] = found.over(classes)[0]
    return {name: float(value) for name, value in metrics.items()}


if __name__ == "__main__":
    settings.run(main)
