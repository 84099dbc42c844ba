"""Progress of a run: scalars on disk, a bar, means per epoch, one table at the end.

Results of a step are read while the device works on the next one; `settle` reads the
last. Losses arrive as sums and counts and are divided here, once.
"""

import collections
import logging
import math
import os
import time
from collections.abc import Mapping

import jax
import tqdm

from sas_jax.distill.buckets import Bucket
from sas_jax.distill.config import RunConfig
from sas_jax.distill.loader import BatchInfo
from sas_jax.distill.losses import Term
from sas_jax.distill.processes import is_primary
from sas_jax.errors import InputError
from sas_jax.view.tensorboard import SummaryWriter

VERSION = 0
"""It decides no numbers; see `artefacts.versions`."""


_log = logging.getLogger(__name__)


class NonFiniteLoss(InputError):
    """Report a loss or gradient that is NaN or infinite, with its step and scenes."""


class Progress:
    """Collects what the steps of one run report."""

    def __init__(
        self, folder: str | os.PathLike, run: RunConfig, first_step: int, total: int
    ):
        self._run = run
        self._writer = SummaryWriter(
            os.fspath(folder), purge_step=first_step, write_to_disk=is_primary()
        )
        self._bar = tqdm.tqdm(
            total=total,
            initial=first_step,
            unit="step",
            desc="train",
            mininterval=1.0,
            disable=not (run.progress and is_primary()),
        )
        self._pending: tuple[BatchInfo, dict[str, Term]] | None = None
        self._sums: dict[str, list[float]] = collections.defaultdict(lambda: [0.0, 0.0])
        self._shapes: set[tuple[int, Bucket]] = set()
        self._announced: set[Bucket] = set()
        self._last = time.perf_counter()
        self._wait = 0.0
        self._steady: dict[str, float] = collections.defaultdict(float)

    @property
    def programs(self) -> int:
        """Number of different (stage, bucket) pairs so far, each compiled once."""
        return len(self._shapes)

    def announce(self, info: BatchInfo) -> None:
        """Say that a batch needs other sizes than any before, hence a compilation.

        Nearly every batch takes the lowest bucket, which is not worth a line.
        """
        if info.sizes not in self._announced and (info.bucket or self._announced):
            text = "step %d, %s, takes bucket %d: %s"
            _log.info(text, info.step, info.counts, info.bucket, info.sizes)
        self._announced.add(info.sizes)

    def push(
        self, info: BatchInfo, stage: int, metrics: dict[str, Term], wait_s: float
    ) -> None:
        """Take a step's results without waiting for them.

        Args:
          info: of its batch.
          stage: number of the stage.
          metrics: sums and counts on the devices.
          wait_s: seconds that the loop waited for the batch.
        """
        self.settle()
        self._pending = (info, metrics)
        compiles = (stage, info.sizes) not in self._shapes
        self._shapes.add((stage, info.sizes))
        now = time.perf_counter()
        if not compiles:
            self._steady["seconds"] += now - self._last
            self._steady["wait"] += wait_s
            self._steady["voxels"] += info.num_voxels
            self._steady["waste"] += info.waste
            self._steady["steps"] += 1
        self._last = now

    def settle(self) -> None:
        """Wait for the last step's results and take them over.

        Raises:
          NonFiniteLoss: if one of them is not finite.
        """
        if self._pending is None:
            return
        info, metrics = self._pending
        self._pending = None
        values = {}
        for name, term in jax.device_get(metrics).items():
            total, count = float(term.total), float(term.count)
            self._sums[name][0] += total
            self._sums[name][1] += count
            values[name] = total / max(count, 1.0)
        _check_finite(values, info)
        self._bar.update()
        if info.step % self._run.log_steps == 0:
            self._log(info, values)

    def epoch_means(self) -> dict[str, float]:
        """Return the means since the last call, exact over voxels and superpoints."""
        self.settle()
        means = {k: total / max(n, 1.0) for k, (total, n) in self._sums.items()}
        self._sums.clear()
        return means

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Write further scalars."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def speed(self) -> dict[str, float]:
        """Return means over all steps that did not compile."""
        steady = self._steady
        steps, seconds = max(steady["steps"], 1), max(steady["seconds"], 1e-9)
        return {
            "seconds_per_step": steady["seconds"] / steps,
            "voxels_per_second": steady["voxels"] / seconds,
            "data_wait_percent": 100 * steady["wait"] / seconds,
            "padding_waste_percent": 100 * steady["waste"] / steps,
        }

    def close(self) -> None:
        """Write everything and remove the bar."""
        self._bar.close()
        self._writer.close()

    def _log(self, info: BatchInfo, values: Mapping[str, float]) -> None:
        self.scalars(
            {f"train/{name}": value for name, value in values.items()}, info.step
        )
        extra = {
            **self.speed(),
            "batch_seconds": info.seconds,
            "bucket": info.bucket,
            "programs": self.programs,
        }
        self.scalars({f"run/{name}": value for name, value in extra.items()}, info.step)
        self._bar.set_postfix(loss=f"{values['loss']:.4f}", refresh=False)


def _check_finite(values: Mapping[str, float], info: BatchInfo) -> None:
    bad = {name: value for name, value in values.items() if not math.isfinite(value)}
    if bad:
        scenes = [name for names in info.scene_rows.names for name in names]
        raise NonFiniteLoss(
            f"train: finite losses and gradients are required, got {bad} in step "
            f"{info.step} (scenes {', '.join(scenes)}). Look at their fused features, "
            "or lower --learning_rate; the last checkpoint is from before this step."
        )
