"""Schedule: which scenes a step sees, where epochs and stages begin, learning rates.

A pass visits every scene once, in an order drawn from (seed, pass), cut into batches
of nearly equal size. All randomness of a step follows from the seed and its number.
"""

import dataclasses
import zlib

import numpy as np

from sas_jax.distill.config import TrainConfig


def random_stream(seed: int, *names: object) -> np.random.Generator:
    """Return a generator whose bits depend on the seed and the names alone."""
    words = [zlib.crc32(str(name).encode()) for name in names]
    return np.random.default_rng([seed, *words])


@dataclasses.dataclass(frozen=True)
class Stage:
    """One part of the run with fixed losses.

    Attributes:
      number: 1 or 2.
      distill: whether Eq. 10 counts.
      ensemble: whether Eq. 11-13 count.
      first_step: step at which it starts.
      num_steps: its length.
    """

    number: int
    distill: bool
    ensemble: bool
    first_step: int
    num_steps: int


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Which scenes each step sees and where stages and epochs begin.

    Attributes:
      num_scenes: scenes of the data set.
      config: epochs, loop, batch size and seed.
    """

    num_scenes: int
    config: TrainConfig

    @property
    def steps_per_pass(self) -> int:
        """Steps in which every scene is seen once."""
        return -(-self.num_scenes // self.config.batch_size)

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one epoch, `loop` passes."""
        return self.steps_per_pass * self.config.loop

    @property
    def total_steps(self) -> int:
        """Steps of both stages."""
        return self.steps_per_epoch * self.config.epochs

    @property
    def first_self_step(self) -> int:
        """The first step of the second stage; `total_steps` if there is none."""
        return self.steps_per_epoch * self.config.first_self_epoch

    @property
    def largest_batch(self) -> int:
        """Most scenes of a step."""
        return -(-self.num_scenes // self.steps_per_pass)

    def scenes(self, step: int) -> list[int]:
        """Return the scenes of a step; no scene occurs twice in a pass."""
        number, part = divmod(step, self.steps_per_pass)
        order = random_stream(self.config.seed, "order", number)
        shuffled = order.permutation(self.num_scenes)
        return np.array_split(shuffled, self.steps_per_pass)[part].tolist()

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Return the stages of the run that have steps."""
        middle, end = self.first_self_step, self.total_steps
        stages = (
            Stage(1, True, False, 0, middle),
            Stage(2, self.config.keep_distillation, True, middle, end - middle),
        )
        return tuple(stage for stage in stages if stage.num_steps)


def learning_rate(
    config: TrainConfig, stage: Stage, total_steps: int, step: int
) -> float:
    """Return the learning rate of a step.

    Source: paper, linear over the whole run; authors' code ("poly"), per stage: the
    base rate once, then 10 * base * (1 - step / steps)^0.9, since their parameter
    group falls into the branch for new layers.
    """
    first, last = config.learning_rate, config.final_learning_rate
    if config.schedule == "linear":
        return first + (last - first) * step / max(total_steps - 1, 1)
    done = (step - stage.first_step) / stage.num_steps
    return 10 * first * (1 - done) ** 0.9 if done > 0 else first
