"""Vectors of texts on disk, those of one text space in one file."""

import json
import pathlib
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from sas_jax.artefacts.files import content_key, read_tensors, write_tensors
from sas_jax.artefacts.space import TextSpace
from sas_jax.errors import DamagedFile

_SCHEMA = "sas_jax.text_features/1"

Vectors = Mapping[str, Float[np.ndarray, " C"]]


def read(path: pathlib.Path, space: TextSpace) -> dict[str, Float[np.ndarray, " C"]]:
    """Return text -> vector; none from a file that is damaged or of another space.

    Such a file is made again, never repaired.
    """
    if not path.exists():
        return {}
    try:
        tensors, meta = read_tensors(path, schema=_SCHEMA)
    except DamagedFile:
        return {}
    if meta["key"] != _key(space):
        return {}
    return dict(zip(json.loads(meta["texts"]), tensors["features"], strict=True))


def add(path: pathlib.Path, space: TextSpace, vectors: Vectors) -> None:
    """Write vectors beside those that are there.

    Raises:
      InputError: when the disk is full or not writable, naming the file.
    """
    merged = {**read(path, space), **vectors}
    features = np.stack([np.asarray(row, np.float32) for row in merged.values()])
    meta = {"texts": json.dumps(list(merged))}
    tensors = {"features": features}
    write_tensors(path, tensors, key=_key(space), schema=_SCHEMA, meta=meta)


def _key(space: TextSpace) -> str:
    return content_key({"space": space})
