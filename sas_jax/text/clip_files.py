"""CLIP's text towers by name: which weights, and the space of their vectors."""

import re

from sas_jax.artefacts.space import TextSpace
from sas_jax.errors import WeightsMissing
from sas_jax.text import clip_weights

_RANDOM = re.compile(r"random:(\d+)")


def load(
    name: str, weights: str | None = None, *, download: bool = False
) -> tuple[TextSpace, clip_weights.Tower]:
    """Return the space and the weights of a tower.

    Args:
      name: a key of `clip_weights.SIZES`.
      weights: `random:<seed>`.
      download: whether absent weights may be downloaded.

    Raises:
      WeightsMissing: where there are none.
    """
    size = clip_weights.SIZES[name]
    if not (found := _RANDOM.fullmatch(weights or "")):
        raise WeightsMissing(
            f"clip text: weights of {name} are required, got none. Smoke-test with "
            "random:0."
        )
    tower = clip_weights.random_tower(size, int(found[1]))
    return TextSpace(name, found[0], size.dim), tower


def space_of(name: str, tower: clip_weights.State) -> TextSpace:
    """Return the space of a tower: its name, and a digest of its weights."""
    return TextSpace(
        name, clip_weights.digest(tower), tower["text_projection"].shape[1]
    )
