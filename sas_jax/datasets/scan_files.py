"""Lists of scans and frames that layouts share: `splits/`, `color/`, `pose/`."""

import json
import pathlib

from sas_jax.artefacts.stamps import Memo
from sas_jax.errors import InputError
from sas_jax.scenes.frames import list_depth, list_frames


def listed(root: pathlib.Path, split: str, scans: pathlib.Path, who: str) -> list[str]:
    """Return the names in `<root>/splits/<split>.txt`, in its order.

    Args:
      root: of the data set.
      split: name of the list.
      scans: folder that has one of each name.
      who: begins the messages.

    Raises:
      InputError: where the list or the folder of a listed scan is missing.
    """
    names = names_in(root / "splits" / f"{split}.txt", who, split)
    missing = [name for name in names if not (scans / name).is_dir()]
    if missing:
        raise InputError(
            f"{who}: every listed scene must have a folder, {len(missing)} of "
            f"{len(names)} have none, e.g. {missing[0]} ({scans}). "
            "Export these scenes or take them off the list."
        )
    return names


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
