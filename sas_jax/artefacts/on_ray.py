"""Workers as actors of Ray, which places them, assigns GPUs and watches them."""

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

from sas_jax.artefacts.workers import Seat, Worker, environment
from sas_jax.errors import InputError
from sas_jax.extras import install_command


@contextlib.contextmanager
def actors(
    address: str, workers: int, threads: int | None, gpus: float
) -> Iterator[Callable[[], Worker]]:
    """Give what starts one of several workers in a cluster.

    All machines see the same paths: of this code, the data and the workspace.

    Args:
      address: of the cluster, or `local` for one that is started here and ends here.
      workers: how many there will be.
      threads: of the CPU for all of them; None takes all of the cluster.
      gpus: of each worker.

    Raises:
      InputError: where Ray is not installed, there is no such cluster, or no machine of
        it has room for a worker.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent home
    try:
        import ray
    except ModuleNotFoundError:
        raise InputError(
            "workers: the package ray is required for --ray, got none. Run: "
            f"{install_command('ray')}"
        ) from None
    joined = ray.is_initialized()
    if not joined:
        try:
            ray.init(address=address, logging_level=logging.WARNING)
        except (ConnectionError, ValueError) as error:
            raise InputError(
                f"workers: a Ray cluster is required at --ray={address}, got {error}. "
                "Begin one by: ray start --head, or take --ray=local."
            ) from error
    try:
        each = _threads_of_each(ray.nodes(), workers, threads, gpus)
        variables = {**environment(each), "PYTHONPATH": os.pathsep.join(sys.path)}
        seat = ray.remote(Seat).options(
            num_cpus=each, num_gpus=gpus, runtime_env={"env_vars": variables}
        )
        yield lambda: _Actor(ray, seat.remote(), each)
    finally:
        if not joined:
            ray.shutdown()


def _threads_of_each(
    nodes: list[dict], workers: int, threads: int | None, gpus: float
) -> int:
    """Return how many threads a worker gets, so that as many have room as can."""
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    fit = [node for node in alive if node.get("GPU", 0) >= gpus]
    cpus = [int(node.get("CPU", 0)) for node in fit]
    if max(cpus, default=0) < 1:
        raise InputError(
            f"workers: a machine with a CPU and {gpus:g} GPUs for each worker is "
            f"required, got none among {len(alive)} of the cluster. Lower "
            "--gpus_per_worker, or add machines."
        )
    each = max(1, (threads or sum(cpus)) // workers)
    while each > 1 and sum(count // each for count in cpus) < workers:
        each -= 1
    return each


class _Actor:
    def __init__(self, ray: Any, actor: Any, threads: int) -> None:
        self.threads, self._ray, self._actor = threads, ray, actor

    def submit(self, method: str, *arguments: Any) -> Future:
        return getattr(self._actor, method).remote(*arguments).future()

    def has_died(self, error: BaseException) -> bool:
        raised = self._ray.exceptions.RayTaskError
        ours = isinstance(error, self._ray.exceptions.RayError)
        return ours and not isinstance(error, raised)

    def close(self) -> None:
        self._ray.kill(self._actor)
