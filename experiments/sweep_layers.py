"""Where the stages of a trial keep their results, so that trials share what is alike.

A workspace has one folder for each stage. Trials that vary flags of training alone, or
fusions, which have a folder by name, share the workspace of --workspace. Others get one
of their own, whose folders are links: to those of --workspace where none of the varied
flags decides what lies there, or else to one that all trials with the same values
share. Keys and claims do the rest, as for any two workers on one workspace.
"""

import contextlib
import os
import pathlib
from collections.abc import Iterable, Mapping

import settings
import stage_flags
from config_flags import ConfigFlags

from sas_jax.artefacts.files import content_key
from sas_jax.sweeps.plan import Value

_FOLDERS = {
    "data": (),
    "features": ("features", "clouds", "stamps"),
    "superpoints": ("superpoints",),
    "capability": ("capability",),
    "fused": ("fused",),
}
"""Layer -> folders of a workspace; the rooms of a layer of data lie beside."""
_OF_STAGE = {
    "make_rooms": ("data", "features", "superpoints", "capability", "fused"),
    "extract_features": ("features", "fused"),
    "make_superpoints": ("superpoints", "fused"),
    "measure_capability": ("capability", "fused"),
    "fuse_features": ("fused",),
    "train": (),
    "evaluate": (),
}
STAGES = tuple(_OF_STAGE)
"""The stages of a trial, in order."""


def _flags_of(*groups: ConfigFlags) -> set[str]:
    return {name for group in groups for name in group.names.values()}


def _groups() -> list[ConfigFlags]:
    values = [*vars(stage_flags).values(), *stage_flags.MODELS.values()]
    return [value for value in values if isinstance(value, ConfigFlags)]


def _only(*groups: ConfigFlags) -> set[str]:
    """Return the flags of these configurations that no other one shares."""
    others = [g for g in _groups() if not any(g is group for group in groups)]
    return _flags_of(*groups) - _flags_of(*others)


def _layers_of(name: str) -> tuple[str, ...]:
    """Return the layers that a flag decides; all of them, where that is not known."""
    stage, _, inner = name.rpartition(".")
    if stage:
        return _OF_STAGE[stage]
    by_name = {"strategy", "teacher", "fusions"}  # a folder for each within `fused`
    after = {"students", "init_from", "student", "tasks", "label_set", "eval_split"}
    after |= {"superpoint_scores", "answer_by", "mask_votes", "min_region"}
    after |= _only(stage_flags.TRAIN, stage_flags.NETWORK, stage_flags.TRAIN_RUN)
    after |= _only(stage_flags.ANSWER, stage_flags.PROPOSALS, stage_flags.NAMING)
    if inner in by_name | after:
        return ()
    if inner in _only(stage_flags.FUSE) | {"level", "superpoints"}:
        return _OF_STAGE["fuse_features"]
    if inner in _only(stage_flags.LIFT, stage_flags.EXTRACT):
        return _OF_STAGE["extract_features"]
    if inner in _only(stage_flags.SUPERPOINT):
        return _OF_STAGE["make_superpoints"]
    painted = _only(stage_flags.SYNTHESIS, stage_flags.CAPABILITY)
    if inner in painted | {"capability_score", "capability_from"}:
        return _OF_STAGE["measure_capability"]
    if inner == "teachers":  # each has a folder; their text space is `label_space`
        return _OF_STAGE["fuse_features"]
    rooms = (stage_flags.ROOM_SET, stage_flags.ROOM, stage_flags.ROOM_FRAMES)
    if inner in _only(*rooms, stage_flags.ROOM_SURFACE):
        return _OF_STAGE["make_rooms"]
    return tuple(layer for layer in _FOLDERS if layer != "data")


def keys(varied: Mapping[str, Value], label_space: str | None) -> dict[str, str]:
    """Return layer -> key of what decides it; a layer that nothing decides is left out.

    Args:
      varied: flags that differ between trials, with a trial's values, which the flags
        of this process must have just now.
      label_space: what `settings.label_space` returns without them.
    """
    facts: dict[str, dict[str, object]] = {}
    for name, value in varied.items():
        for layer in _layers_of(name):
            facts.setdefault(layer, {})[name] = value
    if (space := settings.label_space()) != label_space:
        for layer in ("features", "capability"):
            facts.setdefault(layer, {})["label_space"] = space
    return {
        layer: content_key(facts[layer])[:8] for layer in _FOLDERS if layer in facts
    }


def place(
    base: pathlib.Path, folder: pathlib.Path, layer_keys: Mapping[str, str]
) -> tuple[pathlib.Path, pathlib.Path | None]:
    """Return the workspace of a trial, and its data root where it has rooms of its own.

    Args:
      base: --workspace.
      folder: of the sweep, for what is shared by some trials.
      layer_keys: what `keys` returned.
    """
    if not layer_keys:
        return base, None
    own = folder / "workspaces" / content_key(dict(layer_keys))[:8]
    for layer, names in _FOLDERS.items():
        shared = base
        if layer in layer_keys:
            shared = folder / "shared" / f"{layer}-{layer_keys[layer]}"
        _link(own, shared, names)
    rooms = layer_keys.get("data")
    return own, folder / "shared" / f"data-{rooms}" if rooms else None


def _link(own: pathlib.Path, shared: pathlib.Path, names: Iterable[str]) -> None:
    for name in names:
        target, link = (shared / name).absolute(), own / name
        target.mkdir(parents=True, exist_ok=True)
        own.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            link.symlink_to(os.path.relpath(target, own.resolve()))
