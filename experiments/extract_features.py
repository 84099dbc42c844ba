"""Lift every teacher's features to the points of every scene.

  python experiments/extract_features.py --flagfile=rooms.flags

Writes <workspace>/features/<teacher>/<scene>.safetensors. What is up to date is
skipped, so a killed run goes on where it stopped. Several workers share the scenes when
the same command is started more than once, with another --device or on another machine
that sees the workspace. A scene of which no frame sees a point gets a file without
rows: a missing file always means that nobody tried.
"""

import dataclasses
import time

import settings
import stage_flags as given
import torch
from tqdm import tqdm

from sas_jax.artefacts.features import save_features
from sas_jax.artefacts.files import write_json
from sas_jax.artefacts.stage import Job, run_jobs
from sas_jax.datasets.contracts import Scan
from sas_jax.lifting.extract import ExtractConfig, extract_scene, extraction_key
from sas_jax.lifting.lift import LiftConfig
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
    torch.set_num_threads(given.THREADS.value)
    config = ExtractConfig(
        lift=LiftConfig(
            given.OCCLUSION.value, given.BORDER_PX.value, given.COMPAT.value
        ),
        frame_stride=given.FRAME_STRIDE.value,
        image_size_wh=settings.image_size_wh(),
    )
    scans = _progress(settings.scans(given.SPLITS.value))
    stride, memo = config.frame_stride, settings.memo()
    keys = {s: s.key("views", frame_stride=stride, memo=memo) for s in scans}
    _print_table([_run_teacher(t, keys, config) for t in given.TEACHERS.value])


def _progress(scans: list[Scan]) -> tqdm:
    return tqdm(scans, desc="checksums", unit="scene", leave=False)


def _run_teacher(name: str, keys: dict[Scan, str], config: ExtractConfig) -> Row:
    teacher = settings.load_teacher(name)
    captioner = registry.load(given.CAPTIONER.value)
    row, folder = Row(name), settings.workspace() / "features" / name
    scan_of = {scan.name: scan for scan in keys}
    jobs = [
        Job(
            scan.name,
            folder / f"{scan.name}.safetensors",
            extraction_key(scan_key, teacher, config, captioner),
        )
        for scan, scan_key in keys.items()
    ]

    def make(job: Job) -> None:
        _run_scene(scan_of[job.name], job, teacher, captioner, config, row)

    with tqdm(total=len(jobs), desc=name, unit="scene") as bar:
        tally = run_jobs(jobs, make, verify=given.VERIFY.value, progress=bar.update)
    row = dataclasses.replace(row, **dataclasses.asdict(tally))
    row.megabytes = sum(job.path.stat().st_size for job in jobs) / 1e6
    facts = {"teacher": teacher.spec, "captioner": captioner.id, "extract": config}
    write_json(
        folder / "config.json", facts, key=name, schema="sas_jax.extract_config/1"
    )
    teacher.close()
    return row


def _run_scene(scan: Scan, job: Job, teacher, captioner, config, row: Row) -> None:
    began = time.monotonic()
    scene = scan.open(image_size_wh=config.image_size_wh, annotations=False)
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
    row.seconds += time.monotonic() - began
    if len(features.point_index) == 0:
        row.unseen += 1
        tqdm.write(f"{scan.name}: no frame sees a point; it gets no features.")
    meta = {"teacher": teacher.spec.name}
    save_features(job.path, features, key=job.key, meta=meta)


def _print_table(rows: list[Row]) -> None:
    columns = [field.name for field in dataclasses.fields(Row)]
    print("  ".join(f"{c:>14}" for c in columns))
    for row in rows:
        values = (getattr(row, c) for c in columns)
        cells = (f"{v:.1f}" if isinstance(v, float) else str(v) for v in values)
        print("  ".join(f"{cell:>14}" for cell in cells))


if __name__ == "__main__":
    settings.run(main)
