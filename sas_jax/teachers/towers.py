"""Text towers in PyTorch by name: what mask teachers' labels are encoded with.

A mask teacher's labels are words, so they can live in any text space: in that of the
dense teachers that it is fused with.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from jaxtyping import Float

from sas_jax.artefacts.space import TextSpace
from sas_jax.errors import InputError
from sas_jax.text import clip_weights, folder_files, minilm_files


class TorchTower(Protocol):
    """The text tower of a space.

    Attributes:
      space: of its vectors.
    """

    space: TextSpace

    def encode(self, texts: Sequence[str]) -> Float[np.ndarray, "n C"]:
        """Return unit vectors, f32, in the order given."""

    def to(self, device: str) -> object:
        """Move the weights."""

    def close(self) -> None:
        """Free the weights."""


def load(
    name: str, *, weights: str | None = None, download: bool = False
) -> TorchTower:
    """Return the tower of a text space.

    Args:
      name: of the space.
      weights: `random:<seed>` for a smoke test, where the tower has no weights of its
        own in the package; None looks them up.
      download: whether absent weights may be fetched.

    Raises:
      WeightsMissing: where there are none.
      InputError: for a space without a tower in PyTorch.
    """
    if name == minilm_files.SPACE.name:
        from sas_jax.teachers.text import load_torch_minilm

        return load_torch_minilm()
    if name in clip_weights.SIZES:
        from sas_jax.teachers import clip_text

        return clip_text.load(name, weights=weights, download=download)
    if name in folder_files.KINDS:
        from sas_jax.teachers import folder_text

        return folder_text.load(name, weights=weights, download=download)
    spaces = (minilm_files.SPACE.name, *clip_weights.SIZES, *folder_files.KINDS)
    known = ", ".join(spaces)
    raise InputError(
        f"text: labels need a space of {known}, got {name}. Correct --label_space."
    )
