"""The capability stage: images and pseudo masks once, then every teacher's table.

Each finished class is on disk before the next begins; what is current is not made
again.
"""

import pathlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Int
from PIL import Image

from sas_jax import files
from sas_jax.capability import sheets, store
from sas_jax.capability.measure import (
    CapabilityConfig,
    class_score,
    measured_classes,
    teacher_prediction,
)
from sas_jax.capability.prompt_masks import MaskConfig, PointPrompter, pseudo_masks
from sas_jax.capability.store import CapabilityTable, ClassImages
from sas_jax.capability.synthesize import Synthesizer
from sas_jax.teachers.contracts import DenseTeacher, MaskTeacher
from sas_jax.text.vocabulary import Vocabulary, image_prompt

CODE = 1
"""Raised by one whenever this stage's numbers change."""

Progress = Callable[[str], None]


def make_images(
    folder: files.PathLike,
    vocabulary: Vocabulary,
    synthesizer: Synthesizer,
    prompter: PointPrompter,
    config: CapabilityConfig,
    masks: MaskConfig,
    progress: Progress = lambda _: None,
) -> list[str]:
    """Synthesize the images of every class and their pseudo masks.

    Args:
      folder: the workspace's `capability` folder.
      vocabulary: classes.
      synthesizer: paints.
      prompter: refines masks by points.
      config: how many images, which prompts.
      masks: threshold and point rules.
      progress: called with each class's name when it is done.

    Returns:
      Names of the classes with images, in order. Files are kept as `store` says.

    Deterministic: yes, by the seeds of `config`.
    """
    names = measured_classes(vocabulary, config.compat)
    seeds = tuple(range(config.seed, config.seed + config.images_per_class))
    models = [synthesizer.spec, prompter.spec, masks, CODE]
    for name in names:
        prompt = image_prompt(name, config.compat)
        key = files.content_key([models, prompt, name, seeds])
        if not files.is_current(store.images_path(folder, name), key):
            made = synthesizer.synthesize(prompt, name, seeds)
            # what is stored is what is used: a resumed run must see the same maps
            heat = made.attention.astype(np.float16).astype(np.float32)
            coarse, refined = pseudo_masks(made.images, heat, prompter, masks)
            entry = ClassImages(name, prompt, made.images, heat, coarse, refined, key)
            store.write_images(folder, entry)
        progress(name)
    return list(names)


def measure_teacher(
    folder: files.PathLike,
    vocabulary: Vocabulary,
    teacher: DenseTeacher | MaskTeacher,
    config: CapabilityConfig,
    facts: Mapping | None = None,
    progress: Progress = lambda _: None,
) -> CapabilityTable:
    """Measure one teacher on the images that `make_images` left.

    Args:
      folder: the workspace's `capability` folder.
      vocabulary: classes; also the names that every pixel is decided among.
      teacher: who is measured.
      config: how.
      facts: further facts for the table.
      progress: called with each class's name when it is done.

    Returns:
      The table, which is on disk too.
    """
    names = vocabulary.names
    measured = measured_classes(vocabulary, config.compat)
    scores, keys = np.zeros(len(names)), []
    for name in measured:
        entry = store.read_images(folder, name)
        theirs, key = _class_maps(folder, entry, names, teacher, config)
        index = names.index(name)
        scores[index] = class_score(entry.refined, theirs == index, config.compat)
        keys.append(key)
        progress(name)
    table = CapabilityTable(
        teacher=teacher.spec.name,
        classes=names,
        miou=scores,
        measured=np.isin(names, measured),
        images_per_class=config.images_per_class,
        facts={**(facts or {}), "teacher": files.canonical(teacher.spec)},
    )
    key = files.content_key([CODE, keys, config.compat, table.facts])
    if not files.is_current(store.table_path(folder, table.teacher), key):
        store.write_table(folder, table, key)
    return table


def _class_maps(
    folder, entry: ClassImages, names: Sequence[str], teacher, config: CapabilityConfig
) -> tuple[Int[np.ndarray, "m S S"], str]:
    """Return a teacher's class maps, from the disk where they are current."""
    key = files.content_key([CODE, entry.key, teacher.spec, names, config.teacher_px])
    path = store.masks_path(folder, teacher.spec.name, entry.name)
    if not files.is_current(path, key):
        found = teacher_prediction(teacher, entry.images, names, config)
        store.write_masks(path, found, key)
    return store.read_masks(path), key


def write_sheets(
    folder: files.PathLike, classes: Sequence[str], teachers: Sequence[str]
) -> list[pathlib.Path]:
    """Draw one picture per class: images, attention, coarse, refined, each teacher.

    Args:
      folder: the workspace's `capability` folder.
      classes: whole vocabulary in order; those without images are left out.
      teachers: names of measured teachers.

    Returns:
      The PNG files.
    """
    paths = []
    for index, name in enumerate(classes):
        if not store.images_path(folder, name).exists():
            continue
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
