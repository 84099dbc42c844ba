"""What the file of a released student says of itself, readable without its weights.

One safetensors file holds weights and card, so that neither travels without the other.
"""

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import Any

import safetensors

from sas_jax.artefacts.files import canonical
from sas_jax.artefacts.space import TextSpace
from sas_jax.errors import DamagedFile, InputError
from sas_jax.stages import command

SUFFIX = ".safetensors"
SCHEMA = "sas_jax.student/1"
# One entry: safetensors writes several in any order, and equal students would differ.
_ENTRY = "sas_jax"


@dataclasses.dataclass(frozen=True)
class StudentCard:
    """All of a released student but its arrays.

    Attributes:
      arch: a name of `models.config.ARCHITECTURES`.
      in_channels: channels of the input.
      out_dim: dimension of the output.
      voxel_size_m: edge of the voxels it was trained with.
      text_space: that its features live in.
      class_names: of the training vocabulary.
      steps: it was trained.
      data: what it was trained on, a line for people.
      scores: measured ones, percent, e.g. "test mIoU".
    """

    arch: str
    in_channels: int
    out_dim: int
    voxel_size_m: float
    text_space: TextSpace
    class_names: tuple[str, ...]
    steps: int
    data: str = ""
    scores: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def table(self) -> str:
        """Return a summary for people."""
        rows = {
            "network": f"{self.arch}, {self.in_channels} -> {self.out_dim} channels",
            "voxels": f"{100 * self.voxel_size_m:g} cm",
            "text space": str(self.text_space),
            "classes": f"{len(self.class_names)}",
            "steps": f"{self.steps}",
            "data": self.data or "not said",
            **{name: f"{value:.1f}" for name, value in self.scores.items()},
        }
        return "\n".join(f"{name:<16}{value}" for name, value in rows.items())


def to_metadata(card: StudentCard, checksum: str) -> dict[str, str]:
    """Return a card as the header of its file.

    Args:
      card: of the student.
      checksum: content key of the arrays as they are stored.
    """
    record = {**canonical(card), "text_space": card.text_space.id}
    header = {"schema": SCHEMA, "checksum": checksum, "card": record}
    return {_ENTRY: json.dumps(header, sort_keys=True)}


def read_card(path: str | os.PathLike) -> StudentCard:
    """Return the card of a student's file; its arrays are not read.

    Raises:
      DamagedFile: when there is no such file or it is cut short.
      InputError: for another kind of file.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata()
    except (OSError, safetensors.SafetensorError) as error:
        raise unreadable(path, error) from error
    return from_metadata(metadata, path)[0]


def from_metadata(
    metadata: Mapping[str, str] | None, where: object
) -> tuple[StudentCard, str]:
    """Return the card and the checksum in the header of a file.

    Args:
      metadata: of the safetensors file.
      where: names it in errors.

    Raises:
      InputError: for the file of something else, or a card that lacks a field.
    """
    try:
        header = json.loads((metadata or {})[_ENTRY])
        schema, checksum, record = (header[n] for n in ("schema", "checksum", "card"))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise InputError(
            f"student: a file with the card of a student is required, got one without "
            f"({where}). Write it with: {command('export_student')}"
        ) from error
    if schema != SCHEMA:
        raise InputError(
            f"student: schema must be {SCHEMA}, got {schema} ({where}). "
            "Use the version of this package that wrote the file."
        )
    return _card(record, where), checksum


def _card(record: Any, where: object) -> StudentCard:
    fields = record if isinstance(record, dict) else {}
    kinds: dict[str, type[Any]] = {"arch": str, "in_channels": int, "out_dim": int}
    kinds |= {"steps": int, "voxel_size_m": float, "class_names": list}
    kinds |= {"data": str, "scores": dict}
    for name, kind in kinds.items():
        value = fields.get(name)
        if not isinstance(value, kind) or (kind is float and not value > 0):
            raise InputError(
                f"student: the card must hold {name} ({kind.__name__}), got {value!r} "
                f"({where}). Write the file again: {command('export_student')}"
            )
    names = {name: fields[name] for name in kinds}
    names["class_names"] = tuple(fields["class_names"])
    space = TextSpace.parse(fields.get("text_space"), where)
    return StudentCard(**names, text_space=space)


def unreadable(path: object, error: Exception) -> DamagedFile:
    """Return the error about a file that is absent or no complete safetensors file."""
    return DamagedFile(
        f"student: a complete safetensors file is required, got {error} ({path}). "
        "Correct the path, or copy or write the file again."
    )
