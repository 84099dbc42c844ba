"""Score teachers, fused features and students on labelled scenes.

  python experiments/evaluate.py --flagfile=rooms.flags
  python experiments/evaluate.py --flagfile=rooms.flags --methods=fused/capability

Methods are folders of the workspace: teacher/<name>, fused/<strategy> and
student/<run>; by default all that exist. Writes <workspace>/eval/<method>.json and
skips what is up to date.
"""

import pathlib
from collections.abc import Callable

import numpy as np
import settings
from absl import flags
from tqdm import tqdm

from sas_jax import files
from sas_jax.errors import InputError
from sas_jax.evaluate import confusion, protocol, semantic
from sas_jax.fusion.store import load_point_features
from sas_jax.scenes.scannet import open_scene
from sas_jax.scenes.scene import Scene

_METHODS = flags.DEFINE_list("methods", [], "What to score; default: all there is.")
_SPLIT = flags.DEFINE_string("eval_split", "test", "Split to score on.")

Predict = Callable[[Scene], np.ndarray]


def main() -> None:
    for name in _METHODS.value:
        _check_kind(name)
    folders = settings.scene_folders([_SPLIT.value])
    methods = _METHODS.value or _found()
    if not methods:
        raise InputError(
            f"evaluate: something to score is required, got no features and no student "
            f"({settings.workspace()}). Run experiments/extract_features.py first."
        )
    texts = settings.class_texts()
    scene_keys = {folder: files.folder_key(folder) for folder in folders}
    done = [_evaluate(name, folders, texts, scene_keys) for name in methods]
    _print(done)


def _found() -> list[str]:
    workspace = settings.workspace()
    teachers = [f"teacher/{p.name}" for p in sorted(workspace.glob("features/*/"))]
    fused = [f"fused/{p.name}" for p in sorted(workspace.glob("fused/*/"))]
    runs = sorted(workspace.glob("train/*/checkpoints"))
    return [*teachers, *fused, *(f"student/{p.parent.name}" for p in runs)]


def _evaluate(name, folders, texts, scene_keys) -> protocol.Evaluation:
    path = settings.workspace() / "eval" / f"{name.replace('/', '-')}.json"
    predict, source = _predictor(name, folders, texts)
    key = files.content_key(
        {"source": source, "scenes": list(scene_keys.values()), "texts": texts}
    )
    if not files.is_current(path, key):
        scenes = (
            open_scene(folder, label_set=settings.label_set())
            for folder in tqdm(folders, desc=name, unit="scene")
        )
        found = protocol.evaluate(name, scenes, predict, settings.label_set())
        protocol.save(path, found, key)
    return protocol.load(path)


def _predictor(name, folders, texts) -> tuple[Predict, object]:
    kind, _, item = name.partition("/")
    if kind == "student":
        state = settings.student_state(item)
        return lambda scene: settings.predict_student(item, scene, texts), state
    place = "features" if kind == "teacher" else "fused"
    folder = settings.workspace() / place / item
    source = [_manifest_key(folder / f"{scan.name}.safetensors") for scan in folders]

    def predict(scene: Scene) -> np.ndarray:
        path = folder / f"{scene.name}.safetensors"
        if not path.exists():  # no frame sees the scene: nothing to score with
            return np.full(len(scene.points), confusion.NO_PREDICTION, np.int32)
        return semantic.classify_points(load_point_features(path), texts)

    return predict, source


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
    print(f"\n{'method':<28}{'mIoU':>8}{'mAcc':>8}{'acc':>8}{'mIoU seen':>12}")
    for evaluation in evaluations:
        scores = evaluation.scores()
        seen = evaluation.scores(unseen="ignored").miou
        print(
            f"{evaluation.name:<28}{scores.miou:8.1f}{scores.macc:8.1f}"
            f"{scores.overall:8.1f}{seen:12.1f}"
        )


if __name__ == "__main__":
    settings.run(main)
