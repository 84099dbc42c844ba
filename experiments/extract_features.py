"""Lift every teacher's features to the points of every scene.

  python experiments/extract_features.py --flagfile=rooms.flags

Writes <workspace>/features/<teacher>/<scene>.safetensors. What is up to date is
skipped, so a killed run goes on where it stopped.
"""

import dataclasses
import pathlib
import time

import settings
import stage_flags as given
import torch
from tqdm import tqdm

from sas_jax.files import is_current, workspace_lock, write_json
from sas_jax.fusion.lift import LiftConfig
from sas_jax.fusion.store import save_point_features
from sas_jax.scenes.scannet import open_scene
from sas_jax.teachers import registry
from sas_jax.teachers.extract import (
    ExtractConfig,
    extract_scene,
    extraction_key,
    folder_key,
)


@dataclasses.dataclass
class Row:
    """Count what happened to one teacher's scenes."""

    teacher: str
    done: int = 0
    current: int = 0
    unseen: int = 0
    frames: int = 0
    skipped_frames: int = 0
    seconds: float = 0.0
    megabytes: float = 0.0


def main() -> None:
    for name in given.TEACHERS.value:
        registry.entry(name)
    torch.set_num_threads(given.THREADS.value)
    config = ExtractConfig(
        lift=LiftConfig(
            given.OCCLUSION.value, given.BORDER_PX.value, given.COMPAT.value
        ),
        frame_stride=given.FRAME_STRIDE.value,
    )
    workspace = settings.workspace()
    with workspace_lock(workspace / "features"):
        folders = settings.scene_folders(given.SPLITS.value)
        rows = [
            _run_teacher(t, folders, config, workspace) for t in given.TEACHERS.value
        ]
    _print_table(rows)


def _run_teacher(
    name: str,
    folders: list[pathlib.Path],
    config: ExtractConfig,
    workspace: pathlib.Path,
) -> Row:
    weights = dict(pair.split("=", 1) for pair in given.TEACHER_WEIGHTS.value)
    teacher = registry.load(name, weights=weights.get(name), device=given.DEVICE.value)
    captioner = registry.load(given.CAPTIONER.value)
    row, folder = Row(name), workspace / "features" / name
    settings = {"teacher": teacher.spec, "captioner": captioner.id, "extract": config}
    for scan in tqdm(folders, desc=name, unit="scene"):
        path = folder / f"{scan.name}.safetensors"
        key = extraction_key(folder_key(scan), teacher, config, captioner)
        if is_current(path, key):
            row.current += 1
        else:
            _run_scene(scan, path, key, teacher, captioner, config, row)
        row.megabytes += path.stat().st_size / 1e6 if path.exists() else 0.0
    write_json(
        folder / "config.json", settings, key=name, schema="sas_jax.extract_config/1"
    )
    teacher.close()
    return row


def _run_scene(scan, path, key, teacher, captioner, config, row: Row) -> None:
    began = time.monotonic()
    width, height = (int(n) for n in given.IMAGE_SIZE.value)
    scene = open_scene(scan, image_size_wh=(width, height), compat=given.COMPAT.value)
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
        tqdm.write(f"{scan.name}: no frame sees a point; the scene is left out.")
        return
    save_point_features(path, features, key=key, meta={"teacher": teacher.spec.name})
    row.done += 1


def _print_table(rows: list[Row]) -> None:
    columns = [field.name for field in dataclasses.fields(Row)]
    print("  ".join(f"{c:>14}" for c in columns))
    for row in rows:
        values = (getattr(row, c) for c in columns)
        cells = (f"{v:.1f}" if isinstance(v, float) else str(v) for v in values)
        print("  ".join(f"{cell:>14}" for cell in cells))


if __name__ == "__main__":
    settings.run(main)
