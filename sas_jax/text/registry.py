"""Text towers by name: a new one is a module and a line here.

The tower that encodes a text is chosen by the features that it is to be compared with.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from jaxtyping import Float

from sas_jax.artefacts.space import TextSpace, one_space
from sas_jax.errors import InputError
from sas_jax.registry import function_of
from sas_jax.text.words import Reading
from sas_jax.weights.find import seed_of

VERSION = 0
"""It decides no numbers; see `artefacts.versions`."""

TOWERS: dict[str, str] = {
    "minilm-l6-v2": "sas_jax.text.minilm:load_minilm",
    "clip-vit-b32": "sas_jax.text.clip:load_b32",
    "clip-vit-b16": "sas_jax.text.clip:load_b16",
    "clip-vit-l14-336": "sas_jax.text.clip:load_l14_336",
    "siglip2-text": "sas_jax.text.folder_tower:load_siglip2",
    "tipsv2-text": "sas_jax.text.folder_tower:load_tipsv2",
}
"""Name of the space -> `module:function` that returns the tower.

It is called with the `TextSpace` that is asked for, None where any will do.
"""


class TextTower(Protocol):
    """Encodes texts in one space.

    Attributes:
      space: of all vectors.
    """

    space: TextSpace

    def encode(self, texts: Sequence[str]) -> Float[np.ndarray, "n C"]:
        """Return one unit vector per text, f32, in the order given."""
        ...

    def check(self, texts: Sequence[str]) -> Mapping[str, Reading]:
        """Raise InputError naming texts of which the tower knows no word.

        Returns:
          What was read of each, by a tower that learned from English alone.
        """
        ...


def load(name: str, space: TextSpace | None = None) -> TextTower:
    """Return a tower; the same one whenever it is asked for.

    Args:
      name: a key of `TOWERS`.
      space: that it should be of, where one tower comes with several weights; what is
        returned may still be of another.

    Raises:
      InputError: for an unknown name, listing the known ones.
      WeightsMissing: when its weights are not on this machine.
    """
    if name not in TOWERS:
        raise InputError(
            f"text: a tower must be one of {', '.join(TOWERS)}, got {name}. Use the "
            "version of this package that made the features, or add the tower to "
            "sas_jax/text/registry.py."
        )
    return _load(TOWERS[name], space)


def of_space(space: TextSpace, what: str) -> TextTower:
    """Return the tower of a space.

    Args:
      space: that features live in.
      what: names them in errors.

    Raises:
      InputError: as `load`, or when the tower's weights here are other ones.
    """
    is_random = seed_of(space.weights_sha256) is not None  # it needs no weights
    tower = load(space.name, space if is_random else None)
    if tower.space != space:
        tower = load(space.name, space)
    one_space("text", {what: space, "the tower on this machine": tower.space})
    return tower


@functools.cache
def _load(loader: str, space: TextSpace | None) -> TextTower:
    return function_of(loader)(space)
