"""What a run would do: settings, what is there and what is missing, sizes and times.

Nothing is written into the workspace. Two steps of each stage are trained on clouds of
the size of the scans at hand, or of ScanNet's, with random targets.
"""

import dataclasses
import pathlib
from collections.abc import Container, Iterable, Mapping

import capability_tables
import numpy as np
import settings
import stage_flags
import students
from absl import flags

from sas_jax import memory
from sas_jax.capability import registry as painters
from sas_jax.datasets import registry as datasets
from sas_jax.datasets.contracts import Scan
from sas_jax.distill.config import TrainConfig
from sas_jax.distill.rehearsal import Rehearsal, rehearse, room
from sas_jax.distill.schedule import Schedule
from sas_jax.errors import InputError
from sas_jax.stages import command
from sas_jax.teachers import registry as teachers
from sas_jax.text import registry as towers
from sas_jax.text.known_texts import KnownTexts
from sas_jax.weights.find import found_files, require_files, seed_of

_POINTS = 150_000  # a scene of ScanNet has about as many
_LOOKED_AT = 3  # scans whose size counts
_ALONE = (
    *("workspace", "data_root", "dataset", "label_set", "splits", "eval_split"),
    *("teachers", "vocabulary", "strategy", "fusions", "students", "student_seeds"),
    *("run", "device", "threads"),
)


def show(config: TrainConfig, split: str) -> None:
    """Print all there is to say of a run, and train two steps of each stage.

    Args:
      config: of the student.
      split: that it learns from.
    """
    print(resolved(config))
    scans = _scans(split)
    print(f"\nWhat is there\n{_lines(_inventory(split, scans))}")
    clouds, what = _clouds(config, scans or [])
    print(f"\nTwo steps of each stage, {what}, random targets; nothing is kept.")
    found = rehearse(config, clouds, superpoints=stage_flags.SUPERPOINTS.value)
    print(_lines(_measured(config, found, clouds, scans)))


def resolved(config: TrainConfig) -> str:
    """Return every setting that a run of these flags has, a line each."""
    values = flags.FLAGS.flag_values_dict()
    groups: dict[str, Mapping[str, object]] = {
        "flags": {name: values[name] for name in _ALONE},
        "frames": _fields(stage_flags.EXTRACT.make(lift=stage_flags.LIFT.make())),
        "superpoints": _fields(stage_flags.SUPERPOINT.make()),
        "capability": {
            **_fields(stage_flags.SYNTHESIS.make()),
            **_fields(stage_flags.CAPABILITY.make()),
        },
        "fusion": _fields(stage_flags.FUSE.make()),
        "training": _fields(config),
        "how it runs": _fields(stage_flags.TRAIN_RUN.make()),
    }
    lines = []
    for title, group in groups.items():
        lines += [title, *(f"  {name} = {value}" for name, value in group.items())]
    return "\n".join(lines)


def _fields(config: object, prefix: str = "") -> dict[str, object]:
    found = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            found |= _fields(value, f"{prefix}{field.name}.")
        else:
            found[prefix + field.name] = value
    return found


def _lines(rows: Iterable[tuple[str, str]]) -> str:
    rows = list(rows)
    width = max(len(what) for what, _ in rows)
    return "\n".join(f"  {what:<{width}}  {said}" for what, said in rows)


def _scans(split: str) -> list[Scan] | None:
    """Return the scans of a split, None without a data set."""
    try:
        return settings.scans([split])
    except InputError:
        return None


def _inventory(split: str, scans: list[Scan] | None) -> Iterable[tuple[str, str]]:
    """Yield what each stage finds or lacks."""
    yield "data set", _data_set(split, scans)
    for name in stage_flags.TEACHERS.value:
        yield f"teacher {name}", _teacher(name)
    yield "labels' text tower", _tower()
    if captioner := settings.asked_captioner():
        yield "captions", _weights(captioner, settings.model_weights().get(captioner))
    models = stage_flags.SYNTHESIS.make()
    synthesizer = (models.synthesizer, models.diffusion_weights)
    yield "images for capability", _weights(*synthesizer, painters.SYNTHESIZERS)
    prompter = (models.point_prompter, models.sam_weights)
    yield "their masks", _weights(*prompter, painters.PROMPTERS)
    workspace = settings.workspace()
    names = [scan.name for scan in scans or []]
    folders = {
        f"features of {name}": (
            [workspace.features(name, scene) for scene in names],
            workspace.features_of(name),
            "extract_features",
        )
        for name in stage_flags.TEACHERS.value
    }
    if stage_flags.SUPERPOINTS.value:
        paths = [workspace.superpoints(scene) for scene in names]
        where = workspace.superpoint_folder
        folders["superpoints"] = (paths, where, "make_superpoints")
    fusion = settings.fused_name()
    paths = [workspace.fused(fusion, scene) for scene in names]
    folders["fused features"] = (paths, workspace.fused_by(fusion), "fuse_features")
    for what, (paths, where, stage) in folders.items():
        yield what, _counted(paths, where, stage)
    for name in stage_flags.TEACHERS.value:
        yield f"capability of {name}", _capability(name)
    runs, _ = students.trained()
    yield "students", ", ".join(runs) or f"missing; {command('train')} makes them"


def _capability(teacher: str) -> str:
    try:
        path = capability_tables.path_of(teacher)
    except InputError as error:
        return f"missing: {error}"
    return _counted([path], path, "measure_capability")


def _data_set(split: str, scans: list[Scan] | None) -> str:
    root = settings.data_root()
    if scans is not None:
        kind = scans[0].dataset.name
        return f"{root}: {kind}, {len(scans)} scans in split {split}"
    kind = stage_flags.DATASET.value
    layout = f": {datasets.load(kind).layout}" if kind in datasets.DATASETS else ""
    try:
        settings.scans([split])
        reason = ""
    except InputError as error:
        reason = f" ({error})" if root.is_dir() else ""
    return f"missing: {root} must hold the data set{layout}{reason}"


def _teacher(name: str) -> str:
    options = settings.model_options(name)
    try:
        teachers.check(name, options)
    except InputError as error:
        return f"missing: {error}"
    if options.weights:
        return f"there, weights {options.weights}"
    found = found_files(name)
    return f"there, weights {', '.join(map(str, found or ())) or 'that come with it'}"


def _weights(
    name: str, given: str | None = None, known: Container[str] | None = None
) -> str:
    """Return where a model's weights are, or what is missing of it."""
    if known is not None and name not in known:
        return f"missing: no model of this name, {name}"
    if seed_of(given) is None:
        try:
            require_files(name, given)
        except InputError as error:
            return f"missing: {error}"
    found = found_files(name)
    where = given or ", ".join(map(str, found or ())) or "that come with it"
    return f"{name}, weights {where}"


def _tower() -> str:
    name = settings.label_space()
    if name is None:
        return "each teacher's own"
    try:
        tower = towers.load(name)
    except InputError as error:
        return f"missing: {error}"
    if isinstance(tower, KnownTexts):
        return (
            f"missing: {name}; its texts can be asked where a teacher's checkpoint or "
            "imported features bring them. python -m sas_jax.teachers says where to "
            "get it"
        )
    return name


def _counted(paths: list[pathlib.Path], where: pathlib.Path, stage: str) -> str:
    count = sum(path.exists() for path in paths)
    if paths and count == len(paths):
        return f"there ({where})"
    of = f"{count} of {len(paths)}, " if count else ""
    return f"{of}missing in {where}; {command(stage)} makes them"


def _clouds(config: TrainConfig, scans: list[Scan]) -> tuple[list[np.ndarray], str]:
    """Return the scenes of one step, and where they come from."""
    sizes = [len(scan.points()) for scan in scans[:_LOOKED_AT]]
    true = int(np.mean(sizes)) if sizes else _POINTS
    source = f"as the first {len(sizes)} scans have" if sizes else "as ScanNet has"
    most = stage_flags.DRY_RUN_POINTS.value or true
    count = min(true, most)
    if count < true:
        source = f"of {true:,}, {source}, since --dry_run_points says so"
    rng = np.random.default_rng(0)
    spacing = config.voxel_size_m
    number = min(config.batch_size, len(scans)) if scans else config.batch_size
    clouds = [room(count, spacing, rng) for _ in range(number)]
    return clouds, f"{number} generated scenes of {count:,} points ({source})"


def _measured(
    config: TrainConfig,
    found: Rehearsal,
    clouds: list[np.ndarray],
    scans: list[Scan] | None,
) -> Iterable[tuple[str, str]]:
    rung = found.bucket.rung.capacities
    yield "rung", f"{' '.join(f'{rows:,}' for rows in rung)} rows, from fine to coarse"
    free = ""
    if found.free_bytes is not None:
        free = f", {memory.gigabytes(found.free_bytes)} free"
    needed = memory.gigabytes(found.step_bytes)
    yield "memory of a step", f"{needed} on one device{free}"
    if found.seconds is None:
        share = 0.8 * (found.free_bytes or 0) / found.step_bytes
        cap = f"--dry_run_points={max(int(share * len(clouds[0])), 1000)}"
        yield "not trained", f"memory is short; try {cap}. {found.short}"
        return
    yield "seconds of a step", f"{found.seconds:.1f}, compiled"
    number = len(scans) if scans else 1000
    steps = Schedule(number, config).total_steps
    note = ", at this many points" if stage_flags.DRY_RUN_POINTS.value else ""
    hours = f"{steps * found.seconds / 3600:,.1f} hours on this machine{note}"
    of = f"{number:,} scenes" + ("" if scans else ", an example")
    yield "all of it", f"{steps:,} steps ({of}): {hours}"
