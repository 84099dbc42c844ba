"""Content keys of a scan: of the files that a stage reads.

A real scan holds gigabytes of frames, of which every 20th is used, and files of no
concern; a key of the whole folder would read all of it and change with any of it.
Checksums are remembered with the stamps of their files where a `Memo` says so.
"""

import json
import pathlib

from sas_jax.artefacts.files import content_key, sha256_file
from sas_jax.artefacts.stamps import NO_MEMO, Memo
from sas_jax.artefacts.versions import decided_by
from sas_jax.datasets.scannet import labels_path, mesh_path
from sas_jax.scenes.frames import list_depth, list_frames


def views_key(folder: pathlib.Path, frame_stride: int = 1, memo: Memo = NO_MEMO) -> str:
    """Return the key of the points and of every `frame_stride`-th frame.

    Args:
      folder: `<root>/scans/<id>`; 1 GB of frames takes about a second to hash.
      frame_stride: as the frames are used.
      memo: where checksums are remembered.
    """
    paths = [mesh_path(folder), folder / f"{folder.name}.txt"]
    paths += sorted((folder / "intrinsic").glob("*.txt"))
    depth = list_depth(folder / "depth")
    for color in _used_frames(folder / "color", frame_stride, memo):
        name = color.stem
        default = folder / "depth" / f"{name}.png"
        paths += [color, depth.get(name, default), _pose(folder, name)]
    # With no frame left in it, the folder of depth still says which camera counts.
    kind = f"views{frame_stride}"
    return content_key([_sums(folder, paths, kind, memo), (folder / "depth").is_dir()])


def geometry_key(folder: pathlib.Path, memo: Memo = NO_MEMO) -> str:
    """Return the key of the points and faces."""
    return _sums(folder, [mesh_path(folder)], "geometry", memo)


def labels_key(folder: pathlib.Path, memo: Memo = NO_MEMO) -> str:
    """Return the key of the points and their labels."""
    return _sums(folder, [mesh_path(folder), labels_path(folder)], "labels", memo)


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


def capture_key(
    folder: pathlib.Path, frame_stride: int = 1, memo: Memo = NO_MEMO
) -> str:
    """Return the key of a folder of posed RGB-D: its text files, the used frames."""
    used = set(list(list_frames(folder / "color"))[::frame_stride])
    parts = [
        path
        for part in ("color", "depth", "pose")
        for path in (folder / part).glob("*")
        if path.stem in used
    ]
    paths = sorted([*folder.glob("*.txt"), *parts])
    return _sums(folder, paths, f"capture{frame_stride}", memo)


def _pose(folder: pathlib.Path, name: str) -> pathlib.Path:
    return folder / "pose" / f"{name}.txt"


def _sums(
    folder: pathlib.Path, paths: list[pathlib.Path], kind: str, memo: Memo
) -> str:
    """Return the key of names, checksums and what reads the files.

    A missing file counts as missing.
    """

    def find() -> str:
        sums = [
            (path.relative_to(folder), sha256_file(path) if path.is_file() else None)
            for path in paths
        ]
        return content_key(sums)

    sums = memo.value(f"{folder.name}/{kind}", paths, find)
    return content_key([sums, decided_by(__name__)])
