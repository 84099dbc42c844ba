"""Loading: batches made ahead of time by Grain.

A batch follows from the seed and the number of its step, so it is the same whether it
is made by a thread, by another process, or after a resume.
"""

import dataclasses
import time
from collections.abc import Iterator, Sequence

import grain
import numpy as np

from sas_jax.distill import augment
from sas_jax.distill.batch import Batch, Sample, collate, count_rows, make_sample
from sas_jax.distill.buckets import Bucket, BucketPolicy, RowCounts, measure_policy
from sas_jax.distill.config import RunConfig
from sas_jax.distill.data import SceneCache, SceneSource
from sas_jax.distill.history import SceneRows
from sas_jax.distill.schedule import Schedule, random_stream
from sas_jax.errors import InputError
from sas_jax.sparse.rungs import padding_waste

_MEASURED_SCENES = 24


@dataclasses.dataclass(frozen=True)
class BatchInfo:
    """What the training loop reports about a batch.

    Attributes:
      step: number of the step.
      scene_rows: which scenes are in it, and where, per device.
      counts: rows that its scenes take, per device.
      num_voxels: voxels of all devices.
      bucket: index of the bucket.
      sizes: of all arrays; one program each.
      waste: fraction of padding rows over all levels and devices.
      seconds: time that making the batch took.
    """

    step: int
    scene_rows: SceneRows
    counts: Sequence[RowCounts]
    num_voxels: int
    bucket: int
    sizes: Bucket
    waste: float
    seconds: float


class BatchSource:
    """Makes the batch of any step; a random-access source for Grain."""

    def __init__(
        self,
        cache: SceneCache,
        schedule: Schedule,
        policy: BucketPolicy,
        num_devices: int,
        *,
        own: Sequence[int] | None = None,
        build_plans: bool = True,
    ):
        """Take what batches are made of.

        Args:
          cache: the scenes.
          schedule: which of them are in which step.
          policy: sizes of batches.
          num_devices: shards of a batch, over all processes.
          own: those that are made here, and whose scenes are loaded; None for all.
          build_plans: build them here, rather than leave that to the step.
        """
        self._build_plans = build_plans
        self._cache = cache
        self._schedule = schedule
        self._policy = policy
        self._num_devices = num_devices
        self._own = tuple(range(num_devices) if own is None else own)
        self._config = schedule.config

    def __len__(self) -> int:
        return self._schedule.total_steps

    @property
    def scenes_per_device(self) -> int:
        """Most scenes of one device and step."""
        return -(-self._schedule.largest_batch // self._num_devices)

    def __getitem__(self, step: int) -> tuple[tuple[Batch, ...], BatchInfo]:
        """Return the own shards, in sizes for them, and what they are."""
        started = time.perf_counter()
        step = int(step)
        groups = self._samples(step)
        spec = self._config.student.plan_spec
        counts = [count_rows(group, spec) for group in groups]
        points = [[len(sample.scene.points) for sample in group] for group in groups]
        info = self.info(step, counts, points, self._own)
        shards = self._collate(groups, info.sizes, step)
        seconds = time.perf_counter() - started
        return shards, dataclasses.replace(info, seconds=seconds)

    def shards(self, step: int, sizes: Bucket) -> tuple[Batch, ...]:
        """Return the own shards in given sizes, which hold them."""
        return self._collate(self._samples(step), sizes, step)

    def info(
        self,
        step: int,
        counts: Sequence[RowCounts],
        num_points: Sequence[Sequence[int]],
        devices: Sequence[int] | None = None,
    ) -> BatchInfo:
        """Return what the shards of some devices are, without their time.

        Args:
          step: number of the step.
          counts: rows of each of these devices.
          num_points: points of each scene of each of them.
          devices: their positions; None for all.
        """
        index, sizes = self._policy.choose(counts)
        groups = self._groups(step)
        chosen = range(self._num_devices) if devices is None else devices
        names = [[self._cache.name(i) for i in groups[device]] for device in chosen]
        waste = [padding_waste(one.levels, sizes.rung) for one in counts]
        return BatchInfo(
            step=step,
            scene_rows=SceneRows(names, num_points),
            counts=counts,
            num_voxels=sum(one.levels[0] for one in counts),
            bucket=index,
            sizes=sizes,
            waste=float(np.mean(waste)),
            seconds=0.0,
        )

    def _groups(self, step: int) -> list[list[int]]:
        """Return the scenes of each device."""
        scenes = np.array_split(self._schedule.scenes(step), self._num_devices)
        return [group.tolist() for group in scenes]

    def _samples(self, step: int) -> list[list[Sample]]:
        """Return the scenes of the own devices, augmented and voxelised."""
        groups = self._groups(step)
        shift = augment.random_shift(
            self._config.augment, random_stream(self._config.seed, "shift", step)
        )
        return [
            [self._sample(i, step, shift) for i in groups[device]]
            for device in self._own
        ]

    def _sample(self, scene: int, step: int, shift: np.ndarray) -> Sample:
        number = step // self._schedule.steps_per_pass
        loaded = self._cache.load(scene)
        rng = random_stream(self._config.seed, "augment", number, loaded.name)
        return make_sample(loaded, self._config, rng, shift)

    def _collate(
        self, groups: Sequence[Sequence[Sample]], bucket: Bucket, step: int
    ) -> tuple[Batch, ...]:
        return tuple(
            collate(
                group,
                bucket,
                self._config,
                ensemble=step >= self._schedule.first_self_step,
                rng=random_stream(self._config.seed, "voxels", step, device),
                build_plan=self._build_plans,
            )
            for device, group in zip(self._own, groups, strict=True)
        )


def check_names(sources: Sequence[SceneSource]) -> None:
    """Raise InputError unless there are scenes and their names are distinct."""
    names = [source.name for source in sources]
    if not names or len(set(names)) != len(names):
        raise InputError(
            f"train: at least one scene and distinct names are required, got {names}. "
            "Check --split and the list of scenes."
        )


def plan_buckets(
    cache: SceneCache, schedule: Schedule, num_devices: int
) -> BucketPolicy:
    """Measure the data set and return the sizes of its batches.

    Up to 24 scenes, evenly spaced, are augmented once, with transforms that do not
    depend on the seed: a resumed run and runs with other seeds have the same shapes.
    """
    count = min(schedule.num_scenes, _MEASURED_SCENES)
    chosen = np.linspace(0, schedule.num_scenes - 1, count).round().astype(int)
    counts = []
    for index in chosen:
        scene = cache.load(int(index))
        rng = random_stream(0, "measure", scene.name)
        sample = make_sample(scene, schedule.config, rng)
        counts.append(count_rows([sample], schedule.config.student.plan_spec))
    return measure_policy(counts, -(-schedule.largest_batch // num_devices))


def make_loader(
    source: BatchSource, run: RunConfig, first_step: int = 0
) -> Iterator[tuple[tuple[Batch, ...], BatchInfo]]:
    """Return a Grain iterator that makes batches ahead of the consumer.

    The step alone says where to go on. Grain's own iterator state would say the same
    for threads, but it depends on the number of worker processes, which a resumed run
    may change.

    Args:
      source: makes the batch of any step.
      run: threads, processes and how far ahead they work.
      first_step: step of the first batch.
    """
    dataset = grain.MapDataset.source(source)[first_step:]
    iterable = dataset.to_iter_dataset(
        grain.ReadOptions(
            num_threads=run.num_threads, prefetch_buffer_size=run.prefetch
        )
    )
    if run.num_workers:
        workers = grain.MultiprocessingOptions(
            num_workers=run.num_workers, per_worker_buffer_size=run.prefetch
        )
        iterable = iterable.mp_prefetch(workers)
    return iter(iterable)
