"""Score teachers, fused features and students on labelled scenes.

  python experiments/evaluate.py --flagfile=rooms.flags
  python experiments/evaluate.py --flagfile=rooms.flags --methods=fused/capability
  python experiments/evaluate.py --flagfile=scannet.flags --student=runs/a/train/full

Methods are folders of the workspace: teacher/<name>, fused/<strategy> and
student/<run>; by default all that exist, and the student of --student: a file
(student/<file>), or a run of any workspace (student/<run>@<workspace>). --ensemble adds
ensemble/<run>, where each point has the feature, the student's or the fused one, that
is nearer to a text. Where superpoints were made, each method has a second row,
+superpoints, by class scores averaged over them.

With --instances, masks are scored instead of points: average precision as ScanNet's,
of the named instances and of the masks alone. Masks without classes are named by the
features of each method. `truth`, the true masks, is the ceiling.

  python experiments/evaluate.py --flagfile=rooms.flags --instances=truth,proposals

With --questions, a CSV file or `rooms`, answers are scored: heat maps, best regions,
and what is found though it is not there; --abstain says how sure an answer must be.

  python experiments/evaluate.py --flagfile=rooms.flags --questions=rooms

Writes <workspace>/eval/<split>/<method>.json and skips what is up to date; with another
--label_set or --compat=official into a folder of its own. Scenes without labels are
left out; with --scenes, the scores of just these are shown and not kept.
"""

import scored_instances
import scored_questions
import settings
import stage_flags
from absl import flags
from scored import Method, check_name, found, manifest_sum, method, question_texts
from tqdm import tqdm

from sas_jax.artefacts import files
from sas_jax.artefacts.lock import remove_left
from sas_jax.artefacts.superpoints import load_superpoints
from sas_jax.artefacts.versions import decided_by
from sas_jax.datasets.contracts import Scan
from sas_jax.errors import InputError
from sas_jax.evaluation import passes, protocol, semantic, tables
from sas_jax.scenes.scene import Scene
from sas_jax.stages import command

_METHODS = flags.DEFINE_list("methods", [], "What to score; default: all there is.")
_ENSEMBLE = flags.DEFINE_bool("ensemble", False, "Score 2-D/3-D ensembles, too.")
_INSTANCES = flags.DEFINE_list(
    "instances",
    [],
    "Instances to score instead of points: names of the workspace's, folders of "
    "<scene>.npz or of ScanNet's submission files, or truth, the true masks.",
)
_QUESTIONS = flags.DEFINE_string(
    "questions", "", "Questions to score instead of points: a CSV file, or rooms."
)
_PER_CLASS = flags.DEFINE_bool("per_class", True, "Show every class, too.")


def main() -> None:
    """Score every method on every scene that is due, and print the tables."""
    for name in _METHODS.value:
        check_name(name)
    remove_left(settings.workspace().scores_of(stage_flags.EVAL_SPLIT.value))
    if _INSTANCES.value:
        scored_instances.evaluate(
            _INSTANCES.value, _METHODS.value, per_class=_PER_CLASS.value
        )
        return
    if _QUESTIONS.value:
        scored_questions.evaluate(_QUESTIONS.value, _METHODS.value)
        return
    scenes = label_keys()
    names = [scan.name for scan in scenes]
    wanted = [name.removesuffix(protocol.SUPERPOINTS) for name in _METHODS.value]
    wanted = list(dict.fromkeys(wanted)) or found(names, ensembles=_ENSEMBLE.value)
    for name in wanted:
        method(name, names)  # says what is wrong with it before any work
    if not wanted:
        raise InputError(
            f"evaluate: something to score is required, got no features and no student "
            f"of these scenes ({settings.workspace().root}). Run first: "
            f"{command('extract_features')}"
        )
    evaluations = [row for name in wanted for row in _evaluate(name, scenes)]
    if _PER_CLASS.value:
        names = settings.label_set().classes.names
        print(f"\n{tables.classes(evaluations, names)}")
    print(f"\n{tables.methods(evaluations)}")


def label_keys() -> dict[Scan, str]:
    """Return the scans of --eval_split that have labels, and the keys of these."""
    memo = settings.memo()
    return {s: s.key("labels", memo=memo) for s in settings.labelled_scans()}


def _evaluate(name: str, scenes: dict[Scan, str]) -> list[protocol.Evaluation]:
    """Return the evaluations of a method, by points and by superpoints."""
    rows = [name, name + protocol.SUPERPOINTS][: 1 + _has_superpoints(scenes)]
    kept_rows = [kept(row, scenes) for row in rows]
    if not stage_flags.SCENES.value and all(kept_rows):
        return [row for row in kept_rows if row is not None]
    scored, labels = method(name, [scan.name for scan in scenes]), settings.label_set()

    def predict(scene: Scene):
        superpoints = None
        if len(rows) > 1:
            path = settings.workspace().superpoints(scene.name)
            superpoints = load_superpoints(path, scene.points)
        return protocol.classes_of(name, scored.scores(scene), labels, superpoints)

    bar = tqdm(scenes, desc=name, unit="scene")
    opened = (scan.open(label_set=labels) for scan in bar)
    made = protocol.evaluate(opened, predict, labels, settings.compat())
    if not stage_flags.SCENES.value:
        for row, evaluation in made.items():
            key = _key(row, scored, scenes, loaded=True)
            protocol.save(_path(row), evaluation, key)
    return list(made.values())


def kept(name: str, scenes: dict[Scan, str]) -> protocol.Evaluation | None:
    """Return the evaluation of a method in the workspace, None where it is not current.

    Args:
      name: of the method.
      scenes: see `label_keys`.
    """
    scored = method(
        name.removesuffix(protocol.SUPERPOINTS), [scan.name for scan in scenes]
    )
    # The first key is quick; the second one is right, even for damaged checkpoints.
    keys = (_key(name, scored, scenes, loaded=loaded) for loaded in (False, True))
    current = any(settings.is_current(_path(name), key) for key in keys)
    return protocol.load(_path(name)) if current else None


def _has_superpoints(scenes: dict[Scan, str]) -> bool:
    workspace = settings.workspace()
    asked = stage_flags.SUPERPOINT_SCORES.value is not False
    return asked and all(workspace.superpoints(scan.name).exists() for scan in scenes)


def _path(name: str):
    return settings.workspace().scores(settings.score_folder(), name)


def _key(name: str, scored: Method, scenes: dict[Scan, str], *, loaded: bool) -> str:
    superpoints = []
    if name.endswith(protocol.SUPERPOINTS):
        workspace = settings.workspace()
        superpoints = [manifest_sum(workspace.superpoints(s.name)) for s in scenes]
    return files.content_key(
        {
            "source": scored.state(loaded=loaded),
            "scenes": list(scenes.values()),
            "label_set": settings.label_set().classes.name,
            "compat": settings.compat(),
            "superpoints": superpoints,
            "texts": question_texts(scored.space),
            "made_by": decided_by(
                protocol.__name__, semantic.__name__, passes.__name__
            ),
        }
    )


if __name__ == "__main__":
    settings.run(main)
