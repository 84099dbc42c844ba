"""What every script does the same way: run, find scenes, encode texts, load students.

Flags are read in `experiments/` only; the library gets frozen dataclasses.
"""

import functools
import pathlib
import sys
from collections.abc import Callable, Sequence

import numpy as np
import stage_flags as given
from absl import app, logging

from sas_jax import files
from sas_jax.errors import InputError
from sas_jax.evaluate.scene_features import (
    SceneFeatures,
    load_scene_features,
    save_scene_features,
)
from sas_jax.scenes.labels import SCANNET20, LabelSet
from sas_jax.scenes.scene import Scene


def run(main: Callable[[], None]) -> None:
    """Run a script: bad input ends it with one line and exit status 1."""

    def guarded(argv: Sequence[str]) -> None:
        if len(argv) > 1:
            raise app.UsageError(f"unknown arguments: {' '.join(argv[1:])}")
        try:
            main()
        except InputError as error:
            sys.exit(f"error: {error}")
        except KeyboardInterrupt:
            sys.exit("stopped; what is finished is kept, run the same command to go on")

    logging.set_verbosity(logging.WARNING)
    app.run(guarded)


def workspace() -> pathlib.Path:
    """Return the folder of all results."""
    return pathlib.Path(given.WORKSPACE.value)


def data_root() -> pathlib.Path:
    """Return the folder of the data set."""
    return pathlib.Path(given.DATA_ROOT.value)


def label_set() -> LabelSet:
    """Return the classes that the data set is scored on."""
    return SCANNET20


def scene_folders(splits: Sequence[str]) -> list[pathlib.Path]:
    """Return the scan folders that --scenes names, or those of the splits."""
    from sas_jax.scenes.scannet import list_scenes

    names = given.SCENES.value or [
        name for split in splits for name in list_scenes(data_root(), split)
    ]
    return [data_root() / "scans" / name for name in dict.fromkeys(names)]


def text_encoder() -> Callable[[Sequence[str]], np.ndarray]:
    """Return the text tower of the workspace's features: texts to unit rows."""
    from sas_jax.text.minilm import load_minilm

    return load_minilm().encode


def class_texts() -> np.ndarray:
    """Return the text features of the data set's classes, [K, C] (section 3.5)."""
    from sas_jax.text.vocabulary import prompts

    return text_encoder()(prompts(label_set().names))


def checkpoints(run_name: str) -> pathlib.Path:
    """Return the checkpoint folder of a training run."""
    return workspace() / "train" / run_name / "checkpoints"


def student_state(run_name: str) -> list[str]:
    """Return what identifies a run's newest checkpoint.

    Raises:
      InputError: when there is none, with the command that makes one.
    """
    folder = checkpoints(run_name)
    steps = [int(p.name) for p in folder.glob("*") if p.name.isdigit()]
    if not steps:
        raise InputError(
            f"student: a trained student is required, got no checkpoint ({folder}). "
            "Train one: python experiments/train.py --flagfile=<your flags>."
        )
    newest = folder / str(max(steps)) / "_CHECKPOINT_METADATA"
    return [str(newest), files.sha256_file(newest)]


@functools.cache
def _predictor(run_name: str):
    # Imported here: a query from cached features needs neither flax nor orbax.
    from sas_jax.distill.checkpoint import load_student
    from sas_jax.evaluate.student import Predictor

    return Predictor(load_student(checkpoints(run_name)))


def predict_student(run_name: str, scene: Scene, texts: np.ndarray) -> np.ndarray:
    """Return a student's class index for every point of a scene."""
    from sas_jax.evaluate.semantic import classify

    features = _predictor(run_name).features(scene.points)
    return classify(features.feat, texts)[features.row]


def fused_features(name: str) -> SceneFeatures:
    """Return the fused features of a scene's points; row -1 is a point without any.

    Raises:
      InputError: when fusion has not made them.
    """
    from sas_jax.fusion.store import load_point_features

    path = workspace() / "fused" / given.STRATEGY.value / f"{name}.safetensors"
    if not path.exists():
        raise InputError(
            f"query: fused features of the scene are required, got none ({path}). "
            "Run experiments/fuse_features.py, or ask the student: --source=student."
        )
    fused = load_point_features(path)
    row = np.full(fused.num_points, -1, np.int32)
    row[fused.point_index] = np.arange(len(fused.feat))
    return SceneFeatures(fused.feat, row)


def scene_features(run_name: str, folder: pathlib.Path, scene: Scene) -> SceneFeatures:
    """Return a student's features of a scene, from the workspace or computed now."""
    path = workspace() / "scene_features" / run_name / f"{folder.name}.safetensors"
    key = files.content_key([student_state(run_name), scene.points])
    if not files.is_current(path, key):
        save_scene_features(path, _predictor(run_name).features(scene.points), key)
    return load_scene_features(path)
