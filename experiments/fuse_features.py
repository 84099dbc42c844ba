"""Fuse the point features of several teachers into one feature per point.

    python experiments/fuse_features.py --flagfile=rooms.flags --strategy=capability

Writes <workspace>/fused/<strategy>/<scene>.safetensors. Scenes that are up to date
are skipped, so a killed run goes on where it stopped; several workers share the rest.
"""

import pathlib
from collections.abc import Sequence
from typing import Protocol

import capability_tables
import numpy as np
import settings
import stage_flags

from sas_jax.artefacts.features import save_features, space_of
from sas_jax.artefacts.space import TextFeatures, TextSpace, one_space
from sas_jax.artefacts.stage import Job, Tally
from sas_jax.classes import Vocabulary, vocabulary
from sas_jax.errors import InputError
from sas_jax.fusion.fuse import FuseConfig
from sas_jax.fusion.stage import fuse_scene, fused_key, load_capability
from sas_jax.stages import command
from sas_jax.text.prompts import prompts


def main() -> None:
    """Fuse the features of every scene."""
    vocabulary(stage_flags.VOCABULARY.value)  # says what is wrong with its name
    scans = settings.scans(stage_flags.SPLITS.value)
    tally, without = fuse(scans)
    row = {
        "strategy": settings.fused_name(),
        "scenes": len(scans),
        "made": tally.made,
        "without": without,
        "MB": tally.megabytes,
        "seconds": tally.seconds,
    }
    print(settings.table([row]))


class Fusable(Protocol):
    """What has features of several teachers: a scan, or a file of Gaussians."""

    @property
    def name(self) -> str:
        """That of its artefacts."""
        ...

    def points(self) -> np.ndarray:
        """Return what the features are of, [P, 3] f32."""
        ...


def fuse(wanted: Sequence[Fusable]) -> tuple[Tally, int]:
    """Fuse the features of the scans that are not up to date.

    Returns:
      What became of them, and how many were left out since no teacher has features.
    """
    words = vocabulary(stage_flags.VOCABULARY.value)
    config = stage_flags.FUSE.make(other_index=words.other_index)
    scans = {scan.name: scan for scan in wanted}
    inputs = {name: found for name in scans if (found := _inputs(name)) is not None}
    _check_missing([name for name in scans if name not in inputs], len(scans))
    tables = _tables(words, config)
    label, workspace = settings.fused_name(), settings.workspace()

    def make(job: Job) -> None:
        points = scans[job.name].points()
        fused = fuse_scene(*inputs[job.name], *tables, config, points)
        teachers = ",".join(stage_flags.TEACHERS.value)
        meta = {"strategy": config.strategy, "teachers": teachers}
        save_features(job.path, fused, key=job.key, meta=meta)

    jobs = [
        Job(name, workspace.fused(label, name), fused_key(*found, *tables, config))
        for name, found in inputs.items()
    ]
    tally = settings.run_scenes(f"fuse {label}", jobs, make)
    return tally, len(scans) - len(inputs)


def _tables(
    words: Vocabulary, config: FuseConfig
) -> tuple[np.ndarray | None, TextFeatures | None]:
    """Return capability and text features, None where the strategy needs none."""
    if config.strategy in ("add", "single"):
        return None, None
    texts = settings.text_encoder(_space())(prompts(words.names))
    if config.strategy == "linear":
        return None, texts
    folder = settings.workspace().capability
    paths = {t: capability_tables.path_of(t) for t in stage_flags.TEACHERS.value}
    if absent := [t for t, path in paths.items() if not path.exists()]:
        raise InputError(
            f"fuse_features: the capability of every teacher is required, got none of "
            f"{', '.join(absent)} ({folder}). Run: {command('measure_capability')}, or "
            "fuse without it: --strategy=add"
        )
    for teacher in paths:
        capability_tables.read(teacher)  # says what does not fit
    return load_capability(paths, words.names, texts.space), texts


def _space() -> TextSpace:
    """Return the text space of the teachers' features, by a file of each teacher."""
    workspace, spaces = settings.workspace(), {}
    for teacher in stage_flags.TEACHERS.value:
        for path in sorted(workspace.features_of(teacher).glob("*.safetensors"))[:1]:
            spaces[f"the features of {teacher}"] = space_of(path)
    return one_space("fuse_features", spaces)


def _inputs(name: str) -> tuple[dict[str, pathlib.Path], pathlib.Path | None] | None:
    """Return the files that a scene is fused from, None when no teacher has any."""
    workspace = settings.workspace()
    paths = {t: workspace.features(t, name) for t in stage_flags.TEACHERS.value}
    if not any(path.exists() for path in paths.values()):
        return None
    superpoints = workspace.superpoints(name)
    return paths, superpoints if stage_flags.LEVEL.value == "superpoint" else None


def _check_missing(missing: list[str], num_scenes: int) -> None:
    if missing and len(missing) == num_scenes:
        raise _no_features(num_scenes)
    for name in missing:
        print(f"{name}: no teacher has features; left out.")


def _no_features(num_scenes: int) -> InputError:
    return InputError(
        f"fuse_features: features of the teachers are required, got none for "
        f"{num_scenes} scenes ({settings.workspace().feature_folder}). Run: "
        f"{command('extract_features')}"
    )


if __name__ == "__main__":
    settings.run(main)
