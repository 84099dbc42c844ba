"""Capability that comes with a teacher: measured once, for the settings that it names.

To measure two small teachers takes three minutes of two cores, before a first question
is answered. The table of a teacher that comes with the package may come with it. Its
key covers what a measured table's does - code, models, weights, settings - but not the
libraries: a table that was measured with another PyTorch is still one of this teacher.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

from sas_jax.artefacts import files
from sas_jax.artefacts.versions import decided_by, module_of
from sas_jax.capability import run, store
from sas_jax.capability.config import CapabilityConfig
from sas_jax.capability.contracts import Recipe
from sas_jax.capability.store import CapabilityTable
from sas_jax.classes import Vocabulary
from sas_jax.teachers.contracts import DenseTeacher, MaskTeacher
from sas_jax.teachers.registry import shipped_capability


def table_key(
    teacher: DenseTeacher | MaskTeacher,
    vocabulary: Vocabulary,
    recipe: Recipe,
    config: CapabilityConfig,
) -> str:
    """Return the content key of a teacher's table, without making an image."""
    models = (teacher, recipe.synthesizer, recipe.prompter)
    specs = [model.spec for model in models]
    code = decided_by(run.__name__, *map(module_of, models))["code"]
    return files.content_key([code, specs, recipe.masks, vocabulary.names, config])


def take(
    folder: files.PathLike,
    teachers: Sequence[DenseTeacher | MaskTeacher],
    vocabulary: Vocabulary,
    recipe: Recipe,
    config: CapabilityConfig,
) -> list[CapabilityTable] | None:
    """Write the tables that come with teachers into a workspace where none was painted.

    Args:
      folder: the workspace's `capability` folder.
      teachers: whose tables are wanted.
      vocabulary: classes.
      recipe: models and rules that would be measured with.
      config: how.

    Returns:
      The tables; None where one has none for these models and settings, or where
      measuring has begun.
    """
    if (pathlib.Path(folder) / "images").exists():
        return None
    found = []
    for teacher in teachers:
        path = shipped_capability(teacher.spec.name)
        key = table_key(teacher, vocabulary, recipe, config)
        if path is None or not files.is_current(path, key):
            return None
        found.append((store.read_table(path), key))
    for table, key in found:
        if not files.is_current(store.table_path(folder, table.teacher), key):
            store.write_table(folder, table, key)
    return [table for table, _ in found]


def write(
    folder: files.PathLike,
    table: CapabilityTable,
    key: str,
    libraries: Mapping[str, int | str],
) -> pathlib.Path:
    """Write a measured table as one that comes with its teacher; return its file.

    Args:
      folder: where such tables lie.
      table: as it was measured.
      key: see `table_key`.
      libraries: that it was measured with, for people.
    """
    facts = {**table.facts, "libraries": libraries}
    store.write_table(folder, dataclasses.replace(table, facts=facts), key)
    return store.table_path(folder, table.teacher)
