"""Distil the fused features of the training scenes into a student.

    python experiments/train.py --flagfile=scannet.flags
    python experiments/train.py --flagfile=scannet.flags --self_distillation=0

Reads <workspace>/fused/<strategy>/ and <workspace>/superpoints/, writes
<workspace>/train/<run>/. A run that was stopped or killed goes on when the same
command is given again; Ctrl-C finishes the step and saves. Flags that are not given
keep the paper's values, or those of the authors' code with --compat=official.

--init_from begins with the weights of a known student, of a file that export_student.py
wrote or of a run, instead of random ones.

Several processes, each with its own devices, train one student on a shared disk: start
the command once for each, with the same --coordinator, one of which is --process_id=0.
"""

import dataclasses
import logging
import pathlib
import signal
import sys

import jax
import settings
import stage_flags as given
from absl import flags
from student_names import student_file

from sas_jax.artefacts.features import has_features, space_of
from sas_jax.distill.augment import named_augmentation
from sas_jax.distill.config import RunConfig, TrainConfig, official_config
from sas_jax.distill.data import SceneFiles
from sas_jax.distill.processes import is_primary
from sas_jax.distill.train import TrainResult, Vocabulary, train
from sas_jax.errors import InputError
from sas_jax.models.minkunet import StudentConfig

_RUN = flags.DEFINE_string("run", "full-seed0", "Name of the run.")
_SPLIT = flags.DEFINE_string("split", "train", "Split to train on.")
_BRANCH_FROM = flags.DEFINE_string(
    "branch_from", None, "Run with the same first stage, which is then not done again."
)
_COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "host:port where the first of several processes is reached."
)
_NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "How many there are.", 1)
_PROCESS_ID = flags.DEFINE_integer("process_id", None, "Which this one is.", 0)


def main() -> None:
    logging.getLogger("absl").setLevel(logging.WARNING)  # Orbax reports every file
    logging.getLogger("sas_jax").setLevel(logging.INFO)
    missing = _missing()
    if missing:
        print("\n".join(missing))
        sys.exit(1)
    _join_processes()
    sources = _sources()
    texts = settings.class_texts(space_of(sources[0].features))
    vocabulary = Vocabulary(settings.label_set().names, texts.rows, texts.space)
    stopped = _stop_on_signals()
    result = train(
        _config(texts.space.dim),
        sources,
        vocabulary,
        settings.checkpoints(_RUN.value).parent,
        run=RunConfig(**_given(RunConfig)),
        init_from=given.INIT_FROM.value and _weights(given.INIT_FROM.value),
        branch_from=_BRANCH_FROM.value and settings.checkpoints(_BRANCH_FROM.value),
        stop=lambda: bool(stopped),
    )
    _report(result, stopped)


def _join_processes() -> None:
    """Join the other processes of this run, before JAX looks for devices.

    Raises:
      InputError: when only some of the three flags are given.
    """
    values = (_COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value)
    if all(value is None for value in values):
        return
    if any(value is None for value in values) or _PROCESS_ID.value >= values[1]:
        raise InputError(
            "train: --coordinator, --num_processes and a --process_id below it must be "
            f"given together, got {values}. Give all of them, or none for one process."
        )
    jax.distributed.initialize(*values)


def _config(out_dim: int) -> TrainConfig:
    changes = _given(TrainConfig)
    changes["student"] = StudentConfig(
        given.ARCH.value, out_dim=out_dim, impl=given.IMPL.value
    )
    if given.DISTILL.value is not None:
        changes["level"] = given.DISTILL.value
    changes["augment"] = named_augmentation(given.AUGMENT.value)
    make = official_config if given.COMPAT.value == "official" else TrainConfig
    return make(**changes)


def _weights(name: str) -> pathlib.Path:
    """Return a student's file, or the checkpoints of a run: a name or a path."""
    path = pathlib.Path(name)
    if student_file(name) is None and "/" not in name:
        return settings.checkpoints(name)
    inside = path / "checkpoints"
    return inside if inside.is_dir() else path


def _given(config: type) -> dict:
    """Return the flags of a dataclass's fields that have a value."""
    names = [field.name for field in dataclasses.fields(config)]
    plain = [n for n in names if n in flags.FLAGS and n != "augment"]
    values = {name: flags.FLAGS[name].value for name in plain}
    return {name: value for name, value in values.items() if value is not None}


def _sources() -> list[SceneFiles]:
    """Return the scenes that have features; no frame may have seen a point of one."""
    sources, without = [], []
    for scan in settings.scans([_SPLIT.value]):
        fused, superpoints = _caches(scan.name)
        if fused.exists() and has_features(fused):
            sources.append(SceneFiles(scan, fused, superpoints))
        else:
            without.append(scan.name)
    if without:
        print(f"left out, without fused features: {', '.join(without)}")
    return sources


def _caches(name: str) -> tuple[pathlib.Path, pathlib.Path | None]:
    folder, file = settings.workspace(), f"{name}.safetensors"
    superpoints = folder / "superpoints" / file if given.SUPERPOINTS.value else None
    return folder / "fused" / settings.fused_name() / file, superpoints


def _missing() -> list[str]:
    """Return one line per missing input: what, where it was looked for, the remedy."""
    flagfile = next((f" {a}" for a in sys.argv if a.startswith("--flagfile")), "")
    workspace = settings.workspace()

    def line(what: str, folder: str, name: str) -> str:
        command = f"python experiments/{name}.py{flagfile}"
        return f"missing: {what}; looked in {workspace / folder}; run: {command}"

    lines = []
    try:
        names = [scan.name for scan in settings.scans([_SPLIT.value])]
    except InputError:
        names = []
        root = settings.data_root()
        lines.append(
            f"missing: scenes of split {_SPLIT.value}; looked in {root}; put a data "
            "set there (WORKSPACE.md), or run: "
            f"python experiments/make_rooms.py --data_root={root}"
        )
    caches = [_caches(name) for name in names]
    if not any(fused.exists() for fused, _ in caches):
        if not any(workspace.glob("features/*/*.safetensors")):
            lines.append(line("teachers' features", "features", "extract_features"))
        if not any(workspace.glob("capability/*.json")):
            lines.append(line("capabilities", "capability", "measure_capability"))
        fused = f"fused/{settings.fused_name()}"
        lines.append(line("fused features", fused, "fuse_features"))
    absent = [path for _, path in caches if path is not None and not path.exists()]
    if absent or (given.SUPERPOINTS.value and not names):
        what = f"superpoints of {len(absent) or 'all'} scenes"
        lines.append(line(what, "superpoints", "make_superpoints"))
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
    if stopped and not result.completed:
        sys.exit(128 + stopped[0])


if __name__ == "__main__":
    settings.run(main)
