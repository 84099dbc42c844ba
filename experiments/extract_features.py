"""Lift every teacher's features to the points of every scene.

  python experiments/extract_features.py --flagfile=rooms.flags

Writes <workspace>/features/<teacher>/<scene>.safetensors. What is up to date is
skipped, so a killed run begins again with the scenes that it was at. A frame is read
and projected once for all teachers that are not up to date; all of them are in memory,
with a running mean of 4 bytes per point and channel each. --workers share the scenes,
on this machine or wherever --ray places them; so do several runs of the same command.
A scene of which no frame sees a point gets a file without rows: a missing file always
means that nobody tried.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence

import scene_workers
import settings
import stage_flags
import torch
from tqdm import tqdm

from sas_jax.artefacts.dispatch import Answer, Task
from sas_jax.artefacts.features import save_features
from sas_jax.artefacts.files import write_json
from sas_jax.artefacts.lock import remove_left
from sas_jax.artefacts.stage import Job, Tally, try_group
from sas_jax.artefacts.workspace import CONFIG
from sas_jax.datasets.contracts import Scan
from sas_jax.lifting.config import ExtractConfig
from sas_jax.lifting.extract import extract_scene, extraction_key
from sas_jax.scenes.scene import Frame
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


@dataclasses.dataclass
class Done:
    """What a worker did of a scene.

    Attributes:
      made: names of the teachers whose files it made.
      unseen: whether no frame sees a point.
      frames: that were read.
      skipped_frames: that could not be used.
    """

    made: Sequence[str] = ()
    unseen: bool = False
    frames: int = 0
    skipped_frames: int = 0


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
    stride = _config().frame_stride
    rows, passes = _run(settings.scans(stage_flags.SPLITS.value), stride)
    print(settings.table([dataclasses.asdict(row) for row in rows]))
    print()
    print(settings.table([dataclasses.asdict(passes)]))


def _run(scans: list[Scan], stride: int) -> tuple[list[Row], Passes]:
    rows = {name: Row(name) for name in stage_flags.TEACHERS.value}
    passes, memo = Passes(), settings.memo()
    tasks = [
        Task(scan.name, scan, scan.size("views", frame_stride=stride, memo=memo))
        for scan in tqdm(scans, desc="sizes", unit="scene", leave=False)
    ]
    began = time.monotonic()
    with tqdm(total=len(tasks), desc="extract", unit="scene") as bar:
        for done in scene_workers.answers("extract_features", tasks, bar):
            for name in done.made:
                rows[name].made += 1
                rows[name].unseen += done.unseen
            passes.scenes += bool(done.made)
            passes.frames += done.frames
            passes.skipped_frames += done.skipped_frames
            passes.seconds = time.monotonic() - began
            passes.frames_per_s = passes.frames / passes.seconds
            bar.set_postfix_str(f"{passes.frames_per_s:.1f} frames/s", refresh=False)
    for row in rows.values():
        row.current = len(scans) - row.made
        files = [settings.workspace().features(row.teacher, s.name) for s in scans]
        row.megabytes = sum(file.stat().st_size for file in files) / 1e6
    return list(rows.values()), passes


def _config() -> ExtractConfig:
    return stage_flags.EXTRACT.make(lift=stage_flags.LIFT.make())


def worker(threads: int) -> Callable[[Scan], Answer]:
    """Load the models, and return what makes of a scan's features what is due."""
    torch.set_num_threads(threads)
    captioner = settings.asked_captioner()
    models = Models(
        {name: settings.load_model(name) for name in stage_flags.TEACHERS.value},
        settings.load_model(captioner) if captioner else None,
        _config(),
    )
    memo, stride = settings.memo(), models.config.frame_stride
    for name in models.teachers:
        remove_left(settings.workspace().features_of(name))

    def work(scan: Scan) -> Answer:
        key, done = scan.key("views", frame_stride=stride, memo=memo), Done()
        left = try_group(
            _jobs(scan.name, key, models),
            lambda due: _run_scene(scan, due, models, done),
            Tally(),
            verify=stage_flags.VERIFY.value,
        )
        return Answer(done, busy=bool(left))

    return work


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


def _run_scene(scan: Scan, due: Sequence[Job], models: Models, done: Done) -> None:
    """Read a scene once and write the features of the teachers that are due."""
    config = models.config
    scene = scan.open(image_size_wh=config.image_size_wh, annotations=False)
    names = [job.path.parent.name for job in due]
    count = len(scene.frame_source.names[:: config.frame_stride])
    with tqdm(total=count, desc=scan.name, unit="frame", leave=False) as bar:

        def seen(frame: Frame) -> None:
            done.frames += 1
            bar.update()

        found = extract_scene(
            scene,
            [models.teachers[name] for name in names],
            config,
            captioner=models.captioner,
            on_frame=seen,
        )
    done.made, done.unseen = names, not len(found[0].point_index)
    done.skipped_frames = sum(scene.skipped.values())
    for name, job, features in zip(names, due, found, strict=True):
        save_features(job.path, features, key=job.key, meta={"teacher": name})
        _write_config(name, models)
    if done.unseen:
        tqdm.write(f"{scan.name}: no frame sees a point; it gets no features.")


def _write_config(name: str, models: Models) -> None:
    facts = {
        "teacher": models.teachers[name].spec,
        "captioner": models.captioner.id if models.captioner else None,
        "extract": models.config,
    }
    path = settings.workspace().features_of(name) / CONFIG
    write_json(path, facts, key=name, schema="sas_jax.extract_config/1")


if __name__ == "__main__":
    settings.run(main)
