"""Train the small teachers on generated rooms.

Both can be trained at once over one trunk, which costs half as much; each head then
still sees the labels of its own teacher only. Shorter trainings of one teacher alone
follow, so that the two do not err alike.

Every step's randomness derives from (seed, step), so a killed run goes on from its
last checkpoint as if it had not been interrupted. The weights that count are the
moving average (EMA) over steps.
"""

import copy
import dataclasses
import functools
import io
import math
import pathlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
import torch

from sas_jax.artefacts.files import atomic_write, content_key
from sas_jax.errors import InputError
from sas_jax.rooms.teachers.augment import AugmentConfig, Batch, draw_batch
from sas_jax.rooms.teachers.data import RoomFrames
from sas_jax.rooms.teachers.dense import DENSE_NET, RoomsDense
from sas_jax.rooms.teachers.labels import (
    DENSE_COARSE,
    DENSE_STRONG,
    MASK_COARSE,
    MASK_STRONG,
    Knowledge,
    LabelTables,
    visible_labels,
)
from sas_jax.rooms.teachers.losses import (
    LossConfig,
    TextBank,
    class_weights,
    dense_loss,
    mask_loss,
)
from sas_jax.rooms.teachers.mask import CLASS_NAMES, MASK_NET, RoomsMask
from sas_jax.rooms.teachers.nets import MEAN, NetConfig, RoomsNet, load_weights
from sas_jax.teachers.text import load_torch_minilm


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Set one training.

    Attributes:
      model: which teacher, or both over one trunk.
      steps: optimiser steps.
      batch_size: crops per step.
      learning_rate: peak; linear warm-up, then cosine to 0.
      warmup: steps of warm-up.
      weight_decay: of AdamW.
      ema: decay of the averaged weights.
      seed: of weights and crops.
      save_every_s: seconds between checkpoints.
      augment: the crops.
      loss: the losses.
    """

    model: Literal["dense", "mask", "both"]
    steps: int = 12_000
    batch_size: int = 16
    learning_rate: float = 2e-3
    warmup: int = 200
    weight_decay: float = 0.02
    ema: float = 0.998
    seed: int = 0
    save_every_s: float = 60.0
    augment: AugmentConfig = dataclasses.field(default_factory=AugmentConfig)
    loss: LossConfig = dataclasses.field(default_factory=LossConfig)

    @property
    def teachers(self) -> tuple[str, ...]:
        """The teachers that are trained."""
        return ("dense", "mask") if self.model == "both" else (self.model,)


KNOWLEDGE = {
    "dense": Knowledge(DENSE_STRONG, DENSE_COARSE),
    "mask": Knowledge(MASK_STRONG, MASK_COARSE),
}
"""What each teacher is told."""

_NETS = {"dense": DENSE_NET, "mask": MASK_NET}
_WRAPPERS = {"dense": RoomsDense, "mask": RoomsMask}


@dataclasses.dataclass
class State:
    """Hold what a checkpoint holds: trained and averaged network, optimiser, step."""

    net: RoomsNet
    average: RoomsNet
    optimiser: torch.optim.Optimizer
    step: int = 0


def train(
    config: TrainConfig,
    frames: RoomFrames,
    checkpoint: pathlib.Path,
    report: Callable[[int, dict[str, float]], Any],
    *,
    initial: Sequence[pathlib.Path] = (),
) -> RoomsNet:
    """Train, or go on from the checkpoint, and return the averaged network.

    Args:
      config: the training.
      frames: training frames.
      checkpoint: file that is written about every `save_every_s` and at the end; one
        of another training is refused.
      report: called after every step with the step and the loss terms.
      initial: weights to begin with instead of random ones, the last one's trunk;
        heads that no file holds stay random.

    Returns:
      The averaged network in evaluation mode, with the heads of all its teachers.

    Raises:
      InputError: for a checkpoint of other settings, frames or initial weights, when
        the loss is not finite, or when the disk is full.

    Deterministic: for one number of threads, also across a restart.
    """
    state, start = _start(config, initial)
    key = _run_key(config, frames, start)
    _restore(state, key, checkpoint)
    loss_of = _loss(config, frames)
    saved = time.monotonic()
    state.net.train()

    def draw(step: int) -> tuple[np.random.Generator, Batch]:
        rng = np.random.default_rng([config.seed, step, 0x5374])
        return rng, draw_batch(frames, config.batch_size, config.augment, rng)

    # The next batch is drawn while the network works on this one.
    with ThreadPoolExecutor(1) as pool:
        upcoming = pool.submit(draw, state.step)
        while state.step < config.steps:
            rng, batch = upcoming.result()
            upcoming = pool.submit(draw, state.step + 1)
            terms = _step(state, config, batch, loss_of, rng)
            state.step += 1
            report(state.step, terms)
            if time.monotonic() - saved > config.save_every_s:
                _save(state, key, checkpoint)
                saved = time.monotonic()
    _save(state, key, checkpoint)
    return state.average.eval()


def learning_rate(config: TrainConfig, step: int) -> float:
    """Return the rate of a step: linear warm-up, then half a cosine to 0."""
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    done = (step - config.warmup) / max(config.steps - config.warmup, 1)
    return config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * min(done, 1.0)))


def part_of(net: RoomsNet, model: str) -> RoomsNet:
    """Return a copy of the trunk with the heads of one teacher."""
    part = RoomsNet(_NETS[model])
    wanted = part.state_dict()
    part.load_state_dict({k: v for k, v in net.state_dict().items() if k in wanted})
    return part.eval()


def teacher_of(
    net: RoomsNet, model: str, config: TrainConfig
) -> RoomsDense | RoomsMask:
    """Wrap a network of one teacher's heads as that teacher."""
    return _WRAPPERS[model](net.eval(), f"training:{content_key(config)}")


def _run_key(config: TrainConfig, frames: RoomFrames, start: list[str]) -> str:
    """Return the content key of everything that a training's weights follow from."""
    config = dataclasses.replace(config, save_every_s=0.0)
    return content_key([config, frames.key, start])


def _start(
    config: TrainConfig, initial: Sequence[pathlib.Path] = ()
) -> tuple[State, list[str]]:
    """Return the state before the first step and the keys of the initial weights."""
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        heads = [_NETS[model].heads for model in config.teachers]
        net = RoomsNet(NetConfig(heads={k: v for h in heads for k, v in h.items()}))
    keys = [load_weights(net, path, missing_heads=True) for path in initial]
    net = net.to(  # type: ignore[call-overload]  # the stub knows no format
        memory_format=torch.channels_last
    )
    optimiser = torch.optim.AdamW(
        net.parameters(), config.learning_rate, weight_decay=config.weight_decay
    )
    return State(net, copy.deepcopy(net), optimiser), keys


def _loss(config: TrainConfig, frames: RoomFrames) -> Callable:
    """Return the loss of (net, pixels, batch, rng): the sum over the teachers."""
    parts = []
    for model in config.teachers:
        knowledge = KNOWLEDGE[model]
        labels = visible_labels(frames, CLASS_NAMES, knowledge)
        weights = class_weights(labels, len(CLASS_NAMES), config.loss.balance)
        tables = LabelTables(frames, CLASS_NAMES, knowledge)
        if model == "mask":
            compute = functools.partial(mask_loss, weights=weights, config=config.loss)
        else:
            bank = TextBank(load_torch_minilm(), CLASS_NAMES, frames, knowledge)
            compute = functools.partial(
                dense_loss, bank=bank, weights=weights, config=config.loss
            )
        parts.append((model, tables, compute))

    def loss_of(net, pixels, batch, rng) -> tuple[torch.Tensor, dict[str, float]]:
        trunk = net.trunk(pixels)
        total: Any = 0.0
        terms: dict[str, float] = {}
        for model, tables, compute in parts:
            label = tables(batch.frame, batch.label, batch.instance)
            told = dataclasses.replace(batch, label=label)
            extra = {"rng": rng} if model == "dense" else {}
            loss, found = compute(net, trunk, told, **extra)
            total = total + loss
            terms |= {f"{model} {name}": value for name, value in found.items()}
        return total, terms

    return loss_of


def _step(
    state: State,
    config: TrainConfig,
    batch: Batch,
    loss_of: Callable,
    rng: np.random.Generator,
) -> dict[str, float]:
    for group in state.optimiser.param_groups:
        group["lr"] = learning_rate(config, state.step)
    pixels = torch.from_numpy(batch.rgb).permute(0, 3, 1, 2).float() / 255.0 - MEAN
    # bfloat16 is only used inside; weights and statistics stay float32.
    with torch.autocast("cpu", torch.bfloat16):
        loss, terms = loss_of(state.net, pixels, batch, rng)
    if not torch.isfinite(loss):
        raise InputError(
            f"train: the loss must be finite, got {float(loss)} at step {state.step}. "
            "Lower the learning rate."
        )
    state.optimiser.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(state.net.parameters(), 5.0)
    state.optimiser.step()
    _average(state, min(config.ema, (1.0 + state.step) / (10.0 + state.step)))
    return {"loss": float(loss.detach()), **terms}


@torch.no_grad()
def _average(state: State, decay: float) -> None:
    new = state.net.state_dict()
    for name, value in state.average.state_dict().items():
        if value.is_floating_point():
            value.lerp_(new[name], 1.0 - decay)


def _save(state: State, key: str, path: pathlib.Path) -> None:
    record = {
        "key": key,
        "net": state.net.state_dict(),
        "average": state.average.state_dict(),
        "optimiser": state.optimiser.state_dict(),
        "step": state.step,
    }
    # put together in memory: `torch.save` reports a full disk by no OSError
    data = io.BytesIO()
    torch.save(record, data)
    atomic_write(path, data.getvalue())


def _restore(state: State, key: str, path: pathlib.Path) -> None:
    if not path.exists():
        return
    record = torch.load(path, weights_only=True)
    if record["key"] != key:
        raise InputError(
            "train: the checkpoint must be of the same training (settings, frames, "
            f"initial weights), got another one's ({path}). Delete that file to begin "
            "again, or choose another --workspace."
        )
    state.net.load_state_dict(record["net"])
    state.average.load_state_dict(record["average"])
    state.optimiser.load_state_dict(record["optimiser"])
    state.step = record["step"]
