r"""Take what OpenScene and SAS published into a workspace, as if it were made here.

  python experiments/import_features.py --flagfile=scannet.flags \
      --fused=data/scannet_multiview_lseg
  python experiments/import_features.py --flagfile=scannet.flags \
      --point_features=lseg=SAS/lseg,seem=SAS/seem \
      --capabilities=lseg=capability/lseg_miou.npy,seem=capability/seem_miou.npy \
      --superpoint_files=data/scannet_3d/superpoint \
      --text_features=matterport21=MCC/lseg_util/vocabulary_embedding.pth

Fused features become <workspace>/fused/<strategy>/, from which train.py and evaluate.py
go on; features of teachers and their capabilities are fused by fuse_features.py. Scenes
are those of --splits; their points are compared by number. Features live in CLIP's text
spaces, ViT-B/32 (512 channels) or ViT-L/14@336 (768), or in that of --text_space. Where
its tower is not here, texts are those of the class lists of --text_features.
"""

import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import settings
import stage_flags
from absl import flags

from sas_jax.artefacts import released
from sas_jax.artefacts.features import geometry_of, save_features
from sas_jax.artefacts.files import content_key, sha256_file
from sas_jax.artefacts.space import TextSpace
from sas_jax.artefacts.stage import Job, Tally
from sas_jax.artefacts.superpoints import save_superpoints
from sas_jax.artefacts.torch_files import read_torch
from sas_jax.artefacts.versions import decided_by
from sas_jax.artefacts.workspace import plain_name
from sas_jax.capability.store import CapabilityTable, table_path, write_table
from sas_jax.classes import vocabulary
from sas_jax.datasets.contracts import Scan
from sas_jax.errors import InputError
from sas_jax.text import known_texts, registry
from sas_jax.text.prompts import OTHER_NAMES, prompts

_FUSED = flags.DEFINE_string("fused", None, "Folder of fused features, <scene>*.pt.")
_POINTS = flags.DEFINE_list(
    "point_features", [], "teacher=folder of its features, <scene>*.pt."
)
_CAPABILITIES = flags.DEFINE_list(
    "capabilities", [], "teacher=file of its mIoU per class of --vocabulary, .npy."
)
_SUPERPOINTS = flags.DEFINE_string(
    "superpoint_files", None, "Folder of superpoints, <scene>*.pth."
)
_TEXTS = flags.DEFINE_list(
    "text_features", [], "class list=file of the vectors of its classes, .pth."
)
_SPACE = flags.DEFINE_string(
    "text_space", None, "Tower of the features; default: CLIP's of their channels."
)


def main() -> None:
    """Import what the flags name, and print the table."""
    rows = [_import_texts(name, path) for name, path in _pairs(_TEXTS).items()]
    rows += [_import_table(name, path) for name, path in _pairs(_CAPABILITIES).items()]
    workspace = settings.workspace()
    if _SUPERPOINTS.value:
        rows.append(_import_superpoints(pathlib.Path(_SUPERPOINTS.value)))
    folders = {
        f"features of {teacher}": (path, functools.partial(workspace.features, teacher))
        for teacher, path in _pairs(_POINTS).items()
    }
    if _FUSED.value:
        place = functools.partial(workspace.fused, settings.fused_name())
        folders["fused features"] = pathlib.Path(_FUSED.value), place
    rows += [_import_features(what, *where) for what, where in folders.items()]
    if not rows:
        raise InputError(
            "import_features: something to import is required, got none. Give --fused, "
            "--point_features, --capabilities, --superpoint_files or --text_features."
        )
    print(settings.table(rows))


def _pairs(flag: flags.FlagHolder) -> dict[str, pathlib.Path]:
    """Return name -> path of a flag `name=path,...`."""
    pairs = [item.partition("=") for item in flag.value]
    if wrong := [name for name, _, path in pairs if not path]:
        raise InputError(
            f"flags: --{flag.name} must be <name>=<path>, got {wrong[0]}. Correct it."
        )
    return {plain_name(f"--{flag.name}", n): pathlib.Path(p) for n, _, p in pairs}


def _space(dim: int, where: object) -> TextSpace:
    """Return the space of --text_space, or CLIP's of these channels."""
    if _SPACE.value:
        space = registry.load(_SPACE.value).space
        if space.dim != dim:
            raise InputError(
                f"import_features: {space.dim} channels are required for {space}, got "
                f"{dim} ({where}). Correct --text_space."
            )
        return space
    if dim not in known_texts.PUBLISHED:
        raise InputError(
            f"import_features: {' or '.join(map(str, known_texts.PUBLISHED))} channels "
            f"are required, got {dim} ({where}). Name their tower: --text_space."
        )
    return known_texts.PUBLISHED[dim]


def _import_texts(name: str, path: pathlib.Path) -> dict[str, object]:
    """Keep the vectors of a class list, or compare them where the tower is here."""
    names = vocabulary(name).names
    rows = read_torch(path)
    dim = rows.shape[1] if isinstance(rows, np.ndarray) and rows.ndim == 2 else 0
    found = released.read_texts(path, len(names), _space(dim, path))
    tower, texts = registry.load(found.space.name, found.space), prompts(names)
    if isinstance(tower, known_texts.KnownTexts):
        compared = tower.add(texts, found)
    else:
        known_texts.check_same(texts, tower.encode(texts), found.rows)
        compared = len(texts)
    what = f"texts of {name}, {compared} compared"
    return _row(what, len(names), len(names) - compared)


def _import_table(teacher: str, path: pathlib.Path) -> dict[str, object]:
    """Write the capability of a teacher as measure_capability.py would."""
    words = vocabulary(stage_flags.VOCABULARY.value)
    miou = released.read_capability(path, len(words.names))
    space = known_texts.CLIP_B32
    if _SPACE.value:
        space = registry.load(_SPACE.value).space
    facts = {"imported": path.name, "sha256": sha256_file(path)}
    measured = np.array([name not in OTHER_NAMES for name in words.names])
    table = CapabilityTable(teacher, space, words.names, miou, measured, 0, facts)
    folder = settings.workspace().capability
    key = content_key([facts, words.names, space])
    current = settings.is_current(table_path(folder, teacher), key)
    if not current:
        write_table(folder, table, key)
    return _row(f"capability of {teacher}", 1, 1 - current)


def _import_superpoints(folder: pathlib.Path) -> dict[str, object]:
    found = {}
    for scan in settings.scans(stage_flags.SPLITS.value):
        if (path := released.superpoint_file(folder, scan.name)) is not None:
            found[scan] = [path]

    def make(job: Job, scan: Scan) -> None:
        points = scan.points()
        ids = released.read_superpoints(found[scan][0], len(points))
        save_superpoints(job.path, ids, key=job.key, points=points)

    return _run("superpoints", folder, found, settings.workspace().superpoints, make)


def _import_features(
    what: str, folder: pathlib.Path, place: Callable[[str], pathlib.Path]
) -> dict[str, object]:
    found = {}
    for scan in settings.scans(stage_flags.SPLITS.value):
        if paths := released.feature_files(folder, scan.name):
            found[scan] = paths

    def make(job: Job, scan: Scan) -> None:
        points, paths = scan.points(), found[scan]
        space_of = functools.partial(_space, where=paths[0])
        geometry = geometry_of(points)
        features = released.read_features(paths, len(points), space_of, geometry)
        save_features(job.path, features, key=job.key, meta={"imported": folder.name})

    return _run(what, folder, found, place, make)


def _run(
    what: str,
    folder: pathlib.Path,
    found: Mapping[Scan, Sequence[pathlib.Path]],
    place: Callable[[str], pathlib.Path],
    make: Callable[[Job, Scan], None],
) -> dict[str, object]:
    """Import the files of every scene that has some and is not up to date."""
    if not found:
        raise InputError(
            f"import_features: files of the scenes are required, got {what} of none "
            f"({folder}). Correct the folder, or --splits."
        )
    memo, scans = settings.memo(), {scan.name: scan for scan in found}

    def key(scan: Scan) -> str:
        paths = list(found[scan])
        kind = f"{scan.name}/imported-{what.replace(' ', '-')}"
        sums = memo.value(kind, paths, lambda: _sums(paths))
        made_by = decided_by(released.__name__)
        geometry = scan.key("geometry", memo=memo)
        return content_key([what, sums, geometry, _SPACE.value, made_by])

    jobs = [Job(scan.name, place(scan.name), key(scan)) for scan in found]
    tally = settings.run_scenes(what, jobs, lambda job: make(job, scans[job.name]))
    return _row(what, len(found), tally.made, tally)


def _sums(paths: Sequence[pathlib.Path]) -> str:
    return content_key([(path.name, sha256_file(path)) for path in paths])


def _row(
    what: str, count: int, made: int, tally: Tally | None = None
) -> dict[str, object]:
    tally = tally or Tally()
    figures = {"MB": tally.megabytes, "seconds": tally.seconds}
    return {"what": what, "found": count, "made": made, **figures}


if __name__ == "__main__":
    settings.run(main)
