"""Training of the small diffusion model: resumable, one process, any number of steps.

Everything that step n draws (images, windows, captions, noise levels, noise) is from
(seed, n), so that an interrupted run that continues equals one that never stopped.
Checkpoints are safetensors: the network, its moving average and Adam's moments.
"""

import dataclasses
import pathlib
import time
from collections.abc import Callable

import diffusers
import numpy as np
import torch

from sas_jax.artefacts import files
from sas_jax.errors import InputError
from sas_jax.rooms.painter.captions import CaptionConfig, draw_caption
from sas_jax.rooms.painter.crops import Crops
from sas_jax.rooms.painter.diffusion_net import (
    SmallDiffusionConfig,
    build_unet,
    fold,
    noise_schedule,
    with_context,
)
from sas_jax.rooms.painter.small_diffusion import SmallDiffusion
from sas_jax.rooms.painter.token_states import load_token_states
from sas_jax.rooms.painter.windows import draw_window

CHECKPOINT_SCHEMA = "sas_jax.small_diffusion_checkpoint/2"


@dataclasses.dataclass(frozen=True)
class PretrainConfig:
    """How the small diffusion model is trained.

    Attributes:
      steps: length of the run; the learning rate falls to `final_rate` over it.
      batch: images per step.
      rate: peak learning rate of Adam.
      final_rate: learning rate at the end.
      warmup: steps of linear warm-up.
      average: decay of the moving average of the weights.
      seed: of everything random.
      bfloat16: run the network in bfloat16 (weights stay float32).
      checkpoint_seconds: time between checkpoints.
      log_every: steps between log lines.
    """

    steps: int = 16_000
    batch: int = 16
    rate: float = 5e-4
    final_rate: float = 5e-5
    warmup: int = 300
    average: float = 0.999
    seed: int = 0
    bfloat16: bool = True
    checkpoint_seconds: float = 240.0
    log_every: int = 50


@dataclasses.dataclass
class TrainState:
    """Everything that a resumed run needs.

    Attributes:
      unet: network being trained.
      average: its moving average.
      optimizer: Adam.
      step: steps done.
    """

    unet: diffusers.UNet2DConditionModel
    average: dict[str, torch.Tensor]
    optimizer: torch.optim.Adam
    step: int = 0


def train(
    crops: Crops,
    folder: files.PathLike,
    config: PretrainConfig | None = None,
    network: SmallDiffusionConfig | None = None,
    *,
    initial: SmallDiffusion | None = None,
    seconds: float | None = None,
    log: Callable[[str], None] = print,
) -> SmallDiffusion:
    """Train to `config.steps`, or until the time is up; continue where a run stopped.

    Args:
      crops: training images with what they show.
      folder: where `checkpoint.safetensors` is kept; one of another run is refused.
      config: how to train; None means the defaults.
      network: size; None means the defaults.
      initial: where the run begins; None means at random weights.
      seconds: stop after this much time, with a checkpoint.
      log: takes one line of text at a time.

    Returns:
      The model with averaged weights.

    Raises:
      InputError: when the loss is not finite, the initial weights are of another
        network, or the checkpoint is of other settings, images or initial weights.
    """
    config, network = config or PretrainConfig(), network or SmallDiffusionConfig()
    path = pathlib.Path(folder) / "checkpoint.safetensors"
    state = begin(network, config, initial)
    key = run_key(crops, network, config, initial)
    if path.exists():
        restore(state, path, key)
    draw = _BatchSource(crops, network, config)
    began = saved = time.monotonic()
    losses: list[float] = []
    while state.step < config.steps:
        losses.append(train_step(state, draw(state.step), config))
        now = time.monotonic()
        if state.step % config.log_every == 0:
            mean = float(np.mean(losses))
            log(f"step {state.step} loss {mean:.4f} elapsed_s {now - began:.0f}")
            losses.clear()
        if now - saved > config.checkpoint_seconds:
            save_checkpoint(path, state, key)
            saved = now
        if seconds is not None and now - began > seconds:
            break
    save_checkpoint(path, state, key)
    return averaged_model(state, network)


def train_step(state: TrainState, batch: dict, config: PretrainConfig) -> float:
    """Run one optimiser step on what `_BatchSource` drew and return the loss."""
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate(state.step, config)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=config.bfloat16):
        predicted = state.unet(
            batch["noisy"], batch["level"], encoder_hidden_states=batch["text"]
        ).sample
    loss = torch.nn.functional.mse_loss(predicted.float(), batch["target"])
    value = float(loss.detach())
    if not np.isfinite(value):
        raise InputError(
            f"pretrain: the loss must be finite, got {value} at step {state.step}. "
            "Continue from the last checkpoint with a lower rate."
        )
    state.optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(state.unet.parameters(), 1.0)
    state.optimizer.step()
    state.step += 1
    # a short memory at first, else the random start stays in the average for long
    decay = min(config.average, (1 + state.step) / (10 + state.step))
    for name, weight in state.unet.state_dict().items():
        state.average[name].lerp_(weight, 1 - decay)
    return value


def learning_rate(step: int, config: PretrainConfig) -> float:
    """Return the rate of a step: linear warm-up, then half a cosine."""
    warm = min(1.0, (step + 1) / max(1, config.warmup))
    done = min(1.0, step / max(1, config.steps))
    cosine = 0.5 * (1 + np.cos(np.pi * done))
    return warm * (config.final_rate + (config.rate - config.final_rate) * cosine)


class _BatchSource:
    """Draw the batch of a step from (seed, step) alone."""

    def __init__(
        self, crops: Crops, network: SmallDiffusionConfig, config: PretrainConfig
    ):
        self._crops, self._network, self._config = crops, network, config
        self._captions = CaptionConfig()
        self._text = load_token_states()
        self._noise = diffusers.DDPMScheduler(**noise_schedule(network))

    def __call__(self, step: int) -> dict:
        rng = np.random.default_rng([self._config.seed, step])
        batch = self._config.batch
        rows = self._crops.draw(rng, batch)
        size = self._network.image_size
        drawn = [draw_window(self._crops, row, size, rng) for row in rows]
        images = np.stack([image for image, _ in drawn])
        texts = [draw_caption(seen, rng, self._captions) for _, seen in drawn]
        states = self._text(texts, self._network.text_length).states
        clean = fold(images, self._network.patch)
        # one noise level from each of `batch` equal parts: less variance of the loss
        spread = (np.arange(batch) + rng.random(batch)) / batch
        level = torch.from_numpy((spread * self._network.train_steps).astype(np.int64))
        noise = torch.from_numpy(rng.standard_normal(clean.shape, np.float32))
        return {
            "noisy": self._noise.add_noise(clean, noise, level),
            "target": self._noise.get_velocity(clean, noise, level),
            "level": level,
            "text": with_context(states, self._network.context),
        }


def run_key(
    crops: Crops,
    network: SmallDiffusionConfig,
    config: PretrainConfig,
    initial: SmallDiffusion | None = None,
) -> str:
    """Return the content key of everything that a run's weights follow from."""
    config = dataclasses.replace(config, checkpoint_seconds=0.0, log_every=1)
    start = initial.weights_id if initial else "random"
    return files.content_key([crops.key, network, config, start])


def begin(
    network: SmallDiffusionConfig,
    config: PretrainConfig,
    initial: SmallDiffusion | None = None,
) -> TrainState:
    """Return the state before the first step.

    Raises:
      InputError: when the initial weights are of another network.
    """
    torch.manual_seed(config.seed)
    unet = build_unet(network).train()
    if initial is not None:
        if initial.config != network:
            raise InputError(
                "pretrain: the initial weights must be of the same network, got "
                f"{initial.config} for {network}. Start at random weights."
            )
        unet.load_state_dict(initial.unet.state_dict(), strict=True)
    optimizer = torch.optim.Adam(unet.parameters(), lr=config.rate, betas=(0.9, 0.99))
    average = {k: v.clone() for k, v in unet.state_dict().items()}
    return TrainState(unet, average, optimizer)


def restore(state: TrainState, path: pathlib.Path, key: str) -> None:
    """Turn a run's first state into that of its checkpoint.

    Args:
      state: what `begin` made; changed in place.
      path: what `save_checkpoint` wrote.
      key: the run's (see `run_key`).

    Raises:
      InputError: when the checkpoint is of another run.
    """
    tensors, meta = files.read_tensors(path, schema=CHECKPOINT_SCHEMA)
    if meta["key"] != key:
        raise InputError(
            "pretrain: the checkpoint must be of the same run (settings, network, "
            f"images, initial weights), got another one's ({path}). Delete that file "
            "to begin again, or choose another --workspace."
        )
    parts: dict[str, dict] = {"unet": {}, "average": {}, "first": {}, "second": {}}
    for name, value in tensors.items():
        part, key = name.split("/", 1)
        parts[part][key] = torch.from_numpy(value.copy())
    state.unet.load_state_dict(parts["unet"], strict=True)
    state.average, state.step = parts["average"], int(meta["step"])
    for name, parameter in state.unet.named_parameters():
        state.optimizer.state[parameter] = {
            "step": torch.tensor(float(state.step)),
            "exp_avg": parts["first"][name],
            "exp_avg_sq": parts["second"][name],
        }


def save_checkpoint(path: pathlib.Path, state: TrainState, key: str) -> None:
    """Write everything that `restore` needs, atomically."""
    tensors = {f"unet/{k}": v.numpy() for k, v in state.unet.state_dict().items()}
    tensors |= {f"average/{k}": v.numpy() for k, v in state.average.items()}
    for name, parameter in state.unet.named_parameters():
        moments = state.optimizer.state.get(parameter)
        if moments:
            tensors[f"first/{name}"] = moments["exp_avg"].numpy()
            tensors[f"second/{name}"] = moments["exp_avg_sq"].numpy()
    meta = {"step": str(state.step)}
    files.write_tensors(path, tensors, key=key, schema=CHECKPOINT_SCHEMA, meta=meta)


def averaged_model(state: TrainState, network: SmallDiffusionConfig) -> SmallDiffusion:
    """Return a model with the averaged weights of a training state."""
    unet = build_unet(network)
    unet.load_state_dict(state.average, strict=True)
    return SmallDiffusion(network, unet, f"step:{state.step}")
