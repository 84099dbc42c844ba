"""Score teachers, fused features and students on labelled scenes.

  python experiments/evaluate.py --flagfile=rooms.flags
  python experiments/evaluate.py --flagfile=rooms.flags --methods=fused/capability

Methods are folders of the workspace: teacher/<name>, fused/<strategy> and
student/<run>; by default all that exist, and the student of --student, which is
student/<file>. Writes <workspace>/eval/<split>/<method>.json
and skips what is up to date. Scenes without labels are left out; with --scenes, the
scores of just these are shown and not kept.
"""

import functools
import pathlib
from collections.abc import Callable

import numpy as np
import settings
import stage_flags
from absl import flags
from student_names import chosen_file
from tqdm import tqdm

from sas_jax.artefacts import files
from sas_jax.artefacts.features import load_features, space_of
from sas_jax.artefacts.space import TextFeatures
from sas_jax.artefacts.versions import decided_by
from sas_jax.datasets.contracts import Scan
from sas_jax.errors import InputError
from sas_jax.evaluation import protocol, semantic
from sas_jax.scenes.scene import Scene
from sas_jax.stages import command

_METHODS = flags.DEFINE_list("methods", [], "What to score; default: all there is.")

Predict = Callable[[Scene], np.ndarray]


def main() -> None:
    """Score every method on every scene that is due, and print the table."""
    for name in _METHODS.value:
        _check_kind(name)
    scenes = label_keys()
    methods = _METHODS.value or _found(list(scenes))
    if not methods:
        raise InputError(
            f"evaluate: something to score is required, got no features and no student "
            f"of these scenes ({settings.workspace().root}). Run first: "
            f"{command('extract_features')}"
        )
    _print([_evaluate(name, scenes) for name in methods])


def label_keys() -> dict[Scan, str]:
    """Return the scans of --eval_split that have labels, and the keys of these."""
    memo = settings.memo()
    return {s: s.key("labels", memo=memo) for s in settings.labelled_scans()}


def _found(scans: list[Scan]) -> list[str]:
    """Return the methods that can be scored on these scenes."""
    workspace = settings.workspace()
    made = [f"teacher/{name}" for name in workspace.teachers()]
    made += [f"fused/{name}" for name in workspace.fusions()]
    methods, partial = [], []
    for method in made:
        count = sum(_cache(method, scan.name).exists() for scan in scans)
        chosen = methods if count == len(scans) else partial
        chosen += [method] * (count > 0)
    runs, unfinished = settings.students()
    if partial:
        print(f"left out, without features of every scene: {', '.join(partial)}")
    if unfinished:
        print(f"left out, without a checkpoint yet: {', '.join(unfinished)}")
    if (file := chosen_file()) is not None:
        runs.append(file.name)
    return [*methods, *(f"student/{run}" for run in runs)]


def _cache(method: str, scene: str) -> pathlib.Path:
    """Return the file of a scene's features, by a teacher or by a fusion."""
    kind, _, item = method.partition("/")
    workspace = settings.workspace()
    place = workspace.features if kind == "teacher" else workspace.fused
    return place(item, scene)


def _evaluate(name, scenes) -> protocol.Evaluation:
    if not stage_flags.SCENES.value and (found := kept(name, scenes)) is not None:
        return found
    predict, sources, texts = _predictor(name, list(scenes))
    opened = (
        scan.open(label_set=settings.label_set())
        for scan in tqdm(scenes, desc=name, unit="scene")
    )
    found = protocol.evaluate(name, opened, predict, settings.label_set())
    if not stage_flags.SCENES.value:
        protocol.save(_path(name), found, _key(sources[-1], scenes, texts))
    return found


def kept(name: str, scenes: dict[Scan, str]) -> protocol.Evaluation | None:
    """Return the evaluation of a method in the workspace, None where it is not current.

    Args:
      name: of the method.
      scenes: see `label_keys`.
    """
    _, sources, texts = _predictor(name, list(scenes))
    keys = (_key(source, scenes, texts) for source in sources)
    current = any(settings.is_current(_path(name), key) for key in keys)
    return protocol.load(_path(name)) if current else None


def _path(name: str) -> pathlib.Path:
    return settings.workspace().scores(stage_flags.EVAL_SPLIT.value, name)


def _key(source, scenes, texts) -> str:
    return files.content_key(
        {
            "source": source(),
            "scenes": list(scenes.values()),
            "label_set": settings.label_set().classes.name,
            "texts": texts,
            "made_by": decided_by(protocol.__name__, semantic.__name__),
        }
    )


def _predictor(
    name, scans: list[Scan]
) -> tuple[Predict, list[Callable[[], object]], TextFeatures]:
    """Return what predicts a scene, functions that say from what, and the classes.

    The first function is quick; the last one is right, even for damaged checkpoints.
    """
    kind, _, item = name.partition("/")
    if kind == "student":
        if (file := chosen_file()) is not None and item == file.name:
            item = str(file)
        states = (settings.student_state, settings.loaded_state)
        sources = [functools.partial(state, item) for state in states]
        texts = settings.class_texts(settings.student_space(item))
        predict = functools.partial(settings.predict_student, item, texts=texts)
        return predict, sources, texts
    paths = {scan.name: _cache(name, scan.name) for scan in scans}
    missing = [path for path in paths.values() if not path.exists()]
    if missing:
        stage = "extract_features" if kind == "teacher" else "fuse_features"
        raise InputError(
            f"evaluate: features of every scene are required, got none of "
            f"{len(missing)} of {len(paths)} ({missing[0]}). Correct --methods, or run "
            f"for them: {command(stage)}"
        )

    texts = settings.class_texts(space_of(next(iter(paths.values()))))

    def predict(scene: Scene) -> np.ndarray:
        features = load_features(paths[scene.name], scene.points)
        return semantic.classify(features, texts)

    return predict, [lambda: [_manifest_key(path) for path in paths.values()]], texts


def _check_kind(name: str) -> None:
    if name.partition("/")[0] not in ("teacher", "fused", "student"):
        raise InputError(
            "evaluate: --methods must be teacher/<name>, fused/<strategy> or "
            f"student/<run>, got {name}. Correct the flag."
        )


def _manifest_key(path: pathlib.Path) -> str | None:
    manifest = path.with_name(path.name + ".json")
    return files.sha256_file(manifest) if manifest.exists() else None


def _print(evaluations: list[protocol.Evaluation]) -> None:
    width = max(28, 2 + max(len(evaluation.name) for evaluation in evaluations))
    print(f"\n{'method':<{width}}{'mIoU':>8}{'mAcc':>8}{'acc':>8}{'mIoU seen':>12}")
    for evaluation in evaluations:
        scores = evaluation.scores()
        seen = evaluation.scores(unseen="ignored").miou
        print(
            f"{evaluation.name:<{width}}{scores.miou:8.1f}{scores.macc:8.1f}"
            f"{scores.overall:8.1f}{seen:12.1f}"
        )


if __name__ == "__main__":
    settings.run(main)
