"""Checkpoints of training: one file, the old one or the new one.

Safetensors: the arrays of the state by name; in the header what they were made from.
"""

import dataclasses
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import safetensors
import safetensors.numpy

from sas_jax.artefacts.files import atomic_write, content_key
from sas_jax.errors import DamagedFile
from sas_jax.gaussians.training_step import Learned, Parameters, State

SCHEMA = "sas_jax.splat_training/1"


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """Where training stands.

    Attributes:
      state: see there.
      step: number of steps that were made.
      pairs: room for pairs of Gaussians and tiles, see `raster.rasterize`; None where
        the implementation takes as much as it needs.
      seconds: that training has taken so far.
    """

    state: State
    step: int
    pairs: int | None
    seconds: float


def save_checkpoint(path: pathlib.Path, checkpoint: Checkpoint, key: str) -> None:
    """Write a checkpoint atomically.

    Args:
      path: target.
      checkpoint: what is kept.
      key: content key of views, seeds and settings.

    Raises:
      InputError: when the disk is full or not writable, naming the file.
    """
    arrays = _arrays(checkpoint.state)
    header = {
        "schema": SCHEMA,
        "key": key,
        "step": str(checkpoint.step),
        "pairs": json.dumps(checkpoint.pairs),
        "seconds": repr(checkpoint.seconds),
        "sum": content_key(arrays),
    }
    atomic_write(path, safetensors.numpy.save(arrays, header))


def load_checkpoint(path: pathlib.Path, key: str) -> Checkpoint | None:
    """Read a checkpoint; None where there is none, or one of other inputs.

    Raises:
      DamagedFile: for a file that is cut short or was changed.
    """
    if not path.exists():
        return None
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            if header.get("schema") != SCHEMA or header.get("key") != key:
                return None
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if content_key(arrays) != header["sum"]:
            raise ValueError("another checksum")
        return Checkpoint(
            _state(arrays),
            int(header["step"]),
            json.loads(header["pairs"]),
            float(header["seconds"]),
        )
    except (OSError, KeyError, ValueError, safetensors.SafetensorError) as error:
        raise DamagedFile(
            f"splats: a complete checkpoint is required, got {error} ({path}). Delete "
            "it; training begins again."
        ) from error


def _arrays(state: State) -> dict[str, np.ndarray]:
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def _state(arrays: dict[str, np.ndarray]) -> State:
    none = jnp.zeros(0)
    parameters = Parameters(Learned(*[none] * len(Learned._fields)), none, none)
    moments = optax.ScaleByAdamState(none, parameters, parameters)
    shape = State(parameters, moments, none, none)
    return jax.tree_util.tree_map_with_path(
        lambda path, _: jnp.asarray(arrays[jax.tree_util.keystr(path)]), shape
    )
