"""Text spaces: which vectors may be compared, and an error where they may not.

Two towers may give vectors of one length that have nothing in common, and a product of
them is a number all the same. So all that lives in a text space says in which.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from sas_jax.errors import InputError

VERSION = 0
"""It decides no numbers; see `artefacts.versions`."""


@dataclasses.dataclass(frozen=True)
class TextSpace:
    """The space of one text tower; equal ones hold comparable vectors.

    Attributes:
      name: of the tower, a key of `text.registry`.
      weights_sha256: of the file of its weights.
      dim: length of a vector.
    """

    name: str
    weights_sha256: str
    dim: int

    @property
    def id(self) -> str:
        """One word for manifests and records; see `parse`."""
        return f"{self.name}/{self.dim}/{self.weights_sha256}"

    @classmethod
    def parse(cls, text: object, where: object) -> "TextSpace":
        """Return the space with an id.

        Args:
          text: an id, or anything else that was found in its place.
          where: names what it was found in.

        Raises:
          InputError: for anything else.
        """
        parts = text.rsplit("/", 2) if isinstance(text, str) else []
        if len(parts) != 3 or not all(parts) or not parts[1].isdecimal():
            raise InputError(
                f"text space: <tower>/<dimension>/<hash of the weights> is required, "
                f"got {'none' if text is None else repr(text)} ({where}). It was made "
                "by an older version: run the stage that makes it again."
            )
        return cls(parts[0], parts[2], int(parts[1]))

    def __str__(self) -> str:
        return f"{self.name} ({self.dim}-d, weights {self.weights_sha256[:12]})"


@dataclasses.dataclass(frozen=True)
class TextFeatures:
    """Vectors of texts and the space that they live in.

    Attributes:
      rows: [n, C] f32, unit norm, one per text.
      space: of C dimensions.
    """

    rows: Float[np.ndarray, "n C"]
    space: TextSpace

    def __post_init__(self) -> None:
        if self.rows.ndim != 2 or self.rows.shape[1] != self.space.dim:
            raise InputError(
                f"text features: rows of {self.space} are required, got "
                f"{list(self.rows.shape)}. Encode the texts with that tower."
            )


def one_space(where: str, spaces: Mapping[str, TextSpace]) -> TextSpace:
    """Return the space that all of these live in.

    Args:
      where: begins the error, e.g. the stage.
      spaces: what each belongs to, in words -> space; at least one.

    Raises:
      InputError: naming two that differ.
    """
    (first, space), *others = spaces.items()
    for name, other in others:
        if other != space:
            raise InputError(
                f"{where}: one text space is required, got {space} of {first} and "
                f"{other} of {name}. Use what was made with one text tower, or make it "
                "again."
            )
    return space
