"""What does not change during a run: settings, classes, scenes, network, devices."""

import dataclasses
from collections.abc import Mapping, Sequence

import jax
import numpy as np
from jaxtyping import Float32

from sas_jax.artefacts.space import TextFeatures
from sas_jax.classes import Vocabulary
from sas_jax.distill import loader, processes, step
from sas_jax.distill.buckets import BucketPolicy
from sas_jax.distill.config import RunConfig, TrainConfig
from sas_jax.distill.data import SceneCache, SceneSource
from sas_jax.distill.schedule import Schedule
from sas_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class EncodedVocabulary:
    """The classes that pseudo labels choose from.

    Attributes:
      vocabulary: K classes.
      texts: their text features, T, in the space that the fused features live in.
    """

    vocabulary: Vocabulary
    texts: TextFeatures


@dataclasses.dataclass(frozen=True)
class TrainSetup:
    """What does not change during a run.

    Attributes:
      config: what to learn.
      run: how to carry it out.
      classes: of the pseudo labels.
      scenes: content key of each scene, by name, in order.
      cache: loads them.
      schedule: which scenes each step sees.
      policy: sizes of batches.
      network: the student.
      devices: where steps run, of all processes.
    """

    config: TrainConfig
    run: RunConfig
    classes: EncodedVocabulary
    scenes: Mapping[str, str]
    cache: SceneCache
    schedule: Schedule
    policy: BucketPolicy
    network: step.Network
    devices: tuple[jax.Device, ...]

    @property
    def own_devices(self) -> tuple[jax.Device, ...]:
        """Those of `devices` that this process feeds."""
        return tuple(self.devices[i] for i in processes.own(self.devices))


def make_setup(
    config: TrainConfig,
    sources: Sequence[SceneSource],
    classes: EncodedVocabulary,
    run: RunConfig,
    devices: Sequence[jax.Device] | None,
) -> TrainSetup:
    """Check the inputs of a run against each other and measure its scenes.

    Raises:
      InputError: for no scenes, repeated names, or text features whose shape is not
        that of the names and the student's output.
    """
    loader.check_names(sources)
    texts = classes.texts
    shape = (len(classes.vocabulary.names), config.student.out_dim)
    if texts.rows.shape != shape:
        raise InputError(
            f"train: text features {list(shape)} are required, got "
            f"{list(texts.rows.shape)}. Use the text tower that the features "
            "were made with, and its dimension as out_dim."
        )
    # Machines of other kinds may encode a text with other last bits.
    texts = dataclasses.replace(texts, rows=processes.of_primary(texts.rows))
    devices = tuple(devices or jax.devices())
    if len(processes.own(devices)) * jax.process_count() != len(devices):
        raise InputError(
            f"train: each of {jax.process_count()} processes must have as many devices "
            f"as the others, got {len(processes.own(devices))} of {len(devices)} here. "
            "Give every process the same number."
        )
    cache = SceneCache(sources, config, run.cache_bytes, texts.space)
    schedule = Schedule(len(sources), config)
    return TrainSetup(
        config=config,
        run=run,
        classes=EncodedVocabulary(classes.vocabulary, texts),
        scenes={source.name: source.key for source in sources},
        cache=cache,
        schedule=schedule,
        policy=_same_policy(loader.plan_buckets(cache, schedule, len(devices))),
        network=step.make_network(config),
        devices=devices,
    )


def _same_policy(policy: BucketPolicy) -> BucketPolicy:
    """Return the sizes that the primary process measured, in every process.

    Machines of other kinds may place a point in another voxel, by its last bit.
    """
    first, superpoints, points, *ratios = processes.of_primary(
        np.array(
            [
                *(policy.first, policy.superpoints_per_row, policy.points_per_row),
                *policy.level_ratios,
            ],
            np.float64,
        )
    ).tolist()
    return BucketPolicy(int(first), tuple(ratios), superpoints, points)


def text_of(setup: TrainSetup) -> Float32[np.ndarray, "K C"]:
    """Return the text features in f32."""
    return np.asarray(setup.classes.texts.rows, np.float32)


def scaled_text(setup: TrainSetup) -> Float32[np.ndarray, "K C"]:
    """Return the text features times the scale of the logits."""
    return text_of(setup) * np.float32(setup.config.logit_scale or 1.0)
