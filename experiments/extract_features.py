"""Lift every teacher's features to the points of every scene.

  python experiments/extract_features.py --flagfile=rooms.flags

Writes <workspace>/features/<teacher>/<scene>.safetensors. What is up to date is
skipped, so a killed run goes on where it stopped. Several workers share the scenes when
the same command is started more than once, with another --device or on another machine
that sees the workspace. A scene of which no frame sees a point gets a file without
rows: a missing file always means that nobody tried.
"""

import dataclasses
import pathlib

import settings
import stage_flags
import torch
from tqdm import tqdm

from sas_jax.artefacts.features import save_features
from sas_jax.artefacts.files import write_json
from sas_jax.artefacts.stage import Job
from sas_jax.artefacts.workspace import CONFIG
from sas_jax.datasets.scan_keys import views_key
from sas_jax.datasets.scannet import open_scene
from sas_jax.lifting.config import ExtractConfig
from sas_jax.lifting.extract import extract_scene, extraction_key
from sas_jax.teachers import registry


@dataclasses.dataclass
class Row:
    """Count what happened to one teacher's scenes."""

    teacher: str
    made: int = 0
    current: int = 0
    unseen: int = 0
    frames: int = 0
    skipped_frames: int = 0
    seconds: float = 0.0
    megabytes: float = 0.0


def main() -> None:
    settings.check_teachers()
    torch.set_num_threads(stage_flags.THREADS.value)
    config = stage_flags.EXTRACT.make(lift=stage_flags.LIFT.make())
    folders = settings.scene_folders(stage_flags.SPLITS.value)
    stride, memo = config.frame_stride, settings.memo()
    scans = {f: views_key(f, stride, memo) for f in _progress(folders)}
    rows = [_run_teacher(t, scans, config) for t in stage_flags.TEACHERS.value]
    print(settings.table([dataclasses.asdict(row) for row in rows]))


def _progress(folders: list[pathlib.Path]) -> tqdm:
    return tqdm(folders, desc="checksums", unit="scene", leave=False)


def _run_teacher(
    name: str, scans: dict[pathlib.Path, str], config: ExtractConfig
) -> Row:
    teacher = settings.load_teacher(name)
    captioner = registry.load(stage_flags.CAPTIONER.value)
    row, workspace = Row(name), settings.workspace()
    scan_of = {scan.name: scan for scan in scans}
    jobs = [
        Job(
            scan.name,
            workspace.features(name, scan.name),
            extraction_key(scan_key, teacher, config, captioner),
        )
        for scan, scan_key in scans.items()
    ]

    def make(job: Job) -> None:
        _run_scene(scan_of[job.name], job, teacher, captioner, config, row)

    tally = settings.run_scenes(name, jobs, make)
    row = dataclasses.replace(row, **dataclasses.asdict(tally))
    facts = {"teacher": teacher.spec, "captioner": captioner.id, "extract": config}
    path = workspace.features_of(name) / CONFIG
    write_json(path, facts, key=name, schema="sas_jax.extract_config/1")
    teacher.close()
    return row


def _run_scene(scan, job: Job, teacher, captioner, config, row: Row) -> None:
    scene = open_scene(
        scan,
        image_size_wh=config.image_size_wh,
        compat=config.lift.compat,
        annotations=False,
    )
    count = len(scene.frame_source.names[:: config.frame_stride])
    with tqdm(total=count, desc=scan.name, unit="frame", leave=False) as bar:
        features = extract_scene(
            scene,
            teacher,
            config,
            captioner=captioner,
            on_frame=lambda frame: bar.update(1),
        )
        row.frames += bar.n
    row.skipped_frames += sum(scene.skipped.values())
    if len(features.point_index) == 0:
        row.unseen += 1
        tqdm.write(f"{scan.name}: no frame sees a point; it gets no features.")
    meta = {"teacher": teacher.spec.name}
    save_features(job.path, features, key=job.key, meta=meta)


if __name__ == "__main__":
    settings.run(main)
