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

from sas_jax.artefacts import files
from sas_jax.artefacts.scene_features import (
    SceneFeatures,
    load_scene_features,
    save_scene_features,
)
from sas_jax.artefacts.stamps import Memo
from sas_jax.errors import InputError
from sas_jax.scenes.labels import SCANNET20, LabelSet
from sas_jax.scenes.scene import Scene

_OF_TEACHERS = ("torch", "transformers", "diffusers", "cv2")


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


def _explain(kind: type, error: BaseException, trace: object) -> None:
    """Say in one line what brings the teachers' modules where they are absent."""
    module = getattr(error, "name", None) or ""
    if kind is not ModuleNotFoundError or module.partition(".")[0] not in _OF_TEACHERS:
        sys.__excepthook__(kind, error, trace)
        return
    print(
        f"error: {pathlib.Path(sys.argv[0]).name}: the module {module} is required, "
        "got none in this environment. Run: pip install 'sas_jax[teachers]'",
        file=sys.stderr,
    )


# Scripts import what they need at their top, before `run` can catch anything.
sys.excepthook = _explain


def workspace() -> pathlib.Path:
    """Return the folder of all results."""
    return pathlib.Path(given.WORKSPACE.value)


def memo() -> Memo:
    """Return what is remembered of the data set's files, in the workspace."""
    return Memo(workspace() / "stamps", given.VERIFY.value)


def is_current(path: pathlib.Path, key: str) -> bool:
    """Tell whether an artefact is up to date; --verify hashes it in any case."""
    return files.is_current(path, key, verify=given.VERIFY.value)


def data_root() -> pathlib.Path:
    """Return the folder of the data set."""
    return pathlib.Path(given.DATA_ROOT.value)


def label_set() -> LabelSet:
    """Return the classes that the data set is scored on."""
    return SCANNET20


def image_size_wh() -> tuple[int, int]:
    """Return the size at which frames are used.

    Raises:
      InputError: unless --image_size is a width and a height.
    """
    text = ",".join(given.IMAGE_SIZE.value)
    sizes = [int(n) for n in given.IMAGE_SIZE.value if n.isdecimal() and int(n) > 0]
    if len(sizes) != 2 or len(given.IMAGE_SIZE.value) != 2:
        raise InputError(
            f"flags: --image_size must be a width and a height in pixels, got {text}. "
            "Give both, e.g. --image_size=320,240."
        )
    return sizes[0], sizes[1]


def scene_folders(splits: Sequence[str]) -> list[pathlib.Path]:
    """Return the scan folders that --scenes names, or those of the splits."""
    from sas_jax.datasets.scannet import list_scenes

    names = given.SCENES.value or [
        name for split in splits for name in list_scenes(data_root(), split)
    ]
    return [data_root() / "scans" / name for name in dict.fromkeys(names)]


def labelled_folders() -> list[pathlib.Path]:
    """Return the scans to score on: those of --eval_split that have labels.

    Raises:
      InputError: where none has; ScanNet's test split, for example.
    """
    from sas_jax.datasets.scannet import labels_path

    folders = scene_folders([given.EVAL_SPLIT.value])
    labelled = [folder for folder in folders if labels_path(folder).exists()]
    without = [folder.name for folder in folders if folder not in labelled]
    if not labelled:
        raise InputError(
            f"evaluate: scenes with labels are required, got none of {len(folders)} "
            f"in split {given.EVAL_SPLIT.value} ({data_root()}). Give a split with "
            "labels, e.g. --eval_split=val."
        )
    if without:
        print(f"left out, without labels: {', '.join(without)}")
    return labelled


def fused_name(strategy: str | None = None) -> str:
    """Return the folder name of a fusion, --strategy's by default.

    Each single teacher has its own.
    """
    strategy = strategy or given.STRATEGY.value
    if strategy == "single":
        return f"single-{given.TEACHER.value or given.TEACHERS.value[0]}"
    return strategy


def check_teachers() -> None:
    """Check the models that the flags name, before anything is computed.

    Raises:
      InputError: for a model that cannot be loaded, or weights of one not asked for.
    """
    from sas_jax.teachers import registry

    weights = _teacher_weights()
    for name in given.TEACHERS.value:
        registry.check(
            name,
            weights=weights.get(name),
            device=given.DEVICE.value,
            contracts=("dense", "mask"),
        )
    registry.check(given.CAPTIONER.value, contracts=("captioner",))


def load_teacher(name: str):
    """Load a teacher with the weights and on the device that the flags give."""
    from sas_jax.teachers import registry

    weights = _teacher_weights().get(name)
    return registry.load(name, weights=weights, device=given.DEVICE.value)


def _teacher_weights() -> dict[str, str]:
    pairs = [item.partition("=") for item in given.TEACHER_WEIGHTS.value]
    for name, _, path in pairs:
        if name not in given.TEACHERS.value or not path:
            raise InputError(
                "flags: --teacher_weights must be <teacher>=<path> for teachers of "
                f"--teachers ({', '.join(given.TEACHERS.value)}), got {name}={path}. "
                "Correct the flag."
            )
    return {name: path for name, _, path in pairs}


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


def students() -> tuple[list[str], list[str]]:
    """Return the names of the runs that have a checkpoint, and of those without."""
    names = sorted(p.parent.name for p in workspace().glob("train/*/checkpoints"))
    has = {name: bool(_steps(checkpoints(name))) for name in names}
    return [n for n in names if has[n]], [n for n in names if not has[n]]


def student_state(run_name: str) -> list[str]:
    """Return what identifies a run's newest checkpoint.

    Raises:
      InputError: when there is none, with the command that makes one.
    """
    folder = checkpoints(run_name)
    steps = _steps(folder)
    if not steps:
        raise InputError(
            f"student: a trained student is required, got no checkpoint ({folder}). "
            "Train one: python experiments/train.py --flagfile=<your flags>."
        )
    newest = folder / str(max(steps)) / "_CHECKPOINT_METADATA"
    return [str(newest), files.sha256_file(newest)]


def _steps(folder: pathlib.Path) -> list[int]:
    return [int(p.name) for p in folder.glob("*") if p.name.isdigit()]


@functools.cache
def _predictor(run_name: str):
    # Imported here: a query from cached features needs neither flax nor orbax.
    from sas_jax.distill.checkpoint import load_student
    from sas_jax.models.student import Predictor

    return Predictor(load_student(checkpoints(run_name)))


def predict_student(run_name: str, scene: Scene, texts: np.ndarray) -> np.ndarray:
    """Return a student's class index for every point of a scene."""
    from sas_jax.evaluate.semantic import classify

    features = _predictor(run_name).features(scene.points)
    return classify(features.feat, texts)[features.row]


def fused_features(scene: Scene) -> SceneFeatures:
    """Return the fused features of a scene's points; row -1 is a point without any.

    Raises:
      InputError: when fusion has not made them, or made them for other points.
    """
    from sas_jax.artefacts.features import load_point_features

    path = workspace() / "fused" / fused_name() / f"{scene.name}.safetensors"
    if not path.exists():
        raise InputError(
            f"query: fused features of the scene are required, got none ({path}). "
            "Run experiments/fuse_features.py, or ask the student: --source=student."
        )
    fused = load_point_features(path)
    if fused.num_points != len(scene.points):
        raise InputError(
            f"query: features of the scene's {len(scene.points)} points are required, "
            f"got those of {fused.num_points} ({path}). Run "
            "experiments/extract_features.py and fuse_features.py for this scene."
        )
    row = np.full(fused.num_points, -1, np.int32)
    row[fused.point_index] = np.arange(len(fused.feat))
    return SceneFeatures(fused.feat, row)


def scene_features(run_name: str, scene: Scene) -> SceneFeatures:
    """Return a student's features of a scene, from the workspace or computed now."""
    path = workspace() / "scene_features" / run_name / f"{scene.name}.safetensors"
    key = files.content_key([student_state(run_name), scene.points])
    if not is_current(path, key):
        save_scene_features(path, _predictor(run_name).features(scene.points), key)
    return load_scene_features(path)
