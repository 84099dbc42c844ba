"""Checkpoints of published networks: read without trust, loaded completely or not.

transformers and `load_state_dict(strict=False)` leave what a file lacks as it was
initialised, and only log it: a network with a random part then answers as if nothing
had happened. Here a network is filled completely, or the names are in the error.
"""

import contextlib
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from sas_jax.artefacts.plain_files import plain
from sas_jax.artefacts.torch_files import read_torch
from sas_jax.errors import InputError

_SHOWN = 4
_HOLDERS = ("state_dict", "model")

Network = TypeVar("Network", bound=torch.nn.Module)


def read_state(path: pathlib.Path) -> dict[str, Tensor]:
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
            return safetensors.torch.load_file(plain(path))
        except (OSError, ValueError, LookupError, safetensors.SafetensorError) as error:
            raise InputError(
                f"checkpoint: complete safetensors are required, got {error} ({path}). "
                "Copy or download the file again."
            ) from error
    return tensors_of(read_torch(path, strangers=True), path)


def tensors_of(stored: Any, path: pathlib.Path) -> dict[str, Tensor]:
    """Return the tensors of an object as `read_torch` returns it.

    Raises:
      InputError: without any, naming the file.
    """
    while isinstance(stored, Mapping):
        held = [stored[n] for n in _HOLDERS if isinstance(stored.get(n), Mapping)]
        if not held:
            break
        stored = held[0]
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
    state: Mapping[str, Tensor],
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
    known = {name: given[name] for name in wanted if name in given}
    faults = {
        "missing": sorted(wanted.keys() - given.keys()),
        "left over": sorted(given.keys() - wanted.keys()),
        "of another shape": [
            f"{name} {list(tensor.shape)} for {list(wanted[name].shape)}"
            for name, tensor in known.items()
            if tensor.shape != wanted[name].shape
        ],
        # Quantised weights mean nothing without what they were divided by.
        "of whole numbers": [
            f"{name} {tensor.dtype}"
            for name, tensor in known.items()
            if wanted[name].is_floating_point() and not tensor.is_floating_point()
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
    check_finite(network, what=what, path=path)
    return network


def check_finite(
    network: torch.nn.Module, *, what: str, path: pathlib.Path | str
) -> None:
    """Raise InputError, naming them, where weights are no finite numbers.

    A network with one answers as if nothing had happened, or sees nothing at all.
    """
    bad = [
        name
        for name, tensor in network.state_dict().items()
        if tensor.is_floating_point() and not torch.isfinite(tensor).all()
    ]
    if bad:
        raise InputError(
            f"{what}: finite weights are required, got others in {len(bad)} tensors: "
            f"{', '.join(bad[:_SHOWN])} ({path}). Copy or download it again."
        )


def without_prefix(state: Mapping[str, Tensor], anchor: str) -> dict[str, Tensor]:
    """Return a checkpoint under the names that its network was published with.

    Files saved from a wrapped network have a prefix on all names (`net.`, `module.`);
    it is whatever stands before the name of a tensor that every file holds. What has
    no such prefix is not the network's.

    Args:
      state: tensors by their names in a file.
      anchor: published name of that tensor.
    """
    for name in state:
        if name.endswith(anchor):
            prefix = name.removesuffix(anchor)
            return {
                key.removeprefix(prefix): value
                for key, value in state.items()
                if key.startswith(prefix)
            }
    return dict(state)


@contextlib.contextmanager
def sized(what: str, path: pathlib.Path | str) -> Iterator[None]:
    """Turn what shapes that no network has raise, while one is built, into InputError.

    Sizes are read off a checkpoint's tensors before they are compared with a network.

    Args:
      what: the model's name.
      path: of the checkpoint.
    """
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as error:
        raise InputError(
            f"{what}: tensors of the shapes of its network are required, got others "
            f"({path}: {error}). Is this the published file, and of this model?"
        ) from error


def built(make: Callable[[], Network], seed: int) -> Network:
    """Build a network with random weights of a seed, ready to evaluate.

    The generator of the process is as before afterwards.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make().eval()
