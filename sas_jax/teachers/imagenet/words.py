"""What the classes of ImageNet are called, and their vectors in a text space.

`labels.txt` lists the 1000 classes of ILSVRC 2012 in the order of their WordNet 3.0
identifiers, which is that of the network, with the lemmas of each synset.
"""

import functools
import importlib.resources
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float

from sas_jax.text.prompts import Encoder, ensemble

TEMPLATE = "a {}"

ANYTHING = ("object", "things", "stuff", "texture")
"""Words that fit whatever is seen: what is said where no class is sure."""


@functools.cache
def lemmas() -> tuple[tuple[str, ...], ...]:
    """Return the names of every class, the usual one first."""
    file = importlib.resources.files("sas_jax.teachers.imagenet") / "labels.txt"
    lines = file.read_text(encoding="utf-8").splitlines()
    return tuple(tuple(line.split("\t")[1].split(", ")) for line in lines)


def class_rows(tower: Encoder, classes: Iterable[int]) -> Float[np.ndarray, "n C"]:
    """Return the unit vector of each class: the mean over its lemmas."""
    return np.stack([_mean(ensemble(tower, lemmas()[k], (TEMPLATE,))) for k in classes])


def anything(tower: Encoder) -> Float[np.ndarray, " C"]:
    """Return the unit vector of what may be anything."""
    return _mean(tower.encode(list(ANYTHING)))


def _mean(rows: Float[np.ndarray, "n C"]) -> Float[np.ndarray, " C"]:
    mean = rows.mean(0)
    return (mean / np.linalg.norm(mean)).astype(np.float32)
