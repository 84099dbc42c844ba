"""Each process makes its own shards, in the sizes that the rows of all ask for."""

import dataclasses

import jax
import numpy as np
import pytest
from tiny_scenes import boxes, tiny_config

from sas_jax.distill import loader, processes, shared_batches
from sas_jax.distill.data import SceneCache
from sas_jax.distill.schedule import Schedule


class Recorded(SceneCache):
    """Remembers which scenes were loaded."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.loaded = set()

    def load(self, index):
        self.loaded.add(index)
        return super().load(index)


def case(batch_size, own=None, first=None):
    config = tiny_config(batch_size=batch_size, epochs=2)
    sources = boxes(5)
    schedule = Schedule(len(sources), config)
    policy = loader.plan_buckets(SceneCache(sources, config, 10**9), schedule, 2)
    if first is not None:
        policy = dataclasses.replace(policy, first=first)
    cache = Recorded(sources, config, 10**9)
    return cache, schedule, loader.BatchSource(cache, schedule, policy, 2, own=own)


def both(monkeypatch, cases):
    """Yield what two processes get, each asking for the rows of the other."""
    tables = {}

    def gathered(rows, devices):
        return np.concatenate([tables[step[0]][i] for i in range(2)])

    step = [0]
    for _, schedule, source in cases:
        for index in range(schedule.total_steps):
            row = shared_batches._table(source[index][1], source)
            tables.setdefault(index, []).append(row)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(processes, "gathered", gathered)
    results = []
    for _, schedule, source in cases:

        def batches(source=source, total=schedule.total_steps):
            for index in range(total):
                step[0] = index
                yield source[index]

        results.append(list(shared_batches.agreed(batches(), source, ())))
    return results


@pytest.mark.parametrize(
    "batch_size", [3, 1]
)  # odd last batch; a device without scenes
@pytest.mark.parametrize("first", [None, 512])  # 512: some batches take larger sizes
def test_processes_have_the_shards_of_one(monkeypatch, batch_size, first):
    _, schedule, source = case(batch_size, None, first)
    whole = [source[step] for step in range(schedule.total_steps)]
    cases = [case(batch_size, [device], first) for device in range(2)]
    raised = 0
    for device, found in enumerate(both(monkeypatch, cases)):
        assert len(found) == len(whole)
        for (shards, info), (shards_of_all, expected) in zip(found, whole, strict=True):
            same = dataclasses.replace(info, seconds=expected.seconds)
            assert same == expected
            raised += cases[device][2][info.step][1].sizes != info.sizes
            leaves = jax.tree.leaves(shards_of_all[device])
            for a, b in zip(jax.tree.leaves(shards[0]), leaves, strict=True):
                np.testing.assert_array_equal(a, b)
    if first is not None and batch_size == 3:
        assert raised  # or nobody had to make a batch again


def test_a_process_reads_no_scenes_of_others():
    cache, schedule, source = case(3, [1])
    step = 0
    source[step]
    theirs, ours = np.array_split(schedule.scenes(step), 2)
    assert cache.loaded == set(ours.tolist()) and len(theirs)
