"""Training curves read back from TensorBoard event files."""

import pathlib
import struct

import numpy as np
from jaxtyping import Float

from sas_jax.view.tensorboard import Event

_HEADER = struct.Struct("<QI")  # length of the record, checksum of the length
_FOOTER_BYTES = 4


def read_scalars(
    folder: str | pathlib.Path,
) -> dict[str, tuple[Float[np.ndarray, " S"], Float[np.ndarray, " S"]]]:
    """Read every scalar of a run.

    Args:
      folder: with event files; those of a resumed run are merged, and where a step
        was written twice the later file counts.

    Returns:
      Tag -> (steps, values), sorted by step. A record cut short by a kill ends its
      file silently: it is the last thing that was being written.
    """
    found: dict[str, dict[int, float]] = {}
    for path in sorted(pathlib.Path(folder).glob("events.*")):
        for event in _events(path.read_bytes()):
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    found.setdefault(value.tag, {})[event.step] = value.simple_value
    curves = {}
    for tag, points in found.items():
        steps = sorted(points)
        values = np.array([points[step] for step in steps], np.float64)
        curves[tag] = (np.array(steps, np.float64), values)
    return curves


def _events(data: bytes):
    position = 0
    while position + _HEADER.size <= len(data):
        length, _ = _HEADER.unpack_from(data, position)
        start, end = position + _HEADER.size, position + _HEADER.size + length
        if end + _FOOTER_BYTES > len(data):
            return
        yield Event.FromString(data[start:end])
        position = end + _FOOTER_BYTES
