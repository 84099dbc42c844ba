"""Lift every teacher's features to the points of every scene.

  python experiments/extract_features.py --flagfile=rooms.flags

Writes <workspace>/features/<teacher>/<scene>.safetensors. What is up to date is
skipped, so a killed run begins again with the scene that it was at. A frame is read and
projected once for all teachers that are not up to date; all of them are in memory, with
a running mean of 4 bytes per point and channel each. Several workers share the scenes
when the same command is started more than once, with another --device or on another
machine that sees the workspace. A scene of which no frame sees a point gets a file
without rows: a missing file always means that nobody tried.
"""

import dataclasses
import time
from collections.abc import Sequence

import settings
import stage_flags
import torch
from tqdm import tqdm

from sas_jax.artefacts.features import save_features
from sas_jax.artefacts.files import write_json
from sas_jax.artefacts.stage import Job, run_groups
from sas_jax.artefacts.workspace import CONFIG
from sas_jax.datasets.contracts import Scan
from sas_jax.lifting.config import ExtractConfig
from sas_jax.lifting.extract import extract_scene, extraction_key
from sas_jax.teachers.contracts import Captioner, DenseTeacher, MaskTeacher


@dataclasses.dataclass
class Row:
    """Count what happened to one teacher's scenes."""

    teacher: str
    made: int = 0
    current: int = 0
    unseen: int = 0
    megabytes: float = 0.0


@dataclasses.dataclass
class Passes:
    """Count what went into the scenes that were read, each once for all teachers."""

    scenes: int = 0
    frames: int = 0
    skipped_frames: int = 0
    seconds: float = 0.0
    frames_per_s: float = 0.0


@dataclasses.dataclass(frozen=True)
class Models:
    """What features are made with.

    Attributes:
      teachers: by name.
      captioner: of the mask teachers, None where there are none.
      config: frames and lifting.
    """

    teachers: dict[str, DenseTeacher | MaskTeacher]
    captioner: Captioner | None
    config: ExtractConfig


def main() -> None:
    """Lift the features of every teacher, scene by scene."""
    settings.check_teachers()
    torch.set_num_threads(stage_flags.THREADS.value)
    config = stage_flags.EXTRACT.make(lift=stage_flags.LIFT.make())
    scans = _progress(settings.scans(stage_flags.SPLITS.value))
    stride, memo = config.frame_stride, settings.memo()
    keys = {s: s.key("views", frame_stride=stride, memo=memo) for s in scans}
    names = dict.fromkeys(stage_flags.TEACHERS.value)
    captioner = settings.asked_captioner()
    models = Models(
        {name: settings.load_model(name) for name in names},
        settings.load_model(captioner) if captioner else None,
        config,
    )
    rows, passes = _run(keys, models)
    _write_configs(models)
    print(settings.table([dataclasses.asdict(row) for row in rows]))
    print()
    print(settings.table([dataclasses.asdict(passes)]))


def _progress(scans: list[Scan]) -> tqdm:
    return tqdm(scans, desc="checksums", unit="scene", leave=False)


def _run(scans: dict[Scan, str], models: Models) -> tuple[list[Row], Passes]:
    rows, passes = {name: Row(name) for name in models.teachers}, Passes()
    scan_of = {scan.name: scan for scan in scans}
    groups = [_jobs(scan.name, key, models) for scan, key in scans.items()]

    def make(due: Sequence[Job]) -> None:
        began = time.monotonic()
        _run_scene(scan_of[due[0].name], due, models, rows, passes)
        passes.seconds += time.monotonic() - began
        passes.frames_per_s = passes.frames / passes.seconds

    with tqdm(total=len(groups), desc="extract", unit="scene") as bar:

        def done() -> None:
            bar.set_postfix_str(f"{passes.frames_per_s:.1f} frames/s", refresh=False)
            bar.update()

        verify = stage_flags.VERIFY.value
        run_groups(groups, make, verify=verify, progress=done)
    for row in rows.values():
        row.current = len(scans) - row.made
        files = [settings.workspace().features(row.teacher, name) for name in scan_of]
        row.megabytes = sum(file.stat().st_size for file in files) / 1e6
    return list(rows.values()), passes


def _jobs(scene: str, scan_key: str, models: Models) -> list[Job]:
    """Return the files of one scene, one a teacher."""
    return [
        Job(
            scene,
            settings.workspace().features(name, scene),
            extraction_key(scan_key, teacher, models.config, models.captioner),
        )
        for name, teacher in models.teachers.items()
    ]


def _run_scene(
    scan: Scan,
    due: Sequence[Job],
    models: Models,
    rows: dict[str, Row],
    passes: Passes,
) -> None:
    """Read a scene once and write the features of the teachers that are due."""
    config = models.config
    scene = scan.open(image_size_wh=config.image_size_wh, annotations=False)
    names = [job.path.parent.name for job in due]
    count = len(scene.frame_source.names[:: config.frame_stride])
    with tqdm(total=count, desc=scan.name, unit="frame", leave=False) as bar:
        found = extract_scene(
            scene,
            [models.teachers[name] for name in names],
            config,
            captioner=models.captioner,
            on_frame=lambda frame: bar.update(1),
        )
        passes.frames += bar.n
    passes.scenes += 1
    passes.skipped_frames += sum(scene.skipped.values())
    for name, job, features in zip(names, due, found, strict=True):
        rows[name].made += 1
        rows[name].unseen += not len(features.point_index)
        save_features(job.path, features, key=job.key, meta={"teacher": name})
    if not len(found[0].point_index):
        tqdm.write(f"{scan.name}: no frame sees a point; it gets no features.")


def _write_configs(models: Models) -> None:
    for name, teacher in models.teachers.items():
        facts = {
            "teacher": teacher.spec,
            "captioner": models.captioner.id if models.captioner else None,
            "extract": models.config,
        }
        path = settings.workspace().features_of(name) / CONFIG
        schema = "sas_jax.extract_config/1"
        write_json(path, facts, key=name, schema=schema)


if __name__ == "__main__":
    settings.run(main)
