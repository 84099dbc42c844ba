"""Several processes that train as one: whose work is what, and what all agree on.

Each process runs the same program on its own devices (`jax.distributed`). All that
depends on a clock or a signal, such as when to save, is decided by one of them: where
processes part, they wait for each other for ever. With one process nothing is sent.
"""

import contextlib
import functools
import pathlib
from collections.abc import Callable, Iterator, Sequence

import jax
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import Array, Shaped

from sas_jax.artefacts.lock import Lock, workspace_lock
from sas_jax.errors import InputError

VERSION = 0
"""It decides no numbers; see `artefacts.versions`."""


def is_primary() -> bool:
    """Tell whether this process writes what all of them share."""
    return jax.process_index() == 0


def own(devices: Sequence[jax.Device]) -> list[int]:
    """Return the positions of this process's devices."""
    mine = jax.process_index()
    return [i for i, device in enumerate(devices) if device.process_index == mine]


def wait_for_all() -> None:
    """Return when every process has come here."""
    any_of(False)


def any_of(flag: bool) -> bool:
    """Tell whether a flag is set in any process; all must ask at the same point."""
    if jax.process_count() == 1:
        return flag
    return bool(np.any(multihost_utils.process_allgather(np.array(flag))))


def of_primary(value: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
    """Return the array of the primary process; all must ask at the same point."""
    return of_process(0, value)


def of_process(
    source: int, value: Shaped[np.ndarray, "..."]
) -> Shaped[np.ndarray, "..."]:
    """Return the array of one process, to the bit.

    Args:
      source: index of the process.
      value: its array; of others, one of the same shape and type.

    All processes must ask at the same point.
    """
    if jax.process_count() == 1:
        return value
    value = np.ascontiguousarray(value)
    # Bytes: JAX would round 64 bits to 32, and add zeros to -0.
    sent = multihost_utils.broadcast_one_to_all(
        value.reshape(-1).view(np.uint8), is_source=jax.process_index() == source
    )
    return np.asarray(sent, np.uint8).view(value.dtype).reshape(value.shape)


def gathered(
    rows: Shaped[np.ndarray, "own ..."], devices: tuple[jax.Device, ...]
) -> Shaped[Array, "all ..."]:
    """Return the rows of all devices, each process giving those of its own.

    It does not wait: the devices exchange them after what they were told before. All
    processes must ask at the same point.
    """
    mesh = jax.sharding.Mesh(np.array(devices), ("device",))
    split, whole = (
        jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*axes))
        for axes in (["device"], [])
    )
    placed = jax.make_array_from_process_local_data(split, rows)
    return _identity(whole)(placed)


@functools.lru_cache(maxsize=4)
def _identity(sharding: jax.sharding.Sharding) -> Callable[[Array], Array]:
    return jax.jit(lambda rows: rows, out_shardings=sharding)


def of_all_devices(rows: Shaped[Array, "own ..."]) -> Shaped[np.ndarray, "all ..."]:
    """Return an array with a leading axis of all devices from one of the own devices.

    All processes must ask at the same point, and have equally many devices.
    """
    if jax.process_count() == 1:
        return np.asarray(rows)
    return multihost_utils.process_allgather(np.asarray(rows), tiled=True)


@contextlib.contextmanager
def lock_of_primary(folder: pathlib.Path) -> Iterator[Lock | None]:
    """Hold the folder of a run, by the primary process for all of them.

    Yields:
      The lock, None in the other processes.

    Raises:
      InputError: in every process, when the primary one cannot have it.
    """
    with contextlib.ExitStack() as stack:
        lock, refused = None, None
        if is_primary():
            try:
                lock = stack.enter_context(workspace_lock(folder))
            except InputError as error:
                refused = error
        if of_primary(np.array(refused is not None)):
            raise refused or InputError(
                "train: the primary process must hold the folder of the run, got a "
                f"refusal ({folder}). See what that process says."
            )
        yield lock
