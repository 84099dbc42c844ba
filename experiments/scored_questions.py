"""Answers to questions that can be scored: of each method, on scenes with labels."""

import asking
import settings
import stage_flags
from scored import found, method
from tqdm import tqdm

from sas_jax.artefacts.files import content_key
from sas_jax.artefacts.superpoints import load_superpoints
from sas_jax.errors import InputError
from sas_jax.evaluation import query
from sas_jax.evaluation.questions import (
    Judgement,
    judge,
    read_questions,
    right_points,
    save,
    table,
)
from sas_jax.rooms.questions import questions_path
from sas_jax.stages import command

ROOMS = "rooms"


def evaluate(place: str, methods: list[str]) -> None:
    """Ask every method every question on all scenes with labels; keep and print scores.

    Superpoints answer, where they were made, as in query.py.

    Args:
      place: a file of questions, or `rooms` for those that come with the package.
      methods: see `scored`; default: all.
    """
    labels, scans = settings.label_set(), settings.labelled_scans()
    names, scenes = labels.classes.names, [scan.name for scan in scans]
    asked = read_questions(questions_path() if place == ROOMS else place, names)
    methods = methods or found(scenes, ensembles=False)
    if not methods:
        raise InputError(
            "evaluate: features to ask are required, got none of these scenes "
            f"({settings.workspace().root}). Run first: {command('extract_features')}"
        )
    by = {name: method(name, scenes) for name in methods}
    askers = {name: asking.asker(each.space) for name, each in by.items()}
    rows: dict[str, list[Judgement]] = {name: [] for name in methods}
    for scan in tqdm(scans, desc="questions", unit="scene"):
        scene = scan.open(label_set=labels)
        superpoints = None
        path = settings.workspace().superpoints(scene.name)
        if stage_flags.SUPERPOINT_SCORES.value is not False and path.exists():
            superpoints = load_superpoints(path, scene.points)
        truths = [right_points(each, scene.labels, names) for each in asked]
        for name, each in by.items():
            features = query.unit_features(next(each.views(scene, 0)))
            heat = askers[name].heat(features, superpoints, [q.text for q in asked])
            for question, truth, values in zip(asked, truths, heat, strict=True):
                answer = askers[name].regions(scene.points, values)
                if row := judge(question, truth, values, answer):
                    rows[name].append(row)
    if not stage_flags.SCENES.value:
        how = [asked, scenes, stage_flags.ANSWER.make(), stage_flags.ANSWER_BY.value]
        for name, judgements in rows.items():
            path = settings.workspace().question_scores(settings.score_folder(), name)
            key = content_key([*how, by[name].state(loaded=True)])
            save(path, name, judgements, key)
    print(f"\n{len(asked)} questions on {len(scans)} scenes, in percent")
    print(table(rows))
