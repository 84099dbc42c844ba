"""Which checkpoints of a run are complete, by their files alone (no JAX, no Orbax).

A copy that was stopped leaves a folder without all of its files, a kill one without
its commit. What is missing inside of an item only shows when the item is read.
"""

import json
import logging
import pathlib

from sas_jax.artefacts.space import TextSpace

VERSION = 0
"""It decides no numbers; see `artefacts.versions`."""

_METADATA = "_CHECKPOINT_METADATA"
_NEEDED = ("state", "text", "run")
_said: set[tuple[pathlib.Path, int]] = set()  # a run is looked at several times


def complete_steps(folder: pathlib.Path) -> list[int]:
    """Return the steps of complete checkpoints, as their files look, the newest first.

    The history of a run counts for whoever goes on with it, not here. Incomplete ones
    that are newer than a complete one are warned of.

    Args:
      folder: the run's `checkpoints` folder; need not exist.
    """
    steps = sorted((int(p.name) for p in folder.glob("*") if _is_step(p)), reverse=True)
    faults = {step: fault(folder / str(step)) for step in steps}
    complete = [step for step in steps if faults[step] is None]
    for step, lacks in faults.items():
        if lacks is not None and complete and step > complete[0]:
            warn_of(folder / str(step), lacks, complete[0])
    return complete


def metadata_path(folder: pathlib.Path, step: int) -> pathlib.Path:
    """Return the file that tells one checkpoint of a step from another."""
    return folder / str(step) / _METADATA


def text_space_of(folder: pathlib.Path, step: int) -> TextSpace:
    """Return the text space of the student in a checkpoint.

    Raises:
      InputError: when the checkpoint names none.
    """
    path = folder / str(step) / "run" / "metadata"  # as Orbax names a JSON item
    try:
        found = json.loads(path.read_bytes()).get("text_space")
    except (OSError, ValueError, AttributeError):
        found = None
    return TextSpace.parse(found, path)


def fault(checkpoint: pathlib.Path, *, history: bool = False) -> str | None:
    """Return what a checkpoint lacks, None where it looks complete.

    Args:
      checkpoint: the folder of one step.
      history: whether the history is wanted, where there was one.
    """
    try:
        metadata = json.loads((checkpoint / _METADATA).read_bytes())
        items, committed = metadata["item_handlers"], metadata["commit_timestamp_nsecs"]
        names = {*_NEEDED, *({"history"} & set(items) if history else ())}
    except (OSError, ValueError, KeyError, TypeError):
        return f"no readable {_METADATA}"
    if not committed:
        return "not finished"
    absent = [name for name in sorted(names) if not _has_files(checkpoint / name)]
    return f"no {', '.join(absent)}" if absent else None


def warn_of(checkpoint: pathlib.Path, what: str, taken: int) -> None:
    """Say once that a checkpoint is incomplete and which one is taken instead."""
    key = (checkpoint.resolve(), taken)
    if key in _said:
        return
    _said.add(key)
    logging.warning(
        "checkpoint: a complete one is required, got %s (%s); that of step %d is taken "
        "instead. Copy it again or delete it.",
        *(what, checkpoint, taken),
    )


def set_aside(checkpoint: pathlib.Path) -> pathlib.Path:
    """Rename an incomplete checkpoint, so that its step can be saved again."""
    for number in range(1000):
        aside = checkpoint.with_name(f"incomplete-{checkpoint.name}-{number}")
        if not aside.exists():
            break
    return checkpoint.rename(aside)


def _is_step(path: pathlib.Path) -> bool:
    return path.name.isascii() and path.name.isdigit() and path.is_dir()


def _has_files(item: pathlib.Path) -> bool:
    return item.is_dir() and any(path.is_file() for path in item.iterdir())
