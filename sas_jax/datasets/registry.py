"""Data sets by name: a new one is a module and a line here.

Which one a folder holds is asked of each; see `contracts.Dataset`. None or several is
an error: what is silently left out of a data set would be missed by nobody.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sas_jax.datasets.contracts import Dataset, Scan, readable
from sas_jax.datasets.unknown import contents, nearest
from sas_jax.errors import InputError
from sas_jax.registry import function_of
from sas_jax.scenes.labels import LabelSet
from sas_jax.scenes.scene import Scene

VERSION = 0
"""It decides no numbers; see `artefacts.versions`."""

DATASETS: dict[str, str] = {
    "scannet": "sas_jax.datasets.scannet:ScanNet",
    "scannetpp": "sas_jax.datasets.scannetpp:ScanNetPP",
    "matterport": "sas_jax.datasets.matterport:Matterport",
    "replica": "sas_jax.datasets.replica:Replica",
    "posed_rgbd": "sas_jax.datasets.posed_rgbd:PosedRgbd",
    "nuscenes": "sas_jax.datasets.nuscenes:NuScenes",
    "semantic_kitti": "sas_jax.datasets.semantic_kitti:SemanticKitti",
    "tum": "sas_jax.datasets.tum:Tum",
    "colmap": "sas_jax.datasets.colmap:Colmap",
    "nerfstudio": "sas_jax.datasets.nerfstudio:Nerfstudio",
    "polycam": "sas_jax.datasets.polycam:Polycam",
    "stray": "sas_jax.datasets.stray:Stray",
    "record3d": "sas_jax.datasets.record3d:Record3D",
    "openscene_scannet": "sas_jax.datasets.openscene:OpenSceneScanNet",
    "openscene_matterport": "sas_jax.datasets.openscene:OpenSceneMatterport",
    "openscene_nuscenes": "sas_jax.datasets.openscene:OpenSceneNuScenes",
    "sens": "sas_jax.datasets.sens:Sens",
    "seven_scenes": "sas_jax.datasets.seven_scenes:SevenScenes",
    "open3d": "sas_jax.datasets.open3d:Open3D",
    "nice_slam": "sas_jax.datasets.nice_slam:NiceSlam",
    "arkitscenes": "sas_jax.datasets.arkitscenes:ArkitScenes",
    "geometry": "sas_jax.datasets.geometry:Geometry",
}
"""Name -> `module:class` of the data set."""


# Of a folder's contents, when it is no scan itself.
_LOOKED_AT = 20


def load(name: str, settings: Mapping[str, Any] | None = None) -> Dataset:
    """Return a data set.

    Args:
      name: in the table.
      settings: values of its fields; those that it does not have are left out, so that
        the settings of all data sets may stand together.

    Raises:
      InputError: for an unknown name, listing what is known.
    """
    if name not in DATASETS:
        raise InputError(
            f"datasets: a data set must be {_known()}; got {name}. Correct the name, "
            "or add the data set to sas_jax/datasets/registry.py."
        )
    kind = _class(name)
    return kind(**{k: v for k, v in (settings or {}).items() if k in _fields(kind)})


def of_root(root: pathlib.Path, settings: Mapping[str, Any] | None = None) -> Dataset:
    """Return the data set that a folder of scans holds.

    Args:
      root: of all scans.
      settings: as in `load`.

    Raises:
      InputError: when no data set knows the folder, listing what lies in it, or more
        than one does.
    """
    return _recognised("root", root, lambda dataset: dataset.is_root(root), settings)


def scan_at(
    path: str | pathlib.Path,
    settings: Mapping[str, Any] | None = None,
    *,
    name: str | None = None,
) -> Scan:
    """Return the scan that lies at a place, of whichever data set it is.

    Args:
      path: folder or file; its name is the scan's.
      settings: as in `load`.
      name: of the data set, where it is known.

    Raises:
      InputError: when no data set knows it, listing what lies there, or more than one
        does.
    """
    path = pathlib.Path(path).absolute()
    if path.name == "..":  # the name is the scene's, and that of its artefacts
        path = path.resolve()
    if name is not None:
        dataset = load(name, settings)
    else:
        dataset = _recognised("scan", path, lambda d: d.is_scan(path), settings)
    return Scan(dataset, dataset.scan_name(path), path)


def open_folder(
    path: str | pathlib.Path,
    *,
    image_size_wh: tuple[int, int] | None = None,
    label_set: LabelSet | str | None = None,
    annotations: bool = True,
    **settings: Any,
) -> Scene:
    """Open a scan, whatever its layout is, by looking at what lies there.

    Args:
      path: folder or file of one scan; its name is the scene's.
      image_size_wh: size of the frames, None as they are stored.
      label_set: what labels are mapped to, or its name; None for the data set's first.
      annotations: read labels and instances where there are any.
      **settings: fields of the data set that it turns out to be, such as
        `depth_scale` of captures; those of other data sets do nothing.

    Raises:
      InputError: for a folder that no data set knows, a setting that none has, and
        what the readers raise.
    """
    known = {field for name in DATASETS for field in _fields(_class(name))}
    if wrong := sorted(settings.keys() - known):
        raise InputError(
            f"datasets: settings must be of {', '.join(sorted(known))}, got "
            f"{', '.join(wrong)}. Correct the name."
        )
    scan = scan_at(path, settings)
    if isinstance(label_set, str):
        label_set = scan.dataset.label_set(label_set)
    return scan.open(
        image_size_wh=image_size_wh, label_set=label_set, annotations=annotations
    )


def _recognised(
    what: str,
    path: pathlib.Path,
    knows: Callable[[Dataset], bool],
    settings: Mapping[str, Any] | None,
) -> Dataset:
    with readable("datasets", path):
        return _asked(what, path, knows, settings)


def _asked(
    what: str,
    path: pathlib.Path,
    knows: Callable[[Dataset], bool],
    settings: Mapping[str, Any] | None,
) -> Dataset:
    every = [load(name, settings) for name in DATASETS]
    found = [dataset for dataset in every if knows(dataset)]
    found = [dataset for dataset in found if not dataset.gives_way] or found
    if len(found) == 1:
        return found[0]
    wanted = {"root": "a folder of scans", "scan": "a scan"}[what]
    if found:
        raise InputError(
            f"datasets: {wanted} of one layout is required, got one of "
            f"{' and '.join(dataset.name for dataset in found)} ({path}). Say which "
            "is meant, --dataset, or move the other."
        )
    if not path.exists():
        raise InputError(
            f"datasets: {wanted} that is there is required, got none ({path}). Correct "
            "the path."
        )
    near = nearest(path, every)
    remedy = "Check the path, or name the data set: --dataset."
    if what == "root" and any(dataset.is_scan(path) for dataset in every):
        remedy = "It is a scan by itself: give the folder that it lies in."
    elif what == "scan" and (inside := _scans_in(path, every)):
        near = near if inside[0].gives_way else None
        remedy = f"It holds scans: give one of them, such as {inside[1]}."
    elif what == "scan" and any(dataset.is_root(path) for dataset in every):
        near, remedy = None, "It holds scans: give one of them."
    elif path.suffix.lower() in (".zip", ".gz", ".tar", ".7z"):
        near, remedy = None, "Unpack it, and give the folder."
    said = f"{near}. " if near else ""
    raise InputError(
        f"datasets: {wanted} of a known layout is required, got {contents(path)} "
        f"({path}). {said}{remedy} docs/scans.md lists the layouts."
    )


def _scans_in(
    path: pathlib.Path, datasets: Iterable[Dataset]
) -> tuple[Dataset, str] | None:
    """Return the first scan in a folder: its data set and its name."""
    places = sorted(path.iterdir())[:_LOOKED_AT] if path.is_dir() else []
    ordered = sorted(datasets, key=lambda dataset: dataset.gives_way)
    for dataset in ordered:
        for place in places:
            if dataset.is_scan(place):
                return dataset, place.name
    return None


def _known() -> str:
    return " or ".join(f"{name} [{_class(name).layout}]" for name in DATASETS)


def _fields(kind: type[Dataset]) -> Iterable[str]:
    return [field.name for field in dataclasses.fields(kind)]


def _class(name: str) -> type[Dataset]:
    return function_of(DATASETS[name])
