"""Run every stage of the method, in order, skipping what is up to date.

  python experiments/pipeline.py --flagfile=rooms.flags

Each stage is one of the scripts beside this one, run as a process of its own with the
same flags: PyTorch and JAX never share a process, memory goes back between stages,
and a stage that is killed goes on where it stopped when this script runs again.
Ctrl-C lets the stage finish what it must save; a second one kills it.
"""

import json
import sys
import time
from collections.abc import Sequence

import capability_tables
import settings
import stage_flags
import stage_process
from student_names import begun_from, chosen_student
from tqdm import tqdm

from sas_jax.artefacts.files import atomic_write
from sas_jax.artefacts.lock import workspace_lock
from sas_jax.capability import registry
from sas_jax.classes import vocabulary
from sas_jax.errors import InputError
from sas_jax.evaluation.questions import read_questions
from sas_jax.rooms.questions import questions_path
from sas_jax.scenes.labels import SCANNET20, label_set
from sas_jax.stages import command

_UNLABELLED = "no scan here has labels, so there is nothing to score or to report"
_TASKS = ("instances", "questions")
_VARIANT_FLAGS = {
    "point": ["--distill=point", "--self_distillation=0"],
    "full": ["--distill=superpoint"],
    "superpoint": ["--distill=superpoint", "--self_distillation=0"],
}


def main() -> None:
    """Run the stages, each in a process of its own."""
    stage_flags.check()
    check_later_stages()
    if stage_flags.DRY_RUN.value:
        _dry_run()
        return
    with workspace_lock(settings.workspace().root):
        stages = _stages()
        for number, (name, script, extra) in enumerate(stages, 1):
            tqdm.write(f"\n[{number}/{len(stages)}] {name}")
            if script == "evaluate.py" and not _has_labels():
                print(f"{_UNLABELLED}: {command('query')} asks them.")
                return
            _run(name, script, extra)
    print(f"\nreport: {settings.workspace().report.resolve()}")


def _has_labels() -> bool:
    scans = settings.scans([stage_flags.EVAL_SPLIT.value])
    return any(scan.has_labels for scan in scans)


def _dry_run() -> None:
    """Say what there is to do, and let train.py rehearse the first student."""
    print(f"stages: {', '.join(name for name, _, _ in _stages())}\n", flush=True)
    variants = _variants()
    extra = _student(variants[0], _seeds()[0])[2] if variants else []
    stage_process.run("train.py", [*sys.argv[1:], *extra])


def check_later_stages() -> None:
    """Raise InputError for names that a stage would refuse hours from now."""
    vocabulary(stage_flags.VOCABULARY.value)
    settings.check_one_text_space()
    begun_from(stage_flags.INIT_FROM.value)
    chosen_student()
    if "questions" in _tasks():
        _check_questions()
    if capability_tables.elsewhere():
        for name in stage_flags.TEACHERS.value:
            capability_tables.path_of(name)


def _check_questions() -> None:
    """Raise InputError where scenes are scored on other classes than questions name."""
    name = stage_flags.LABEL_SET.value
    if stage_flags.MAKE_ROOMS.value:
        labels = label_set(name) if name else SCANNET20
    elif _has_labels():
        labels = settings.label_set()
    else:
        return
    read_questions(questions_path(), labels.classes.names)


def _stages() -> list[tuple[str, str, list[str]]]:
    stages = preparation([stage_flags.strategy(), *stage_flags.FUSIONS.value])
    for seed in _seeds():
        stages += [_student(variant, seed) for variant in _variants()]
    return [*stages, *_scores(), ("report", "report.py", [])]


def preparation(strategies: Sequence[str]) -> list[tuple[str, str, list[str]]]:
    """Return the stages before training: name, script and flags of its own.

    Args:
      strategies: fusions that are wanted.
    """
    models = stage_flags.SYNTHESIS.make()
    registry.check(models.synthesizer, models.point_prompter)
    stages = [("rooms", "make_rooms.py", [])] if stage_flags.MAKE_ROOMS.value else []
    if stage_flags.SUPERPOINTS.value:  # they need no teacher
        stages.append(("superpoints", "make_superpoints.py", []))
    stages.append(("teacher features", "extract_features.py", []))
    if not capability_tables.elsewhere():
        stages.append(("capability", "measure_capability.py", []))
    return [*stages, *map(_fusion, dict.fromkeys(strategies))]


def _scores() -> list[tuple[str, str, list[str]]]:
    """Return what is scored; tasks for fused features and the best student alone.

    Things are proposed where there is truth to score them by.
    """
    asked = [f"fused/{settings.fused_name(stage_flags.strategy())}"]
    trained = [v for v in ("full", "superpoint", "point") if v in _variants()]
    asked += [f"student/{name}-seed{_seeds()[0]}" for name in trained[:1]]
    methods = f"--methods={','.join(asked)}"
    stages = {
        "instances": [
            (
                "instances",
                "segment_instances.py",
                [f"--splits={stage_flags.EVAL_SPLIT.value}"],
            ),
            (
                "instance scores",
                "evaluate.py",
                ["--instances=truth,proposals", methods],
            ),
        ],
        "questions": [
            ("question scores", "evaluate.py", ["--questions=rooms", methods])
        ],
    }
    wanted = [stage for task in _tasks() for stage in stages[task]]
    return [("evaluation", "evaluate.py", []), *wanted]


def _tasks() -> list[str]:
    for task in stage_flags.TASKS.value:
        if task not in _TASKS:
            raise InputError(
                f"pipeline: --tasks must be of {', '.join(_TASKS)}, got {task}. "
                "Correct the flag."
            )
    return stage_flags.TASKS.value


def _fusion(strategy: str) -> tuple[str, str, list[str]]:
    extra = [f"--strategy={strategy}"]
    split = stage_flags.EVAL_SPLIT.value
    if strategy != stage_flags.strategy() and split in stage_flags.SPLITS.value:
        extra.append(f"--splits={split}")  # students learn from one of them only
    return f"fusion: {strategy}", "fuse_features.py", extra


def _seeds() -> list[str]:
    for seed in stage_flags.STUDENT_SEEDS.value:
        if not seed.isdecimal():
            raise InputError(
                f"pipeline: --student_seeds must be numbers >= 0, got {seed!r}. "
                "Correct the flag."
            )
    return stage_flags.STUDENT_SEEDS.value


def _variants() -> list[str]:
    """Return the students to train, "full" before the one that branches off it."""
    wanted = stage_flags.STUDENTS.value
    for variant in wanted:
        if variant not in _VARIANT_FLAGS:
            raise InputError(
                f"pipeline: --students must be of {', '.join(_VARIANT_FLAGS)}, "
                f"got {variant}. Correct the flag."
            )
    return [variant for variant in _VARIANT_FLAGS if variant in wanted]


def _student(variant: str, seed: str) -> tuple[str, str, list[str]]:
    run = f"{variant}-seed{seed}"
    extra = [f"--run={run}", f"--seed={seed}", *_VARIANT_FLAGS[variant]]
    if variant == "superpoint" and "full" in stage_flags.STUDENTS.value:
        extra.append(f"--branch_from=full-seed{seed}")
    return f"student: {run}", "train.py", extra


def _run(name: str, script: str, extra: list[str]) -> None:
    began = time.monotonic()
    stage_process.run(script, [*sys.argv[1:], *extra])
    _note_time(name, time.monotonic() - began)


def _note_time(name: str, seconds: float) -> None:
    """Keep the longest time of each stage: later runs skip, the first one worked."""
    path = settings.workspace().timings
    known = json.loads(path.read_text()) if path.exists() else {}
    known[name] = max(known.get(name, 0.0), round(seconds, 1))
    atomic_write(path, json.dumps(known, indent=1).encode())


if __name__ == "__main__":
    settings.run(main)
