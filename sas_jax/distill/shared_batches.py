"""Batches of several processes: each makes its own shards, all agree on the sizes.

A program is the same on all devices, hence the sizes of all arrays, and the bucket
follows from the rows of all. Processes exchange these, not the scenes, and do so two
steps ahead, through the devices, so that nobody waits for it.
"""

import collections
import concurrent.futures
import dataclasses
from collections.abc import Iterator, Sequence

import jax
import numpy as np
from jaxtyping import Array, Int32

from sas_jax.distill import processes
from sas_jax.distill.batch import Batch
from sas_jax.distill.buckets import RowCounts
from sas_jax.distill.loader import BatchInfo, BatchSource

_AHEAD = 2

Shards = tuple[Batch, ...]


def agreed(
    batches: Iterator[tuple[Shards, BatchInfo]],
    source: BatchSource,
    devices: Sequence[jax.Device],
) -> Iterator[tuple[Shards, BatchInfo]]:
    """Yield the own shards in the sizes of all, and what is in those of all.

    A batch whose sizes another process had to raise, about one in a hundred for each
    device, is made again on a thread, during the step before.

    Args:
      batches: own shards, in sizes for them.
      source: made them.
      devices: of all processes.
    """
    if jax.process_count() == 1:
        yield from batches
        return
    asked: collections.deque = collections.deque()
    ready: collections.deque = collections.deque()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        for shards, info in batches:
            rows = processes.gathered(_table(info, source), tuple(devices))
            asked.append((shards, info, rows))
            if len(asked) == _AHEAD:
                ready.append(_settled(asked.popleft(), source, pool))
            if len(ready) == _AHEAD:
                yield _made(*ready.popleft())
        while asked:
            ready.append(_settled(asked.popleft(), source, pool))
        while ready:
            yield _made(*ready.popleft())


def _table(info: BatchInfo, source: BatchSource) -> Int32[np.ndarray, "own n"]:
    """Return the rows of each own device: levels, superpoints, points of each scene."""
    most = source.scenes_per_device
    return np.array(
        [
            [*one.levels, one.superpoints, *points, *[-1] * (most - len(points))]
            for one, points in zip(info.counts, info.scene_rows.num_points, strict=True)
        ],
        np.int32,
    )


def _settled(
    asked: tuple[Shards, BatchInfo, Int32[Array, "all n"]],
    source: BatchSource,
    pool: concurrent.futures.Executor,
) -> tuple[Shards | concurrent.futures.Future, BatchInfo]:
    """Return shards of the agreed sizes, or who makes them, and what all have."""
    shards, info, rows = asked
    levels = len(info.counts[0].levels)
    counts, num_points = [], []
    for row in np.asarray(rows).tolist():
        points = [n for n in row[levels + 1 :] if n >= 0]
        counts.append(RowCounts(tuple(row[:levels]), row[levels], sum(points)))
        num_points.append(points)
    whole = source.info(info.step, counts, num_points)
    whole = dataclasses.replace(whole, seconds=info.seconds)
    if whole.sizes == info.sizes:
        return shards, whole
    return pool.submit(source.shards, info.step, whole.sizes), whole


def _made(
    shards: Shards | concurrent.futures.Future, info: BatchInfo
) -> tuple[Shards, BatchInfo]:
    if isinstance(shards, concurrent.futures.Future):
        return shards.result(), info
    return shards, info
