"""Lists of scans and frames that layouts share: `splits/`, `color/`, `pose/`."""

import functools
import importlib.resources
import json
import logging
import pathlib
from collections.abc import Collection

from sas_jax.artefacts.stamps import Memo
from sas_jax.errors import InputError
from sas_jax.scenes.frames import list_depth, list_frames


def names_of_split(
    root: pathlib.Path, split: str, present: Collection[str], who: str
) -> list[str]:
    """Return the names in `<root>/splits/<split>.txt`, or those of the official list.

    Args:
      root: of the data set.
      split: name of the list.
      present: names that have data.
      who: name of the data set, which begins the messages.

    Returns:
      In the order of the list. Of an official one, those that are present: parts of a
      data set are common; how many there are is logged.

    Raises:
      InputError: where there is no such list, one of its names has no data, or none of
        an official list's has.
    """
    path = root / "splits" / f"{split}.txt"
    if not path.exists() and split in _official(who):
        names = _official(who)[split]
        found = [name for name in names if name in present]
        if not found:
            raise InputError(
                f"{who}: a scan of split {split} is required, got none of the official "
                f"list's {len(names)} ({root}). Check the path, or write {path}."
            )
        if len(found) < len(names):
            logging.warning(
                "%s: split %s has %d of the official list's %d scans here (%s).",
                *(who, split, len(found), len(names), root),
            )
        return found
    names = names_in(path, who, split)
    missing = [name for name in names if name not in present]
    if missing:
        raise InputError(
            f"{who}: every listed scene must have a folder, {len(missing)} of "
            f"{len(names)} have none, e.g. {missing[0]} ({root}). "
            "Export these scenes or take them off the list."
        )
    return names


@functools.cache
def _official(who: str) -> dict[str, list[str]]:
    """Return split -> names of a data set's official lists; empty where unknown."""
    file = importlib.resources.files("sas_jax") / "datasets" / "splits.json"
    lists = json.loads(file.read_text(encoding="utf-8"))["lists"].get(who, {})
    prefix = lists.get("prefix", "")
    return {
        split: [prefix + name for name in names.split()]
        for split, names in lists.items()
        if split != "prefix"
    }


def folders(place: pathlib.Path) -> list[str]:
    """Return the names of the folders in a folder; none where it is absent."""
    if not place.is_dir():
        return []
    return sorted(path.name for path in place.iterdir() if path.is_dir())


def names_in(path: pathlib.Path, who: str, split: str) -> list[str]:
    """Return the names in the list of a split; raises InputError without one."""
    try:
        return path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{who}: a list of the scenes of split {split} is required, got none "
            f"({path}). Write one scene name per line."
        ) from error


def frame_files(
    folder: pathlib.Path, frame_stride: int, memo: Memo
) -> list[pathlib.Path]:
    """Return the files of every `frame_stride`-th frame, present or not.

    Args:
      folder: holds `color/`, `depth/` and `pose/`.
      frame_stride: as the frames are used.
      memo: where their names are remembered.
    """
    # With no frame left in it, the folder of depth still says which camera counts.
    paths = [folder / "depth"]
    depth = list_depth(folder / "depth")
    for color in _used_frames(folder / "color", frame_stride, memo):
        name = color.stem
        default = folder / "depth" / f"{name}.png"
        paths += [color, depth.get(name, default), folder / "pose" / f"{name}.txt"]
    return paths


def _used_frames(
    color: pathlib.Path, frame_stride: int, memo: Memo
) -> list[pathlib.Path]:
    """Return the colour files of every `frame_stride`-th frame.

    A folder's own stamp follows the names in it; a scan may hold thousands.
    """

    def find() -> str:
        files = list(list_frames(color).values())[::frame_stride]
        return json.dumps([path.name for path in files])

    names = memo.value(f"{color.parent.name}/names{frame_stride}", [color], find)
    return [color / name for name in json.loads(names)]
