"""What the parts that run on JAX share: place, memory, waiting."""

import concurrent.futures
from collections.abc import Callable

import jax
import timing


def time_jax(run: Callable[[], object], batches=timing.DAY) -> dict[str, float]:
    """Return the time of a function that returns arrays; see `timing.time_calls`."""
    return timing.time_calls(run, jax.block_until_ready, batches)


def compile_all(lowered: list) -> list:
    """Compile lowered programs at once."""
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda program: program.compile(), lowered))


def peak_mb() -> float | None:
    """Return the most device memory that this process had in use, in MB."""
    stats = jax.devices()[0].memory_stats() or {}
    peak = stats.get("peak_bytes_in_use")
    return None if peak is None else round(peak / 1e6)


def program_mb(compiled) -> float | None:
    """Return what XLA says that a program needs for results and scratch, in MB."""
    try:
        memory = compiled.memory_analysis()
        return round((memory.temp_size_in_bytes + memory.output_size_in_bytes) / 1e6)
    except (AttributeError, jax.errors.JaxRuntimeError):
        return None
