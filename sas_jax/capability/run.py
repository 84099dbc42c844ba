"""The capability stage: images and pseudo masks once, then every teacher's table.

Each finished image is on disk before the next begins, where the synthesizer paints one
at a time; what is current is not made again.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Int
from PIL import Image

from sas_jax.artefacts import files
from sas_jax.artefacts.versions import decided_by, module_of
from sas_jax.capability import sheets, store
from sas_jax.capability.config import CapabilityConfig, Score
from sas_jax.capability.contracts import Recipe
from sas_jax.capability.measure import (
    alarmed_scores,
    class_score,
    class_shares,
    measured_classes,
    teacher_prediction,
)
from sas_jax.capability.prompt_masks import pseudo_masks
from sas_jax.capability.store import CapabilityTable, ClassImages
from sas_jax.classes import Vocabulary
from sas_jax.teachers.contracts import DenseTeacher, MaskTeacher
from sas_jax.text.prompts import image_prompt

Progress = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class _Job:
    """One class that is to be painted; `models` is the key of who does it."""

    folder: files.PathLike
    name: str
    prompt: str
    seeds: tuple[int, ...]
    models: str

    def key(self, seeds: Sequence[int]) -> str:
        """Return the content key of the images of some seeds."""
        return files.content_key([self.models, self.prompt, self.name, tuple(seeds)])

    def is_done(self) -> bool:
        """Tell whether the images of all seeds are there."""
        path = store.images_path(self.folder, self.name)
        return files.is_current(path, self.key(self.seeds))


def make_images(
    folder: files.PathLike,
    vocabulary: Vocabulary,
    recipe: Recipe,
    config: CapabilityConfig,
    progress: Progress = lambda _: None,
    *,
    only: Collection[str] | None = None,
) -> list[str]:
    """Synthesize the images of every class and their pseudo masks.

    Args:
      folder: the workspace's `capability` folder.
      vocabulary: classes.
      recipe: models and rules.
      config: how many images, which prompts.
      progress: called with the class's name for every image that is there.
      only: these classes; None makes all.

    Returns:
      Names of the classes with images, in order. Files are kept as `store` says.

    Raises:
      InputError: when the disk is full or not writable.

    Deterministic: by the seeds of `config`, as far as the models are; never by what
    else is made.
    """
    jobs = _jobs(folder, vocabulary, recipe, config)
    jobs = [job for job in jobs if only is None or job.name in only]
    for job in jobs:
        if job.is_done():
            store.remove_parts(folder, job.name)  # a run may have been killed before it
            for _ in job.seeds:
                progress(job.name)
        else:
            for name in _paint(recipe, job):
                progress(name)
    return [job.name for job in jobs]


def unpainted(
    folder: files.PathLike,
    vocabulary: Vocabulary,
    recipe: Recipe,
    config: CapabilityConfig,
) -> list[str]:
    """Return the classes whose images are to be made, by the arguments of that."""
    jobs = _jobs(folder, vocabulary, recipe, config)
    return [job.name for job in jobs if not job.is_done()]


def _jobs(
    folder: files.PathLike,
    vocabulary: Vocabulary,
    recipe: Recipe,
    config: CapabilityConfig,
) -> list[_Job]:
    names = measured_classes(vocabulary, config.compat)
    seeds = tuple(range(config.seed, config.seed + config.images_per_class))
    made_by = decided_by(
        __name__, module_of(recipe.synthesizer), module_of(recipe.prompter)
    )
    models = files.content_key(
        [recipe.synthesizer.spec, recipe.prompter.spec, recipe.masks, made_by]
    )
    return [
        _Job(folder, name, image_prompt(name, config.compat), seeds, models)
        for name in names
    ]


def _paint(recipe: Recipe, job: _Job) -> Iterator[str]:
    """Make and write the images and pseudo masks of one class; yield its name for each.

    Images are painted in the same company, whether a run was stopped or not: what else
    is in a batch moves the last bits of an image.
    """
    at_once = recipe.synthesizer.images_at_once or len(job.seeds)
    parts = []
    for i in range(0, len(job.seeds), at_once):
        seeds = job.seeds[i : i + at_once]
        parts.append(_part(recipe, job, seeds))
        yield from [job.name] * len(seeds)
    arrays = ("images", "attention", "coarse", "refined")
    whole = {name: np.concatenate([getattr(p, name) for p in parts]) for name in arrays}
    entry = ClassImages(job.name, job.prompt, **whole, key=job.key(job.seeds))
    store.write_images(job.folder, entry)
    store.remove_parts(job.folder, job.name)


def _part(recipe: Recipe, job: _Job, seeds: tuple[int, ...]) -> ClassImages:
    """Paint what one go of the synthesizer gives, or read what a stopped run left."""
    key, alone = job.key(seeds), seeds == job.seeds
    path = store.images_path(job.folder, job.name, seeds[0])
    if not alone and files.is_current(path, key):
        return store.read_images(job.folder, job.name, seeds[0])
    made = recipe.synthesizer.synthesize(job.prompt, job.name, seeds)
    # what is stored is what is used: a resumed run must see the same maps
    heat = made.attention.astype(np.float16).astype(np.float32)
    coarse, refined = pseudo_masks(made.images, heat, recipe.prompter, recipe.masks)
    entry = ClassImages(job.name, job.prompt, made.images, heat, coarse, refined, key)
    if not alone:
        store.write_images(job.folder, entry, seeds[0])
    return entry


def measure_teacher(
    folder: files.PathLike,
    vocabulary: Vocabulary,
    teacher: DenseTeacher | MaskTeacher,
    config: CapabilityConfig,
    facts: Mapping | None = None,
    progress: Progress = lambda _: None,
    *,
    score: Score = "own",
) -> CapabilityTable:
    """Measure one teacher on the images that `make_images` left.

    Args:
      folder: the workspace's `capability` folder.
      vocabulary: classes; also the names that every pixel is decided among.
      teacher: who is measured.
      config: how.
      facts: further facts for the table.
      progress: called with each class's name when it is done.
      score: `own` is Eq. 3, a class on its own images. With `all`, what the teacher
        says falsely on the images of other classes counts too (`alarmed_scores`).

    Returns:
      The table, which is on disk too.

    Deterministic: for one number of threads of PyTorch, which can move the borders
    of a teacher's masks.
    """
    names = vocabulary.names
    measured = measured_classes(vocabulary, config.compat)
    scores, shares, keys = np.zeros(len(names)), np.zeros((len(names),) * 2), []
    for name in measured:
        entry = store.read_images(folder, name)
        theirs, key = _class_maps(folder, entry, names, teacher, config)
        index = names.index(name)
        scores[index] = class_score(entry.refined, theirs == index, config.compat)
        shares[index] = class_shares(entry.refined, theirs, len(names))
        keys.append(key)
        progress(name)
    table = CapabilityTable(
        teacher=teacher.spec.name,
        space=teacher.spec.text_space,
        classes=names,
        miou=scores if score == "own" else alarmed_scores(shares),
        measured=np.isin(names, measured),
        images_per_class=config.images_per_class,
        facts={
            **(facts or {}),
            "teacher": files.canonical(teacher.spec),
            # Tables of Eq. 3 were measured before there was another score.
            **({} if score == "own" else {"score": score}),
        },
    )
    made_by = decided_by(__name__)
    key = files.content_key([made_by, keys, config.compat, table.facts])
    if not files.is_current(store.table_path(folder, table.teacher), key):
        store.write_table(folder, table, key)
    return table


def look_at(
    folder: files.PathLike,
    vocabulary: Vocabulary,
    teacher: DenseTeacher | MaskTeacher,
    config: CapabilityConfig,
    name: str,
) -> None:
    """Keep what a teacher says of one class's images, for `measure_teacher` to find.

    Args:
      folder: the workspace's `capability` folder, with the images of the class.
      vocabulary: classes; as there.
      teacher: who looks.
      config: how.
      name: of the class.
    """
    entry = store.read_images(folder, name)
    _class_maps(folder, entry, vocabulary.names, teacher, config)


def _class_maps(
    folder, entry: ClassImages, names: Sequence[str], teacher, config: CapabilityConfig
) -> tuple[Int[np.ndarray, "m S S"], str]:
    """Return a teacher's class maps, from the disk where they are current."""
    made_by = decided_by("sas_jax.capability.measure", module_of(teacher))
    key = files.content_key(
        [made_by, entry.key, teacher.spec, names, config.teacher_px]
    )
    path = store.masks_path(folder, teacher.spec.name, entry.name)
    if not files.is_current(path, key):
        found = teacher_prediction(teacher, entry.images, names, config)
        store.write_masks(path, found, key)
    return store.read_masks(path), key


def write_sheets(
    folder: files.PathLike,
    vocabulary: Vocabulary,
    teachers: Sequence[str],
    config: CapabilityConfig,
) -> list[pathlib.Path]:
    """Draw one picture per class: images, attention, coarse, refined, each teacher.

    Args:
      folder: the workspace's `capability` folder.
      vocabulary: classes.
      teachers: names of teachers that were measured with `vocabulary` and `config`.
      config: how; other classes' images, of an earlier run, are left alone.

    Returns:
      The PNG files.
    """
    paths = []
    for name in measured_classes(vocabulary, config.compat):
        index = vocabulary.names.index(name)
        entry = store.read_images(folder, name)
        theirs = {
            teacher: store.read_masks(store.masks_path(folder, teacher, name)) == index
            for teacher in teachers
        }
        path = store.images_path(folder, name).with_suffix(".png")
        with files.atomic_path(path) as temporary:
            picture = sheets.class_sheet(entry, theirs)
            Image.fromarray(picture).save(temporary, format="PNG")
        paths.append(path)
    return paths
