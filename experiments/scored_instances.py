"""Instances that can be scored: where their masks come from, and who names them."""

import abc
import dataclasses
import pathlib
from collections.abc import Iterator

import numpy as np
import settings
import stage_flags
from scored import Method, found, method, question_texts
from tqdm import tqdm

from sas_jax.artefacts import files
from sas_jax.datasets.contracts import Scan
from sas_jax.errors import InputError
from sas_jax.instances import scores
from sas_jax.instances.files import load_instances
from sas_jax.instances.masks import NO_CLASS, Instances, of_ids
from sas_jax.instances.naming import name_instances
from sas_jax.instances.overlaps import Overlaps, instance_classes, overlaps
from sas_jax.instances.released import mask_file, read_masks
from sas_jax.instances.submission import in_label_set, read_submission
from sas_jax.scenes.scene import Scene
from sas_jax.stages import command

TRUTH = "truth"
_Counts = tuple[Overlaps, Overlaps]
"""Of named instances, and of the masks before they were named."""


@dataclasses.dataclass(frozen=True)
class Source(abc.ABC):
    """Where masks come from.

    Attributes:
      name: for tables and files.
    """

    name: str

    @abc.abstractmethod
    def instances(self, scene: Scene) -> Instances:
        """Return the instances of a scene, by the classes of the label set."""


@dataclasses.dataclass(frozen=True)
class _True(Source):
    """The true masks, as a ceiling: no name is given away."""

    def instances(self, scene: Scene) -> Instances:
        return of_ids(true_ids(scene))


@dataclasses.dataclass(frozen=True)
class _Folder(Source):
    """Files of a folder: `<scene>.npz`, ScanNet's submission, OpenMask3D's masks.

    Attributes:
      folder: of all scenes.
    """

    folder: pathlib.Path

    def instances(self, scene: Scene) -> Instances:
        path, labels = self.folder / f"{scene.name}.npz", settings.label_set()
        if path.exists():
            return in_label_set(load_instances(path, scene.points), labels)
        if (self.folder / f"{scene.name}.txt").exists():
            return read_submission(self.folder, scene.name, len(scene.points), labels)
        if (published := mask_file(self.folder, scene.name)).exists():
            return read_masks(published, len(scene.points))
        raise InputError(
            f"evaluate: instances of every scene are required, got neither {path.name} "
            f"nor {scene.name}.txt nor {published.name} ({self.folder}). A scene "
            "without instances has an empty .txt; leave scenes out with --scenes."
        )


def source(name: str) -> Source:
    """Return what a name stands for.

    Args:
      name: `truth`, of instances in the workspace, or a folder.

    Raises:
      InputError: where there is no such folder.
    """
    if name == TRUTH:
        return _True(name)
    places = [pathlib.Path(name).expanduser()]
    if name and "/" not in name and name not in (".", ".."):
        places.insert(0, settings.workspace().instances_of(name))
    place = next((each for each in places if name and each.is_dir()), None)
    if place is None:
        raise InputError(
            f"evaluate: --instances must name a folder of <scene>.npz or of ScanNet's "
            f"submission files, or {TRUTH}, got {name!r} "
            f"({' and '.join(map(str, places))}: not there). Correct the path."
        )
    return _Folder(place.resolve().name, place)


def true_ids(scene: Scene) -> np.ndarray:
    """Return the instance of each point, i32, -1 = none.

    Raises:
      InputError: for a scene without instances.
    """
    if scene.instances is None:
        raise InputError(
            f"evaluate: true instances are required, got none (scene {scene.name}). "
            "Take a data set that has them, such as ScanNet or rooms, or score points: "
            f"{command('evaluate')}"
        )
    return scene.instances


def evaluate(names: list[str], methods: list[str], *, per_class: bool) -> None:
    """Score instances on all scenes with labels, keep the scores, print the tables.

    Args:
      names: see `source`.
      methods: whose features name masks; default: for masks without classes, all.
      per_class: show every class.
    """
    sources, scans = [source(name) for name in names], settings.labelled_scans()
    labels, scenes = settings.label_set(), [scan.name for scan in scans]
    naming = [
        {name: method(name, scenes) for name in methods or _default(each, scans)}
        for each in sources
    ]
    stage_flags.NAMING.make()  # says what is wrong with it before any work
    counts: dict[str, dict[str, _Counts]] = {}
    for scan in tqdm(scans, desc="instances", unit="scene"):
        scene = scan.open(label_set=labels)
        for each, by in zip(sources, naming, strict=True):
            for row, of_scene in _rows(each, by, scene):
                counts.setdefault(row, {})[scene.name] = of_scene
    rows = [_score(name, of_scenes) for name, of_scenes in counts.items()]
    if per_class:
        print(f"\n{scores.classes(rows, labels)}")
    print(f"\n{scores.overview(rows, labels)}")


def _default(each: Source, scans: list[Scan]) -> list[str]:
    """Return who names masks: nobody, if they have classes."""
    labels = settings.label_set()
    found_masks = (each.instances(scan.open(label_set=labels)) for scan in scans)
    masks = next((masks for masks in found_masks if len(masks)), None)
    if masks is None or (masks.classes != NO_CLASS).any():
        return []
    return found([scan.name for scan in scans], ensembles=False)


def _rows(
    each: Source, naming: dict[str, Method], scene: Scene
) -> Iterator[tuple[str, _Counts]]:
    """Yield the rows of a table that a source's masks of a scene give, with counts."""
    masks = each.instances(scene)
    alone = _counted(masks, scene, each.name)
    if not naming:
        yield each.name, (alone, alone)
    for name, by in naming.items():
        texts, config = question_texts(by.space), stage_flags.NAMING.make()
        features, labels = next(by.views(scene, 0)), settings.label_set()
        named = name_instances(masks, features, texts, labels, config)
        yield f"{each.name}+{name}", (_counted(named, scene, each.name), alone)


def _counted(instances: Instances, scene: Scene, where: str) -> Overlaps:
    assert scene.labels is not None  # of a labelled scan
    scored = instance_classes(settings.label_set())
    return overlaps(
        instances,
        scene.labels,
        true_ids(scene),
        scored,
        compat=settings.compat(),
        where=where,
    )


def _score(name: str, counts: dict[str, _Counts]) -> scores.InstanceScores:
    """Score all scenes; with --scenes, the scores of just these are not kept."""
    made = scores.score(
        name,
        counts,
        settings.label_set(),
        compat=settings.compat(),
        min_points=stage_flags.MIN_REGION.value,
    )
    if not stage_flags.SCENES.value:
        key = files.content_key([counts, made.compat, made.min_points])
        path = settings.workspace().instance_scores(settings.score_folder(), name)
        scores.save(path, made, key)
    return made
