"""Distil the fused features of the training scenes into a student.

    python experiments/train.py --flagfile=scannet.flags
    python experiments/train.py --flagfile=scannet.flags --self_distillation=0

Reads <workspace>/fused/<strategy>/ and <workspace>/superpoints/, writes
<workspace>/train/<run>/. A run that was stopped or killed goes on when the same
command is given again; Ctrl-C finishes the step and saves. Flags that are not given
keep the paper's values, or those of the authors' code with --compat=official.

--init_from begins with the weights of a known student, of a file that export_student.py
wrote or of a run, instead of random ones.

--gaussians=FOLDER trains a student of Gaussians instead: of every <scene>.ply with
features beside it, as label_splats.py writes them. It takes their raw parameters
(--gaussian_inputs) and learns by plain distillation; --arch=MinkUNet34A is the
original's. With --init_from it may begin with a student of points: all layers but the
first are then its own.

Several processes, each with its own devices, train one student on a shared disk: start
the command once for each, with the same --coordinator and --num_processes, and another
--process_id from 0; or with --coordinator=auto under Slurm, on a TPU pod or on GKE.
Each reads the scenes of its own devices. See docs/hosts.md.
"""

import contextlib
import logging
import pathlib
import signal
import sys
from collections.abc import Iterator, Sequence

import dry_run
import hosts
import settings
import stage_flags
from absl import flags
from student_names import begun_from, check_run

from sas_jax.artefacts.features import has_features, space_of
from sas_jax.distill.config import TrainConfig, official_config
from sas_jax.distill.data import SceneFiles
from sas_jax.distill.processes import is_primary
from sas_jax.distill.train import EncodedVocabulary, TrainResult, train
from sas_jax.errors import InputError
from sas_jax.gaussians.student import SplatScene, scenes_in
from sas_jax.models.config import GAUSSIAN_INPUTS
from sas_jax.stages import command

_DIM = 512  # of CLIP ViT-B/32, where no features tell yet
_SPLIT = flags.DEFINE_string("split", "train", "Split to train on.")
_BRANCH_FROM = flags.DEFINE_string(
    "branch_from", None, "Run with the same first stage, which is then not done again."
)
_GAUSSIANS = flags.DEFINE_string(
    "gaussians", None, "Folder of files of Gaussians to train a student of."
)
_GAUSSIAN_INPUTS = flags.DEFINE_enum(
    "gaussian_inputs", "all", list(GAUSSIAN_INPUTS), "What it takes of a Gaussian."
)
_COORDINATOR = flags.DEFINE_string(
    "coordinator",
    None,
    "host:port where process 0 of several is reached; auto where a cluster tells.",
)
_NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "How many there are.", 1)
_PROCESS_ID = flags.DEFINE_integer("process_id", None, "Which this one is.", 0)


def main() -> None:
    """Train the student that the flags describe, or go on with it."""
    logging.getLogger("absl").setLevel(logging.WARNING)  # Orbax reports every file
    logging.getLogger("sas_jax").setLevel(logging.INFO)
    check_run(stage_flags.RUN.value)
    if stage_flags.DRY_RUN.value:
        dry_run.show(config(_DIM), _SPLIT.value)
        return
    initial = begun_from(stage_flags.INIT_FROM.value)
    missing = _missing() if _GAUSSIANS.value is None else []
    if missing:
        print("\n".join(missing))
        sys.exit(1)
    with _processes():
        result, stopped = _train(initial)
    _report(result, stopped)


def _train(initial: pathlib.Path | None) -> tuple[TrainResult, list[int]]:
    """Train, and return what came of it and the signals that stopped it."""
    sources = _sources()
    texts = settings.class_texts(space_of(sources[0].features))
    classes = EncodedVocabulary(settings.label_set().classes, texts)
    stopped = _stop_on_signals()
    result = train(
        config(texts.space.dim),
        sources,
        classes,
        settings.workspace().run(stage_flags.RUN.value),
        run=stage_flags.TRAIN_RUN.make(),
        init_from=initial,
        branch_from=_BRANCH_FROM.value
        and settings.workspace().checkpoints(_BRANCH_FROM.value),
        stop=lambda: bool(stopped),
    )
    return result, stopped


@contextlib.contextmanager
def _processes() -> Iterator[None]:
    """Join the other processes of this run where flags say so; one of them talks.

    Raises:
      InputError: when only some of the flags are given, or nobody is there.
    """
    count, number = _NUM_PROCESSES.value, _PROCESS_ID.value
    if _COORDINATOR.value is None:
        if (count, number) != (None, None):
            raise InputError(
                "train: --num_processes and --process_id need --coordinator, got none. "
                "Give all three, or none for one process."
            )
        yield
        return
    logs = settings.workspace().logs
    with hosts.joined(_COORDINATOR.value, count, number, logs):
        if not is_primary():
            logging.getLogger("sas_jax").setLevel(logging.WARNING)
        yield


def config(out_dim: int) -> TrainConfig:
    """Return what is learned: flags, and defaults of the paper or of the code."""
    fields, student = stage_flags.TRAIN.values(), {"out_dim": out_dim}
    if _GAUSSIANS.value is not None:
        student["in_channels"] = GAUSSIAN_INPUTS[_GAUSSIAN_INPUTS.value]
        fields |= {"level": "point", "self_distillation": 0.0}
    fields["student"] = stage_flags.NETWORK.make(**student)
    make = official_config if fields.get("compat") == "official" else TrainConfig
    return make(**fields)


def _sources() -> Sequence[SceneFiles | SplatScene]:
    """Return the scenes that have features; no frame may have seen a point of one."""
    if _GAUSSIANS.value is not None:
        return scenes_in(pathlib.Path(_GAUSSIANS.value))
    sources, without = [], []
    for scan in settings.scans([_SPLIT.value]):
        fused, superpoints = _caches(scan.name)
        if fused.exists() and has_features(fused):
            sources.append(SceneFiles(scan, fused, superpoints))
        else:
            without.append(scan.name)
    if without and is_primary():
        print(f"left out, without fused features: {', '.join(without)}")
    return sources


def _caches(name: str) -> tuple[pathlib.Path, pathlib.Path | None]:
    workspace = settings.workspace()
    superpoints = workspace.superpoints(name) if stage_flags.SUPERPOINTS.value else None
    return workspace.fused(settings.fused_name(), name), superpoints


def _missing() -> list[str]:
    """Return one line per missing input: what, where it was looked for, the remedy."""
    flagfile = next((f" {a}" for a in sys.argv if a.startswith("--flagfile")), "")
    workspace = settings.workspace()

    def line(what: str, folder: pathlib.Path, name: str) -> str:
        return f"missing: {what}; looked in {folder}; run: {command(name)}{flagfile}"

    lines = []
    try:
        names = [scan.name for scan in settings.scans([_SPLIT.value])]
    except InputError:
        names = []
        root = settings.data_root()
        if root.is_dir() and any(root.iterdir()):  # what is wrong with it is said
            raise
        rooms = stage_flags.MAKE_ROOMS.value
        lines.append(
            f"missing: scenes of split {_SPLIT.value}; looked in {root}; "
            + (
                f"run: {command('make_rooms')}{flagfile}"
                if rooms
                else "put the data set there (WORKSPACE.md)"
            )
        )
    caches = [_caches(name) for name in names]
    if not any(fused.exists() for fused, _ in caches):
        folders = [workspace.features_of(name) for name in workspace.teachers()]
        if not any(any(folder.glob("*.safetensors")) for folder in folders):
            folder = workspace.feature_folder
            lines.append(line("teachers' features", folder, "extract_features"))
        elsewhere = stage_flags.CAPABILITY_FROM.value
        if not elsewhere and not any(workspace.capability.glob("*.json")):
            folder = workspace.capability
            lines.append(line("capabilities", folder, "measure_capability"))
        folder = workspace.fused_by(settings.fused_name())
        lines.append(line("fused features", folder, "fuse_features"))
    absent = [path for _, path in caches if path is not None and not path.exists()]
    if absent or (stage_flags.SUPERPOINTS.value and not names):
        what = f"superpoints of {len(absent) or 'all'} scenes"
        lines.append(line(what, workspace.superpoint_folder, "make_superpoints"))
    return lines


def _stop_on_signals() -> list[int]:
    """Return a list that a first SIGINT or SIGTERM fills; a second one kills."""
    received: list[int] = []

    def remember(number: int, frame: object) -> None:
        received.append(number)
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, remember)
    return received


def _report(result: TrainResult, stopped: list[int]) -> None:
    if is_primary():
        print(result.table())
    if not result.completed:  # where another process got the signal, as if it came here
        sys.exit(128 + (stopped or [signal.SIGTERM])[0])


if __name__ == "__main__":
    settings.run(main)
