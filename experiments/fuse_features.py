"""Fuse the point features of several teachers into one feature per point.

    python experiments/fuse_features.py --flagfile=rooms.flags --strategy=capability

Writes <workspace>/fused/<strategy>/<scene>.safetensors. Scenes that are up to date
are skipped, so a killed run goes on where it stopped.
"""

import pathlib
import time

import numpy as np
import settings
import stage_flags as given
from absl import flags
from tqdm import tqdm

from sas_jax.artefacts.features import (
    save_features,
    space_of,
)
from sas_jax.artefacts.lock import workspace_lock
from sas_jax.artefacts.space import TextFeatures, TextSpace, one_space
from sas_jax.datasets.contracts import Scan
from sas_jax.errors import InputError
from sas_jax.fusion.fuse import FuseConfig
from sas_jax.fusion.stage import fuse_scene, fused_key, load_capability
from sas_jax.text.vocabulary import Vocabulary, vocabulary

_LEVEL = flags.DEFINE_enum(
    "level", "point", ["point", "superpoint"], "What to store; superpoints take 2 %."
)


def main() -> None:
    words = vocabulary(given.VOCABULARY.value)
    config = FuseConfig(
        given.STRATEGY.value,
        given.TAU.value,
        given.COMPAT.value,
        words.other_index,
        given.TEACHER.value,
    )
    capability, texts = _tables(words, config)
    label = settings.fused_name()
    folder = settings.workspace() / "fused" / label
    made, missing, size, start = 0, [], 0, time.monotonic()
    scans = settings.scans(given.SPLITS.value)
    with workspace_lock(folder):
        for scan in tqdm(scans, desc=f"fuse {label}", unit="scene"):
            path = folder / f"{scan.name}.safetensors"
            inputs = _inputs(scan.name)
            if inputs is None:
                missing.append(scan.name)
                continue
            made += _fuse(path, scan, *inputs, capability, texts, config)
            size += path.stat().st_size
    _check_missing(missing, len(scans))
    _print_table(label, len(scans), made, len(missing), size, time.monotonic() - start)


def _tables(
    words: Vocabulary, config: FuseConfig
) -> tuple[np.ndarray | None, TextFeatures | None]:
    """Return capability and text features, None where the strategy needs none."""
    if config.strategy in ("add", "single"):
        return None, None
    texts = settings.text_encoder(_space())(words.prompts())
    if config.strategy == "linear":
        return None, texts
    folder = settings.workspace() / "capability"
    paths = {teacher: folder / f"{teacher}.json" for teacher in given.TEACHERS.value}
    return load_capability(paths, words.names, texts.space), texts


def _space() -> TextSpace:
    """Return the text space of the teachers' features, by a file of each teacher."""
    folder, spaces = settings.workspace() / "features", {}
    for teacher in given.TEACHERS.value:
        for path in sorted((folder / teacher).glob("*.safetensors"))[:1]:
            spaces[f"the features of {teacher}"] = space_of(path)
    if not spaces:
        raise _no_features(len(settings.scans(given.SPLITS.value)))
    return one_space("fuse_features", spaces)


def _inputs(name: str) -> tuple[dict[str, pathlib.Path], pathlib.Path | None] | None:
    """Return the files that a scene is fused from, None when no teacher has any."""
    workspace = settings.workspace()
    folder = workspace / "features"
    paths = {t: folder / t / f"{name}.safetensors" for t in given.TEACHERS.value}
    if not any(path.exists() for path in paths.values()):
        return None
    superpoints = workspace / "superpoints" / f"{name}.safetensors"
    return paths, superpoints if _LEVEL.value == "superpoint" else None


def _fuse(path, scan: Scan, features, superpoints, capability, texts, config) -> bool:
    """Fuse one scene unless it is up to date; tell whether it was made."""
    inputs = (features, superpoints, capability, texts, config)
    key = fused_key(*inputs)
    if settings.is_current(path, key):
        return False
    fused = fuse_scene(*inputs, scan.points())
    save_features(path, fused, key=key, meta={"strategy": config.strategy})
    return True


def _check_missing(missing: list[str], num_scenes: int) -> None:
    if missing and len(missing) == num_scenes:
        raise _no_features(num_scenes)
    for name in missing:
        print(f"{name}: no teacher has features; left out.")


def _no_features(num_scenes: int) -> InputError:
    return InputError(
        f"fuse_features: features of the teachers are required, got none for "
        f"{num_scenes} scenes ({settings.workspace() / 'features'}). Run "
        "experiments/extract_features.py."
    )


def _print_table(
    label: str, scenes: int, made: int, without: int, size: int, seconds: float
) -> None:
    head = (
        "strategy".ljust(len(label)),
        "scenes",
        "made",
        "without",
        "     MB",
        "seconds",
    )
    row = (label, scenes, made, without, f"{size / 1e6:.1f}", f"{seconds:.1f}")
    print("  ".join(head))
    print("  ".join(f"{v:>{len(h)}}" for h, v in zip(head, row, strict=True)))


if __name__ == "__main__":
    settings.run(main)
