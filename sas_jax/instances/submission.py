"""ScanNet's submission files of instances, read and written.

    <folder>/<scene>.txt          a line for each: path of its mask, class id, score
    <folder>/predicted_masks/<scene>_<number>.txt    0 or 1 of each point, a line each

A class id is that of the data set's files (`LabelSet.raw_ids`): NYU40's for ScanNet,
the label map's for ScanNet200. Paths are relative to the folder.
"""

import math
import pathlib

import numpy as np
from jaxtyping import Bool, Int32, Integer

from sas_jax.artefacts.files import atomic_write
from sas_jax.artefacts.plain_files import plain
from sas_jax.errors import InputError
from sas_jax.instances.masks import NO_CLASS, Instances
from sas_jax.scenes.labels import IGNORE, LabelSet

MASKS = "predicted_masks"
_NUMBERINGS = ("nyu40", "scannet", "replica", "matterport")
_ZERO, _ONE, _END = b"01\n"


def submission_ids(label_set: LabelSet) -> tuple[int, ...]:
    """Return the id of each class in submission files; 0-based where it has none."""
    for numbering in _NUMBERINGS:
        if numbering in label_set.raw_ids:
            ids = label_set.raw_ids[numbering]
            return tuple(i if isinstance(i, int) else min(i) for i in ids)
    return tuple(range(len(label_set.classes.names)))


def write_submission(
    folder: pathlib.Path, scene: str, instances: Instances, label_set: LabelSet
) -> int:
    """Write the files of a scene; instances that are of no class of it are left out.

    Args:
      folder: of all scenes.
      scene: its name.
      instances: named by the classes of the label set, see `in_label_set`.
      label_set: whose ids are written.

    Returns:
      How many instances were left out.

    Raises:
      InputError: when the disk is full or not writable, naming the file.
    """
    ids = submission_ids(label_set)
    classes = in_label_set(instances, label_set).classes
    lines: list[str] = []
    for index in np.flatnonzero(classes != NO_CLASS).tolist():
        name = f"{MASKS}/{scene}_{len(lines):03d}.txt"
        mask = np.full((instances.num_points, 2), _END, np.uint8)
        mask[:, 0] = _ZERO + instances.mask(index).view(np.uint8)
        atomic_write(folder / name, mask.tobytes())
        # As many digits as tell it from every other number: ties stay as they are.
        score = repr(instances.scores[index].item())
        lines.append(f"{name} {ids[classes[index]]} {score}\n")
    atomic_write(folder / f"{scene}.txt", "".join(lines).encode())
    return len(instances) - len(lines)


def in_label_set(instances: Instances, label_set: LabelSet) -> Instances:
    """Return instances with the classes of a label set, found by name.

    What the set does not have becomes -1; instances without names pass as they are.
    """
    names = label_set.classes.names
    if not instances.class_names or instances.class_names == names:
        return instances
    index = {_plain(name): number for number, name in enumerate(names)}
    table = [index.get(_plain(name), NO_CLASS) for name in instances.class_names]
    classes = np.array([*table, NO_CLASS], np.int32)[instances.classes]
    return Instances(
        instances.packed, instances.num_points, instances.scores, classes, names
    )


def read_submission(
    folder: pathlib.Path, scene: str, num_points: int, label_set: LabelSet
) -> Instances:
    """Read the files of a scene.

    Args:
      folder: of all scenes.
      scene: its name.
      num_points: P, lines of each mask.
      label_set: whose ids were written; classes of others become -1.

    Returns:
      Instances in the order of the lines, with scores in f64.

    Raises:
      InputError: for an absent or broken file, or masks of other points.
    """
    path = folder / f"{scene}.txt"
    ids = {number: index for index, number in enumerate(submission_ids(label_set))}
    packed, classes, scores = [], [], []
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        name, class_id, score = _entry(line, f"{path}, line {number}")
        mask = _read_mask(_inside(folder, name, path), num_points)
        packed.append(np.packbits(mask))
        classes.append(ids.get(class_id, NO_CLASS))
        scores.append(score)
    bits = np.reshape(np.array(packed, np.uint8), (len(packed), -(-num_points // 8)))
    return Instances(
        bits,
        num_points,
        np.array(scores, np.float64),
        np.array(classes, np.int32),
        label_set.classes.names,
    )


def truth_of(
    ids: Integer[np.ndarray, " P"], label_set: LabelSet
) -> tuple[Int32[np.ndarray, " P"], Int32[np.ndarray, " P"]]:
    """Return class and instance of each point from the ids of ScanNet's truth files.

    Args:
      ids: 1000 * class id + instance + 1; 0 where nothing is known.
      label_set: whose ids they are; classes of others become `IGNORE`.

    Returns:
      Class index of each point, and its instance, -1 without one.
    """
    raw, instance = np.divmod(ids.astype(np.int32), 1000)
    numbers = submission_ids(label_set)
    table = np.full(max(*numbers, raw.max(initial=0)) + 1, IGNORE, np.int32)
    table[list(numbers)] = np.arange(len(numbers))
    return table[raw], instance - 1


def _plain(name: str) -> str:
    return "".join(name.lower().split())  # ScanNet writes otherfurniture, too


def _lines(path: pathlib.Path) -> list[str]:
    try:
        return plain(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"submission: a text file of the scene's instances is required, got "
            f"{error!r} ({path}). A scene without instances has an empty file."
        ) from error


def _entry(line: str, where: str) -> tuple[str, int, float]:
    """Return path, class id and score of a line."""
    parts = line.split()
    try:
        name, class_id, score = " ".join(parts[:-2]), int(parts[-2]), float(parts[-1])
    except (IndexError, ValueError):
        name, class_id, score = "", 0, math.nan
    if not name or "\0" in name or not math.isfinite(score):
        raise InputError(
            "submission: <path of a mask> <class id> <score> is required, got "
            f"{line[:80]!r} ({where}). Write one line for each instance."
        )
    return name, class_id, score


def _inside(folder: pathlib.Path, name: str, path: pathlib.Path) -> pathlib.Path:
    """Return the path of a mask; it must not lead out of the folder."""
    found = folder / name
    if not found.resolve().is_relative_to(folder.resolve()):
        raise InputError(
            f"submission: paths of masks below its folder are required, got {name} "
            f"({path}). Put the masks into {MASKS}/ beside the file."
        )
    return found


def _read_mask(path: pathlib.Path, num_points: int) -> Bool[np.ndarray, " P"]:
    try:
        data = np.fromfile(plain(path), np.uint8)
    except OSError as error:
        raise InputError(
            f"submission: the file of a mask is required, got {error!r} ({path}). "
            "Write all masks that the scene's file names."
        ) from error
    values = _values(data)
    if values is None or len(values) != num_points:
        got = "something else" if values is None else f"{len(values)} of them"
        raise InputError(
            f"submission: a line with 0 or 1 for each of {num_points} points is "
            f"required, got {got} ({path}). Predict on the points of the labelled "
            "mesh, in their order."
        )
    return values != 0


def _values(data: np.ndarray) -> np.ndarray | None:
    """Return the numbers of a mask's lines; None where there is something else."""
    if len(data) and data[-1] != _END:
        data = np.append(data, np.uint8(_END))
    pairs = data.reshape(-1, 2) if len(data) % 2 == 0 else data[:0].reshape(0, 2)
    digits = pairs[:, 0] - np.uint8(_ZERO)
    if len(pairs) and (pairs[:, 1] == _END).all() and (digits <= 9).all():
        return digits  # by far the quickest, and what everybody writes
    try:
        return np.array(data.tobytes().split(), np.float64)
    except ValueError:
        return None
