"""Text towers by name: a new one is a module and a line here.

The tower that encodes a text is chosen by the features that it is to be compared with.
"""

import functools
import importlib

from sas_jax.errors import InputError
from sas_jax.text.space import TextSpace, TextTower, one_space

VERSION = 0
"""It decides no numbers; see `artefacts.versions`."""

TOWERS: dict[str, str] = {
    "minilm-l6-v2": "sas_jax.text.minilm:load_minilm",
}
"""Name of the space -> `module:function` that returns the tower."""


def load(name: str) -> TextTower:
    """Return a tower; the same one whenever it is asked for.

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
    return _load(TOWERS[name])


def of_space(space: TextSpace, what: str) -> TextTower:
    """Return the tower of a space.

    Args:
      space: that features live in.
      what: names them in errors.

    Raises:
      InputError: as `load`, or when the tower's weights here are other ones.
    """
    tower = load(space.name)
    one_space("text", {what: space, "the tower on this machine": tower.space})
    return tower


@functools.cache
def _load(loader: str) -> TextTower:
    module, function = loader.split(":")
    return getattr(importlib.import_module(module), function)()
