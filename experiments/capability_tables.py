"""Which tables of capability a run fuses with: its own, or some from elsewhere.

Somebody with a GPU measures a pair of teachers once; with --capability_from others use
the tables without painting an image. A table is of a teacher with its weights, of a
list of classes and of a text space; what does not fit is refused.
"""

import pathlib

import settings
import stage_flags

from sas_jax.artefacts.files import read_json
from sas_jax.artefacts.workspace import CONFIG
from sas_jax.capability.store import CapabilityTable, read_table, table_path
from sas_jax.errors import InputError
from sas_jax.stages import command


def elsewhere() -> bool:
    """Return whether tables are taken from elsewhere."""
    return bool(stage_flags.CAPABILITY_FROM.value)


def path_of(teacher: str) -> pathlib.Path:
    """Return where a teacher's table lies; this workspace's may be missing yet.

    Raises:
      InputError: for places of --capability_from without one.
    """
    if not elsewhere():
        return table_path(settings.workspace().capability, teacher)
    places = [pathlib.Path(place) for place in stage_flags.CAPABILITY_FROM.value]
    for place in places:
        if place.is_file():
            if place.suffix != ".json":
                raise InputError(
                    "capability: a table as measure_capability.py writes it is "
                    f"required, got {place}. Run: {command('import_features')} "
                    f"--capabilities={teacher}={place}"
                )
            if read_table(place).teacher == teacher:
                return place
        for folder in (place, place / "capability"):
            if table_path(folder, teacher).is_file():
                return table_path(folder, teacher)
    raise InputError(
        f"capability: a table of {teacher} is required, got none "
        f"({', '.join(map(str, places))}). Give --capability_from a workspace, its "
        f"capability folder, or files, that were made with --teachers={teacher}."
    )


def read(teacher: str) -> CapabilityTable:
    """Read a teacher's table, and compare it with the features of this workspace.

    Raises:
      InputError: for a table that is missing, damaged, of another teacher, or of other
        weights than the features.
    """
    path = path_of(teacher)
    table = read_table(path)
    if table.teacher != teacher:
        raise InputError(
            f"capability: a table of {teacher} is required, got one of {table.teacher} "
            f"({path}). Rename it, or name the teacher in --teachers."
        )
    measured = table.facts.get("teacher", {}).get("weights_id")
    used = _weights_of_features(teacher)
    if measured and used and measured != used:
        raise InputError(
            f"capability: the weights of {teacher} with which the features were made "
            f"are required ({used}), got a table of {measured} ({path}). Extract "
            "features with the same weights, or measure."
        )
    return table


def _weights_of_features(teacher: str) -> str | None:
    """Return the identity of the weights, None for features made elsewhere."""
    path = settings.workspace().features_of(teacher) / CONFIG
    if not path.is_file():
        return None
    facts = read_json(path, schema="sas_jax.extract_config/1")
    return facts["teacher"].get("weights_id")
