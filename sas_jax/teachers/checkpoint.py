"""Checkpoints of published networks: read without trust, loaded completely or not.

transformers and `load_state_dict(strict=False)` leave what a file lacks as it was
initialised, and only log it: a network with a random part then answers as if nothing
had happened. Here a network is filled completely, or the names are in the error.
"""

import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import numpy as np
import safetensors.torch
import torch

from sas_jax.artefacts.torch_files import read_torch
from sas_jax.errors import InputError

_SHOWN = 4
_HOLDERS = ("state_dict", "model")

Network = TypeVar("Network", bound=torch.nn.Module)


def read_state(path: pathlib.Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a checkpoint by their names in it.

    Args:
      path: safetensors, or what torch.save wrote: a state dict, or a dictionary that
        holds one as `state_dict` (Lightning) or `model` (detectron2). Nothing is
        unpickled; see `artefacts.torch_files`.

    Raises:
      InputError: for a file that is missing, damaged, or without tensors.
    """
    if path.suffix == ".safetensors":
        try:
            return safetensors.torch.load_file(path)
        except (OSError, safetensors.SafetensorError) as error:
            raise InputError(
                f"checkpoint: complete safetensors are required, got {error} ({path}). "
                "Copy or download the file again."
            ) from error
    return tensors_of(read_torch(path, strangers=True), path)


def tensors_of(stored: Any, path: pathlib.Path) -> dict[str, torch.Tensor]:
    """Return the tensors of an object as `read_torch` returns it.

    Raises:
      InputError: without any, naming the file.
    """
    for name in _HOLDERS:
        if isinstance(stored, Mapping) and isinstance(stored.get(name), Mapping):
            stored = stored[name]
    found = {}
    if isinstance(stored, Mapping):
        for name, value in stored.items():
            if isinstance(value, np.ndarray):
                # The reader's arrays are views of the file, which nothing may write.
                found[str(name)] = torch.from_numpy(np.array(value))
    if not found:
        raise InputError(
            f"checkpoint: a dictionary of tensors is required, got "
            f"{type(stored).__name__} without any ({path}). Is this the model's file?"
        )
    return found


def fill(
    network: Network,
    state: Mapping[str, torch.Tensor],
    *,
    what: str,
    path: pathlib.Path | str,
    unused: Iterable[str] = (),
) -> Network:
    """Copy tensors into a network, in the network's precision, and return it.

    Args:
      network: all of whose parameters and buffers are to be filled.
      state: by the network's names.
      what: the model's name, for errors.
      path: where the tensors come from, for errors.
      unused: beginnings of names in `state` that the network has no use for.

    Raises:
      InputError: naming what is missing, what is left over and what has another shape.
    """
    wanted, beginnings = network.state_dict(), tuple(unused)
    given = {k: v for k, v in state.items() if not k.startswith(beginnings)}
    faults = {
        "missing": sorted(wanted.keys() - given.keys()),
        "left over": sorted(given.keys() - wanted.keys()),
        "of another shape": [
            f"{name} {list(given[name].shape)} for {list(tensor.shape)}"
            for name, tensor in wanted.items()
            if name in given and given[name].shape != tensor.shape
        ],
    }
    if any(faults.values()):
        told = "; ".join(
            f"{len(names)} {fault}: {', '.join(names[:_SHOWN])}"
            + (" ..." if len(names) > _SHOWN else "")
            for fault, names in faults.items()
            if names
        )
        raise InputError(
            f"{what}: all {len(wanted)} tensors of the network are required, got "
            f"{told} ({path}). Is this the published file, and of this model?"
        )
    network.load_state_dict(given, strict=True)
    return network


def built(make: Callable[[], Network], seed: int) -> Network:
    """Build a network with random weights of a seed, ready to evaluate.

    The generator of the process is as before afterwards.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make().eval()
