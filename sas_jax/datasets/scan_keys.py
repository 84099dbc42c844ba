"""Content keys of a scan: of the files that a stage reads.

A real scan holds gigabytes of frames, of which every 20th is used, and files of no
concern; a key of the whole folder would read all of it and change with any of it.
"""

import pathlib

from sas_jax.artefacts.files import content_key, sha256_file
from sas_jax.datasets.scannet import labels_path, mesh_path
from sas_jax.scenes.frames import list_depth, list_frames


def views_key(folder: pathlib.Path, frame_stride: int = 1) -> str:
    """Return the key of the points and of every `frame_stride`-th frame.

    Args:
      folder: `<root>/scans/<id>`; 1 GB of frames takes about a second.
      frame_stride: as the frames are used.
    """
    used = list(list_frames(folder / "color").items())[::frame_stride]
    paths = [mesh_path(folder), folder / f"{folder.name}.txt"]
    paths += sorted((folder / "intrinsic").glob("*.txt"))
    depth = list_depth(folder / "depth")
    for name, color in used:
        default = folder / "depth" / f"{name}.png"
        paths += [color, depth.get(name, default), _pose(folder, name)]
    # With no frame left in it, the folder of depth still says which camera counts.
    return _key(folder, paths, (folder / "depth").is_dir())


def labels_key(folder: pathlib.Path) -> str:
    """Return the key of the points and their labels."""
    return _key(folder, [mesh_path(folder), labels_path(folder)])


def capture_key(folder: pathlib.Path, frame_stride: int = 1) -> str:
    """Return the key of a folder of posed RGB-D: its text files, the used frames."""
    used = set(list(list_frames(folder / "color"))[::frame_stride])
    parts = [
        path
        for part in ("color", "depth", "pose")
        for path in (folder / part).glob("*")
        if path.stem in used
    ]
    return _key(folder, sorted([*folder.glob("*.txt"), *parts]))


def _pose(folder: pathlib.Path, name: str) -> pathlib.Path:
    return folder / "pose" / f"{name}.txt"


def _key(folder: pathlib.Path, paths: list[pathlib.Path], *more: object) -> str:
    """Return the key of names and checksums; a missing file counts as missing."""
    sums = [
        (path.relative_to(folder), sha256_file(path) if path.is_file() else None)
        for path in paths
    ]
    return content_key([sums, *more])
