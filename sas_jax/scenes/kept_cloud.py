"""The cloud of a capture on disk: made once from all of its frames, then read."""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float, Float32, UInt8

from sas_jax.artefacts.files import is_current, read_tensors, write_tensors

_SCHEMA = "sas_jax.capture_cloud/1"
_TENSORS = ("points", "normals", "colors", "turn", "origin")


@dataclasses.dataclass(frozen=True)
class CaptureCloud:
    """What is made of the frames of a capture.

    Attributes:
      points: [P, 3] f32 metres.
      normals: [P, 3] f32 unit.
      colors: [P, 3] u8.
      turn: [4, 4] f64, what takes the poses' world to that of the points.
      origin: [3] f64 metres, see `Scene`.
      skipped: frame name -> reason, of frames that could not be used.
      notes: what is to be said of the capture whenever it is opened.
    """

    points: Float32[np.ndarray, "P 3"]
    normals: Float32[np.ndarray, "P 3"]
    colors: UInt8[np.ndarray, "P 3"]
    turn: Float[np.ndarray, "4 4"]
    origin: Float[np.ndarray, " 3"]
    skipped: Mapping[str, str]
    notes: tuple[str, ...]


def kept(
    path: pathlib.Path, key: str, make: Callable[[], CaptureCloud]
) -> CaptureCloud:
    """Return the cloud of a file where it is that of a key, else make and write it.

    Args:
      path: ends in `.safetensors`.
      key: content key of everything that the cloud follows from.
      make: makes the cloud.

    Raises:
      InputError: as `make` does, and where the file cannot be written.
    """
    if not is_current(path, key):
        cloud = make()
        tensors = {name: getattr(cloud, name) for name in _TENSORS}
        meta = {
            "skipped": json.dumps(dict(cloud.skipped)),
            "notes": json.dumps(cloud.notes),
        }
        write_tensors(path, tensors, key=key, schema=_SCHEMA, meta=meta)
        return cloud
    tensors, meta = read_tensors(path, schema=_SCHEMA)
    skipped, notes = json.loads(meta["skipped"]), json.loads(meta["notes"])
    return CaptureCloud(**tensors, skipped=skipped, notes=tuple(notes))
