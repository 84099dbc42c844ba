"""What a training run learns (`TrainConfig`) and how it is carried out (`RunConfig`).

A run may be resumed with another `RunConfig`; a `TrainConfig` must stay the same. Loads
no JAX.
"""

import dataclasses
import math
import os
from typing import Literal, get_args

from sas_jax.checks import in_range, one_of
from sas_jax.errors import InputError
from sas_jax.models.config import StudentConfig

Compat = Literal["paper", "official"]
TargetLevel = Literal["superpoint", "point"]
Schedule = Literal["linear", "poly"]
Augmentation = Literal["full", "rigid", "aligned", "shift", "none"]


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
    """Ranges of the random transforms; the defaults are those of the authors' code.

    Attributes:
      elastic: (granularity_m, magnitude_m) of every elastic distortion, in order.
      elastic_probability: chance that a scene is distorted at all.
      scale: least and greatest factor.
      rotation_rad: greatest angle about the x, y and z axis.
      quarter_turns: whether a random multiple of 90 degrees about z comes on top.
      flip_probability: chance that flipping is considered at all.
      flip_axis_probability: chance of each of x and y to be mirrored then.
      max_shift_voxels: a batch is moved by 0 to this many voxels (exclusive) per axis.
    """

    elastic: tuple[tuple[float, float], ...] = ((0.2, 0.4), (0.8, 1.6))
    elastic_probability: float = 0.95
    scale: tuple[float, float] = (0.9, 1.1)
    rotation_rad: tuple[float, float, float] = (math.pi / 64, math.pi / 64, math.pi)
    quarter_turns: bool = False
    flip_probability: float = 0.95
    flip_axis_probability: float = 0.5
    max_shift_voxels: int = 100

    def __post_init__(self) -> None:
        if not 0 < self.scale[0] <= self.scale[1] or self.max_shift_voxels < 1:
            raise InputError(
                "AugmentConfig: 0 < scale[0] <= scale[1] and max_shift_voxels >= 1 are "
                f"required, got {self.scale} and {self.max_shift_voxels}. "
                "Use NO_AUGMENTATION to switch it off."
            )


NO_AUGMENTATION = AugmentConfig(
    elastic=(),
    scale=(1.0, 1.0),
    rotation_rad=(0.0, 0.0, 0.0),
    flip_probability=0.0,
    max_shift_voxels=1,
)


def named_augmentation(
    name: Augmentation = "full",
) -> AugmentConfig:
    """Return a usual choice of transforms.

    Args:
      name: "full" is the authors' code; "rigid" leaves out elastic distortion;
        "aligned" keeps walls along the axes, for scenes that stand so as the ones to
        predict do, and runs too short to learn every direction: quarter turns, mirror
        images, shifts of the voxel grid; "shift" is the last of these alone; "none"
        changes nothing.
    """
    shift = dataclasses.replace(NO_AUGMENTATION, max_shift_voxels=100)
    return {
        "full": AugmentConfig(),
        "rigid": AugmentConfig(elastic=()),
        "aligned": dataclasses.replace(shift, quarter_turns=True, flip_probability=1.0),
        "shift": shift,
        "none": NO_AUGMENTATION,
    }[name]


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Everything that the trained parameters depend on.

    The defaults are the paper's (section 3.5, Table 7); where the paper is silent
    they are those of the authors' code (loop, augmentation), except `ema_alpha`.

    Attributes:
      student: network.
      compat: "paper", or "official" for what the authors' code does in details that
        no other field covers: only points that a frame saw are supervised, a
        superpoint's target is the mean over the voxels that enter the loss, pseudo
        labels of points are those of their superpoints, and stage 2 starts with a new
        optimiser and schedule. `official_config` sets the other fields to match.
      level: "superpoint" for Eq. 10; "point" distils the feature of each seen point
        into it (pixel-point distillation, Table 3).
      epochs: all epochs of both stages.
      self_distillation: fraction of the epochs, the last ones, with Eq. 13.
      keep_distillation: whether Eq. 10 stays in the second stage.
      loop: passes over all scenes per epoch.
      batch_size: scenes per step over all devices; a pass is cut into batches of
        nearly equal size, at most this.
      voxel_size_m: edge of a voxel.
      augment: ranges of the random transforms.
      max_sample_voxels: at most this many random voxels per device and step enter the
        losses; None takes all.
      ema_alpha: weight of the past in Eq. 11, per visit of a scene. The paper gives
        none; 0.9 averages about ten visits. The authors' 0.9999 on f16 storage leaves
        the pseudo labels as they were at the start of stage 2.
      logit_scale: factor of the logits of unit features in Eq. 12 and 13; None takes
        raw products, as the authors' code. Cosine losses leave the features' length
        free: at the large rates of short runs it passes 100, and Eq. 13 on raw
        products then drowns Eq. 10.
      confidence_weights: whether targets count in Eq. 10 as far as the teachers agreed
        on them (see `fusion.confidence`), and not all alike.
      learning_rate: at the first step.
      final_learning_rate: at the last step of a linear schedule.
      schedule: "linear", or "poly": power 0.9 to zero.
      sync_bn: batch statistics over all devices instead of per device.
      seed: of the initial parameters, the order of scenes and the augmentation.
      initial_weights: identifies the weights that the run began with, None for random
        ones; `train` sets it from what its `init_from` names.
    """

    student: StudentConfig = dataclasses.field(default_factory=StudentConfig)
    compat: Compat = "paper"
    level: TargetLevel = "superpoint"
    epochs: int = 100
    self_distillation: float = 0.3
    keep_distillation: bool = True
    loop: int = 5
    batch_size: int = 12
    voxel_size_m: float = 0.02
    augment: AugmentConfig = dataclasses.field(default_factory=AugmentConfig)
    max_sample_voxels: int | None = None
    ema_alpha: float = 0.9
    logit_scale: float | None = None
    confidence_weights: bool = False
    learning_rate: float = 1e-4
    final_learning_rate: float = 1e-5
    schedule: Schedule = "linear"
    sync_bn: bool = False
    seed: int = 0
    initial_weights: str | None = None

    def __post_init__(self) -> None:
        one_of("TrainConfig", "compat", self.compat, get_args(Compat))
        one_of("TrainConfig", "level", self.level, get_args(TargetLevel))
        one_of("TrainConfig", "schedule", self.schedule, get_args(Schedule))
        for name in ("epochs", "loop", "batch_size", "voxel_size_m", "learning_rate"):
            in_range("train", name, getattr(self, name), 0, above=True)
        in_range("train", "self_distillation", self.self_distillation, 0, 1)
        in_range("train", "ema_alpha", self.ema_alpha, 0, 1)
        in_range("train", "final_learning_rate", self.final_learning_rate, 0)
        in_range("train", "logit_scale", self.logit_scale, 0, above=True)
        in_range("train", "max_sample_voxels", self.max_sample_voxels, 1)
        in_range("train", "seed", self.seed, 0)
        if self.confidence_weights and self.compat == "official":
            raise InputError(
                "train: all targets must count alike in compat=official, got "
                "confidence_weights. Leave one of the two out."
            )

    @property
    def own_targets(self) -> bool:
        """Whether a batch has a target per voxel and not per superpoint."""
        return self.level == "point" or self.compat == "official"

    @property
    def first_self_epoch(self) -> int:
        """The epoch, counted from 0, in which the second stage starts."""
        return self.epochs - round(self.epochs * self.self_distillation)


def official_config(**changes: object) -> TrainConfig:
    """Return the settings of the authors' code, where they differ from the paper.

    Args:
      **changes: further fields of `TrainConfig`.

    Source: authors' code (config/scannet/ours_lseg.yaml, run/distill_sp.py,
    run/distill_EMA.py): 100 epochs of Eq. 10, then 100 of cross entropy alone; poly
    schedule from 1e-3 after a first step at 1e-4; 20000 sampled voxels.
    """
    settings: dict = {
        "compat": "official",
        "epochs": 200,
        "self_distillation": 0.5,
        "keep_distillation": False,
        "batch_size": 16,
        "max_sample_voxels": 20000,
        "ema_alpha": 0.9999,
        "schedule": "poly",
    }
    return TrainConfig(**{**settings, **changes})


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """How a run is carried out; changes nothing in the result.

    Attributes:
      checkpoint_epochs: the end of every epoch that is a multiple of this is a place
        for a checkpoint.
      checkpoint_minutes: time between checkpoints, at least: a place is passed over
        until then. After five times as long one is saved wherever the run is, within
        an epoch too. The last step of a stage and a stop always save.
      keep_last: newest checkpoints to keep, beside the best one and the last one of
        the first stage.
      best_metric: which mean over the last epoch ranks checkpoints, lower is better:
        "loss", or a key that the validation callback returns.
      log_steps: steps between scalars on disk.
      validate_epochs: epochs between calls of the validation callback.
      num_workers: processes that make batches; 0 makes them in threads.
      num_threads: threads per process that make batches.
      prefetch: finished batches that wait per process.
      cache_gb: memory for scenes that are kept, over all processes; None takes a
        quarter of the machine's. A scene takes 0.2 MB to 150 MB: targets per
        superpoint are small, those per point are not.
      progress: whether to show a progress bar.
    """

    checkpoint_epochs: int = 1
    checkpoint_minutes: float = 2.0
    keep_last: int = 2
    best_metric: str = "loss"
    log_steps: int = 10
    validate_epochs: int = 5
    num_workers: int = 0
    num_threads: int = 2
    prefetch: int = 2
    cache_gb: float | None = None
    progress: bool = True

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if field.type in (int, float):
                low = 0 if field.name in ("num_workers", "checkpoint_minutes") else 1
                in_range("train", field.name, getattr(self, field.name), low)
        in_range("train", "cache_gb", self.cache_gb, 0)

    @property
    def cache_bytes(self) -> int:
        """Bytes of scenes that each process may keep."""
        if self.cache_gb is not None:
            total = self.cache_gb * 1e9
        else:
            total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 4
        return int(total) // max(1, self.num_workers)
