"""Tiny scenes and networks for the tests of distillation."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from text_spaces import space

from sas_jax.artefacts.features import Features
from sas_jax.artefacts.space import TextFeatures
from sas_jax.classes import Vocabulary
from sas_jax.distill.config import AugmentConfig, TrainConfig
from sas_jax.distill.data import TrainScene
from sas_jax.distill.setup import EncodedVocabulary
from sas_jax.models.config import StudentConfig
from sas_jax.models.minkunet import HEAD

CHANNELS = 8
CLASSES = 3
TEXT = np.eye(CLASSES, CHANNELS, dtype=np.float32)
SPACE = space(CHANNELS)


@dataclasses.dataclass(frozen=True)
class Box:
    """A box of random points in `num_superpoints` slabs, one class per slab."""

    name: str
    num_points: int = 400
    num_superpoints: int = 6
    seed: int = 0

    @property
    def key(self) -> str:
        return f"{self}"

    def load(self, config: TrainConfig) -> TrainScene:
        rng = np.random.default_rng([self.seed, len(self.name), self.num_points])
        points = rng.uniform(0, 1, (self.num_points, 3)).astype(np.float32)
        slab = np.floor(points[:, 2] * self.num_superpoints).astype(np.int32)
        targets = rng.normal(0, 0.1, (self.num_superpoints, CHANNELS))
        targets[
            np.arange(self.num_superpoints), np.arange(self.num_superpoints) % 3
        ] += 1
        row = np.where(slab == 1, -1, slab).astype(np.int32)
        counts = np.ones(self.num_superpoints, np.int32)
        found = Features(targets.astype(np.float16), row, counts, SPACE, "superpoint")
        return TrainScene(self.name, points, slab, found)


def boxes(count: int, **settings: int) -> list[Box]:
    return [
        Box(f"box{i}", num_points=200 + 90 * i, seed=i, **settings)
        for i in range(count)
    ]


def tiny_config(**changes: object) -> TrainConfig:
    settings: dict = {
        "student": StudentConfig(arch="MinkUNet14A", out_dim=CHANNELS),
        "epochs": 4,
        "self_distillation": 0.5,
        "loop": 1,
        "batch_size": 3,
        "voxel_size_m": 0.1,
        "augment": AugmentConfig(elastic=((0.2, 0.1),)),
        "learning_rate": 1e-2,
        "final_learning_rate": 1e-3,
        "seed": 5,
    }
    return TrainConfig(**{**settings, **changes})


@dataclasses.dataclass(frozen=True)
class Mixer:
    """A stand-in network: features from coordinates, with one running statistic."""

    def init(self, key, plan, features, *, train):
        weights = jax.random.normal(key, (4, CHANNELS), jnp.float32)
        params = {HEAD: {"kernel": weights}}
        return {"params": params, "batch_stats": {"mean": jnp.zeros(4)}}

    def apply(self, variables, plan, features, *, train, head=True, mutable=()):
        level = plan.levels[0]
        valid = jnp.arange(level.coords.shape[0]) < level.num_valid
        x = jnp.where(
            valid[:, None], jnp.sin(0.37 * level.coords.astype(jnp.float32)), 0
        )
        x = x.at[:, 0].set(valid.astype(jnp.float32))
        out = x @ variables["params"][HEAD]["kernel"] if head else x
        if not mutable:
            return out
        count = jnp.maximum(level.num_valid, 1).astype(jnp.float32)
        return out, {"batch_stats": {"mean": jnp.sum(x, axis=0) / count}}


def encoded(names=("a", "b", "c"), rows=TEXT, space=SPACE):
    """Return classes with text features."""
    return EncodedVocabulary(Vocabulary("tiny", names), TextFeatures(rows, space))
